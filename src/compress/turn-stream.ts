/**
 * A model whose residual stream went through a linear map with orthonormal columns (QuaRot, Ashkboos et al. 2024; SliceGPT,
 * Ashkboos et al. 2024): the norms' weights move into the matrices behind them, so that a norm is the same of a turned
 * row; tables and what adds to the stream go through the map, what reads it goes through its transpose; a tied output gets
 * a matrix of its own. With a square map the function is the same as before.
 */
import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { UnsupportedError } from "../errors.ts";
import type { PassContext } from "./pass.ts";
import { keepChanged, type RowMap, scaleMap, type TensorChange } from "./row-maps.ts";
import type { ResidualStream, StreamNorm, StreamReader } from "./stream.ts";
import { encodeFloats, type FloatDType, withTensorMap } from "./tensors.ts";
import { keepTensor, onlyChunk } from "./store.ts";

export interface TurnOptions {
  readonly map: RowMap;
  readonly dtype: FloatDType;
  /** Further changes, of what the map of the stream leaves: by tensor. */
  readonly more?: ReadonlyMap<string, TensorChange>;
}

export async function turnStream(
  artifact: ModelArtifact,
  stream: ResidualStream,
  { map, dtype, more = new Map() }: TurnOptions,
  { store, progress, signal }: Pick<PassContext, "store" | "progress" | "signal">,
): Promise<ModelArtifact> {
  // A norm over fewer columns divides by the mean of fewer squares.
  const factor = Math.sqrt(map.from / map.to);
  const gains = new Map<StreamNorm, RowMap>();
  for (const norm of stream.norms) {
    const weight = norm.weight && (await tensorValues(norm.weight));
    const gain = (i: number): number => (weight === undefined ? 1 : (weight[i] ?? 0) + norm.offset) * factor;
    gains.set(norm, scaleMap(Float64Array.from({ length: map.from }, (_, i) => gain(i))));
  }
  const reading = ({ norm }: StreamReader): RowMap[] => {
    const gain = norm && gains.get(norm);
    return gain === undefined ? [map] : [gain, map];
  };

  const changes = new Map<string, TensorChange>(more);
  const add = (tensor: Tensor, change: TensorChange): void => {
    const { columns = [], rows = [] } = changes.get(tensor.name) ?? {};
    changes.set(tensor.name, {
      columns: [...columns, ...(change.columns ?? [])],
      rows: [...rows, ...(change.rows ?? [])],
    });
  };
  for (const table of stream.tables) add(table, { columns: [map] });
  for (const reader of stream.readers.values()) add(reader.tensor, { columns: reading(reader) });
  for (const tensor of stream.writers) add(tensor, { rows: [{ map }] });
  for (const tensor of stream.biases) add(tensor, { columns: [map] });

  const tensors = new Map(artifact.tensors);
  const total = [...changes.keys()].reduce((sum, name) => sum + (tensors.get(name)?.byteLength ?? 0), 0);
  let done = 0;
  for (const [name, change] of changes) {
    signal?.throwIfAborted();
    const tensor = artifact.tensors.get(name);
    if (tensor === undefined) continue;
    tensors.set(name, await keepChanged(store, tensor, change, dtype));
    done += tensor.byteLength;
    progress({ done, total, unit: "bytes" });
  }
  if (stream.tied !== undefined) {
    if (artifact.config.format !== "gguf")
      throw new UnsupportedError(`${artifact.name}: a tied output gets a matrix of its own in GGUF only`);
    const name = "output.weight";
    tensors.set(name, await keepChanged(store, stream.tied.tensor, { columns: reading(stream.tied) }, dtype, name));
  }
  for (const { weight, offset } of stream.norms) {
    if (weight === undefined) continue;
    const ones = encodeFloats("F32", new Float32Array(map.to).fill(1 - offset));
    const making = { name: weight.name, dtype: "F32", shape: [map.to], bytes: () => onlyChunk(ones) } as const;
    tensors.set(weight.name, await keepTensor(store, making));
  }
  return withTensorMap(artifact, tensors);
}
