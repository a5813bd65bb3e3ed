/**
 * From a request to an endpoint and back: ids, the rules about who may ask and from where, the body, and failures in the
 * form of the API that was called. It is a plain fetch handler.
 */
import { Hono } from "hono";

import { messagesFailure } from "./anthropic-error.ts";
import type { ApiKeys } from "./api-keys.ts";
import { readJson } from "./body.ts";
import type { Call } from "./call.ts";
import type { Endpoint } from "./endpoint.ts";
import { asError, failureOf, GoneError, HttpError, isDefect } from "./failure.ts";
import type { Fields } from "./log.ts";
import { openaiFailure } from "./openai-error.ts";
import { checkOrigin, corsHeaders, type OriginRules, PREFLIGHT_HEADERS } from "./origin.ts";
import type { Service } from "./service.ts";

export interface AppParts {
  readonly service: Service;
  readonly endpoints: readonly Endpoint[];
  readonly keys: ApiKeys;
  readonly origins: OriginRules;
  readonly maxBodyBytes: number;
}

/** `cut` ends the connection at once, where there is one. */
export type App = (request: Request, cut?: () => void) => Response | Promise<Response>;

/** What every answer says to a browser. */
const SAFETY_HEADERS: Readonly<Record<string, string>> = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'",
};

export function createApp(parts: AppParts): App {
  const { service, endpoints, origins } = parts;
  const app = new Hono<{ Bindings: { readonly cut: () => void } }>();
  for (const endpoint of endpoints) {
    app.on(endpoint.method, endpoint.path, (c) => answer(parts, endpoint, c.req.raw, c.req.param(), c.env.cut));
  }
  app.notFound(({ req: { raw, path }, env }) => {
    const methods = endpoints.filter((endpoint) => fits(endpoint.path, path)).map(({ method }) => method);
    const problem =
      methods.length === 0
        ? new HttpError(404, `there is no ${path} here`)
        : new HttpError(405, `${path} takes ${methods.join(", ")}`, { headers: { allow: methods.join(", ") } });
    return answer(parts, nowhere(path, problem), raw, {}, env.cut);
  });

  return async (request, cut = () => undefined) => {
    if (request.method !== "OPTIONS" || !request.headers.has("access-control-request-method"))
      return app.fetch(request, { cut });
    const headers = corsHeaders(request.headers, origins);
    service.httpRequests.add({ path: "preflight", status: "204" });
    return new Response(null, {
      status: 204,
      headers: { ...headers, ...("vary" in headers ? PREFLIGHT_HEADERS : {}) },
    });
  };
}

/** An endpoint that refuses. */
function nowhere(path: string, problem: HttpError): Endpoint {
  return {
    method: "GET",
    path: "other",
    summary: "",
    open: true,
    errors: path.startsWith("/v1/messages") ? "anthropic" : "openai",
    answer: "text/plain",
    handle: () => {
      throw problem;
    },
  };
}

function fits(pattern: string, path: string): boolean {
  const [wanted, given] = [pattern.split("/"), path.split("/")];
  return wanted.length === given.length && wanted.every((part, i) => part.startsWith(":") || part === given[i]);
}

async function answer(
  { service, keys, origins, maxBodyBytes }: AppParts,
  endpoint: Endpoint,
  request: Request,
  params: Readonly<Record<string, string>>,
  cut: () => void,
): Promise<Response> {
  const id = crypto.randomUUID();
  const began = performance.now();
  const control = new AbortController();
  let fields: Fields = {};
  let isStream = false;
  const onGone = (): void => control.abort(new GoneError("the client hung up"));
  const end = (status: number, error?: unknown): void => {
    // Node's Request keeps its signal, and with a listener on it all that this one knows, for good.
    request.signal.removeEventListener("abort", onGone);
    service.httpRequests.add({ path: endpoint.path, status: String(status) });
    const { method } = request;
    const path = endpoint.path === "other" ? new URL(request.url).pathname : endpoint.path;
    const problem = error === undefined ? {} : { error: asError(error).message };
    const ms = Math.round(performance.now() - began);
    service.log("info", `${method} ${path}`, { id, status, ms, ...fields, ...problem });
    if (error !== undefined && isDefect(error)) {
      service.log("error", "a request failed", { id, stack: asError(error).stack });
    }
  };
  const headers = { ...SAFETY_HEADERS, ...corsHeaders(request.headers, origins), "x-request-id": id };
  try {
    if (request.signal.aborted) onGone();
    else request.signal.addEventListener("abort", onGone, { once: true });
    checkOrigin(request.headers, origins);
    const key = keys.nameOf(request.headers);
    if (key === undefined && endpoint.open !== true) {
      throw new HttpError(
        401,
        "an API key is needed, as Authorization: Bearer KEY or x-api-key: KEY; the one given isn't valid",
      );
    }
    if (key !== undefined && key !== "") fields = { key };
    const call: Call = {
      id,
      key: key ?? "",
      request,
      params,
      signal: control.signal,
      abort: (reason) => control.abort(reason),
      cut,
      note: (more) => (fields = { ...fields, ...more }),
      stream: () => (isStream = true),
      end,
    };
    const body = endpoint.body === undefined ? undefined : await readJson(request, maxBodyBytes);
    const response = await endpoint.handle(call, service, body);
    for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
    if (!isStream) end(response.status);
    return response;
  } catch (error) {
    const failure = failureOf(error);
    const gone = error instanceof GoneError || request.signal.aborted;
    end(gone ? 499 : failure.status, error);
    const describe = endpoint.errors === "anthropic" ? messagesFailure : openaiFailure;
    const { status, body } = describe(failure, id);
    return Response.json(body, { status, headers: { ...failure.headers, ...headers } });
  }
}
