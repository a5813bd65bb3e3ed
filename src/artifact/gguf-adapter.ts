/**
 * Adapters in GGUF, as llama.cpp's convert_lora_to_gguf.py writes them: `general.type` is "adapter", a tensor "T" of the
 * base has the pair "T.lora_a", "T.lora_b", and `adapter.lora.alpha` / r is the scale.
 */
import { ArtifactError, UnsupportedError } from "../errors.ts";
import { pairLayers, type AdapterArtifact } from "./adapter-artifact.ts";
import type { GgufFile } from "./gguf-file.ts";

export function isGgufAdapter({ metadata }: Pick<GgufFile, "metadata">): boolean {
  return metadata["general.type"] === "adapter";
}

/** @throws ArtifactError, UnsupportedError */
export function ggufAdapter(file: GgufFile): AdapterArtifact {
  const { source, metadata, tensors } = file;
  const { name } = source;
  if (!isGgufAdapter(file)) throw new ArtifactError(`${name}: it holds a model, no adapter (general.type)`);
  const { "adapter.type": type, "adapter.lora.alpha": alpha = 0 } = metadata;
  if (type !== "lora")
    throw new UnsupportedError(`${name}: adapter.type is ${JSON.stringify(type)}; "lora" is supported`);
  if (typeof alpha !== "number" || !Number.isFinite(alpha))
    throw new ArtifactError(`${name}: adapter.lora.alpha is no number`);
  const layers = pairLayers(
    source,
    tensors,
    (tensor) => {
      const [, layer, part] = /^(.+)\.lora_([ab])$/.exec(tensor) ?? [];
      return layer === undefined || part === undefined ? undefined : { layer, part: part === "a" ? "a" : "b" };
    },
    // llama.cpp takes no alpha for a scale of 1.
    (_layer, rank) => (alpha === 0 ? 1 : alpha / rank),
  );
  return { name, format: "gguf", layers, metadata, close: () => source.close() };
}
