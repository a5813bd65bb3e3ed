/**
 * Shape inference: the number of columns of a node's output from its inputs' and its weights', and which rows a
 * value holds (all tokens of the step, or those that are wanted of one output). A node that doesn't fit its inputs is
 * an error that names the op and both numbers, so a mistake in a model file shows where it is made.
 */
import { check, checkVector, dimensions } from "./graph-error.ts";
import {
  type AttendOptions,
  type GraphNode,
  HISTORY_PLACES,
  type KvSpec,
  type NodeOf,
  type StateSpec,
  type Value,
} from "./graph.ts";
import { OP_TRAITS } from "./traits.ts";

type SpecOf<K extends StateSpec["kind"]> = Extract<StateSpec, { readonly kind: K }>;

function isOf<K extends StateSpec["kind"]>(state: StateSpec, kind: K): state is SpecOf<K> {
  return state.kind === kind;
}

/** Columns of `node`'s output, given those of all values before it. Throws GraphError where it doesn't fit. */
export function inferWidth(node: GraphNode, widths: readonly number[], states: readonly StateSpec[]): number {
  const width = (value: Value): number => {
    const found = widths[value];
    check(found !== undefined, node, `input %${value} is not computed yet`);
    return found;
  };
  const stateAt = (index: number): StateSpec => {
    const found = states[index];
    check(found !== undefined, node, `there is no state ${index}`);
    return found;
  };
  const kvAt = (index: number): KvSpec => {
    const found = stateAt(index);
    const fits = found.kind !== "rows" && found.kind !== "recurrent";
    check(fits, node, `the state "${found.name}" is of kind ${found.kind}, it holds no keys and values`);
    return found;
  };
  const widthAt = (index: number, kind: "rows" | "recurrent"): number => {
    const found = stateAt(index);
    check(isOf(found, kind), node, `the state "${found.name}" is of kind ${found.kind}, not ${kind}`);
    return found.width;
  };
  /** Columns of what came into a scan, as many places as it may look back at. */
  const historyWidth = (index: number): number => {
    const found = stateAt(index);
    const kept = isOf(found, "rows") ? (found.window ?? Infinity) : 0;
    check(kept >= HISTORY_PLACES, node, `the history "${found.name}" keeps ${kept} places, wanted ${HISTORY_PLACES}`);
    return widthAt(index, "rows");
  };
  const equal = (a: number, b: number, what: string): void => check(a === b, node, `${what} are ${a} and ${b} wide`);
  const latentAt = (index: number): KvSpec => {
    const found = kvAt(index);
    const { kind, kvHeads, keyDim, valueDim } = found;
    check(kind === "latent-kv", node, `the state "${found.name}" isn't latent`);
    check(kvHeads === 1 && valueDim <= keyDim, node, `values of ${valueDim} in ${kvHeads} keys of ${keyDim} columns`);
    return found;
  };
  const keptApart = (index: number): KvSpec => {
    const found = kvAt(index);
    check(found.kind !== "latent-kv", node, `the state "${found.name}" has no values of its own`);
    return found;
  };
  const attend = (state: KvSpec, options: AttendOptions, q: number): number => {
    const { heads, sinks, slopes, distances, chunk = 1, ahead = 0 } = options;
    check(heads > 0 && heads % state.kvHeads === 0, node, `${heads} heads can't share ${state.kvHeads} kv heads`);
    equal(q, heads * state.keyDim, "the query and its heads");
    if (sinks !== undefined) checkVector(node, sinks, heads);
    check(slopes === undefined || slopes.length === heads, node, `${slopes?.length ?? 0} slopes for ${heads} heads`);
    const perHead = (distances?.length ?? heads) / heads;
    check(perHead % 2 === 1, node, `${perHead} distances of a head`);
    const places = Number.isInteger(chunk) && chunk > 0 && Number.isInteger(ahead) && ahead >= 0;
    check(places, node, `chunks of ${chunk} places, ${ahead} places ahead`);
    return heads * state.valueDim;
  };

  switch (node.op) {
    case "embed": {
      const { size = 1 } = node.segments ?? {};
      check(Number.isInteger(size) && size > 0, node, `segments of ${size} ids`);
      return dimensions(node, node.weight, 2)[1];
    }
    case "positionEmbed":
      return dimensions(node, node.weight, 2)[1];
    case "linear": {
      const [n, k] = dimensions(node, node.weight, 2);
      equal(width(node.inputs[0]), k, `the input and "${node.weight.name}"`);
      if (node.bias !== undefined) checkVector(node, node.bias, n);
      return n;
    }
    case "lora": {
      const [n, k] = dimensions(node, node.weight, 2);
      equal(width(node.inputs[0]), n, `the sum and "${node.weight.name}"`);
      equal(width(node.inputs[1]), k, `the input and "${node.weight.name}"`);
      if (node.bias !== undefined) checkVector(node, node.bias, n);
      return n;
    }
    case "rmsNorm": {
      const x = width(node.inputs[0]);
      check(node.groupSize > 0 && x % node.groupSize === 0, node, `${x} columns in groups of ${node.groupSize}`);
      if (node.weight !== undefined) checkVector(node, node.weight, node.groupSize);
      return x;
    }
    case "layerNorm": {
      const x = width(node.inputs[0]);
      const { groupSize, weight, bias } = node;
      check(groupSize > 0 && x % groupSize === 0, node, `${x} columns in groups of ${groupSize}`);
      if (weight !== undefined) checkVector(node, weight, groupSize);
      check(bias === undefined || weight !== undefined, node, "a bias without a weight");
      if (bias !== undefined) checkVector(node, bias, groupSize);
      return x;
    }
    case "rope": {
      const x = width(node.inputs[0]);
      check(node.headDim > 0 && x % node.headDim === 0, node, `${x} columns in heads of ${node.headDim}`);
      const turned = 2 * node.frequencies.length;
      check(turned <= node.headDim, node, `${turned} turned columns in a head of ${node.headDim}`);
      return x;
    }
    case "attention": {
      const [q, k, v] = node.inputs;
      const state = keptApart(node.state);
      equal(width(k), state.kvHeads * state.keyDim, "the keys and their state");
      equal(width(v), state.kvHeads * state.valueDim, "the values and their state");
      return attend(state, node, width(q));
    }
    case "latentAttention": {
      const state = latentAt(node.state);
      equal(width(node.inputs[1]), state.keyDim, "the keys and their state");
      return attend(state, node, width(node.inputs[0]));
    }
    case "attendState":
      return attend(kvAt(node.state), node, width(node.inputs[0]));
    case "latentWrite":
      equal(width(node.inputs[0]), latentAt(node.state).keyDim, "the keys and their state");
      return 0;
    case "headLinear": {
      const [heads, n, k] = dimensions(node, node.weight, 3);
      equal(width(node.inputs[0]), heads * k, `the input and "${node.weight.name}"`);
      return heads * n;
    }
    case "concat": {
      const [a, b] = node.inputs.map(width) as [number, number];
      const fits = node.heads > 0 && a % node.heads === 0 && b % node.heads === 0;
      check(fits, node, `${a} and ${b} columns in ${node.heads} heads`);
      return a + b;
    }
    case "kvWrite": {
      const state = keptApart(node.state);
      equal(width(node.inputs[0]), state.kvHeads * state.keyDim, "the keys and their state");
      equal(width(node.inputs[1]), state.kvHeads * state.valueDim, "the values and their state");
      return 0;
    }
    case "writeRows":
      equal(width(node.inputs[0]), widthAt(node.state, "rows"), "the rows and their state");
      return 0;
    case "readRows":
      check(Number.isInteger(node.back) && node.back >= 0, node, `${node.back} places back`);
      return widthAt(node.state, "rows");
    case "conv": {
      const x = width(node.inputs[0]);
      equal(x, widthAt(node.state, "rows"), "the input and its state");
      const [n] = dimensions(node, node.weight, 1);
      check(n % x === 0, node, `${n} weights for ${x} columns`);
      if (node.bias !== undefined) checkVector(node, node.bias, x);
      const { window = Infinity } = states[node.state] as SpecOf<"rows">;
      check(window >= n / x, node, `looks back at ${n / x} places, its state holds ${window}`);
      return x;
    }
    case "scan":
      return scanWidth(node, node.inputs.map(width), widthAt(node.state, "recurrent"), historyWidth(node.history));
    case "selectiveScan": {
      const [dt, x, b, c] = node.inputs.map(width) as [number, number, number, number];
      check(dt === x && b === c, node, `dt and x are ${dt} and ${x} wide, B and C ${b} and ${c}`);
      checkVector(node, node.weight, x * b);
      equal(x * b, widthAt(node.state, "recurrent"), "the columns' states and their state");
      equal(2 * x + b, historyWidth(node.history), "dt, x, B and their history");
      return x;
    }
    case "wkv": {
      const [k, v] = node.inputs.map(width) as [number, number];
      equal(k, v, "k and v");
      for (const weight of [node.decay, node.bonus]) checkVector(node, weight, k);
      equal(wkvStateWidth(k), widthAt(node.state, "recurrent"), "the columns' states and their state");
      equal(2 * k, historyWidth(node.history), "k, v and their history");
      return k;
    }
    case "matrixScan": {
      const all: readonly number[] = node.inputs.map(width);
      return matrixScanWidth(node, all, widthAt(node.state, "recurrent"), historyWidth(node.history));
    }
    case "bias": {
      const x = width(node.inputs[0]);
      checkVector(node, node.weight, x);
      return x;
    }
    case "pick": {
      const x = width(node.inputs[0]);
      const fits = node.columns.length > 0 && node.columns.every((column) => column >= 0 && column < x);
      check(fits, node, `columns that ${x} columns don't have`);
      return node.columns.length;
    }
    case "columnScale": {
      const x = width(node.inputs[0]);
      const [n] = dimensions(node, node.weight, 1);
      check(x % n === 0, node, `${n} weights for ${x} columns`);
      return x;
    }
    case "gate": {
      const [gate, up] = node.inputs.map(width) as [number, number];
      if (gate !== 1) equal(gate, up, "the inputs");
      check(gate !== 1 || node.activation !== "clampedSwiglu", node, "one column gates by an activation");
      return up;
    }
    case "add": {
      const a = width(node.inputs[0]);
      equal(a, width(node.inputs[1]), "the inputs");
      return a;
    }
    case "input":
    case "activation":
    case "scale":
    case "softcap":
    case "clamp":
    case "rows":
    case "quantize":
      return width(node.inputs[0]);
    case "slice": {
      const x = width(node.inputs[0]);
      const fits = node.start >= 0 && node.width > 0 && node.start + node.width <= x;
      check(fits, node, `columns ${node.start} … ${node.start + node.width} of ${x}`);
      return node.width;
    }
    case "positionScale":
      check(Number.isInteger(node.every) && node.every > 0 && node.factors.length > 0, node, `every ${node.every}`);
      return width(node.inputs[0]);
    case "route": {
      const experts = width(node.inputs[0]);
      const { topK, bias, groups } = node;
      check(topK > 0 && topK <= experts, node, `${topK} of ${experts} experts`);
      if (bias !== undefined) checkVector(node, bias, experts);
      if (groups !== undefined) {
        const { count, kept } = groups;
        const fits = count > 0 && experts % count === 0 && kept > 0 && kept <= count;
        check(fits, node, `${kept} of ${count} groups of ${experts} experts`);
        check(topK <= (kept * experts) / count, node, `${topK} experts from ${kept} groups of ${experts / count}`);
      }
      return 2 * topK;
    }
    case "experts": {
      const [x, routes] = node.inputs.map(width) as [number, number];
      const [experts, twoF, k] = dimensions(node, node.gateUp, 3);
      const [e, n, f] = dimensions(node, node.down, 3);
      const fits = e === experts && k === x && n === x && twoF === 2 * f;
      check(fits, node, `the experts' shapes don't fit each other and an input ${x} wide`);
      const topK = routes / 2;
      check(Number.isInteger(topK) && topK <= experts, node, `routes ${routes} wide to ${experts} experts`);
      check(node.weighs === "output" || topK === 1, node, `shares of ${topK} experts on their input`);
      if (node.gateUpBias !== undefined) checkVector(node, node.gateUpBias, experts * twoF);
      if (node.downBias !== undefined) checkVector(node, node.downBias, experts * n);
      return x;
    }
    default:
      return node satisfies never;
  }
}

