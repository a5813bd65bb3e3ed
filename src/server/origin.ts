/**
 * From where a browser may reach the server. Pages of other sites can't use it unless `--cors` names them: their preflight
 * fails, and so does what they send without one. The Host header is checked while there are no API keys, so that no foreign
 * name can be pointed at this machine (DNS rebinding).
 */
import { HttpError } from "./failure.ts";

export interface OriginRules {
  /** Origins that may call ("https://chat.example"), or "*". */
  readonly cors: readonly string[];
  /** Names in Host beside loopback's. */
  readonly allowedHosts: readonly string[];
  readonly checkHost: boolean;
}

const LOOPBACK = /^(localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** Throws 403 where the request may not come from where it comes. */
export function checkOrigin(headers: Headers, rules: OriginRules): void {
  const host = headers.get("host") ?? "";
  const name = host.replace(/:\d*$/, "").toLowerCase();
  if (rules.checkHost && !LOOPBACK.test(name) && !rules.allowedHosts.includes(name)) {
    throw new HttpError(403, `the host "${name}" is not allowed here; start the server with --allowed-host ${name}`);
  }
  const origin = headers.get("origin");
  if (origin === null || isAllowed(origin, rules) || isOwn(origin, host)) return;
  throw new HttpError(403, `the origin ${origin} is not allowed here; start the server with --cors ${origin}`);
}

/** What an answer to this origin says about it. */
export function corsHeaders(headers: Headers, rules: OriginRules): Record<string, string> {
  const origin = headers.get("origin");
  if (origin === null || !isAllowed(origin, rules)) return {};
  return {
    "access-control-allow-origin": origin,
    "access-control-expose-headers": "x-request-id, retry-after",
    vary: "origin",
  };
}

export const PREFLIGHT_HEADERS: Readonly<Record<string, string>> = {
  "access-control-allow-methods": "GET, POST, DELETE",
  "access-control-allow-headers": "*, authorization",
  "access-control-max-age": "600",
};

function isAllowed(origin: string, { cors }: OriginRules): boolean {
  return cors.includes("*") || cors.includes(origin);
}

function isOwn(origin: string, host: string): boolean {
  return host !== "" && URL.canParse(origin) && new URL(origin).host === host.toLowerCase();
}
