/**
 * Looks for weights that are no numbers (NaN, infinities): a damaged or hostile file computes nothing with them. Reads
 * all of a model, piece by piece; `millrace inspect --check` is its user.
 */
import type { ModelArtifact, Tensor } from "./artifact.ts";
import { dequantize } from "./dequantize.ts";
import { DTYPES } from "./dtype.ts";

export interface NotFinite {
  readonly tensor: string;
  /** Place in the tensor, counted row by row. */
  readonly index: number;
  readonly value: number;
}

/** About so many bytes are read at a time. */
const PIECE = 1 << 20;

export async function firstNotFinite(
  artifact: ModelArtifact,
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ((progress: { readonly done: number; readonly total: number }) => void) | undefined;
  } = {},
): Promise<NotFinite | undefined> {
  const tensors = [...artifact.tensors.values()];
  const total = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
  let done = 0;
  for (const tensor of tensors) {
    const found = await lookThrough(tensor, (bytes) => {
      options.signal?.throwIfAborted();
      options.onProgress?.({ done: (done += bytes), total });
    });
    if (found !== undefined) return found;
  }
  return undefined;
}

async function lookThrough(tensor: Tensor, onPiece: (bytes: number) => void): Promise<NotFinite | undefined> {
  const { blockSize, blockBytes } = DTYPES[tensor.dtype];
  const step = Math.max(1, Math.floor(PIECE / blockBytes)) * blockBytes;
  for (let at = 0; at < tensor.byteLength; at += step) {
    const bytes = await tensor.source.read(tensor.offset + at, Math.min(step, tensor.byteLength - at));
    const values = new Float32Array((bytes.byteLength / blockBytes) * blockSize);
    dequantize(tensor.dtype, bytes, values);
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0)
      return { tensor: tensor.name, index: (at / blockBytes) * blockSize + bad, value: values[bad] ?? Number.NaN };
    onPiece(bytes.byteLength);
  }
  return undefined;
}
