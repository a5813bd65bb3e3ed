/** Failures as Anthropic's API writes them, whole and in mid-stream. */
import { z } from "zod";

import { frame } from "./event-stream.ts";
import { type Failure, failureOf, type Status } from "./failure.ts";

export const MessagesError = z
  .strictObject({
    type: z.literal("error"),
    error: z.strictObject({ type: z.string(), message: z.string() }),
    request_id: z.string(),
  })
  .meta({ id: "MessagesError" });

const TYPES: Readonly<Record<Status, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  405: "invalid_request_error",
  408: "invalid_request_error",
  413: "request_too_large",
  415: "invalid_request_error",
  429: "rate_limit_error",
  500: "api_error",
  503: "overloaded_error",
};

export function messagesFailure(
  { status, message }: Failure,
  id: string,
): { readonly status: number; readonly body: z.infer<typeof MessagesError> } {
  // Anthropic's clients know an overloaded server by 529.
  const body = { type: "error", error: { type: TYPES[status], message }, request_id: id } as const;
  return { status: status === 503 ? 529 : status, body };
}

/** The last event of a stream that failed. */
export function messagesFailureEvent(error: unknown, id: string): string {
  return frame(messagesFailure(failureOf(error), id).body, "error");
}
