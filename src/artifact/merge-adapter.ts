/**
 * A model with an adapter merged into its weights, as a GGUF file to write: each changed matrix is W + s · B A, its rows
 * times their gains (DoRA), computed in float64 and rounded once, to the base's type where that is a float, else to F16:
 * rounding to a few bits again would undo part of what the adapter has learnt. All else is copied.
 */
import { ArtifactError, UnsupportedError } from "../errors.ts";
import type { Adapter, LowRank } from "./adapter.ts";
import type { ModelArtifact, Tensor } from "./artifact.ts";
import { DTYPES } from "./dtype.ts";
import type { GgufDescription } from "./gguf-file.ts";
import { numberToHalf } from "./half.ts";
import { tensorValues } from "./tensor-values.ts";

type FloatType = "F32" | "F16" | "BF16";

/** @throws UnsupportedError where the base isn't GGUF, or its output matrix is its embedding and the adapter changes it */
export function mergeAdapter(base: ModelArtifact, adapter: Adapter): GgufDescription {
  if (base.ggufTypes === undefined)
    throw new UnsupportedError(`${base.name}: an adapter is merged into a model in GGUF; this one isn't`);
  if (adapter.pairs.has("token_embd.weight")) {
    throw new UnsupportedError(
      `${adapter.name}: it changes the output matrix, which is the embedding in ${base.name}: merged it would change both`,
    );
  }
  const isSplit = (key: string): boolean => key.startsWith("split.");
  const tensors = [...base.tensors.values()].map((tensor) => {
    const pair = adapter.pairs.get(tensor.name);
    return pair === undefined ? tensor : mergedTensor(tensor, pair, adapter.name);
  });
  return {
    metadata: Object.fromEntries(Object.entries(base.metadata).filter(([key]) => !isSplit(key))),
    types: new Map([...base.ggufTypes].filter(([key]) => !isSplit(key))),
    tensors,
  };
}

function mergedTensor(base: Tensor, pair: LowRank, name: string): Tensor {
  const [rows = 0, columns = 0] = base.shape;
  const { a, b } = pair;
  if (base.shape.length !== 2 || a.shape[1] !== columns || b.shape[0] !== rows)
    throw new ArtifactError(`${name}: its pair for ${base.name} doesn't fit [${base.shape.join(", ")}]`);
  const dtype = base.dtype === "F32" || base.dtype === "BF16" ? base.dtype : "F16";
  const rowBytes = columns * DTYPES[dtype].blockBytes;
  let values: Promise<readonly [Float32Array, Float32Array]> | undefined;
  return {
    ...base,
    dtype,
    offset: 0,
    byteLength: rows * rowBytes,
    source: {
      name: base.source.name,
      size: rows * rowBytes,
      async read(offset, length) {
        values ??= Promise.all([tensorValues(a), tensorValues(b)] as const);
        const first = Math.floor(offset / rowBytes);
        const count = Math.ceil((offset + length) / rowBytes) - first;
        const weights = await tensorValues(base, first * columns, count * columns);
        const bytes = encode(dtype, merge(weights, await values, pair, first, columns));
        return bytes.subarray(offset - first * rowBytes, offset - first * rowBytes + length);
      },
      close: async () => undefined,
    },
  };
}

/** Some rows of the changed matrix, from row `first` on. */
function merge(
  weights: Float32Array,
  [a, b]: readonly [Float32Array, Float32Array],
  { scale, gain }: LowRank,
  first: number,
  columns: number,
): Float64Array {
  const rank = a.length / columns;
  const out = Float64Array.from(weights);
  for (let row = 0; row * columns < out.length; row++) {
    const at = row * columns;
    for (let r = 0; r < rank; r++) {
      const factor = scale * (b[(first + row) * rank + r] ?? 0);
      for (let k = 0; k < columns; k++) out[at + k] = (out[at + k] ?? 0) + factor * (a[r * columns + k] ?? 0);
    }
    const times = gain?.[first + row] ?? 1;
    for (let k = 0; k < columns; k++) out[at + k] = (out[at + k] ?? 0) * times;
  }
  return out;
}

function encode(dtype: FloatType, values: Float64Array): Uint8Array {
  if (dtype === "F32") return new Uint8Array(Float32Array.from(values).buffer);
  if (dtype === "F16") return new Uint8Array(Uint16Array.from(values, numberToHalf).buffer);
  // To the nearest bfloat16, ties to even.
  const bits = new Uint32Array(Float32Array.from(values).buffer);
  return new Uint8Array(Uint16Array.from(bits, (bit) => (bit + 0x7fff + ((bit >>> 16) & 1)) >>> 16).buffer);
}
