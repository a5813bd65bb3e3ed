/**
 * A mask mended without training (DSØT, Zhang et al. 2024): as long as it lowers a row's mean error, that is the expected
 * product of what went with its inputs' means, a weight that went comes back and one that stayed goes. The first is the one
 * that takes off most of the error for its input's variance; the second the one with the least score among those that err
 * the other way.
 */
import type { InputStatistics } from "./input-statistics.ts";
import { groupsOf, type SparsityOptions } from "./sparsity.ts";

const MOST_SWAPS = 50;

export interface MaskedMatrix {
  readonly values: Float32Array;
  readonly scores: Float64Array;
  /** Changed in place. */
  readonly mask: Uint8Array;
  readonly columns: number;
}

export function refineMask(
  { values, scores, mask, columns }: MaskedMatrix,
  seen: Pick<InputStatistics, "means" | "variances">,
  options: Pick<SparsityOptions, "pattern">,
): void {
  const [means, variances] = [seen.means(), seen.variances()];
  const [, group] = groupsOf(options) ?? [0, columns];
  for (let start = 0; start < mask.length; start += columns) {
    const end = start + columns;
    const row = new RowOfMask(
      values.subarray(start, end),
      scores.subarray(start, end),
      mask.subarray(start, end),
      means,
      variances,
      group,
    );
    for (let swap = 0; swap < MOST_SWAPS && row.swap(); swap++);
  }
}

class RowOfMask {
  readonly #scores: Float64Array;
  readonly #mask: Uint8Array;
  readonly #variances: Float64Array;
  readonly #group: number;
  /** What each weight contributes to the row's mean output. */
  readonly #parts: Float64Array;
  /** The mean output that is missing: of the weights that went. */
  #missing = 0;

  constructor(
    values: Float32Array,
    scores: Float64Array,
    mask: Uint8Array,
    means: Float64Array,
    variances: Float64Array,
    group: number,
  ) {
    this.#scores = scores;
    this.#mask = mask;
    this.#variances = variances;
    this.#group = group;
    this.#parts = means.map((mean, i) => mean * (values[i] ?? 0));
    for (let i = 0; i < mask.length; i++) if (mask[i] === 0) this.#missing += this.#parts[i] ?? 0;
  }

  /** Makes the best swap; false, and nothing changed, where none lowers the error. */
  swap(): boolean {
    const comes = this.#largest(
      0,
      (i) => this.#helps(i) / Math.max(1e-12, this.#variances[i] ?? 0),
      0,
      this.#mask.length,
    );
    if (comes === undefined) return false;
    const first = comes - (comes % this.#group);
    const goes = this.#largest(
      1,
      (i) => (this.#helps(i) <= 0 ? 1 / Math.max(1e-300, this.#scores[i] ?? 0) : 0),
      first,
      Math.min(first + this.#group, this.#mask.length),
    );
    if (goes === undefined) return false;
    const missing = this.#missing - (this.#parts[comes] ?? 0) + (this.#parts[goes] ?? 0);
    if (Math.abs(missing) >= Math.abs(this.#missing)) return false;
    this.#missing = missing;
    this.#mask[comes] = 1;
    this.#mask[goes] = 0;
    return true;
  }

  /** How far a weight's return brings the missing output towards zero; negative where it would add to it. */
  #helps(i: number): number {
    return Math.sign(this.#missing) * (this.#parts[i] ?? 0);
  }

  /** Of those with this bit in the mask, the one with the largest positive value. */
  #largest(bit: 0 | 1, valueOf: (i: number) => number, from: number, to: number): number | undefined {
    let [best, most]: [number | undefined, number] = [undefined, 0];
    for (let i = from; i < to; i++) {
      if (this.#mask[i] !== bit) continue;
      const value = valueOf(i);
      if (value > most) [best, most] = [i, value];
    }
    return best;
  }
}
