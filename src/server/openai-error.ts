/** Failures as OpenAI's API writes them, whole and in mid-stream. */
import { z } from "zod";

import { frame } from "./event-stream.ts";
import { type Failure, failureOf, type Status } from "./failure.ts";

export const OpenAiError = z
  .strictObject({
    error: z.strictObject({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().nullable(),
    }),
  })
  .meta({ id: "Error" });

const TYPES: Readonly<Record<Status, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  405: "invalid_request_error",
  408: "invalid_request_error",
  413: "invalid_request_error",
  415: "invalid_request_error",
  429: "rate_limit_error",
  500: "server_error",
  503: "service_unavailable_error",
};

export function openaiFailure({ status, message, code, param }: Failure): {
  readonly status: number;
  readonly body: z.infer<typeof OpenAiError>;
} {
  return { status, body: { error: { message, type: TYPES[status], param, code } } };
}

/** The last event of a stream that failed. */
export function openaiFailureEvent(error: unknown): string {
  return frame(openaiFailure(failureOf(error)).body);
}
