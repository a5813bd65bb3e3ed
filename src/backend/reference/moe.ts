/**
 * The op `moe`: routes each row to its experts, runs expert by expert over the rows that chose it, and adds the
 * weighted results in the order of the experts' indices.
 */
import type { Node } from "../../graph/graph.ts";
import { activate, linear, route, type Rows } from "./ops.ts";
import { quantizeRows } from "./quantize.ts";
import type { SourceWeights } from "./weights.ts";

type Moe = Extract<Node, { readonly op: "moe" }>;

export function moe(x: Float32Array, width: number, node: Moe, weights: SourceWeights): Float32Array {
  const { experts, int8 } = node;
  const rows = x.length / width;
  const hidden = node.down.shape[2] ?? 0;
  const quantized = int8 === undefined ? undefined : quantizeRows(x, width);
  const input = (int8Rows: boolean | undefined): Rows => (int8Rows === true && quantized !== undefined ? quantized : x);

  const logits = new Float32Array(rows * experts);
  const router = { values: weights.get(node.router), offset: 0, n: experts, k: width };
  linear(input(int8?.router), router, undefined, logits);

  const chosen: { row: number; share: number }[][] = Array.from({ length: experts }, () => []);
  for (let row = 0; row < rows; row++) {
    const own = logits.subarray(row * experts, (row + 1) * experts);
    for (const { expert, share } of route(own, node.topK, node.normalize)) chosen[expert]?.push({ row, share });
  }

  const source = input(int8?.gateUp);
  const sum = new Float64Array(rows * width);
  chosen.forEach((members, expert) => {
    if (members.length === 0) return;
    const gathered = new Float64Array(members.length * width);
    members.forEach(({ row }, i) => gathered.set(source.subarray(row * width, (row + 1) * width), i * width));
    const gateUp = new Float32Array(members.length * 2 * hidden);
    const first = { values: weights.get(node.gateUp), offset: expert * 2 * hidden * width, n: 2 * hidden, k: width };
    linear(gathered, first, undefined, gateUp);

    const gated = new Float32Array(members.length * hidden);
    members.forEach((_, i) => {
      const at = i * 2 * hidden;
      for (let c = 0; c < hidden; c++) {
        gated[i * hidden + c] = activate(gateUp[at + c] ?? 0, node.activation) * (gateUp[at + hidden + c] ?? 0);
      }
    });
    const down = new Float32Array(members.length * width);
    const second = { values: weights.get(node.down), offset: expert * width * hidden, n: width, k: hidden };
    linear(int8?.down === true ? quantizeRows(gated, hidden) : gated, second, undefined, down);
    members.forEach(({ row, share }, i) => {
      for (let c = 0; c < width; c++)
        sum[row * width + c] = (sum[row * width + c] ?? 0) + share * (down[i * width + c] ?? 0);
    });
  });
  return Float32Array.from(sum);
}
