/** Artifacts with some tensors, and some metadata, replaced; and floats as the bytes of a float format. */
import type { MetaValue, ModelArtifact, Tensor } from "../artifact/artifact.ts";
import type { GgufType } from "../artifact/gguf-types.ts";
import { numberToHalf } from "../artifact/half.ts";

export type FloatDType = "F32" | "F16" | "BF16";

/**
 * The artifact with other tensors in the places of its own. Its files stay the base's: whoever opened that closes it.
 * @param metadata GGUF's keys with types and values; not written where the model isn't from GGUF
 */
export function withTensors(
  base: ModelArtifact,
  change: (tensor: Tensor) => Tensor,
  metadata: NewMetadata = {},
): ModelArtifact {
  const tensors = new Map([...base.tensors].map(([name, tensor]) => [name, change(tensor)]));
  return withTensorMap(base, tensors, metadata);
}

/** GGUF's keys with types and values. */
export type NewMetadata = Readonly<Record<string, readonly [GgufType, MetaValue]>>;

/** The same with all tensors given: some may be new, some may be gone. */
export function withTensorMap(
  base: ModelArtifact,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: NewMetadata = {},
): ModelArtifact {
  if (base.config.format !== "gguf") return { ...base, tensors };
  const entries = Object.entries(metadata);
  const values = { ...base.metadata, ...Object.fromEntries(entries.map(([key, [, value]]) => [key, value])) };
  const types = base.ggufTypes && [...base.ggufTypes, ...entries.map(([key, [type]]) => [key, type] as const)];
  return {
    ...base,
    tensors,
    metadata: values,
    config: { ...base.config, values },
    ...(types && { ggufTypes: new Map(types) }),
  };
}

/** To the nearest value of the format, ties to even. */
export function encodeFloats(dtype: FloatDType, values: Float32Array): Uint8Array {
  switch (dtype) {
    case "F32":
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    case "F16":
      return new Uint8Array(Uint16Array.from(values, numberToHalf).buffer);
    case "BF16": {
      const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
      return new Uint8Array(Uint16Array.from(bits, (bit) => (bit + 0x7fff + ((bit >>> 16) & 1)) >>> 16).buffer);
    }
    default:
      return dtype satisfies never;
  }
}
