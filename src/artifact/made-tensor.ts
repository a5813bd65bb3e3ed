/** A tensor that no file holds: constants of a formula, as weights that a backend uploads like any other. */
import type { Tensor } from "./artifact.ts";
import { memorySource } from "./byte-source.ts";

/** A vector of f32 values, or a matrix of one row. Its name must tell it from others of the same model. */
export function madeVector(name: string, values: ArrayLike<number>, isRow = false): Tensor {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i] ?? 0, true);
  const source = { ...memorySource(name, bytes), identity: `made: ${name}` };
  return {
    name,
    dtype: "F32",
    shape: isRow ? [1, values.length] : [values.length],
    source,
    offset: 0,
    byteLength: bytes.length,
  };
}
