/**
 * The error tree. Every error that a user can meet is a `MillraceError` with a stable `code` and a message
 * that states the fact he needs ("KV cache needs 6.1 GiB …, 4.0 GiB is free; lower maxContext").
 * An impossible state is an `invariant()`: a defect of ours, never the user's.
 */

export class MillraceError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
}

/** A model file, folder or reference that can't be read: names the file, the field, and what was expected. */
export class ArtifactError extends MillraceError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_ARTIFACT", message, options);
  }
}

/** The model is well formed, but Millrace (or this backend) doesn't support what it asks for. */
export class UnsupportedError extends MillraceError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_UNSUPPORTED", message, options);
  }
}

/**
 * A grammar asks for something that can't be enforced exactly, or that would cost too much. It is refused as a whole, since
 * an answer that breaks it would be worse than none.
 */
export class UnsupportedGrammarError extends MillraceError {
  /** What isn't supported: a keyword of JSON Schema ("uniqueItems"), a construct ("look-ahead"), or "complexity". */
  readonly keyword: string;
  /** Where it stands: a JSON Pointer into the schema ("/properties/a"), or a position in the grammar's text. */
  readonly path: string;
  constructor(message: string, keyword: string, path: string, options?: ErrorOptions) {
    super("ERR_UNSUPPORTED_GRAMMAR", message, options);
    this.keyword = keyword;
    this.path = path;
  }
}

/** A request's parameters are wrong, or it can never fit: nobody else is harmed by it. */
export class RequestError extends MillraceError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_REQUEST", message, options);
  }
}

/** A prompt is longer than the context; the message has the numbers. */
export class LengthError extends RequestError {}

/** Memory that was asked for isn't there; the message has the numbers. */
export class MemoryError extends MillraceError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_MEMORY", message, options);
  }
}

/** A transfer failed for good: the message has the address, the status and what to do. */
export class NetworkError extends MillraceError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_NETWORK", message, options);
  }
}

/** The native addon can't be built or loaded, or a native call failed. */
export class NativeError extends MillraceError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_NATIVE", message, options);
  }
}

/** The model ran, and what it gave can't be used: this request alone ends. */
export class ModelError extends MillraceError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_MODEL", message, options);
  }
}

/** A step that gave no result. `unrun`: an earlier step in flight failed or was cancelled, and this one never began. */
export class StepError extends MillraceError {
  readonly reason: "failed" | "cancelled" | "unrun";
  constructor(reason: StepError["reason"], message: string, options?: ErrorOptions) {
    super("ERR_STEP", message, options);
    this.reason = reason;
  }
}

/** Throws when a condition that our own code guarantees does not hold. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`Millrace defect: ${message}`);
}
