/**
 * The instructions of what looks back at rows of its own: convolutions, scans, recurrences. All that a step brings is
 * written before any of it is read.
 */
import { invariant } from "../../errors.ts";
import type { NodeOf, Value } from "../../graph/graph.ts";
import type { EmitContext } from "./emit-products.ts";
import type { Place, StateId, WideDraft } from "./instructions.ts";

type Recurrence = Extract<WideDraft, { readonly op: "recur" }>;

export function recurrent(
  context: EmitContext,
  value: Value,
  node: NodeOf<"conv" | "scan" | "selectiveScan" | "wkv" | "matrixScan">,
): void {
  switch (node.op) {
    case "conv":
      conv(context, value, node);
      return;
    case "scan":
      scan(context, value, node);
      return;
    case "selectiveScan":
      selectiveScan(context, value, node);
      return;
    case "wkv":
      wkv(context, value, node);
      return;
    case "matrixScan":
      matrixScan(context, value, node);
      return;
    default:
      node satisfies never;
  }
}

function conv(context: EmitContext, value: Value, node: NodeOf<"conv">): void {
  const { places } = context;
  const x = places.rows(node.inputs[0]);
  const state = context.state(node.state);
  write(context, [x], x.width, state);
  const y = places.newValue(value);
  const bias = node.bias === undefined ? {} : { bias: context.vector(node.bias) };
  const [weights = 0] = node.weight.shape;
  const taps = weights / x.width;
  const draft = { op: "conv", y, cols: x.width, taps, weight: context.vector(node.weight), ...bias, ...state } as const;
  context.push({ kind: "rows", draft, perRow: 1, apart: true });
}

function scan(context: EmitContext, value: Value, node: NodeOf<"scan">): void {
  const { places } = context;
  const [q, k, v, g, beta] = node.inputs.map((input) => places.rows(input));
  invariant(q && k && v && g && beta, "a scan without its inputs");
  const { heads, keyHeads, delta } = node;
  const [history, state] = [context.state(node.history), context.state(node.state)];
  write(context, [k], k.width + v.width + heads, history);
  const dims = { heads, keyHeads, keyDim: k.width / keyHeads, valueDim: v.width / heads };
  const y = places.newValue(value);
  context.push({ kind: "wide", draft: { op: "scan", q, v, g, beta, y, ...dims, delta, history, state } });
}

function selectiveScan(context: EmitContext, value: Value, node: NodeOf<"selectiveScan">): void {
  const [dt, x, b, read] = node.inputs.map((input) => context.places.rows(input));
  invariant(dt && x && b && read, "a selective scan without its inputs");
  const decay = context.vector(node.weight);
  recur(context, value, node, [dt, x, b], { isSelective: true, read, decay, stateDim: b.width });
}

function wkv(context: EmitContext, value: Value, node: NodeOf<"wkv">): void {
  const [k, v] = node.inputs.map((input) => context.places.rows(input));
  invariant(k && v, "an average without its inputs");
  const weights = { decay: context.vector(node.decay), bonus: context.vector(node.bonus) };
  recur(context, value, node, [k, v], { isSelective: false, ...weights, stateDim: 3 });
}

function matrixScan(context: EmitContext, value: Value, node: NodeOf<"matrixScan">): void {
  const [r, ...kept] = node.inputs.map((input) => context.places.rows(input));
  const [, k, v] = kept;
  invariant(r && k && v, "a scan without its inputs");
  const { heads, bonus } = node;
  const [history, state] = [context.state(node.history), context.state(node.state)];
  const width = kept.reduce((sum, input) => sum + input.width, 0);
  write(context, kept, width, history);
  const shape = { heads, keyDim: k.width / heads, valueDim: v.width / heads, removes: kept.length > 3 };
  const more = bonus === undefined ? {} : { bonus: context.vector(bonus) };
  const y = context.places.newValue(value);
  context.push({ kind: "wide", draft: { op: "matrixScan", r, y, ...shape, ...more, history, state } });
}

function recur(
  context: EmitContext,
  value: Value,
  node: NodeOf<"selectiveScan"> | NodeOf<"wkv">,
  inputs: readonly Place[],
  options: Pick<Recurrence, "isSelective" | "read" | "decay" | "bonus" | "stateDim">,
): void {
  const [history, state] = [context.state(node.history), context.state(node.state)];
  const width = inputs.reduce((sum, input) => sum + input.width, 0);
  write(context, inputs, width, history);
  const y = context.places.newValue(value);
  const draft = { op: "recur", ...options, y, cols: y.width, factor: node.factor, history, state } as const;
  context.push({ kind: "wide", draft });
}

/** Rows side by side, from the first column on, into a state `width` columns wide. */
function write(context: EmitContext, inputs: readonly Place[], width: number, state: StateId): void {
  let column = 0;
  for (const x of inputs) {
    const draft = { op: "writeRows", x, cols: x.width, column, width, ...state } as const;
    context.push({ kind: "rows", draft, perRow: 1 });
    column += x.width;
  }
}
