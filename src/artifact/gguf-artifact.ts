/** A ModelArtifact from the parsed parts of a GGUF model: one file, or all files of a split one in order. */
import { ArtifactError, invariant } from "../errors.ts";
import type { MetaValue, ModelArtifact, Tensor } from "./artifact.ts";
import { ggufEmbedding } from "./embedding-defaults.ts";
import { ggufDefaults } from "./generation-defaults.ts";
import type { GgufDescription, GgufFile } from "./gguf-file.ts";

/** @throws ArtifactError where parts are missing, in the wrong order, or repeat a tensor. */
export function ggufArtifact(parts: readonly GgufFile[]): ModelArtifact {
  const first = parts[0];
  invariant(first !== undefined, "a GGUF model has at least one part");
  const { metadata } = first;
  const { name } = first.source;
  checkParts(parts);

  const tensors = new Map<string, Tensor>();
  for (const part of parts) {
    for (const tensor of part.tensors) {
      if (tensors.has(tensor.name))
        throw new ArtifactError(`${part.source.name}: tensor "${tensor.name}" is in an earlier part too`);
      tensors.set(tensor.name, tensor);
    }
  }
  const claimed = metadata["split.tensors.count"];
  if (claimed !== undefined && claimed !== tensors.size) {
    throw new ArtifactError(`${name}: split.tensors.count is ${show(claimed)}, the parts hold ${tensors.size} tensors`);
  }
  if (metadata["general.type"] === "adapter") {
    throw new ArtifactError(
      `${name} is an adapter: load the model that it was made for, and name it with the option "adapters" (--adapter)`,
    );
  }
  const architecture = metadata["general.architecture"];
  if (typeof architecture !== "string" || architecture === "") {
    throw new ArtifactError(`${name}: general.architecture is missing, so the model can't be known`);
  }
  const template = metadata["tokenizer.chat_template"];
  return {
    name,
    config: { format: "gguf", architecture, values: metadata },
    tokenizer: { name, format: "gguf", metadata },
    ...(typeof template === "string" && { chatTemplate: template }),
    generation: ggufDefaults(metadata),
    embedding: ggufEmbedding(architecture, metadata),
    tensors,
    metadata,
    ggufTypes: first.types,
    close: async () => {
      await Promise.all(parts.map((part) => part.source.close()));
    },
  };
}

function checkParts(parts: readonly GgufFile[]): void {
  for (const [index, { source, metadata }] of parts.entries()) {
    const count = metadata["split.count"] ?? 1;
    const number = metadata["split.no"] ?? 0;
    // gguf-split writes a count of 0 or 1 where a model was merged again.
    if (parts.length === 1 && (count === 0 || count === 1)) continue;
    if (count !== parts.length) {
      throw new ArtifactError(
        `${source.name}: part ${Number(number) + 1} of a model in ${show(count)} files, but ${parts.length} given; ` +
          `parts are named NAME-00001-of-${show(count).padStart(5, "0")}.gguf and lie in one folder`,
      );
    }
    if (number !== index)
      throw new ArtifactError(`${source.name}: split.no is ${show(number)}, its name says ${index}`);
  }
}

/** A metadata value in a message. */
function show(value: MetaValue): string {
  return typeof value === "object" ? "a list" : String(value);
}

/** What the GGUF writer needs to write a model that came from GGUF, as one file, whatever it was before. */
export function describeGguf(artifact: ModelArtifact): GgufDescription {
  const { ggufTypes } = artifact;
  if (ggufTypes === undefined)
    throw new ArtifactError(`${artifact.name}: only a model read from GGUF can be written as GGUF`);
  const types = new Map([...ggufTypes].filter(([key]) => !key.startsWith("split.")));
  return { metadata: artifact.metadata, types, tensors: [...artifact.tensors.values()] };
}
