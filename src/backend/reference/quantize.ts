/**
 * The roundings of a lowered graph, as all backends do them: activations to int8 codes with an f32 scale for each
 * 32 columns, K and V to the pool's type. Every step is a single f32 operation, so all backends get equal codes.
 */

export const ACTIVATION_BLOCK = 32;

/** Half to even, as processors round by default. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/**
 * Writes codes −127 … 127 of `length` values of x from `start` on to `codes` at `at`; returns their f32 scale.
 * scale = amax / 127; code = round(x · (127 / amax)), each operation rounded to f32.
 */
export function quantizeBlock(
  x: Float32Array,
  start: number,
  length: number,
  codes: Int8Array | Float64Array,
  at: number,
): number {
  let most = 0;
  for (let i = 0; i < length; i++) most = Math.max(most, Math.abs(x[start + i] ?? 0));
  const inverse = most === 0 ? 0 : Math.fround(127 / most);
  for (let i = 0; i < length; i++) codes[at + i] = roundHalfEven(Math.fround((x[start + i] ?? 0) * inverse));
  return Math.fround(most / 127);
}

/** Rows as int8 codes times their scales: exact in float64, which is what a linear after `quantize` reads. */
export function quantizeRows(x: Float32Array, columns: number): Float64Array {
  const out = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += columns) {
    for (let column = 0; column < columns; column += ACTIVATION_BLOCK) {
      const start = row + column;
      const length = Math.min(ACTIVATION_BLOCK, columns - column);
      const scale = quantizeBlock(x, start, length, out, start);
      for (let i = start; i < start + length; i++) out[i] = (out[i] ?? 0) * scale;
    }
  }
  return out;
}
