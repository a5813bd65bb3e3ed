/**
 * The reference's weights: every tensor that the graph names, dequantised to f32 in memory. Tensors are read and
 * converted in pieces, so that a file's bytes never lie in memory as a whole.
 */
import type { ModelArtifact, Tensor } from "../../artifact/artifact.ts";
import { dequantize } from "../../artifact/dequantize.ts";
import { DTYPES } from "../../artifact/dtype.ts";
import { ArtifactError, invariant } from "../../errors.ts";
import type { Graph, WeightPart, WeightRef } from "../../graph/graph.ts";
import { graphWeights } from "../../graph/shapes.ts";
import type { UploadOptions, Weights } from "../contract.ts";

/** Bytes of the file that are converted at a time. */
const PIECE_BYTES = 8 * 2 ** 20;

export class ReferenceWeights implements Weights {
  readonly #values: Map<string, Float32Array>;

  constructor(values: Map<string, Float32Array>) {
    this.#values = values;
  }

  get bytes(): number {
    return [...this.#values.values()].reduce((sum, values) => sum + values.byteLength, 0);
  }

  /** The values of a weight, row after row. */
  get(weight: WeightRef): Float32Array {
    const values = this.#values.get(weight.name);
    invariant(values !== undefined, `weight "${weight.name}" was not uploaded`);
    return values;
  }

  close(): void {
    this.#values.clear();
  }
}

export async function uploadWeights(
  artifact: ModelArtifact,
  graph: Graph,
  options: UploadOptions = {},
): Promise<ReferenceWeights> {
  const weights = graphWeights(graph);
  const sizes = [...weights.values()].flatMap((weight) =>
    weight.parts.map((part) => partBytes(artifact, weight, part)),
  );
  const totalBytes = sizes.reduce((sum, bytes) => sum + bytes, 0);
  let loadedBytes = 0;
  const progress = (bytes: number): void => {
    options.signal?.throwIfAborted();
    loadedBytes += bytes;
    options.onProgress?.({ loadedBytes, totalBytes });
  };
  const values = new Map<string, Float32Array>();
  for (const [name, weight] of weights) {
    const all = new Float32Array(weight.shape.reduce((product, n) => product * n, 1));
    let at = 0;
    for (const part of weight.parts) {
      const tensor = tensorOf(artifact, part);
      const count = partCount(tensor, weight, part);
      invariant(at + count <= all.length, `the parts of "${name}" are more than its shape`);
      await readPart(tensor, part, all.subarray(at, at + count), progress);
      at += count;
    }
    invariant(at === all.length, `the parts of "${name}" are ${at} values, its shape ${all.length}`);
    values.set(name, all);
  }
  return new ReferenceWeights(values);
}

function tensorOf(artifact: ModelArtifact, part: WeightPart): Tensor {
  const tensor = artifact.tensors.get(part.tensor);
  if (tensor === undefined) throw new ArtifactError(`${artifact.name}: there is no tensor "${part.tensor}"`);
  return tensor;
}

/** Values of a part: its rows times the weight's columns. */
function partCount(tensor: Tensor, weight: WeightRef, part: WeightPart): number {
  const whole = tensor.shape.reduce((product, n) => product * n, 1);
  if (part.transpose === true || part.rowCount === undefined) return whole;
  // A vector's rows are its values.
  return weight.shape.length === 1 ? part.rowCount : part.rowCount * (weight.shape.at(-1) ?? 1);
}

function partBytes(artifact: ModelArtifact, weight: WeightRef, part: WeightPart): number {
  const tensor = tensorOf(artifact, part);
  const { blockSize, blockBytes } = DTYPES[tensor.dtype];
  return (partCount(tensor, weight, part) / blockSize) * blockBytes;
}

async function readPart(
  tensor: Tensor,
  part: WeightPart,
  out: Float32Array,
  progress: (bytes: number) => void,
): Promise<void> {
  const { blockSize, blockBytes } = DTYPES[tensor.dtype];
  const columns = tensor.shape.length === 1 ? 1 : (tensor.shape.at(-1) ?? 1);
  const first = ((part.rowStart ?? 0) * columns * blockBytes) / blockSize;
  const bytes = (out.length / blockSize) * blockBytes;
  const piece = Math.max(1, Math.floor(PIECE_BYTES / blockBytes)) * blockBytes;
  const values = part.transpose === true ? new Float32Array(out.length) : out;
  for (let done = 0; done < bytes; done += piece) {
    const length = Math.min(piece, bytes - done);
    const read = await tensor.source.read(tensor.offset + first + done, length);
    const start = (done / blockBytes) * blockSize;
    dequantize(tensor.dtype, read, values.subarray(start, start + (length / blockBytes) * blockSize));
    progress(length);
  }
  if (part.transpose === true) transpose(values, columns, out);
}

/** values [K, N] → out [N, K]. */
function transpose(values: Float32Array, n: number, out: Float32Array): void {
  const k = values.length / n;
  for (let row = 0; row < k; row++)
    for (let column = 0; column < n; column++) out[column * k + row] = values[row * n + column] ?? 0;
}
