/**
 * An adapter as its files hold it, whoever wrote them: peft-adapter.ts and gguf-adapter.ts make one, `models/adapters.ts`
 * finds out which tensors of a base model its layers are. No values are read here.
 */
import { ArtifactError } from "../errors.ts";
import type { ByteSource, MetaObject, Tensor } from "./artifact.ts";

export interface AdapterLayer {
  /** `[r, K]` */
  readonly a: Tensor;
  /** `[N, r]` */
  readonly b: Tensor;
  /** What B A is multiplied by. */
  readonly scale: number;
  /** DoRA: the length `[N]` of each row of the changed weight. */
  readonly magnitude?: Tensor;
}

export interface AdapterArtifact {
  /** The file or folder, for messages. */
  readonly name: string;
  /** Whose names the layers have: Hugging Face's modules ("model.layers.0.self_attn.q_proj"), or GGUF's tensors. */
  readonly format: "peft" | "gguf";
  readonly layers: ReadonlyMap<string, AdapterLayer>;
  /** As read: adapter_config.json, or GGUF's keys. */
  readonly metadata: MetaObject;
  close(): Promise<void>;
}

/** Pairs A with B; `what` names the layer and the part of a tensor, or undefined: it is no part of an adapter. */
export function pairLayers(
  { name }: ByteSource,
  tensors: readonly Tensor[],
  what: (tensor: string) => { readonly layer: string; readonly part: "a" | "b" | "magnitude" } | undefined,
  scaleOf: (layer: string, rank: number) => number,
): Map<string, AdapterLayer> {
  const found = new Map<string, Partial<Record<"a" | "b" | "magnitude", Tensor>>>();
  for (const tensor of tensors) {
    const place = what(tensor.name);
    if (place === undefined) {
      throw new ArtifactError(`${name}: tensor "${tensor.name}" is no part of a LoRA adapter that Millrace knows`);
    }
    const parts = found.get(place.layer) ?? {};
    parts[place.part] = tensor;
    found.set(place.layer, parts);
  }
  if (found.size === 0) throw new ArtifactError(`${name}: the adapter changes nothing: it has no tensors`);
  return new Map(
    [...found].map(([layer, { a, b, magnitude }]) => {
      if (a === undefined || b === undefined)
        throw new ArtifactError(`${name}: the layer "${layer}" has no ${a === undefined ? "A" : "B"}`);
      const [rank = 0] = a.shape;
      const shapes = `A [${a.shape.join(", ")}], B [${b.shape.join(", ")}]`;
      if (a.shape.length !== 2 || b.shape.length !== 2 || b.shape[1] !== rank || rank < 1)
        throw new ArtifactError(`${name}: the layer "${layer}" has ${shapes}, expected [r, K] and [N, r]`);
      if (magnitude !== undefined && magnitude.shape.reduce((product, n) => product * n, 1) !== b.shape[0])
        throw new ArtifactError(
          `${name}: the layer "${layer}" has ${shapes} and ${magnitude.shape.join(", ")} lengths`,
        );
      const scale = scaleOf(layer, rank);
      return [layer, { a, b, scale, ...(magnitude && { magnitude }) }];
    }),
  );
}
