/**
 * The reference's weights: every tensor that the graphs name, dequantised to f32 in memory. Rows of the same tensors of
 * one source are held once, whatever graphs name them, and taken from a base where it has them. Tensors are read and
 * converted in pieces, so that a file's bytes never lie in memory as a whole.
 */
import type { ModelArtifact, Tensor } from "../../artifact/artifact.ts";
import { dequantize } from "../../artifact/dequantize.ts";
import { DTYPES } from "../../artifact/dtype.ts";
import { ArtifactError, invariant } from "../../errors.ts";
import type { WeightPart, WeightRef } from "../../graph/graph.ts";
import { graphWeights } from "../../graph/interface.ts";
import type { Lowered, UploadOptions, Weights } from "../contract.ts";

/** Bytes of the file that are converted at a time. */
const PIECE_BYTES = 8 * 2 ** 20;

/** The weights of one source. */
export interface SourceWeights {
  /** The values of a weight, row after row. */
  get(weight: WeightRef): Float32Array;
}

export class ReferenceWeights implements Weights {
  readonly #own = new Map<ModelArtifact, Map<string, Float32Array>>();
  readonly #base: ReferenceWeights | undefined;

  constructor(base: ReferenceWeights | undefined) {
    this.#base = base;
  }

  get bytes(): number {
    const all = [...this.#own.values()].flatMap((values) => [...values.values()]);
    return all.reduce((sum, values) => sum + values.byteLength, 0);
  }

  of(source: ModelArtifact): SourceWeights {
    return {
      get: (weight) => {
        const values = this.find(source, weight);
        invariant(values !== undefined, `weight "${weight.name}" was not uploaded`);
        return values;
      },
    };
  }

  find(source: ModelArtifact, weight: WeightRef): Float32Array | undefined {
    return this.#own.get(source)?.get(identity(weight)) ?? this.#base?.find(source, weight);
  }

  add(source: ModelArtifact, weight: WeightRef, values: Float32Array): void {
    const own = this.#own.get(source) ?? new Map<string, Float32Array>();
    this.#own.set(source, own.set(identity(weight), values));
  }

  close(): void {
    this.#own.clear();
  }
}

/** What a weight is made of, whatever a graph calls it. */
function identity({ shape, parts }: WeightRef): string {
  const texts = parts.map((part) => [part.tensor, part.slice, part.rowStart, part.rowCount, part.transpose]);
  return JSON.stringify([shape, texts]);
}

export async function uploadWeights(
  lowered: readonly Lowered[],
  base: ReferenceWeights | undefined,
  options: UploadOptions,
): Promise<ReferenceWeights> {
  const weights = new ReferenceWeights(base);
  const wanted = new Map<ModelArtifact, Map<string, WeightRef>>();
  for (const { graph, source } of lowered) {
    const own = wanted.get(source) ?? new Map<string, WeightRef>();
    wanted.set(source, own);
    for (const weight of graphWeights(graph).values())
      if (weights.find(source, weight) === undefined) own.set(identity(weight), weight);
  }
  const all = [...wanted].flatMap(([source, refs]) => [...refs.values()].map((weight) => ({ source, weight })));
  const sizes = all.flatMap(({ source, weight }) => weight.parts.map((part) => partBytes(source, weight, part)));
  const totalBytes = sizes.reduce((sum, bytes) => sum + bytes, 0);
  let loadedBytes = 0;
  const progress = (bytes: number): void => {
    options.signal?.throwIfAborted();
    loadedBytes += bytes;
    options.onProgress?.({ loadedBytes, totalBytes });
  };
  for (const { source, weight } of all) weights.add(source, weight, await readWeight(source, weight, progress));
  return weights;
}

async function readWeight(
  source: ModelArtifact,
  weight: WeightRef,
  progress: (bytes: number) => void,
): Promise<Float32Array> {
  const all = new Float32Array(weight.shape.reduce((product, n) => product * n, 1));
  let at = 0;
  for (const part of weight.parts) {
    const tensor = partTensor(source, part);
    const count = partCount(tensor, weight, part);
    invariant(at + count <= all.length, `the parts of "${weight.name}" are more than its shape`);
    await readPart(tensor, part, weight.shape.length === 1, all.subarray(at, at + count), progress);
    at += count;
  }
  invariant(at === all.length, `the parts of "${weight.name}" are ${at} values, its shape ${all.length}`);
  return all;
}

export function tensorOf(source: ModelArtifact, name: string): Tensor {
  const tensor = source.tensors.get(name);
  if (tensor === undefined) throw new ArtifactError(`${source.name}: there is no tensor "${name}"`);
  return tensor;
}

function partTensor(source: ModelArtifact, part: WeightPart): Tensor {
  return part.made ?? tensorOf(source, part.tensor);
}

/** Values of a part: its rows times the weight's columns. */
function partCount(tensor: Tensor, weight: WeightRef, part: WeightPart): number {
  const all = tensor.shape.reduce((product, n) => product * n, 1);
  const whole = part.slice === undefined ? all : all / (tensor.shape[0] ?? 1);
  if (part.rowCount === undefined) return whole;
  if (part.transpose === true) return part.rowCount * (tensor.shape.at(-1) ?? 1);
  // A vector's rows are its values.
  return weight.shape.length === 1 ? part.rowCount : part.rowCount * (weight.shape.at(-1) ?? 1);
}

function partBytes(source: ModelArtifact, weight: WeightRef, part: WeightPart): number {
  const tensor = partTensor(source, part);
  const { blockSize, blockBytes } = DTYPES[tensor.dtype];
  return (partCount(tensor, weight, part) / blockSize) * blockBytes;
}

async function readPart(
  tensor: Tensor,
  part: WeightPart,
  isVector: boolean,
  out: Float32Array,
  progress: (bytes: number) => void,
): Promise<void> {
  const { blockSize, blockBytes } = DTYPES[tensor.dtype];
  const columns = isVector ? 1 : (tensor.shape.at(-1) ?? 1);
  const skipped = (part.slice ?? 0) * tensor.shape.slice(1).reduce((product, n) => product * n, 1);
  const first = ((skipped + (part.rowStart ?? 0) * columns) / blockSize) * blockBytes;
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
