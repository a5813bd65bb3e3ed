/**
 * What can only go together when a layer becomes narrower, read off the graph: a channel inside an MLP is a row of the
 * matrices before it and a column of the one behind; a key/value head takes its queries, key and value rows and the columns
 * that read them along (LLM-Pruner's dependency groups, Ma et al. 2023). Where something else sees the values between, there
 * is no group.
 */
import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import type { Graph, GraphNode, Value } from "../graph/graph.ts";
import type { Section } from "./sections.ts";
import { consumers, type RowRange, rowsThatMake, wholeTensor } from "./value-heads.ts";

export interface CoupledGroups {
  readonly kind: "channels" | "heads";
  /** How many groups there are; any of them can go. */
  readonly count: number;
  /** Where a group's rows stand: `rows.count / count` in each range. */
  readonly ranges: readonly RowRange[];
  /** The matrix that reads them, with `columns / count` columns for each group. */
  readonly output: Tensor;
  /** Its bias, where it has one. */
  readonly bias: Tensor | undefined;
  /** For heads: how many queries share a group. */
  readonly queries: number;
}

export function coupledGroups(artifact: ModelArtifact, graph: Graph, section: Section): CoupledGroups[] {
  return section.values.flatMap((value) => {
    const node = graph.nodes[value];
    if (node?.op === "attention") return headGroups(artifact, graph, value, node);
    if (node?.op === "gate" || node?.op === "activation") return channelGroups(artifact, graph, value, node);
    return [];
  });
}

function channelGroups(artifact: ModelArtifact, graph: Graph, value: Value, node: GraphNode): CoupledGroups[] {
  const count = graph.widths[value] ?? 0;
  const output = readerOf(artifact, graph, value);
  const inputs: readonly Value[] = node.inputs;
  const ranges = inputs.map((input) => (isOnlyRead(graph, input) ? rowsThatMake(artifact, graph, input) : undefined));
  const known = ranges.filter((range) => range !== undefined);
  if (output === undefined || known.length !== inputs.length) return [];
  if (known.some((range) => range.count !== count)) return [];
  return [{ kind: "channels", count, ranges: known, queries: 1, ...output }];
}

function headGroups(
  artifact: ModelArtifact,
  graph: Graph,
  value: Value,
  node: Extract<GraphNode, { readonly op: "attention" }>,
): CoupledGroups[] {
  const state = graph.states[node.state];
  const output = readerOf(artifact, graph, value);
  const isShared = graph.nodes.some((other) => other.op === "attendState" && other.state === node.state);
  if (state === undefined || !("kvHeads" in state) || output === undefined || isShared) return [];
  // A head has numbers of its own: they would have to go, too.
  if (node.sinks !== undefined || node.slopes !== undefined) return [];
  const [q, k, v] = node.inputs.map((input) => rowsBeforeHeads(artifact, graph, input));
  if (q === undefined || k === undefined || v === undefined) return [];
  const count = state.kvHeads;
  return [{ kind: "heads", count, ranges: [q, k, v], queries: node.heads / count, ...output }];
}

/** The rows that make a value, looking through what each head does alike: rotation, a norm of one head's width, a factor. */
function rowsBeforeHeads(artifact: ModelArtifact, graph: Graph, value: Value): RowRange | undefined {
  const node = graph.nodes[value];
  if (node === undefined || !isOnlyRead(graph, value)) return undefined;
  const isAlike =
    node.op === "rope" ||
    node.op === "scale" ||
    node.op === "positionScale" ||
    node.op === "clamp" ||
    (node.op === "rmsNorm" && node.groupSize < (graph.widths[value] ?? 0));
  return isAlike ? rowsBeforeHeads(artifact, graph, node.inputs[0]) : rowsThatMake(artifact, graph, value);
}

function isOnlyRead(graph: Graph, value: Value): boolean {
  return consumers(graph, value).length === 1;
}

/** The one matrix that reads a value, and its bias. */
function readerOf(
  artifact: ModelArtifact,
  graph: Graph,
  value: Value,
): Pick<CoupledGroups, "output" | "bias"> | undefined {
  const [node, ...others] = consumers(graph, value);
  if (node?.op !== "linear" || others.length > 0) return undefined;
  const output = wholeTensor(artifact, node.weight);
  const bias = node.bias && wholeTensor(artifact, node.bias);
  if (output === undefined || (node.bias !== undefined && bias === undefined)) return undefined;
  return { output, bias };
}
