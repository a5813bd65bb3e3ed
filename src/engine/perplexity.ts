/**
 * Perplexity of a text: windows of tokens that do not overlap, every token but a window's first predicted from
 * those before it in its window. The log-probabilities are computed in the backend; logits never come out.
 */
import { type EngineClient, perform } from "./client.ts";

export interface PerplexityOptions {
  /** Tokens in a window. Default 1,024, or the context where that is less. */
  readonly window?: number;
  /** The most windows. Default: all. */
  readonly limit?: number;
  readonly onProgress?: (progress: { readonly done: number; readonly windows: number }) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface Perplexity {
  /** exp(nll / predicted). */
  readonly perplexity: number;
  /** Negative log-likelihood in nats, summed over the predicted tokens. */
  readonly nll: number;
  readonly predicted: number;
  /** nll in bits, over the bytes of the windows' text. */
  readonly bitsPerByte: number;
  readonly windows: readonly number[];
}

export async function measurePerplexity(
  client: EngineClient,
  ids: Int32Array,
  byteLength: (ids: Int32Array) => number,
  options: PerplexityOptions & { readonly window: number },
): Promise<Perplexity> {
  const { window, onProgress, signal } = options;
  const all = Math.ceil(ids.length / window);
  const count = Math.min(all, options.limit ?? all);
  const windows: number[] = [];
  let predicted = 0;
  let bytes = 0;
  for (let w = 0; w < count; w++) {
    const prompt = ids.slice(w * window, (w + 1) * window);
    bytes += byteLength(prompt);
    let nll = 0;
    const work = { prompt, score: { want: "logprobs", topLogprobs: 0 } } as const;
    await perform(client, work, signal, (event) => {
      if (event.type === "logprobs") for (const { logprob } of event.tokens) nll -= logprob;
    });
    predicted += Math.max(0, prompt.length - 1);
    windows.push(nll);
    onProgress?.({ done: w + 1, windows: count });
  }
  const nll = windows.reduce((sum, value) => sum + value, 0);
  return {
    perplexity: Math.exp(nll / predicted),
    nll,
    predicted,
    bitsPerByte: nll / Math.LN2 / bytes,
    windows,
  };
}
