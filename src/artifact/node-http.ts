/**
 * Requests to the hub: redirects followed here, so that the token goes to the hub's own origin and never further;
 * what may pass (429, 5xx, a broken connection) tried again after a growing pause; the rest a NetworkError that says
 * what to do. Bodies are the caller's affair.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { NetworkError } from "../errors.ts";

export interface HttpOptions {
  /** Sent to this origin only. */
  readonly token?: string | undefined;
  readonly tokenOrigin: string;
  readonly signal?: AbortSignal | undefined;
  /** How often a request is tried again; default 5. */
  readonly retries?: number | undefined;
  /** The first pause in milliseconds, which doubles each time; default 500. */
  readonly retryDelay?: number | undefined;
  /** How long a server may say nothing, in milliseconds; default 60,000. */
  readonly idleTimeout?: number | undefined;
}

const MAX_REDIRECTS = 10;
/** The longest pause that we keep, in milliseconds, whether our own or asked for by Retry-After. */
const MAX_PAUSE = 120_000;

/** Gives the first response that isn't a redirect or a passing fault; its status is 2xx, or one of `accept`. */
export async function request(
  url: string,
  what: string,
  headers: Readonly<Record<string, string>>,
  options: HttpOptions,
  accept: readonly number[] = [],
): Promise<Response> {
  for (let attempt = 0; ; attempt++) {
    options.signal?.throwIfAborted();
    const response = await follow(url, what, headers, options).catch((error: unknown) => error);
    options.signal?.throwIfAborted();
    if (response instanceof NetworkError) throw response;
    if (response instanceof Response) {
      if (response.ok || accept.includes(response.status)) return response;
      await response.body?.cancel();
      if (response.status !== 429 && response.status < 500) throw refusal(response, what);
    }
    const most = options.retries ?? 5;
    if (attempt >= (isUnreachable(response) ? Math.min(most, 1) : most)) throw giveUp(response, url, what);
    await pause(attempt, options, response instanceof Response ? response : undefined, what);
  }
}

/**
 * All of an answer that shall be small.
 * @throws NetworkError where it has more than `most` bytes, or the server falls silent.
 */
export async function readBody(
  response: Response,
  most: number,
  what: string,
  options: HttpOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = response.body?.getReader();
  const parts: Uint8Array[] = [];
  let total = 0;
  try {
    while (reader !== undefined) {
      const { done, value } = await withTimeout(reader.read(), options);
      if (done) break;
      total += value.byteLength;
      if (total > most) throw new NetworkError(`${what}: an answer of more than ${most} bytes; it was cut off`);
      parts.push(value);
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof NetworkError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new NetworkError(`${what}: the answer breaks off (${reason})`, { cause: error });
  } finally {
    await reader?.cancel().catch(() => undefined);
  }
  return Buffer.concat(parts);
}

/** Rejects where nothing comes for as long as the server may say nothing. */
export async function withTimeout<T>(promise: Promise<T>, { idleTimeout = 60_000 }: HttpOptions): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no bytes for ${idleTimeout / 1000} s`)), idleTimeout);
  });
  try {
    return await Promise.race([promise, silence]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits before try number `attempt` + 1: as long as the server asks for, else twice as long each time. */
export async function pause(attempt: number, options: HttpOptions, response?: Response, what = ""): Promise<void> {
  const own = Math.min((options.retryDelay ?? 500) * 2 ** attempt, 30_000);
  const asked = response === undefined ? undefined : retryAfter(response);
  if (asked !== undefined && asked > MAX_PAUSE) {
    throw new NetworkError(
      `${what}: the server is busy (${response?.status}) and asks to come back in ${Math.ceil(asked / 1000)} s`,
    );
  }
  await sleep(asked ?? own * (0.75 + Math.random() / 2), undefined, { signal: options.signal }).catch(
    (error: unknown) => {
      options.signal?.throwIfAborted();
      throw error;
    },
  );
}

/** Milliseconds, from a number of seconds or a date. */
function retryAfter(response: Response): number | undefined {
  const value = response.headers.get("retry-after");
  if (value === null) return undefined;
  const seconds = Number(value);
  const milliseconds = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(milliseconds) ? undefined : Math.max(0, milliseconds);
}

async function follow(
  url: string,
  what: string,
  headers: Readonly<Record<string, string>>,
  options: HttpOptions,
): Promise<Response> {
  let address = parseAddress(url, what);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const authorization =
      options.token !== undefined && address.origin === options.tokenOrigin
        ? { authorization: `Bearer ${options.token}` }
        : {};
    const response = await fetchHead(address, { ...headers, ...authorization }, options);
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) return response;
    await response.body?.cancel();
    const next = parseAddress(new URL(location, address).href, what);
    if (address.protocol === "https:" && next.protocol !== "https:") {
      throw new NetworkError(`${what}: ${address.host} redirects from https to ${next.href}`);
    }
    address = next;
  }
  throw new NetworkError(`${what}: more than ${MAX_REDIRECTS} redirects from ${url}`);
}

/** The timeout holds until the head of the answer is there; the body may take as long as it needs. */
async function fetchHead(
  address: URL,
  headers: Readonly<Record<string, string>>,
  options: HttpOptions,
): Promise<Response> {
  const { signal, idleTimeout = 60_000 } = options;
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(new Error(`no answer for ${idleTimeout / 1000} s`)), idleTimeout);
  try {
    return await fetch(address, {
      redirect: "manual",
      headers: { "accept-encoding": "identity", "user-agent": "millrace", ...headers },
      signal: signal === undefined ? silence.signal : AbortSignal.any([signal, silence.signal]),
    });
  } finally {
    clearTimeout(timer);
  }
}

function parseAddress(url: string, what: string): URL {
  const address = URL.canParse(url) ? new URL(url) : undefined;
  if (address?.protocol === "https:" || address?.protocol === "http:") return address;
  throw new NetworkError(`${what}: "${url}" is no web address`);
}

function refusal(response: Response, what: string): NetworkError {
  const { status } = response;
  const where = new URL(response.url).host;
  switch (status) {
    case 401:
      return new NetworkError(
        `${what}: ${where} wants a login (401). Set HF_TOKEN to a token that may read it; ` +
          "a repository that doesn't exist gets the same answer",
      );
    case 403:
      return new NetworkError(
        `${what}: ${where} refuses access (403). Where the model is gated, accept its terms on its page ` +
          "and set HF_TOKEN to a token of that account",
      );
    case 404:
      return new NetworkError(`${what}: not found on ${where} (404); check owner, name and revision`);
    default:
      return new NetworkError(`${what}: ${where} answered ${status}`);
  }
}

/** No name, no route, nobody listening: waiting long doesn't help. */
function isUnreachable(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  return ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH"].includes(code);
}

function giveUp(last: unknown, url: string, what: string): NetworkError {
  const { host } = new URL(url);
  if (last instanceof Response) {
    const busy =
      last.status === 429
        ? "too many requests; try again later, or set HF_TOKEN"
        : "the server has a fault; try again later";
    return new NetworkError(`${what}: ${host} answered ${last.status} (${busy})`);
  }
  const cause = last instanceof Error && last.cause instanceof Error ? last.cause : last;
  return new NetworkError(`${what}: can't reach ${host}: ${cause instanceof Error ? cause.message : String(cause)}`, {
    cause: last,
  });
}
