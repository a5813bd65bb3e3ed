/**
 * The pass `prune-experts`: of each layer's mixture the experts go that matter least: by the mean of share times size of
 * what an expert adds to the rows that are sent to it (REAP, Lasby et al. 2025; C9-39), or by the shares alone (SEER-MoE's
 * soft counts, Muzio et al. 2024), or all choices are tried (`expert-subsets.ts`). As many go in every layer, and the router chooses among those that stay, so that the
 * model is a smaller one of its family.
 */
import { z } from "zod";

import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import type { Toolkit } from "../backend/cpu/toolkit.ts";
import { RequestError, UnsupportedError } from "../errors.ts";
import type { Graph, NodeOf, Value } from "../graph/graph.ts";
import { checkGraph } from "./check-graph.ts";
import { bestSubset, type SampledMixture } from "./expert-subsets.ts";
import { LayerWalk } from "./layer-walk.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import { keepChanged, pickMap } from "./row-maps.ts";
import type { Section } from "./sections.ts";
import { keepJson } from "./store.ts";
import { type NewMetadata, withTensorMap } from "./tensors.ts";
import { wholeTensor } from "./value-heads.ts";

const OPTIONS = z.strictObject({
  by: z.enum(["reap", "frequency", "enumeration"]).default("reap"),
  /** The share of a layer's experts that stays, never fewer than a row is sent to. */
  keep: z.number().positive().max(1).default(0.75),
  type: z.enum(["F32", "F16", "BF16"]).default("F16"),
});
type Options = z.infer<typeof OPTIONS>;

export const pruneExperts = definePass<Options>({
  name: "prune-experts",
  summary: "REAP (Lasby et al. 2025): drop the experts that add least where they are chosen; a smaller model",
  taxonomy: { tensors: ["weights"], format: "smaller shapes", parameters: "statistics", update: "none" },
  needsCalibration: true,
  options: OPTIONS,
  apply,
});

/** A mixture in one layer, as GGUF holds it: stacks of matrices. */
interface Mixture {
  readonly node: NodeOf<"experts">;
  readonly routes: NodeOf<"route">;
  readonly count: number;
  readonly router: Tensor;
  readonly routerBias: Tensor | undefined;
  /** `[E, F, d]`, `[E, F, d]`, `[E, d, F]` */
  readonly gate: Tensor;
  readonly up: Tensor;
  readonly down: Tensor;
}

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  const { backend, calibration, store, signal, progress } = context;
  if (calibration === undefined) throw new RequestError("prune-experts needs text to calibrate with");
  const walk = await LayerWalk.begin(artifact, { backend, calibration, signal });
  const { graph, layers } = walk.sections;
  const tensors = new Map(artifact.tensors);
  const gone: Record<string, number[]> = {};
  let kept: number | undefined;
  for (let section = walk.section; section !== undefined; section = walk.section) {
    const mixture = mixtureOf(artifact, graph, section);
    if (mixture === undefined) {
      await walk.advance();
      continue;
    }
    const { index } = section;
    const wanted = Math.max(mixture.routes.topK, Math.round(mixture.count * options.keep));
    if (kept !== undefined && kept !== wanted)
      throw new UnsupportedError(`${artifact.name}: its layers have different numbers of experts`);
    kept = wanted;
    const stay = await keepJson(store, `stay ${index}`, async () =>
      options.by === "enumeration"
        ? bestSubset(await sampleOf(walk, mixture, context.toolkit), wanted)
        : largestOf(await scoresOf(walk, mixture, context.toolkit, options), wanted),
    );
    gone[String(index)] = Array.from({ length: mixture.count }, (_, i) => i).filter((expert) => !stay.includes(expert));
    for (const tensor of [mixture.gate, mixture.up, mixture.down, mixture.router, mixture.routerBias])
      if (tensor !== undefined) tensors.set(tensor.name, await fewer(tensor, stay, context, options));
    await walk.advance();
    progress({ done: index + 1, total: layers.length, unit: "steps" });
  }
  if (kept === undefined) throw new UnsupportedError(`${artifact.name}: it has no experts`);
  const metadata: NewMetadata = { [`${artifact.config.architecture}.expert_count`]: ["u32", kept] };
  const result = withTensorMap(artifact, tensors, metadata);
  await checkGraph(result, "have fewer experts");
  return { artifact: result, report: { by: options.by, experts: kept, gone } };
}

