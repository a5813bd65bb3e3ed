/**
 * Which experts of a mixture can go with the least change of what it gives, by trying all subsets of that size on sampled rows
 * (ExpertSparsity, Lu et al. 2024; C9-39): rows that were sent to an expert that goes are sent to the next best of the others,
 * as the router will do it.
 */
import { UnsupportedError } from "../errors.ts";
import type { NodeOf } from "../graph/graph.ts";

/** Subsets that are tried at most. */
const MOST_SUBSETS = 20_000;

export interface SampledMixture {
  readonly routes: Pick<NodeOf<"route">, "topK" | "scores" | "normalize" | "factor">;
  /** Added to what chooses, not to the shares; `[experts]`. */
  readonly bias: ArrayLike<number> | undefined;
  /** The router's, `[rows, experts]`. */
  readonly logits: Float32Array;
  /** What each expert would give for each row: by expert `[rows, width]`. */
  readonly outputs: readonly Float32Array[];
}

/**
 * The experts that stay, in rising order.
 * @throws UnsupportedError where there are too many subsets to try
 */
export function bestSubset(mixture: SampledMixture, size: number): number[] {
  const count = mixture.outputs.length;
  if (subsets(count, size) > MOST_SUBSETS) {
    throw new UnsupportedError(
      `${size} of ${count} experts can be chosen in too many ways to try them all; take "reap" instead`,
    );
  }
  const all = Array.from({ length: count }, (_, i) => i);
  const wanted = mixtureOutput(mixture, all);
  let [best, least] = [all, Infinity];
  for (const stay of subsetsOf(count, size)) {
    const loss = difference(wanted, mixtureOutput(mixture, stay));
    if (loss < least) [best, least] = [stay, loss];
  }
  return best;
}

/** What the mixture gives where only these experts are there, `[rows, width]`. */
export function mixtureOutput(
  { routes, bias, logits, outputs }: SampledMixture,
  stay: readonly number[],
): Float64Array {
  const count = outputs.length;
  const rows = logits.length / count;
  const width = (outputs[0]?.length ?? 0) / rows;
  const result = new Float64Array(rows * width);
  for (let t = 0; t < rows; t++) {
    for (const { expert, share } of sharesOf(routes, bias, logits.subarray(t * count, (t + 1) * count), stay)) {
      const output = outputs[expert];
      for (let i = 0; i < width; i++)
        result[t * width + i] = (result[t * width + i] ?? 0) + share * (output?.[t * width + i] ?? 0);
    }
  }
  return result;
}

/** As the op `route` does it, among these experts. */
function sharesOf(
  { topK, scores, normalize, factor }: SampledMixture["routes"],
  bias: ArrayLike<number> | undefined,
  logits: Float32Array,
  stay: readonly number[],
): { readonly expert: number; readonly share: number }[] {
  const own = stay.map((expert) => logits[expert] ?? 0);
  const largest = Math.max(...own);
  const powers = own.map((x) => (scores === "softmax" ? Math.exp(x - largest) : 1 / (1 + Math.exp(-x))));
  const sum = scores === "softmax" ? powers.reduce((total, x) => total + x, 0) : 1;
  const chosen = stay
    .map((expert, i) => ({ expert, share: (powers[i] ?? 0) / sum }))
    .sort((a, b) => b.share + (bias?.[b.expert] ?? 0) - (a.share + (bias?.[a.expert] ?? 0)) || a.expert - b.expert)
    .slice(0, topK);
  const together = normalize ? chosen.reduce((total, { share }) => total + share, 0) : 1;
  return chosen.map(({ expert, share }) => ({ expert, share: (factor * share) / together }));
}

function difference(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + (value - (b[i] ?? 0)) ** 2, 0);
}

/** How many subsets of a size there are. */
function subsets(count: number, size: number): number {
  let result = 1;
  for (let i = 0; i < Math.min(size, count - size); i++) result = (result * (count - i)) / (i + 1);
  return result;
}

function* subsetsOf(count: number, size: number, from = 0): Generator<number[]> {
  if (size === 0) return yield [];
  for (let first = from; first + size <= count; first++)
    for (const rest of subsetsOf(count, size - 1, first + 1)) yield [first, ...rest];
}