/** Columns of `wkv`'s state over `columns` columns: three values each, in whole runs of 16. */
export function wkvStateWidth(columns: number): number {
  return 48 * Math.ceil(columns / 16);
}

function scanWidth(
  node: NodeOf<"scan">,
  [q = 0, k = 0, v = 0, g = 0, beta = 0]: readonly number[],
  state: number,
  history: number,
): number {
  const { heads, keyHeads } = node;
  check(keyHeads > 0 && heads > 0 && heads % keyHeads === 0, node, `${heads} heads can't share ${keyHeads} key heads`);
  check(q === k && k % keyHeads === 0, node, `q and k are ${q} and ${k} wide, of ${keyHeads} heads`);
  check(v % heads === 0 && g === heads && beta === heads, node, `v, g and β are ${v}, ${g} and ${beta} wide`);
  const matrix = (k / keyHeads) * v;
  check(state === matrix, node, `the state is ${state} wide, wanted ${matrix}`);
  check(history === k + v + heads, node, `the history is ${history} wide, wanted ${k + v + heads}`);
  return v;
}

function matrixScanWidth(
  node: NodeOf<"matrixScan">,
  [r = 0, w = 0, k = 0, v = 0, ...removal]: readonly number[],
  state: number,
  history: number,
): number {
  const { heads, bonus } = node;
  check(heads > 0 && k % heads === 0 && v % heads === 0, node, `keys and values ${k} and ${v} wide of ${heads} heads`);
  const fits = [r, w, ...removal].every((x) => x === k);
  check(fits, node, `r, w, a and b are ${[r, w, ...removal].join(", ")} wide, keys ${k}`);
  if (bonus !== undefined) checkVector(node, bonus, k);
  check(bonus === undefined || removal.length === 0, node, "a bonus, and a memory that takes back");
  check(state === (k / heads) * v, node, `the state is ${state} wide, wanted ${(k / heads) * v}`);
  const wanted = w + k + v + removal.reduce((sum, x) => sum + x, 0);
  check(history === wanted, node, `the history is ${history} wide, wanted ${wanted}`);
  return v;
}

/**
 * For each value: the output whose wanted rows it holds (from a `rows` node on), or undefined: all the step's tokens.
 * Throws GraphError where a node mixes rows, or needs all and doesn't get them.
 */
export function rowOutputs(nodes: readonly GraphNode[]): (string | undefined)[] {
  const result: (string | undefined)[] = [];
  for (const node of nodes) {
    const inputs: readonly Value[] = node.inputs;
    const held = inputs[0] === undefined ? undefined : result[inputs[0]];
    const equal = inputs.every((v) => result[v] === held);
    check(equal, node, "mixes rows of different outputs");
    const fits = held === undefined || (OP_TRAITS[node.op].rowLocal && node.op !== "rows");
    check(fits, node, `needs all rows, and gets those of "${held}"`);
    result.push(node.op === "rows" ? node.output : held);
  }
  return result;
}