function mixtureOf(artifact: ModelArtifact, graph: Graph, { values }: Section): Mixture | undefined {
  const node = values.map((value) => graph.nodes[value]).find((one) => one?.op === "experts");
  if (node === undefined) return undefined;
  const refuse = (why: string): UnsupportedError =>
    new UnsupportedError(`${artifact.name}: experts can't be left out of this model: ${why}`);
  const routes = graph.nodes[node.inputs[1]];
  if (routes?.op !== "route") throw refuse("no route leads to them");
  if (routes.groups !== undefined) throw refuse("they are chosen in groups");
  if (node.gateUpBias !== undefined || node.downBias !== undefined || node.activation === "clampedSwiglu")
    throw refuse("they have biases, or an activation of their own");
  const logits = graph.nodes[routes.inputs[0]];
  const router =
    logits?.op === "linear" && logits.bias === undefined ? wholeTensor(artifact, logits.weight) : undefined;
  const [gate, up] = node.gateUp.parts.map(({ tensor }) => artifact.tensors.get(tensor));
  const down = wholeTensor(artifact, node.down);
  const count = node.down.shape[0] ?? 0;
  const isStacked = node.gateUp.parts.length === 2 * count && gate?.shape[0] === count && up?.shape[0] === count;
  if (router === undefined || gate === undefined || up === undefined || down === undefined || !isStacked)
    throw refuse("they don't stand in stacks");
  const routerBias = routes.bias && wholeTensor(artifact, routes.bias);
  return { node, routes, count, router, routerBias, gate, up, down };
}

/** The places of the largest scores, in rising order. */
function largestOf(scores: readonly number[], count: number): number[] {
  const order = [...scores.keys()].sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
  return order.slice(0, count).sort((a, b) => a - b);
}

/** Rows of a layer's input that all experts are tried on. */
const SAMPLE_ROWS = 64;

/** What every expert makes of some rows, spread over the walk's. */
async function sampleOf(walk: LayerWalk, mixture: Mixture, toolkit: Toolkit): Promise<SampledMixture> {
  const { node, routes, routerBias, count } = mixture;
  const [input] = node.inputs;
  const [logitsAt] = routes.inputs;
  const width = walk.sections.graph.widths[input] ?? 0;
  const perSequence = Math.ceil(SAMPLE_ROWS / Math.max(1, walk.rows.length));
  const inputs: Float32Array[] = [];
  const logits: number[] = [];
  await walk.observe([input, logitsAt], (value, rows) => {
    const size = value === input ? width : count;
    const step = Math.max(1, Math.floor(rows.length / size / perSequence));
    for (let t = 0; t < perSequence && t * step * size < rows.length; t++) {
      const row = rows.subarray(t * step * size, (t * step + 1) * size);
      if (value === input) inputs.push(row.slice());
      else logits.push(...row);
    }
  });
  const outputs: Float32Array[] = [];
  for (let expert = 0; expert < count; expert++) outputs.push(await outputOf(mixture, expert, inputs, toolkit));
  const bias = routerBias && (await tensorValues(routerBias));
  return { routes, bias, logits: Float32Array.from(logits), outputs };
}

