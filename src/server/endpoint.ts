/**
 * An endpoint: its place, what goes in and comes out as zod schemas, and the function that answers. The schemas check the
 * requests and make /openapi.json; nothing else says what a request may be.
 */
import type { z } from "zod";

import type { Call } from "./call.ts";
import { HttpError } from "./failure.ts";
import type { Service } from "./service.ts";

export interface Endpoint {
  readonly method: "GET" | "POST" | "DELETE";
  /** `:name` stands for a part that `Call.params` gets. */
  readonly path: string;
  readonly summary: string;
  /** Open to everybody, also where the server has API keys. */
  readonly open?: boolean;
  /** How failures are written. Default "openai". */
  readonly errors?: "openai" | "anthropic";
  readonly body?: z.ZodType;
  /** The answer; a text of that type where it isn't JSON. */
  readonly answer: z.ZodType | string;
  /** Each event's data, where the answer can be a stream. */
  readonly events?: z.ZodType;
  handle(call: Call, service: Service, body: unknown): Promise<Response> | Response;
}

/** An endpoint that takes a body: it is checked before `handle` sees it. */
export function withBody<T>(
  endpoint: Omit<Endpoint, "body" | "handle"> & {
    readonly body: z.ZodType<T>;
    handle(call: Call, service: Service, body: T): Promise<Response> | Response;
  },
): Endpoint {
  return { ...endpoint, handle: (call, service, body) => endpoint.handle(call, service, check(endpoint.body, body)) };
}

function check<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (issue === undefined) throw new HttpError(400, "the body is not what is expected");
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    const [key = ""] = issue.keys;
    const param = [...path, key].join(".");
    throw new HttpError(400, `${param}: there is no such field here`, { code: "unknown_field", param });
  }
  const param = path.join(".");
  throw new HttpError(400, param === "" ? issue.message : `${param}: ${issue.message}`, param === "" ? {} : { param });
}
