/** The server as the page sees it: its models, an answer as it comes, and the frames of the live view. */
import { serverEvents } from "./events.ts";

export interface Model {
  readonly id: string;
  /** Undefined: not known before it is loaded. */
  readonly chat?: boolean;
}

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
  readonly reasoning_content?: string;
}

/** What the API takes beside model and messages. */
export interface Sampling {
  readonly temperature?: number;
  readonly top_p?: number;
  readonly top_k?: number;
  readonly min_p?: number;
  readonly repetition_penalty?: number;
  readonly max_completion_tokens?: number;
  readonly seed?: number;
}

export type AnswerPart =
  | { readonly type: "text" | "reasoning"; readonly text: string }
  | { readonly type: "finish"; readonly reason: string }
  | { readonly type: "usage"; readonly tokens: number; readonly promptTokens: number };

/** The server wants a key, or another one. */
export class KeyError extends Error {}

const KEY = "millrace:key";

export function apiKey(): string {
  return sessionStorage.getItem(KEY) ?? "";
}

export function setApiKey(key: string): void {
  sessionStorage.setItem(KEY, key);
}

async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const key = apiKey();
  const headers = new Headers(init.headers);
  if (key !== "") headers.set("authorization", `Bearer ${key}`);
  const response = await fetch(path, { ...init, headers });
  if (response.ok) return response;
  const message = await response.json().then(
    (body: { readonly error?: { readonly message?: string } }) => body.error?.message,
    () => undefined,
  );
  const text = message ?? `the server answered ${response.status}`;
  throw response.status === 401 ? new KeyError(text) : new Error(text);
}

export async function listModels(): Promise<readonly Model[]> {
  const { data } = (await (await ask("/v1/models")).json()) as { readonly data: readonly Model[] };
  return data;
}

interface Chunk {
  readonly choices?: readonly {
    readonly delta: { readonly content?: string; readonly reasoning_content?: string };
    readonly finish_reason: string | null;
  }[];
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
  readonly error?: { readonly message: string };
}

/** The parts of an answer as they come; throws where the server refuses or fails. */
export async function* chat(
  model: string,
  messages: readonly ChatMessage[],
  sampling: Sampling,
  signal: AbortSignal,
): AsyncGenerator<AnswerPart> {
  const body = { model, messages, ...sampling, stream: true, stream_options: { include_usage: true } };
  const { body: stream } = await ask("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (stream === null) return;
  for await (const { data } of serverEvents(stream)) {
    if (data === "[DONE]") return;
    const { choices = [], usage, error } = JSON.parse(data) as Chunk;
    if (error !== undefined) throw new Error(error.message);
    const [choice] = choices;
    if (choice?.delta.reasoning_content !== undefined)
      yield { type: "reasoning", text: choice.delta.reasoning_content };
    if (choice?.delta.content) yield { type: "text", text: choice.delta.content };
    if (choice?.finish_reason) yield { type: "finish", reason: choice.finish_reason };
    if (usage) yield { type: "usage", tokens: usage.completion_tokens, promptTokens: usage.prompt_tokens };
  }
  throw new Error("the connection broke off");
}

/** The frames of the live view, as JSON. */
export async function* liveFrames(signal: AbortSignal): AsyncGenerator {
  const { body } = await ask("/live", { signal });
  if (body === null) return;
  for await (const { data } of serverEvents(body)) yield JSON.parse(data) as unknown;
}
