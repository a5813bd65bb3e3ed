/**
 * The pass `prune-width`: layers with fewer channels in their MLPs and fewer heads, as many in each layer, so that the model
 * is a smaller one of its family and runs on the same kernels. Which groups go is told by the weights alone (LLM-Pruner's
 * L2, Ma et al. 2023), by weights times inputs (Wanda-sp, An et al. 2024), or by how much a channel's contribution varies,
 * its mean being put into a bias (FLAP, An et al. 2024). Nothing is trained; what is coupled stands in `coupled-groups.ts`.
 */
import { z } from "zod";

import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { invariant, RequestError, UnsupportedError } from "../errors.ts";
import { ConfigReader } from "../models/config.ts";
import { readDimensions } from "../models/dimensions.ts";
import { modelGraph } from "../models/models.ts";
import { walkLayers } from "./change-layers.ts";
import { checkGraph } from "./check-graph.ts";
import { type CoupledGroups, coupledGroups } from "./coupled-groups.ts";
import type { InputStatistics } from "./input-statistics.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import { keepChanged, pickMap, type TensorChange } from "./row-maps.ts";
import { sectionsOf } from "./sections.ts";
import { keepJson, keepTensor, onlyChunk } from "./store.ts";
import { encodeFloats, type NewMetadata, withTensorMap } from "./tensors.ts";

const OPTIONS = z.strictObject({
  by: z.enum(["flap", "wanda", "magnitude"]).default("flap"),
  /** The share of the MLPs' channels that stays, … */
  channels: z.number().positive().max(1).default(0.75),
  /** … as a whole multiple of this; and of the heads for keys and values, with their queries. */
  multiple: z.int().min(1).default(32),
  heads: z.number().positive().max(1).default(1),
  type: z.enum(["F32", "F16", "BF16"]).default("F16"),
});
type Options = z.infer<typeof OPTIONS>;

export const pruneWidth = definePass<Options>({
  name: "prune-width",
  summary: "fewer channels and heads by FLAP (An et al. 2024), Wanda-sp or the weights' size; a smaller model",
  taxonomy: { tensors: ["weights"], format: "smaller shapes", parameters: "statistics", update: "compensation" },
  needsCalibration: true,
  options: OPTIONS,
  apply,
});

/** Which groups of a layer stay, and what those that go contribute on average to what reads them. */
interface Choice {
  readonly kept: readonly number[];
  readonly mean: readonly number[];
}

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  if (artifact.config.format !== "gguf")
    throw new UnsupportedError(`${artifact.name}: narrower layers are made of models in GGUF`);
  const { graph } = await modelGraph(artifact, { context: 1024 });
  const { layers } = sectionsOf(graph);
  const groups = layers.map((section) => wantedGroups(artifact, coupledGroups(artifact, graph, section), options));
  const choices = await chooseGroups(artifact, context, groups, options);
  const tensors = new Map(artifact.tensors);
  for (const [layer, own] of groups.entries()) {
    const changes = new Map<string, TensorChange>();
    for (const [i, group] of own.entries()) {
      const choice = choices[layer]?.[i];
      invariant(choice !== undefined, `layer ${layer} was chosen`);
      take(group, choice.kept, changes);
      if (options.by !== "flap") continue;
      const bias = await compensated(group, choice, context);
      tensors.set(bias.name, bias);
    }
    for (const [name, change] of changes) {
      context.signal?.throwIfAborted();
      const tensor = artifact.tensors.get(name);
      if (tensor === undefined) continue;
      // Vectors stay exact: they cost nothing.
      const dtype = tensor.shape.length === 1 ? "F32" : options.type;
      tensors.set(name, await keepChanged(context.store, tensor, change, dtype));
    }
  }
  const { metadata, report } = newSizes(artifact, groups[0] ?? [], options);
  const result = withTensorMap(artifact, tensors, metadata);
  await checkGraph(result, "have narrower layers");
  return { artifact: result, report };
}

function wantedGroups(artifact: ModelArtifact, all: readonly CoupledGroups[], options: Options): CoupledGroups[] {
  const wanted = (["channels", "heads"] as const).filter((kind) => options[kind] < 1);
  return wanted.map((kind) => {
    const [group, more] = all.filter((one) => one.kind === kind);
    if (group === undefined || more !== undefined)
      throw new UnsupportedError(`${artifact.name}: in its layers it can't be told which ${kind} go together`);
    return group;
  });
}

/** How many of a layer's groups stay. */
function keptCount({ kind, count }: CoupledGroups, { channels, heads, multiple }: Options): number {
  if (kind === "heads") return Math.max(1, Math.round(count * heads));
  const wanted = Math.round(count * channels);
  return wanted >= multiple ? wanted - (wanted % multiple) : wanted;
}

/** For each layer and kind of groups. */
async function chooseGroups(
  artifact: ModelArtifact,
  context: PassContext,
  groups: readonly (readonly CoupledGroups[])[],
  options: Options,
): Promise<readonly (readonly Choice[])[]> {
  return keepJson(context.store, "choices", async () => {
    const chosen: { kept: number[]; mean: number[] }[][] = [];
    await walkLayers(artifact, context, false, async (layer, sites, seenOf) => {
      const own: { kept: number[]; mean: number[] }[] = [];
      for (const group of groups[layer] ?? []) {
        const site = sites.find(({ tensor }) => tensor === group.output.name);
        invariant(site !== undefined, `${group.output.name} was observed`);
        const scores = await scoresOf(group, seenOf(site), options);
        const order = [...scores.keys()].sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
        const kept = order.slice(0, keptCount(group, options)).sort((a, b) => a - b);
        own.push({ kept, mean: await meanOfOthers(group, kept, seenOf(site)) });
      }
      chosen[layer] = own;
      return new Map();
    });
    return chosen;
  });
}

