/**
 * A graph as text, one line a node, for `millrace inspect --graph` and for error reports:
 * `%7  [T, 960]   linear %6  blk.0.attn_q + blk.0.attn_k + blk.0.attn_v`. T is the number of a step's tokens,
 * R the number of those that are wanted of an output.
 */
import type { Graph, GraphNode, StateSpec, WeightRef } from "./graph.ts";
import { rowOutputs } from "./shapes.ts";

function weightText(weight: WeightRef): string {
  return `${weight.name} [${weight.shape.join(", ")}]`;
}

function weightTexts(weight: WeightRef | undefined): string[] {
  return weight === undefined ? [] : [weightText(weight)];
}

function number(x: number): string {
  return String(Number(x.toPrecision(6)));
}

function stateText(state: StateSpec): string {
  const window = state.kind === "recurrent" || state.window === undefined ? "" : `, window ${state.window}`;
  if (state.kind === "rows" || state.kind === "recurrent") return `${state.kind}, ${state.width} wide${window}`;
  if (state.kind === "latent-kv") return `latent-kv, ${state.keyDim} of which ${state.valueDim} are the value`;
  return `${state.kind}, ${state.kvHeads} × (${state.keyDim} + ${state.valueDim})${window}`;
}

/** A line for each run of equal states: their indices, then what they hold. */
function stateLines(states: readonly StateSpec[]): string[] {
  const runs: { first: number; last: number; text: string }[] = [];
  states.forEach((state, i) => {
    const text = stateText(state);
    const run = runs.at(-1);
    if (run?.text === text) run.last = i;
    else runs.push({ first: i, last: i, text });
  });
  return runs.map(({ first, last, text }) => {
    const indices = first === last ? `state ${first}` : `states ${first} … ${last}`;
    return `${indices}  ${text}`;
  });
}

