/**
 * Walks through a model's layers and gives every matrix of a layer new values: what sparsity and factorisation share. The
 * rows that a matrix reads are those of the model as it is so far, so that each layer answers for what those before it do;
 * what was made is kept, and found again after a kill.
 */
import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { invariant, RequestError } from "../errors.ts";
import { modelGraph } from "../models/models.ts";
import { InputStatistics } from "./input-statistics.ts";
import { isQuantizable } from "./mixtures.ts";
import { LayerWalk } from "./layer-walk.ts";
import type { PassContext } from "./pass.ts";
import { sectionsOf, type Site } from "./sections.ts";
import { keepTensor, onlyChunk } from "./store.ts";
import { encodeFloats, type FloatDType, withTensorMap } from "./tensors.ts";

/** A matrix of a layer as the model holds it. */
export interface LayerMatrix {
  readonly name: string;
  readonly layer: number;
  readonly rows: number;
  readonly columns: number;
  /** `[rows, columns]`; may be changed in place. */
  readonly values: Float32Array;
}

export interface ChangeOptions {
  /** What has to be known of the rows that matrices read. */
  readonly needs: "nothing" | "columns" | "gram";
  readonly dtype: FloatDType;
  /** The matrix's new values. `seen` is there unless nothing is needed. */
  readonly change: (matrix: LayerMatrix, seen: InputStatistics | undefined) => Promise<Float32Array> | Float32Array;
}

/** The model with every matrix of its layers changed; those that no linear reads whole stay. */
export async function changeLayers(
  artifact: ModelArtifact,
  context: PassContext,
  options: ChangeOptions,
): Promise<ModelArtifact> {
  const tensors = new Map(artifact.tensors);
  if (options.needs === "nothing") {
    const { graph } = await modelGraph(artifact, { context: 1024 });
    const { layers } = sectionsOf(graph);
    for (const { index, sites } of layers) {
      context.signal?.throwIfAborted();
      for (const site of unique(sites, artifact))
        tensors.set(site.tensor, await changed(artifact, site, index, undefined, context, options));
      context.progress({ done: index + 1, total: layers.length, unit: "steps" });
    }
    return withTensorMap(artifact, tensors);
  }
  await walkLayers(artifact, context, options.needs === "gram", async (layer, sites, seenOf) => {
    const made = new Map<string, Tensor>();
    for (const site of sites)
      made.set(site.tensor, await changed(artifact, site, layer, seenOf(site), context, options));
    for (const [name, tensor] of made) tensors.set(name, tensor);
    return made;
  });
  return withTensorMap(artifact, tensors);
}

/**
 * Walks with the calibration's text. `visit` gets a layer's matrices and what they read, and gives the tensors that the walk
 * goes on with.
 */
export async function walkLayers(
  artifact: ModelArtifact,
  { backend, calibration, toolkit, progress, signal }: PassContext,
  gram: boolean,
  visit: (
    layer: number,
    sites: readonly Site[],
    seenOf: (site: Site) => InputStatistics,
  ) => Promise<ReadonlyMap<string, Tensor>>,
): Promise<void> {
  if (calibration === undefined) throw new RequestError("this pass needs text to calibrate with");
  const walk = await LayerWalk.begin(artifact, { backend, calibration, signal });
  const { graph, layers } = walk.sections;
  for (let section = walk.section; section !== undefined; section = walk.section) {
    signal?.throwIfAborted();
    const sites = unique(section.sites, artifact);
    const inputs = [...new Set(sites.map(({ input }) => input))];
    const seen = new Map(inputs.map((value) => [value, new InputStatistics(graph.widths[value] ?? 0, { gram })]));
    const rows = await walk.observe(inputs, (value, values) => seen.get(value)?.add(values, toolkit));
    const made = await visit(section.index, sites, ({ input }) => {
      const found = seen.get(input);
      invariant(found !== undefined, `%${input} was observed`);
      return found;
    });
    if (made.size === 0) walk.accept(rows);
    else await walk.advance(made);
    progress({ done: section.index + 1, total: layers.length, unit: "steps" });
  }
}

/** Each matrix once; not those that choose experts and the like, which are small and hurt much. */
function unique(sites: readonly Site[], artifact: ModelArtifact): Site[] {
  const wanted = sites.filter(({ tensor }) => {
    const found = artifact.tensors.get(tensor);
    return found !== undefined && (artifact.config.format === "hf" || isQuantizable(found));
  });
  return [...new Map(wanted.map((site) => [site.tensor, site])).values()];
}

async function changed(
  artifact: ModelArtifact,
  { tensor: name }: Site,
  layer: number,
  seen: InputStatistics | undefined,
  { store, signal }: PassContext,
  { dtype, change }: ChangeOptions,
): Promise<Tensor> {
  signal?.throwIfAborted();
  const tensor = artifact.tensors.get(name);
  invariant(tensor !== undefined, `the graph names ${name}`);
  const [rows, columns] = [tensor.shape.at(-2) ?? 1, tensor.shape.at(-1) ?? 1];
  async function* bytes(source: Tensor): AsyncGenerator<Uint8Array> {
    const values = await change({ name, layer, rows, columns, values: await tensorValues(source) }, seen);
    yield* onlyChunk(encodeFloats(dtype, values));
  }
  return keepTensor(store, { name, dtype, shape: tensor.shape, bytes: () => bytes(tensor) });
}
