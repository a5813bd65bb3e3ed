/** Errors as plain data and back: a thread's messages keep no classes. */
import {
  ArtifactError,
  LengthError,
  MemoryError,
  MillraceError,
  ModelError,
  NativeError,
  NetworkError,
  RequestError,
  StepError,
  UnsupportedError,
  UnsupportedGrammarError,
} from "../../errors.ts";

export interface ErrorData {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** Of a MillraceError: its code, and what its class has beside. */
  readonly code?: string;
  readonly keyword?: string;
  readonly path?: string;
  readonly reason?: StepError["reason"];
}

/** Those that are made of a message alone. */
const PLAIN = {
  ArtifactError,
  LengthError,
  MemoryError,
  ModelError,
  NativeError,
  NetworkError,
  RequestError,
  UnsupportedError,
} as const;

export function errorData(error: unknown): ErrorData {
  if (!(error instanceof Error)) return { name: "Error", message: String(error), stack: undefined };
  const { name, message, stack } = error;
  if (!(error instanceof MillraceError)) return { name, message, stack };
  const base = { name, message, stack, code: error.code };
  if (error instanceof UnsupportedGrammarError) return { ...base, keyword: error.keyword, path: error.path };
  return error instanceof StepError ? { ...base, reason: error.reason } : base;
}

/** An error of the same class, with the stack that it had where it was thrown. */
export function errorOf(data: ErrorData): Error {
  const error = revived(data);
  if (data.stack !== undefined) error.stack = data.stack;
  return error;
}

function revived({ name, message, code, keyword = "", path = "", reason = "failed" }: ErrorData): Error {
  if (code === undefined) return Object.assign(new Error(message), { name });
  if (name === "UnsupportedGrammarError") return new UnsupportedGrammarError(message, keyword, path);
  if (name === "StepError") return new StepError(reason, message);
  if (Object.hasOwn(PLAIN, name)) return new PLAIN[name as keyof typeof PLAIN](message);
  return new MillraceError(code, message);
}
