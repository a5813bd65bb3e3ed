/**
 * A model's graph cut between its layers: each section is a graph of its own, from the values that go into a layer to those
 * that come out, so that a layer can be run by itself, with its own weights alone in memory. The cuts are those of the named
 * values "hidden:i"; which matrices a layer has, and what each reads, is read off the graph, so no family has to say it.
 */
import { UnsupportedError } from "../errors.ts";
import type { Graph, GraphNode, NodeOf, StateSpec, Value, WeightRef } from "../graph/graph.ts";
import { weightsOf } from "../graph/interface.ts";
import { withLayerOutputs } from "../models/layer-outputs.ts";

/** A matrix, and the value whose rows it reads. */
export interface Site {
  /** The tensor's name. */
  readonly tensor: string;
  readonly weight: WeightRef;
  readonly input: Value;
  readonly node: NodeOf<"linear">;
}

export interface Section {
  /** Layers count from 0; the last section is what stands behind them (norm and head). */
  readonly index: number;
  /** Goes in: the value before the layer; undefined for what makes the first one (the embedding). */
  readonly input: Value | undefined;
  readonly output: Value;
  /** Matrices that are a whole tensor each, in the graph's order. */
  readonly sites: readonly Site[];
  /** The nodes of the section, in order. */
  readonly values: readonly Value[];
}

/** The layers of a graph, without the embedding before them and the head behind them. */
export interface Sections {
  readonly graph: Graph;
  readonly embedding: Section;
  readonly layers: readonly Section[];
}

/** @throws UnsupportedError where a layer reads values of one that isn't the one before it */
export function sectionsOf(plain: Graph): Sections {
  const graph = withLayerOutputs(plain);
  const borders: Value[] = [];
  for (let i = 0; ; i++) {
    const value = graph.outputs.get(`hidden:${i}`);
    if (value === undefined) break;
    borders.push(value);
  }
  const [first, ...others] = borders;
  if (first === undefined || others.length === 0)
    throw new UnsupportedError(`${graph.name}: its layers can't be told apart`);
  const embedding = section(graph, -1, undefined, first);
  let before = first;
  const layers = others.map((output, index) => {
    const input = before;
    before = output;
    return section(graph, index, input, output);
  });
  return { graph, embedding, layers };
}

function section(graph: Graph, index: number, input: Value | undefined, output: Value): Section {
  const needed = new Set<Value>();
  const pending = [output];
  const states = new Set<number>();
  const visit = (): void => {
    for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
      if (value === input || needed.has(value)) continue;
      needed.add(value);
      const node = nodeAt(graph, value);
      for (const state of statesOf(node)) states.add(state);
      pending.push(...node.inputs);
    }
  };
  visit();
  // What writes a state that the section reads belongs to it, though no value leads there.
  graph.nodes.forEach((node, value) => {
    if (node.op === "writeRows" && statesOf(node).some((state) => states.has(state))) pending.push(value);
  });
  visit();
  const early = [...needed].find((value) => input !== undefined && value < input && !isSource(graph, value));
  if (early !== undefined)
    throw new UnsupportedError(`${graph.name}: layer ${index} reads a value of an earlier layer (%${early})`);
  const values = [...needed].sort((a, b) => a - b);
  return { index, input, output, values, sites: sitesOf(graph, values) };
}

/** Values that are made of the step's tokens alone: a section may compute them again. */
function isSource(graph: Graph, value: Value): boolean {
  const node = nodeAt(graph, value);
  if (statesOf(node).length > 0) return false;
  return node.inputs.every((input) => isSource(graph, input));
}

function sitesOf(graph: Graph, values: readonly Value[]): Site[] {
  return values.flatMap((value) => {
    const node = nodeAt(graph, value);
    if (node.op !== "linear") return [];
    const [part, ...more] = node.weight.parts;
    const isWhole = part !== undefined && more.length === 0 && part.rowStart === undefined && part.transpose !== true;
    return isWhole ? [{ tensor: part.tensor, weight: node.weight, input: node.inputs[0], node }] : [];
  });
}

/** The name of the section's input, and of the table of zeros that stands where its rows will be. */
export const SECTION_INPUT = "section";
const ZEROS = "section.zeros";

/**
 * The section as a graph by itself, whose named input is what goes into the layer; it gives the named values.
 * @param context positions of a sequence
 */
export function sectionGraph(
  { graph }: Sections,
  { index, input, values }: Section,
  outputs: ReadonlyMap<string, Value>,
  context: number,
): Graph {
  const nodes: GraphNode[] = [];
  const widths: number[] = [];
  const states: StateSpec[] = [];
  const places = new Map<Value, Value>();
  const push = (node: GraphNode, width: number): Value => {
    nodes.push(node);
    widths.push(width);
    return nodes.length - 1;
  };
  if (input !== undefined) {
    const width = graph.widths[input] ?? 0;
    const zeros = { name: ZEROS, shape: [context, width], parts: [{ tensor: ZEROS }] };
    const table = push({ op: "positionEmbed", inputs: [], weight: zeros }, width);
    places.set(input, push({ op: "input", inputs: [table], name: SECTION_INPUT }, width));
  }
  const stateNames = new Map<number, number>();
  const place = (state: number): number => {
    const known = stateNames.get(state);
    const spec = graph.states[state];
    if (known !== undefined || spec === undefined) return known ?? state;
    stateNames.set(state, states.push(spec) - 1);
    return states.length - 1;
  };
  for (const value of values) {
    const node = nodeAt(graph, value);
    const moved = {
      ...node,
      inputs: node.inputs.map((from) => places.get(from) ?? from),
      ...("state" in node && { state: place(node.state) }),
      ...("history" in node && { history: place(node.history) }),
    } as unknown as GraphNode;
    places.set(value, push(moved, graph.widths[value] ?? 0));
  }
  return {
    name: `${graph.name}, section ${index}`,
    vocabSize: 0,
    contextLength: graph.contextLength,
    nodes,
    widths,
    states,
    outputs: new Map([...outputs].map(([name, value]) => [name, places.get(value) ?? value])),
  };
}

/** Whether a section's graph wants the table of zeros, under this name. */
export function zerosName(graph: Graph): string | undefined {
  return graph.nodes.some((node) => weightsOf(node).some(({ name }) => name === ZEROS)) ? ZEROS : undefined;
}

function statesOf(node: GraphNode): number[] {
  return [...("state" in node ? [node.state] : []), ...("history" in node ? [node.history] : [])];
}

function nodeAt(graph: Graph, value: Value): GraphNode {
  const node = graph.nodes[value];
  if (node === undefined) throw new Error(`Millrace defect: there is no value %${value}`);
  return node;
}
