/**
 * DoRA's gains (Liu et al. 2024): row n of W + s B A is scaled to the length m[n], so its gain is m[n] / ‖(W + s B A)[n]‖.
 * They depend on the base's weights, as its file has them, and are worked out once, when an adapter is loaded: N · K · r
 * multiplications in float64, some rows at a time, so that the event loop goes on.
 */
import type { Tensor } from "./artifact.ts";
import { tensorValues } from "./tensor-values.ts";

/** Multiplications between two turns of the event loop: some milliseconds. */
const PIECE = 4_000_000;

/** @param base `[N, K]`  @param a `[r, K]`  @param b `[N, r]`  @param lengths `[N]` */
export async function doraGains(
  base: Tensor,
  a: Float32Array,
  b: Float32Array,
  scale: number,
  lengths: Float32Array,
): Promise<Float32Array> {
  const [rows = 0, columns = 0] = base.shape;
  const rank = a.length / columns;
  const gains = new Float32Array(rows);
  const step = Math.max(1, Math.floor(PIECE / (columns * (rank + 1))));
  const row = new Float64Array(columns);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const values = await tensorValues(base, first * columns, count * columns);
    for (let n = 0; n < count; n++) {
      row.set(values.subarray(n * columns, (n + 1) * columns));
      for (let r = 0; r < rank; r++) {
        const factor = scale * (b[(first + n) * rank + r] ?? 0);
        for (let k = 0; k < columns; k++) row[k] = (row[k] ?? 0) + factor * (a[r * columns + k] ?? 0);
      }
      gains[first + n] = (lengths[first + n] ?? 0) / Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    }
    await new Promise((resolve) => setTimeout(resolve));
  }
  return gains;
}
