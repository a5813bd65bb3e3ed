/**
 * The instructions of linears and experts, and what is fused into them: a residual add, what an adapter adds, the gate of
 * two halves of one linear, the rounding that follows.
 */
import { invariant } from "../../errors.ts";
import type { NodeOf, Value, WeightRef } from "../../graph/graph.ts";
import type { MatrixPart, Place, Place8, RowDraft, StateId, VectorId } from "./instructions.ts";
import type { Places } from "./places.ts";
import type { Step } from "./stages.ts";

export interface EmitContext {
  readonly places: Places;
  /** A matrix's pieces, and whether it multiplies int8 rows. */
  parts(weight: WeightRef): readonly MatrixPart[];
  vector(weight: WeightRef): VectorId;
  /** The most rows of an adapter's A. */
  readonly maxRank: number;
  /** Where a state of the graph lies in the pool. */
  state(index: number): StateId;
  push(step: Step): void;
  /** The value is computed by an instruction of another. */
  absorb(value: Value): void;
}

interface Input {
  readonly width: number;
  readonly from: { readonly x: Place } | { readonly q: Place8 };
}

function inputOf({ places }: EmitContext, value: Value): Input {
  if (places.node(value).op !== "quantize") return { width: places.width(value), from: { x: places.rows(value) } };
  return { width: places.width(value), from: { q: places.rows8(value) } };
}

export function linear(context: EmitContext, value: Value, node: NodeOf<"linear">): void {
  const { places } = context;
  // Where there may be adapters, all others read what they make of the linear.
  const lora = places.users(value).find((user) => places.node(user).op === "lora");
  if (linearGate(context, value, node, lora)) return;
  const { width: inputs, from } = inputOf(context, node.inputs[0]);
  const bias = node.bias === undefined ? {} : { bias: context.vector(node.bias) };
  const draft = {
    op: "linear",
    ...from,
    parts: context.parts(node.weight),
    inputs,
    cols: places.width(value),
    ...bias,
  } as const;
  if (lora !== undefined) {
    const added = adapted(context, lora);
    context.push({ kind: "wide", draft: { ...draft, ...added, y: places.newValue(lora) } });
    return;
  }
  const residual = residualOf(context, value);
  if (residual === undefined) {
    context.push({ kind: "wide", draft: { ...draft, y: places.newValue(value) } });
    return;
  }
  const { sum, other } = residual;
  const place = places.rows(other);
  const y = places.canOverwrite(other, sum, places.rank(value)) ? places.put(sum, place) : places.newValue(sum);
  context.absorb(sum);
  context.push({ kind: "wide", draft: { ...draft, residual: place, y } });
}

/** The first product of adapters, of which a linear (or its gate) makes the second one. */
function adapted(context: EmitContext, lora: Value): { readonly site: number; readonly inner: Place } {
  const { places, maxRank } = context;
  const node = places.node(lora);
  invariant(node.op === "lora", `%${lora} is no lora`);
  const tensors = new Set(node.weight.parts.map(({ tensor }) => tensor)).size;
  const x = places.rows(node.inputs[1]);
  const added = { site: lora, inner: places.newRows(places.maxRows(lora), tensors * maxRank) };
  const draft = { op: "loraDown", x, inputs: x.width, cols: tensors * maxRank, ...added } as const;
  context.push({ kind: "wide", draft });
  context.absorb(lora);
  return added;
}

/** The add that is the only reader of a linear, and its other input, if that is there before the linear. */
function residualOf({ places }: EmitContext, value: Value): { readonly sum: Value; readonly other: Value } | undefined {
  const [sum, ...more] = places.users(value);
  if (sum === undefined || more.length > 0 || places.isResult(value)) return undefined;
  const add = places.node(sum);
  if (add.op !== "add") return undefined;
  const other = add.inputs[0] === value ? add.inputs[1] : add.inputs[0];
  if (other === value || !places.has(other) || places.rank(other) >= places.rank(value)) return undefined;
  return { sum, other };
}

