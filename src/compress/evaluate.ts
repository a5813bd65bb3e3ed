/**
 * What compression costs: models beside the one that they were made of, on the same text. For every token that is predicted
 * the two distributions are compared whole (Kullback-Leibler divergence from the base), since perplexity alone lets errors
 * cancel. The models are all in memory at once, and see each window of text in turn.
 */
import type { Llm } from "../engine/llm.ts";
import { RequestError } from "../errors.ts";

export interface EvaluateOptions {
  /** Token ids of the text, the base's. */
  readonly ids: Int32Array;
  /** Tokens in a window; windows don't overlap. Default 512. */
  readonly window?: number | undefined;
  readonly onProgress?: ((progress: { readonly done: number; readonly windows: number }) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Evaluation {
  /** exp of the mean negative log-likelihood. */
  readonly perplexity: number;
  /** Of base and model, in nats a token: 0 for the base itself. */
  readonly meanKl: number;
  readonly p99Kl: number;
  /** Share of tokens for which both find the same one likeliest. */
  readonly agreement: number;
  readonly predicted: number;
}

/** The base comes first in the list, and in the result. */
export async function evaluate(models: readonly Llm[], options: EvaluateOptions): Promise<Evaluation[]> {
  const { ids, window = 512, onProgress, signal } = options;
  const [base, ...others] = models;
  if (base === undefined || ids.length < 2)
    throw new RequestError("an evaluation needs a base, and a text of two tokens");
  for (const { info } of others) {
    if (info.vocabSize !== base.info.vocabSize)
      throw new RequestError(`${info.model} has ${info.vocabSize} tokens, ${base.info.model} ${base.info.vocabSize}`);
  }
  const sums = models.map(() => new Sums());
  const windows = Math.ceil(ids.length / window);
  for (let w = 0; w < windows; w++) {
    signal?.throwIfAborted();
    const part = ids.subarray(w * window, (w + 1) * window);
    if (part.length < 2) break;
    const wanted = await logProbabilities(base, part, signal);
    sums[0]?.add(wanted, wanted, part);
    for (const [i, model] of others.entries()) {
      sums[i + 1]?.add(wanted, await logProbabilities(model, part, signal), part);
    }
    onProgress?.({ done: w + 1, windows });
  }
  return sums.map((sum) => sum.result());
}

async function logProbabilities(
  llm: Llm,
  ids: Int32Array,
  signal: AbortSignal | undefined,
): Promise<readonly Float32Array[]> {
  const rows = await llm.logits(ids, signal === undefined ? {} : { signal });
  for (const row of rows) logSoftmax(row);
  return rows;
}

/** In place. */
function logSoftmax(row: Float32Array): void {
  let largest = -Infinity;
  for (const value of row) if (value > largest) largest = value;
  let sum = 0;
  for (const value of row) sum += Math.exp(value - largest);
  const shift = largest + Math.log(sum);
  for (let i = 0; i < row.length; i++) row[i] = (row[i] ?? 0) - shift;
}

class Sums {
  #nll = 0;
  #agreed = 0;
  readonly #divergences: number[] = [];

  /** Rows of log-probabilities after each token of a window; the last one predicts nothing. */
  add(base: readonly Float32Array[], model: readonly Float32Array[], ids: Int32Array): void {
    for (let t = 0; t + 1 < ids.length; t++) {
      const [p, q] = [base[t], model[t]];
      if (p === undefined || q === undefined) continue;
      this.#nll -= q[ids[t + 1] ?? 0] ?? 0;
      let divergence = 0;
      let [likeliest, other] = [0, 0];
      for (let i = 0; i < p.length; i++) {
        const [a, b] = [p[i] ?? 0, q[i] ?? 0];
        // Below e^-30 a token adds nothing that float32 could show.
        if (a > -30 && p !== q) divergence += Math.exp(a) * (a - b);
        if (a > (p[likeliest] ?? 0)) likeliest = i;
        if (b > (q[other] ?? 0)) other = i;
      }
      this.#divergences.push(divergence);
      if (likeliest === other) this.#agreed++;
    }
  }

  result(): Evaluation {
    const sorted = Float64Array.from(this.#divergences).sort();
    const predicted = sorted.length;
    return {
      perplexity: Math.exp(this.#nll / predicted),
      meanKl: sorted.reduce((sum, value) => sum + value, 0) / predicted,
      p99Kl: sorted[Math.floor(0.99 * (predicted - 1))] ?? 0,
      agreement: this.#agreed / predicted,
      predicted,
    };
  }
}

/** The models to which no other is better in both size and loss, by index, from small to large. */
export function paretoFront(points: readonly { readonly bytes: number; readonly loss: number }[]): number[] {
  const order = [...points.keys()].sort((a, b) => {
    const [p, q] = [points[a], points[b]];
    return (p?.bytes ?? 0) - (q?.bytes ?? 0) || (p?.loss ?? 0) - (q?.loss ?? 0);
  });
  let best = Infinity;
  return order.filter((index) => {
    const loss = points[index]?.loss ?? Infinity;
    if (loss >= best) return false;
    best = loss;
    return true;
  });
}
