/** A whole tensor as float32 values: for small ones (an adapter's), or rows of large ones at a time. */
import type { Tensor } from "./artifact.ts";
import { dequantize } from "./dequantize.ts";
import { DTYPES } from "./dtype.ts";

/** The values of a tensor, or of `count` of them from the value `start` on (whole blocks of its format). */
export async function tensorValues(tensor: Tensor, start = 0, count?: number): Promise<Float32Array> {
  const { blockSize, blockBytes } = DTYPES[tensor.dtype];
  const values = new Float32Array(count ?? tensor.shape.reduce((product, n) => product * n, 1) - start);
  const bytes = await tensor.source.read(
    tensor.offset + (start / blockSize) * blockBytes,
    (values.length / blockSize) * blockBytes,
  );
  dequantize(tensor.dtype, bytes, values);
  return values;
}
