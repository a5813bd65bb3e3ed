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

/** Below this a block's values are zeros: 127 / amax would overflow. */
const SMALLEST_AMAX = 1e-30;

function largestMagnitude(x: Float32Array, start: number, length: number): number {
  let most = 0;
  for (let i = 0; i < length; i++) most = Math.max(most, Math.abs(x[start + i] ?? 0));
  return most;
}

/**
 * Activations: scale = amax / 127, code = round(x · (127 / amax)), each operation rounded to f32. Values that aren't
 * finite make the scale not-a-number. Writes `length` codes −127 … 127 to `codes` at `start`; returns the scale.
 */
export function quantizeBlock(x: Float32Array, start: number, length: number, codes: Float64Array): number {
  const most = largestMagnitude(x, start, length);
  if (!Number.isFinite(most)) {
    codes.fill(0, start, start + length);
    return NaN;
  }
  const inverse = most < SMALLEST_AMAX ? 0 : Math.fround(127 / most);
  for (let i = start; i < start + length; i++) codes[i] = roundHalfEven(Math.fround((x[i] ?? 0) * inverse));
  return inverse === 0 ? 0 : Math.fround(most / 127);
}

/** A key or a value of one head: scale = amax / 127, code = round(x / scale), each operation rounded to f32. */
export function quantizeHead(x: Float32Array, start: number, length: number, codes: Int8Array, at: number): number {
  const scale = Math.fround(largestMagnitude(x, start, length) / 127);
  const divisor = scale > 0 ? scale : 1;
  for (let i = 0; i < length; i++) codes[at + i] = roundHalfEven(Math.fround((x[start + i] ?? 0) / divisor));
  return scale;
}

/** Rows as int8 codes times their scales: exact in float64, which is what a linear after `quantize` reads. */
export function quantizeRows(x: Float32Array, columns: number): Float64Array {
  const out = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += columns) {
    for (let column = 0; column < columns; column += ACTIVATION_BLOCK) {
      const start = row + column;
      const length = Math.min(ACTIVATION_BLOCK, columns - column);
      const scale = quantizeBlock(x, start, length, out);
      for (let i = start; i < start + length; i++) out[i] = (out[i] ?? 0) * scale;
    }
  }
  return out;
}