/** How much each expert matters to the rows that the walk brings to it. */
async function scoresOf(walk: LayerWalk, mixture: Mixture, toolkit: Toolkit, { by }: Options): Promise<number[]> {
  const { node, routes, count } = mixture;
  const [input, route]: readonly [Value, Value] = node.inputs;
  const width = walk.sections.graph.widths[input] ?? 0;
  /** For each expert the rows that are sent to it, and their shares. */
  const sent = Array.from({ length: count }, () => ({ rows: [] as Float32Array[], shares: [] as number[] }));
  let inputs: Float32Array = new Float32Array();
  const listen = (value: Value, rows: Float32Array): void => {
    if (value === input) inputs = rows.slice();
    else sendRows(inputs, rows, width, routes.topK, sent);
  };
  await walk.observe([input, route], listen);
  const scores: number[] = [];
  for (const [expert, { rows, shares }] of sent.entries()) {
    if (by === "frequency") scores.push(shares.reduce((sum, share) => sum + share, 0));
    else if (rows.length === 0) scores.push(0);
    else {
      const sizes = rowSizes(await outputOf(mixture, expert, rows, toolkit), rows.length);
      scores.push(sizes.reduce((sum, size, i) => sum + size * (shares[i] ?? 0), 0) / rows.length);
    }
  }
  return scores;
}

/** Routes are the chosen experts' ids, then their shares. */
function sendRows(
  inputs: Float32Array,
  routes: Float32Array,
  width: number,
  topK: number,
  sent: readonly { readonly rows: Float32Array[]; readonly shares: number[] }[],
): void {
  for (let t = 0; t < inputs.length / width; t++) {
    for (let k = 0; k < topK; k++) {
      const to = sent[routes[t * 2 * topK + k] ?? -1];
      to?.rows.push(inputs.subarray(t * width, (t + 1) * width));
      to?.shares.push(routes[t * 2 * topK + topK + k] ?? 0);
    }
  }
}

function rowSizes(values: Float32Array, rows: number): number[] {
  const width = values.length / rows;
  return Array.from({ length: rows }, (_, t) =>
    Math.sqrt(values.subarray(t * width, (t + 1) * width).reduce((sum, value) => sum + value * value, 0)),
  );
}

/** down(activation(gate x) · up x) for rows x. */
async function outputOf(
  { node, gate, up, down }: Mixture,
  expert: number,
  rows: readonly Float32Array[],
  toolkit: Toolkit,
): Promise<Float32Array> {
  const width = rows[0]?.length ?? 0;
  const x = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) x.set(row, i * width);
  const through = async (tensor: Tensor, from: Float32Array): Promise<Float32Array> => {
    const [, n = 0, k = 0] = tensor.shape;
    const result = new Float32Array(rows.length * n);
    const weights = await tensorValues(tensor, expert * n * k, n * k);
    await toolkit.addProduct(from, weights, result, { rows: rows.length, cols: n, terms: k }, "b");
    return result;
  };
  const [gates, ups] = [await through(gate, x), await through(up, x)];
  const inner = gates.map((value, i) => activated(value, node.activation) * (ups[i] ?? 0));
  return through(down, inner);
}

function activated(x: number, activation: NodeOf<"experts">["activation"]): number {
  switch (activation) {
    case "silu":
      return x / (1 + Math.exp(-x));
    case "geluTanh":
    case "gelu":
      // Sizes alone are wanted: the approximation by tanh serves both.
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case "relu":
      return Math.max(0, x);
    case "identity":
      return x;
    default:
      throw new UnsupportedError(`experts with the activation ${activation} can't be weighed`);
  }
}

/** The stack, matrix or vector with the matrices, rows or values of these experts alone. */
async function fewer(
  tensor: Tensor,
  stay: readonly number[],
  { store }: PassContext,
  { type }: Options,
): Promise<Tensor> {
  const [count = 0, ...rest] = tensor.shape;
  const size = rest.reduce((product, n) => product * n, 1);
  // An expert is a row of so many values.
  const flat = { ...tensor, shape: [count, size] };
  const dtype = rest.length < 2 ? "F32" : type;
  const kept = await keepChanged(store, flat, { rows: [{ map: pickMap(count, stay) }] }, dtype);
  return { ...kept, shape: [stay.length, ...rest] };
}