/** A gate of the two halves of one linear, and its rounding: true where `product` is such a linear. */
function linearGate(context: EmitContext, product: Value, node: NodeOf<"linear">, lora: Value | undefined): boolean {
  const { places } = context;
  const value = lora ?? product;
  const half = places.width(value) / 2;
  const parts = context.parts(node.weight);
  if (node.bias !== undefined || half % 32 !== 0 || parts.length !== 1 || places.isResult(value)) return false;
  const [first, second, ...more] = places.users(value);
  if (first === undefined || second === undefined || more.length > 0) return false;
  const [a, b] = [places.node(first), places.node(second)];
  if (a.op !== "slice" || b.op !== "slice" || a.width !== half || b.width !== half) return false;
  if (places.isResult(first) || places.isResult(second)) return false;
  const [gateSlice, upSlice] = a.start === 0 ? [first, second] : [second, first];
  const [gateValue, ...others] = [...places.users(gateSlice), ...places.users(upSlice)];
  if (gateValue === undefined || others.length !== 1 || others[0] !== gateValue) return false;
  const gate = places.node(gateValue);
  if (gate.op !== "gate" || gate.inputs[0] !== gateSlice || gate.inputs[1] !== upSlice) return false;

  const y = places.newRows(places.maxRows(value), 2 * half);
  places.put(gateValue, { ...y, width: half });
  for (const done of [gateSlice, upSlice, gateValue]) context.absorb(done);
  const { width: inputs, from } = inputOf(context, node.inputs[0]);
  const added = lora === undefined ? {} : adapted(context, lora);
  const shape = { ...from, parts, inputs, cols: half, y, ...added } as const;
  const draft = { op: "linearGate", ...shape, activation: gate.activation } as const;
  const rounding = places.users(gateValue).find((user) => places.node(user).op === "quantize");
  if (rounding === undefined) {
    context.push({ kind: "wide", draft });
    return true;
  }
  const rounded = places.newRows8(places.maxRows(value), half);
  places.put8(rounding, rounded);
  context.absorb(rounding);
  context.push({ kind: "wide", draft: { ...draft, rounded } });
  return true;
}

export function headLinear(context: EmitContext, value: Value, node: NodeOf<"headLinear">): void {
  const [heads, cols, inputs] = node.weight.shape;
  invariant(heads !== undefined && cols !== undefined && inputs !== undefined, `${node.weight.name} is no stack`);
  const { from } = inputOf(context, node.inputs[0]);
  const parts = context.parts(node.weight);
  const y = context.places.newValue(value);
  context.push({ kind: "wide", draft: { op: "headLinear", ...from, parts, heads, inputs, cols, y } });
}

export function experts(context: EmitContext, value: Value, node: NodeOf<"experts">): void {
  const { places } = context;
  const [input, routed] = node.inputs;
  const routes = places.rows(routed);
  const rows = places.maxRows(value);
  const { activation, int8, weighs } = node;
  const [width, topK] = [places.width(value), places.width(routed) / 2];
  const [count, gateAndUp] = node.gateUp.shape;
  invariant(count !== undefined && gateAndUp !== undefined, `${node.gateUp.name} is no stack of matrices`);
  const inner = gateAndUp / 2;
  invariant(int8, "an experts node that was not lowered");
  const pushRows = (draft: RowDraft, perRow: number): void => context.push({ kind: "rows", draft, perRow });
  let x = places.rows(input);
  if (weighs === "input") {
    const y = places.newRows(rows, width);
    pushRows({ op: "weigh", x, shares: { ...routes, column: routes.column + topK }, y, cols: width }, 1);
    x = y;
  }
  let product: { readonly x: Place } | { readonly q: Place8 } = { x };
  if (int8.gateUp) {
    product = { q: places.newRows8(rows, width) };
    pushRows({ op: "quantize", x, ...product, cols: width }, 1);
  }
  const lists = places.newLists(count, rows * topK);
  const hidden = places.newRows(rows * topK, 2 * inner);
  const out = places.newRows(rows * topK, width);
  const shape = { experts: count, topK, lists } as const;
  const bias = (weight: WeightRef | undefined): { readonly bias?: VectorId } =>
    weight === undefined ? {} : { bias: context.vector(weight) };
  context.push({ kind: "serial", draft: { op: "groupExperts", routes, lists, experts: count, topK } });
  const gateUp = { parts: context.parts(node.gateUp), inputs: width, cols: 2 * inner, ...bias(node.gateUpBias) };
  context.push({
    kind: "wide",
    draft: { op: "expertLinear", ...product, ...gateUp, ...shape, gather: true, y: hidden },
  });
  const gate: Place = { ...hidden, width: inner };
  const paired = node.paired === true;
  const up: Place = paired ? gate : { ...gate, column: inner };
  pushRows({ op: "gate", gate, up, y: gate, cols: inner, gateCols: inner, activation, paired }, topK);
  product = { x: gate };
  if (int8.down) {
    product = { q: places.newRows8(rows * topK, inner) };
    pushRows({ op: "quantize", x: gate, ...product, cols: inner }, topK);
  }
  const down = { parts: context.parts(node.down), inputs: inner, cols: width, ...bias(node.downBias) };
  context.push({
    kind: "wide",
    draft: { op: "expertLinear", ...product, ...down, ...shape, gather: false, y: out },
  });
  const y = places.newValue(value);
  pushRows(
    { op: "combine", x: out, routes, y, lists, cols: width, experts: count, topK, weighs: weighs === "output" },
    1,
  );
}
