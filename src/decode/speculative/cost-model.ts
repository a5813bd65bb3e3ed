/**
 * What a step costs, by its rows, measured as steps come: a line through all of them (Sequoia and SmartSpec choose by
 * such a curve; Chen et al. 2024, Liu et al. 2024), and upon it what was measured at just that number of rows, because
 * kernels have steps there. Rows of which none is sampled (the inside of a prompt) cost less and are not told here.
 */

/** A row's share of a step of one row, before anything was measured. Low, so that drafting is tried. */
const FIRST_SLOPE = 0.15;
/** The line follows about the last 1 / (1 − FADE) steps. */
const FADE = 0.98;
/** The line counts as much as so many measurements at a number of rows, which count at most MOST times. */
const LINE = 3;
const MOST = 16;
/** A step that takes longer than so many times what was expected was interrupted by something else. */
const OUTLIER = 1.5;
/** For the same reason what is longer than expected counts less than what is shorter. */
const LONGER = 0.3;

export class CostModel {
  /** Sums over the steps: 1, rows, rows², ms, rows · ms. */
  readonly #sums = new Float64Array(5);
  readonly #at = new Map<number, { ms: number; count: number }>();

  /** A step of so many rows took so long. */
  measure(rows: number, ms: number): void {
    const expected = this.cost(rows) ?? ms;
    const limited = Math.min(ms, OUTLIER * expected);
    const taken = limited > expected ? expected + LONGER * (limited - expected) : limited;
    for (const [i, term] of [1, rows, rows * rows, taken, rows * taken].entries())
      this.#sums[i] = FADE * (this.#sums[i] ?? 0) + term;
    const here = this.#at.get(rows) ?? { ms: 0, count: 0 };
    here.count = Math.min(here.count + 1, MOST);
    here.ms += (taken - here.ms) / here.count;
    this.#at.set(rows, here);
  }

  /** Milliseconds of a step of so many rows; undefined before the first measurement. */
  cost(rows: number): number | undefined {
    const line = this.#line(rows);
    if (line === undefined) return undefined;
    const { ms, count } = this.#at.get(rows) ?? { ms: 0, count: 0 };
    return (count * ms + LINE * line) / (count + LINE);
  }

  #line(rows: number): number | undefined {
    const [n = 0, r = 0, rr = 0, t = 0, rt = 0] = this.#sums;
    if (n === 0) return undefined;
    const [meanRows, meanMs] = [r / n, t / n];
    const variance = rr / n - meanRows * meanRows;
    // Of a step of `meanRows` rows, at the first slope.
    const first = (FIRST_SLOPE * meanMs) / (1 + FIRST_SLOPE * (meanRows - 1));
    // Where rows hardly vary their slope is noise; and more rows never cost less.
    const slope = variance < 0.05 ? first : Math.max(0.02 * first, (rt / n - meanRows * meanMs) / variance);
    return Math.max(meanMs + slope * (rows - meanRows), 0.05 * meanMs);
  }
}
