/** A tensor that no file holds: constants of a formula, as weights that a backend uploads like any other. */
import type { Tensor } from "./artifact.ts";
import { memorySource } from "./byte-source.ts";

/** A vector of f32 values. */
export function madeVector(name: string, values: readonly number[]): Tensor {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) view.setFloat32(4 * i, value, true);
  const source = memorySource(name, bytes);
  return { name, dtype: "F32", shape: [values.length], source, offset: 0, byteLength: bytes.length };
}
