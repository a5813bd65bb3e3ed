/**
 * Mixtures of experts, in two ops: `route` chooses experts for each row, `experts` runs expert by expert over the rows
 * that chose it, and adds what they give in the order of the experts' ids.
 */
import type { NodeOf } from "../../graph/graph.ts";
import { gated, linear, sigmoid, type Rows } from "./ops.ts";
import { quantizeRows } from "./quantize.ts";
import type { SourceWeights } from "./weights.ts";

type Route = NodeOf<"route">;
type Experts = NodeOf<"experts">;

/** Router logits `[T, E]` → `[T, 2·topK]`. */
export function route(logits: Float32Array, experts: number, node: Route, weights: SourceWeights): Float32Array {
  const { topK } = node;
  const bias = node.bias === undefined ? undefined : weights.get(node.bias);
  const rows = logits.length / experts;
  const out = new Float32Array(rows * 2 * topK);
  for (let row = 0; row < rows; row++) {
    const chosen = choose(logits.subarray(row * experts, (row + 1) * experts), node, bias);
    chosen.forEach(({ expert, share }, i) => {
      out[row * 2 * topK + i] = expert;
      out[row * 2 * topK + topK + i] = share;
    });
  }
  return out;
}

function choose(
  logits: Float32Array,
  { topK, scores, groups, normalize, factor }: Route,
  bias: Float32Array | undefined,
): { expert: number; share: number }[] {
  const values = Array.from(logits);
  const most = Math.max(...values);
  const exp = values.map((x) => Math.exp(x - most));
  const total = exp.reduce((sum, e) => sum + e, 0);
  const shares = scores === "softmax" ? exp.map((e) => e / total) : values.map(sigmoid);
  // Without a bias the logits rank: a softmax could make equals of what differs.
  const keys = bias === undefined ? values : shares.map((share, e) => share + (bias[e] ?? 0));
  const allowed = new Set<number>();
  const size = values.length / (groups?.count ?? 1);
  const groupKeys = Array.from({ length: groups?.count ?? 1 }, (_, group) => {
    const own = groups?.by === "two largest" && bias === undefined ? shares : keys;
    const [first = -Infinity, second = 0] = own.slice(group * size, (group + 1) * size).toSorted((a, b) => b - a);
    return { group, key: groups?.by === "two largest" ? first + second : first };
  });
  groupKeys.sort((a, b) => b.key - a.key || a.group - b.group);
  for (const { group } of groupKeys.slice(0, groups?.kept ?? 1))
    for (let e = group * size; e < (group + 1) * size; e++) allowed.add(e);
  const ranked = values.map((_, expert) => ({ expert, key: keys[expert] ?? 0, share: shares[expert] ?? 0 }));
  ranked.sort((a, b) => b.key - a.key || a.expert - b.expert);
  const kept = ranked.filter(({ expert }) => allowed.has(expert)).slice(0, topK);
  const sum = normalize ? kept.reduce((s, { share }) => s + share, 0) : 1;
  return kept
    .map(({ expert, share }) => ({ expert, share: (share / sum) * factor }))
    .toSorted((a, b) => a.expert - b.expert);
}

/** x `[T, width]` and its routes → `[T, width]`. */
export function experts(
  x: Float32Array,
  routes: Float32Array,
  width: number,
  node: Experts,
  weights: SourceWeights,
): Float32Array {
  const { int8, weighs, paired } = node;
  const rows = x.length / width;
  const topK = routes.length / rows / 2;
  const [count = 0, , hidden = 0] = node.down.shape;
  const [upBias, downBias] = [node.gateUpBias, node.downBias].map((bias) => bias && weights.get(bias));

  const chosen: { row: number; share: number }[][] = Array.from({ length: count }, () => []);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < topK; i++) {
      const at = row * 2 * topK + i;
      chosen[routes[at] ?? 0]?.push({ row, share: routes[at + topK] ?? 0 });
    }
  }

  const sum = new Float64Array(rows * width);
  chosen.forEach((members, expert) => {
    if (members.length === 0) return;
    const own = new Float32Array(members.length * width);
    members.forEach(({ row, share }, i) => {
      const factor = weighs === "input" ? share : 1;
      for (let c = 0; c < width; c++) own[i * width + c] = (x[row * width + c] ?? 0) * factor;
    });
    const input: Rows = int8?.gateUp === true ? quantizeRows(own, width) : own;
    const gateUp = new Float32Array(members.length * 2 * hidden);
    const first = { values: weights.get(node.gateUp), offset: expert * 2 * hidden * width, n: 2 * hidden, k: width };
    linear(input, first, upBias?.subarray(expert * 2 * hidden, (expert + 1) * 2 * hidden), gateUp);

    const products = new Float32Array(members.length * hidden);
    const [step, apart] = paired === true ? [2, 1] : [1, hidden];
    members.forEach((_, i) => {
      for (let c = 0; c < hidden; c++) {
        const at = i * 2 * hidden + c * step;
        products[i * hidden + c] = gated(gateUp[at] ?? 0, gateUp[at + apart] ?? 0, node.activation);
      }
    });
    const down = new Float32Array(members.length * width);
    const second = { values: weights.get(node.down), offset: expert * width * hidden, n: width, k: hidden };
    const product: Rows = int8?.down === true ? quantizeRows(products, hidden) : products;
    linear(product, second, downBias?.subarray(expert * width, (expert + 1) * width), down);
    members.forEach(({ row, share }, i) => {
      const factor = weighs === "output" ? share : 1;
      for (let c = 0; c < width; c++)
        sum[row * width + c] = (sum[row * width + c] ?? 0) + factor * (down[i * width + c] ?? 0);
    });
  });
  return Float32Array.from(sum);
}
