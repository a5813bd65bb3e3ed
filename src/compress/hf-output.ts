/**
 * A compressed model as a folder that other engines read: matrices of plain integers in one of their layouts, all else in the
 * float type that it has. Config and tensors keep the names of the model, which must be from such a folder itself.
 */
import type { MetaObject, ModelArtifact } from "../artifact/artifact.ts";
import { memorySource } from "../artifact/byte-source.ts";
import type { RawTensor } from "../artifact/safetensors.ts";
import { invariant, RequestError, UnsupportedError } from "../errors.ts";
import { isObject } from "../models/config.ts";
import type { Compressed } from "./compress.ts";
import { type Layout, layoutConfig, layoutTensors, type PlainGrid } from "./packed.ts";

export interface HfOutput {
  readonly config: MetaObject;
  readonly entries: readonly RawTensor[];
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * @param layout of the integers; undefined: floats alone
 * @throws UnsupportedError where the model is GGUF, or a tensor has a format of GGUF's; RequestError where the layout holds
 * integers and the recipe left none
 */
export async function hfOutput(
  original: ModelArtifact,
  { artifact, packed, reports }: Compressed,
  layout: Layout | undefined,
): Promise<HfOutput> {
  const config = original.metadata["config.json"];
  if (original.config.format !== "hf" || !isObject(config))
    throw new UnsupportedError(
      `${original.name}: a folder with safetensors is written of such a folder; name OUT.gguf`,
    );
  if (layout !== undefined && packed.size === 0)
    throw new RequestError(
      `the layout ${layout} holds plain integers: the recipe must end with a pass that makes them`,
    );
  const entries: RawTensor[] = [];
  let grid: PlainGrid | undefined;
  for (const tensor of artifact.tensors.values()) {
    const { name, dtype, shape, source, offset, byteLength } = tensor;
    const matrix = layout === undefined ? undefined : await packed.get(name)?.();
    if (matrix === undefined || layout === undefined) {
      if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16")
        throw new UnsupportedError(`${name} is ${dtype}, which safetensors don't hold; name OUT.gguf`);
      entries.push({ name, type: dtype, shape, source, offset, byteLength });
      continue;
    }
    grid ??= matrix;
    if (matrix.group !== grid.group)
      throw new UnsupportedError(
        `${name} has groups of ${matrix.group}, others of ${grid.group}: the layout has one size`,
      );
    const module = name.replace(/\.weight$/, "");
    for (const { part, type, shape: partShape, bytes } of layoutTensors(layout, matrix)) {
      const place = { source: memorySource(part, bytes), offset: 0, byteLength: bytes.length };
      entries.push({ name: `${module}.${part}`, type, shape: partShape, ...place });
    }
  }
  invariant(layout === undefined || grid !== undefined, "packed matrices that are no tensors");
  return {
    config: {
      ...config,
      ...(layout !== undefined && grid !== undefined && { quantization_config: layoutConfig(layout, grid) }),
    },
    entries,
    metadata: { "millrace.compress.report": JSON.stringify(reports) },
  };
}