/** How much each group counts. */
async function scoresOf(group: CoupledGroups, seen: InputStatistics, { by }: Options): Promise<Float64Array> {
  const scores = new Float64Array(group.count);
  const weights = await tensorValues(group.output);
  const columns = group.output.shape.at(-1) ?? 1;
  const perGroup = columns / group.count;
  const factors = { flap: seen.variances(), wanda: seen.norms(), magnitude: seen.norms().fill(1) }[by];
  const add = (index: number, value: number): void => {
    scores[index] = (scores[index] ?? 0) + value;
  };
  for (const [i, weight] of weights.entries()) {
    const column = i % columns;
    const size = by === "wanda" ? Math.abs(weight) : weight * weight;
    add(Math.floor(column / perGroup), size * (factors[column] ?? 0));
  }
  if (by !== "magnitude") return scores;
  for (const { tensor, start, count } of group.ranges) {
    const width = tensor.shape.at(-1) ?? 1;
    const rows = await tensorValues(tensor, 0, undefined);
    for (let r = 0; r < count; r++)
      for (let j = 0; j < width; j++)
        add(Math.floor((r * group.count) / count), (rows[(start + r) * width + j] ?? 0) ** 2);
  }
  return scores;
}

/** W x̄ over the columns of the groups that go: what FLAP's bias gives back. */
async function meanOfOthers(group: CoupledGroups, kept: readonly number[], seen: InputStatistics): Promise<number[]> {
  const weights = await tensorValues(group.output);
  const columns = group.output.shape.at(-1) ?? 1;
  const perGroup = columns / group.count;
  const stays = new Set(kept);
  const means = seen.means().map((mean, column) => (stays.has(Math.floor(column / perGroup)) ? 0 : mean));
  return Array.from({ length: weights.length / columns }, (_, row) =>
    means.reduce((sum, mean, column) => sum + mean * (weights[row * columns + column] ?? 0), 0),
  );
}

/** Enters what a layer's tensors lose. */
function take(group: CoupledGroups, kept: readonly number[], changes: Map<string, TensorChange>): void {
  const add = ({ name }: Tensor, change: TensorChange): void => {
    const { columns = [], rows = [] } = changes.get(name) ?? {};
    // From the last rows on, so that the places of those before stay.
    const all = [...rows, ...(change.rows ?? [])].sort((a, b) => (b.start ?? 0) - (a.start ?? 0));
    changes.set(name, { columns: [...columns, ...(change.columns ?? [])], rows: all });
  };
  for (const { tensor, bias, start, count } of group.ranges) {
    const rows = [{ map: pickMap(count, spread(kept, count / group.count)), start, count }];
    add(tensor, { rows });
    if (bias !== undefined) add(bias, { rows });
  }
  const columns = group.output.shape.at(-1) ?? 1;
  add(group.output, { columns: [pickMap(columns, spread(kept, columns / group.count))] });
}

/** The places of groups of `size` each. */
function spread(kept: readonly number[], size: number): number[] {
  return kept.flatMap((group) => Array.from({ length: size }, (_, i) => group * size + i));
}

async function compensated({ output, bias }: CoupledGroups, { mean }: Choice, { store }: PassContext): Promise<Tensor> {
  const name = bias?.name ?? output.name.replace(/\.weight$/, ".bias");
  const before = bias && (await tensorValues(bias));
  const values = Float32Array.from(mean, (value, i) => value + (before?.[i] ?? 0));
  const bytes = encodeFloats("F32", values);
  return keepTensor(store, { name, dtype: "F32", shape: [mean.length], bytes: () => onlyChunk(bytes) });
}

/** GGUF's keys for what has become fewer. */
function newSizes(
  artifact: ModelArtifact,
  groups: readonly CoupledGroups[],
  options: Options,
): { readonly metadata: NewMetadata; readonly report: Record<string, number | string> } {
  const { architecture } = artifact.config;
  const { headDim } = readDimensions(new ConfigReader(artifact));
  const metadata: Record<string, readonly ["u32", number]> = {};
  const report: Record<string, number | string> = { by: options.by };
  for (const group of groups) {
    const kept = keptCount(group, options);
    report[group.kind] = kept;
    report[`${group.kind}Before`] = group.count;
    if (group.kind === "channels") metadata[`${architecture}.feed_forward_length`] = ["u32", kept];
    else {
      metadata[`${architecture}.attention.head_count`] = ["u32", kept * group.queries];
      metadata[`${architecture}.attention.head_count_kv`] = ["u32", kept];
      // They were derived from the number of heads where the file is silent.
      metadata[`${architecture}.attention.key_length`] = ["u32", headDim];
      metadata[`${architecture}.attention.value_length`] = ["u32", headDim];
    }
  }
  if (groups.length === 0) throw new RequestError("prune-width: nothing is to go");
  return { metadata, report };
}
