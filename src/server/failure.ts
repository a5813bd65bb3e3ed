/**
 * What goes wrong with a request, as HTTP says it: one HttpError for what the server itself refuses, and the way from any
 * error of the library to a status, a type and a code. How a failure is written down is each API's own business.
 */
import {
  LengthError,
  MemoryError,
  MillraceError,
  RequestError,
  UnsupportedError,
  UnsupportedGrammarError,
} from "../errors.ts";

export type Status = 400 | 401 | 403 | 404 | 405 | 408 | 413 | 415 | 429 | 500 | 503;

/** A failure as a client is told of it. */
export interface Failure {
  readonly status: Status;
  readonly message: string;
  /** A word for programs, where there is a well-known one. */
  readonly code: string | null;
  /** The field of the request that is wrong. */
  readonly param: string | null;
  readonly headers: Readonly<Record<string, string>>;
}

export interface HttpErrorOptions {
  readonly code?: string;
  readonly param?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The server refuses a request. */
export class HttpError extends MillraceError implements Failure {
  readonly status: Status;
  readonly param: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: Status, message: string, { code, param, headers = {} }: HttpErrorOptions = {}) {
    super(code ?? CODES[status], message);
    this.status = status;
    this.param = param ?? null;
    this.headers = headers;
  }
}

const CODES: Readonly<Record<Status, string>> = {
  400: "invalid_request",
  401: "invalid_api_key",
  403: "forbidden",
  404: "not_found",
  405: "method_not_allowed",
  408: "request_timeout",
  413: "request_too_large",
  415: "unsupported_media_type",
  429: "queue_full",
  500: "internal_error",
  503: "unavailable",
};

/** The client has gone, or was cut off: nobody is left to be told. */
export class GoneError extends MillraceError {
  constructor(message: string) {
    super("ERR_GONE", message);
  }
}

export function failureOf(error: unknown): Failure {
  if (error instanceof HttpError) return error;
  const failure = (status: Status, message: string, code = CODES[status], param: string | null = null): Failure => {
    return { status, message, code, param, headers: status === 503 ? { "retry-after": "1" } : {} };
  };
  if (error instanceof LengthError) return failure(400, error.message, "context_length_exceeded");
  if (error instanceof UnsupportedGrammarError) return failure(400, error.message, "unsupported_grammar");
  if (error instanceof RequestError || error instanceof UnsupportedError) return failure(400, error.message);
  if (error instanceof MemoryError) return failure(503, error.message);
  if (error instanceof MillraceError) {
    const busy = ["ERR_CLOSED", "ERR_MEMORY", "ERR_ENGINE"].includes(error.code);
    return failure(busy ? 503 : 500, error.message);
  }
  return failure(500, "the server failed; its log says how, under this request's id");
}

/** True where the failure is ours to look into. */
export function isDefect(error: unknown): boolean {
  return !(error instanceof GoneError) && failureOf(error).status === 500;
}

/** Anything can be thrown. */
export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(typeof error === "string" ? error : JSON.stringify(error));
}