/** What a node has beside its op and inputs. */
function details(node: GraphNode): string[] {
  switch (node.op) {
    case "embed":
      return [
        weightText(node.weight),
        ...(node.scale === undefined ? [] : [`scale=${number(node.scale)}`]),
        ...(node.segments === undefined ? [] : [`by ${node.segments.by} of ${node.segments.size}`]),
      ];
    case "positionEmbed":
      return [weightText(node.weight)];
    case "linear":
    case "lora":
      return [weightText(node.weight), ...(node.bias === undefined ? [] : [`bias=${node.bias.name}`])];
    case "rmsNorm": {
      const offset = node.weightOffset === 0 ? [] : ["weight+1"];
      return [...weightTexts(node.weight), ...offset, `eps=${number(node.eps)}`, `group=${node.groupSize}`];
    }
    case "layerNorm": {
      const bias = node.bias === undefined ? [] : [`bias=${node.bias.name}`];
      const offset = node.weightOffset === 0 ? [] : ["weight+1"];
      return [...weightTexts(node.weight), ...offset, ...bias, `eps=${number(node.eps)}`, `group=${node.groupSize}`];
    }
    case "rope": {
      const magnitude = node.magnitude === 1 ? [] : [`magnitude=${number(node.magnitude)}`];
      const last = node.frequencies[node.frequencies.length - 1] ?? 0;
      const frequencies = `frequencies=${node.frequencies.length}, ${number(node.frequencies[0] ?? 0)} … ${number(last)}`;
      return [node.style, `head=${node.headDim}`, frequencies, ...magnitude];
    }
    case "attention":
    case "latentAttention":
    case "attendState": {
      const { state, heads, scale, softcap, sinks, slopes, distances, chunk, ahead } = node;
      const text = [`state=${state}`, `heads=${heads}`, `scale=${number(scale)}`];
      if (softcap !== undefined) text.push(`softcap=${number(softcap)}`);
      if (sinks !== undefined) text.push(`sinks=${sinks.name}`);
      if (slopes !== undefined) text.push(`slopes=${number(slopes[0] ?? 0)} … ${number(slopes.at(-1) ?? 0)}`);
      if (distances !== undefined) text.push(`distances to ${(distances.length / heads - 1) / 2}`);
      if (chunk !== undefined) text.push(`chunk=${chunk}`);
      if (ahead !== undefined) text.push(`ahead=${ahead}`);
      return text;
    }
    case "headLinear":
      return [weightText(node.weight)];
    case "concat":
      return [`heads=${node.heads}`];
    case "gate":
    case "activation":
      return [node.activation];
    case "scale":
      return [`factor=${number(node.factor)}`];
    case "clamp":
      return [`limit=${number(node.limit)}`];
    case "softcap":
      return [`cap=${number(node.cap)}`];
    case "slice":
      return [`columns ${node.start} … ${node.start + node.width - 1}`];
    case "positionScale":
      return [`every=${node.every}`, `${node.factors.length} factors`];
    case "route": {
      const { topK, scores, bias, groups, normalize, factor } = node;
      const text = [`top ${topK}`, scores, ...weightTexts(bias)];
      if (groups !== undefined) text.push(`${groups.kept} of ${groups.count} groups by the ${groups.by}`);
      if (normalize) text.push("normalize");
      if (factor !== 1) text.push(`factor=${number(factor)}`);
      return text;
    }
    case "experts": {
      const int8 = Object.entries(node.int8 ?? {}).flatMap(([name, on]) => (on ? [name] : []));
      const lowered = int8.length === 0 ? [] : [`int8=${int8.join("+")}`];
      const biases = [node.gateUpBias, node.downBias].flatMap((bias) =>
        bias === undefined ? [] : [`bias=${bias.name}`],
      );
      const paired = node.paired === true ? ["paired"] : [];
      const weights = [node.gateUp, node.down].map(weightText);
      return [...weights, ...biases, node.activation, ...paired, `shares on the ${node.weighs}`, ...lowered];
    }
    case "readRows":
      return [`state=${node.state}`, `${node.back} back`];
    case "conv": {
      const bias = node.bias === undefined ? [] : [`bias=${node.bias.name}`];
      return [weightText(node.weight), ...bias, `state=${node.state}`];
    }
    case "scan": {
      const rule = node.delta ? ["delta"] : [];
      return [
        `heads=${node.heads}`,
        `keys=${node.keyHeads}`,
        ...rule,
        `state=${node.state}`,
        `history=${node.history}`,
      ];
    }
    case "selectiveScan":
      return [weightText(node.weight), node.factor, `state=${node.state}`, `history=${node.history}`];
    case "wkv":
      return [weightText(node.decay), weightText(node.bonus), `state=${node.state}`, `history=${node.history}`];
    case "matrixScan":
      return [`heads=${node.heads}`, ...weightTexts(node.bonus), `state=${node.state}`, `history=${node.history}`];
    case "bias":
      return [weightText(node.weight)];
    case "pick":
      return [`${node.columns.length} columns`];
    case "columnScale":
      return [weightText(node.weight), ...(node.factor === "weight" ? [] : [node.factor])];
    case "writeRows":
    case "kvWrite":
    case "latentWrite":
      return [`state=${node.state}`];
    case "input":
      return [node.name];
    case "rows":
      return [`wanted of ${node.output}`];
    case "add":
    case "quantize":
      return [];
    default:
      return node satisfies never;
  }
}

/** The whole graph: a title, its states (kv heads × (key + value columns)), then a line for each node. */
export function printGraph(graph: Graph): string {
  const holds = rowOutputs(graph.nodes);
  const title = `${graph.name}: vocabulary ${graph.vocabSize}, context ${graph.contextLength}, ${graph.nodes.length} nodes`;
  const states = stateLines(graph.states);
  const nodes = graph.nodes.map((node, i) => {
    const shape = `[${holds[i] === undefined ? "T" : "R"}, ${graph.widths[i]}]`;
    const inputs = node.inputs.map((v) => `%${v}`).join(" ");
    const line = `${`%${i}`.padEnd(5)} ${shape.padEnd(11)} ${node.op.padEnd(11)} ${inputs.padEnd(14)} ${details(node).join("  ")}`;
    return line.trimEnd();
  });
  const outputs = [...graph.outputs].map(([name, value]) => `${name} %${value}`);
  return [title, ...states, ...nodes, ...outputs, ""].join("\n");
}
