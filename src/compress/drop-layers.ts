/**
 * The pass `drop-layers`: whole layers go, those that turn the rows that pass through them least (ShortGPT, Men et al. 2024:
 * block influence, 1 − the mean cosine between what goes in and what comes out; C9-38), or those that are named. What is
 * left is a shallower model of its family.
 */
import { z } from "zod";

import type { MetaValue, ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { RequestError, UnsupportedError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { weightsOf } from "../graph/interface.ts";
import { checkGraph } from "./check-graph.ts";
import { LayerWalk } from "./layer-walk.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import { type Section, sectionsOf } from "./sections.ts";
import { keepJson } from "./store.ts";
import { type NewMetadata, withTensorMap } from "./tensors.ts";
import { modelGraph } from "../models/models.ts";

const OPTIONS = z
  .strictObject({
    /** How many go. */
    count: z.int().min(1).optional(),
    /** Or which ones, counted from 0. */
    layers: z.array(z.int().min(0)).min(1).optional(),
  })
  .refine(
    ({ count, layers }) => (count === undefined) !== (layers === undefined),
    "either a count or layers are needed",
  );
type Options = z.infer<typeof OPTIONS>;

export const dropLayers = definePass<Options>({
  name: "drop-layers",
  summary: "ShortGPT (Men et al. 2024): drop the layers that change their rows least; a smaller model",
  taxonomy: { tensors: ["weights", "KV cache"], format: "smaller shapes", parameters: "statistics", update: "none" },
  needsCalibration: true,
  options: OPTIONS,
  apply,
});

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  const { architecture, format } = artifact.config;
  if (format !== "gguf") throw new UnsupportedError(`${artifact.name}: shallower models are made of models in GGUF`);
  const { graph } = await modelGraph(artifact, { context: 1024 });
  const { layers } = sectionsOf(graph);
  const influences = await keepJson(context.store, "influences", () => blockInfluences(artifact, context));
  const gone = new Set(options.layers ?? leastOf(influences, options.count ?? 0));
  const kept = [...layers.keys()].filter((layer) => !gone.has(layer));
  if ([...gone].some((layer) => layer >= layers.length) || kept.length === 0)
    throw new RequestError(`drop-layers: the model has ${layers.length} layers, some have to stay`);

  const metadata = metadataOf(artifact, layers.length, kept);
  const result = withTensorMap(artifact, renumbered(artifact.tensors, kept), metadata);
  const shallow = await checkGraph(result, "lose layers");
  const now = sectionsOf(shallow).layers;
  for (const [i, layer] of kept.entries()) {
    // A family may say by a layer's number what it is: every sixth sees everything, the first is dense.
    const [before, after] = [layers[layer], now[i]];
    if (before === undefined || after === undefined || shapeOf(graph, before) !== shapeOf(shallow, after))
      throw new UnsupportedError(
        `${artifact.name}: ${architecture} would make another kind of layer ${layer} in place ${i}; drop others`,
      );
  }
  return { artifact: result, report: { dropped: [...gone].sort((a, b) => a - b), influences } };
}

/** For each layer 1 − the mean cosine of its rows before and after it. */
export async function blockInfluences(artifact: ModelArtifact, context: PassContext): Promise<number[]> {
  const { backend, calibration, progress, signal } = context;
  if (calibration === undefined) throw new RequestError("drop-layers needs text to calibrate with");
  const walk = await LayerWalk.begin(artifact, { backend, calibration, signal });
  const { graph, layers } = walk.sections;
  const influences: number[] = [];
  for (let section = walk.section; section !== undefined; section = walk.section) {
    const before = walk.rows;
    const width = graph.widths[section.output] ?? 1;
    await walk.advance();
    let [sum, count] = [0, 0];
    for (const [i, rows] of walk.rows.entries()) {
      for (let at = 0; at < rows.length; at += width) {
        sum += cosine(before[i]?.subarray(at, at + width) ?? rows, rows.subarray(at, at + width));
        count++;
      }
    }
    influences.push(1 - sum / Math.max(1, count));
    progress({ done: section.index + 1, total: layers.length, unit: "steps" });
  }
  return influences;
}

function cosine(a: Float32Array, b: Float32Array): number {
  let [product, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] ?? 0, b[i] ?? 0];
    product += x * y;
    aa += x * x;
    bb += y * y;
  }
  return product / Math.max(1e-30, Math.sqrt(aa * bb));
}

function leastOf(influences: readonly number[], count: number): number[] {
  const order = [...influences.keys()].sort((a, b) => (influences[a] ?? 0) - (influences[b] ?? 0) || a - b);
  return order.slice(0, count);
}

const LAYER = /^blk\.(\d+)\./;

function renumbered(tensors: ReadonlyMap<string, Tensor>, kept: readonly number[]): Map<string, Tensor> {
  const result = new Map<string, Tensor>();
  for (const tensor of tensors.values()) {
    const layer = LAYER.exec(tensor.name)?.[1];
    const place = layer === undefined ? -1 : kept.indexOf(Number(layer));
    if (layer !== undefined && place < 0) continue;
    const name = layer === undefined ? tensor.name : tensor.name.replace(LAYER, `blk.${place}.`);
    result.set(name, { ...tensor, name });
  }
  return result;
}

/** The number of layers, and lists that have a value for each. */
function metadataOf(artifact: ModelArtifact, count: number, kept: readonly number[]): NewMetadata {
  const prefix = `${artifact.config.architecture}.`;
  const changed: Record<string, NewMetadata[string]> = { [`${prefix}block_count`]: ["u32", kept.length] };
  for (const [key, value] of Object.entries(artifact.metadata)) {
    const type = artifact.ggufTypes?.get(key);
    const list = value === undefined ? undefined : listOf(value);
    if (!key.startsWith(prefix) || type === undefined || list?.length !== count) continue;
    changed[key] = [type, kept.map((layer) => list[layer] ?? null)];
  }
  return changed;
}

function listOf(value: MetaValue): readonly MetaValue[] | undefined {
  if (ArrayBuffer.isView(value)) return Array.from(value as ArrayLike<number>);
  return Array.isArray(value) ? (value as readonly MetaValue[]) : undefined;
}

/** What a layer is, as far as its place could decide it. */
function shapeOf(graph: Graph, { values }: Section): string {
  const nodes = values.map((value) => {
    const node = graph.nodes[value];
    if (node === undefined) return null;
    const state = "state" in node ? graph.states[node.state] : undefined;
    const own = Object.entries(node).filter(([key]) => !["inputs", "state", "history"].includes(key));
    const plain = own.filter(([, part]) => typeof part !== "object");
    const shapes = weightsOf(node).map(({ shape }) => shape);
    return [plain, shapes, state && { ...state, name: "" }, "frequencies" in node && [...node.frequencies]];
  });
  return JSON.stringify(nodes);
}
