/** What says that a node doesn't fit: the error, and the checks that shape rules are made of. */
import { MillraceError } from "../errors.ts";
import type { GraphNode, WeightRef } from "./graph.ts";

/** A graph that doesn't fit together: a mistake in a model file or a pass, or a config that contradicts itself. */
export class GraphError extends MillraceError {
  constructor(message: string) {
    super("ERR_GRAPH", message);
  }
}

/** A node must be so, or the message tells what it is. */
export function check(condition: boolean, node: GraphNode, message: string): asserts condition {
  if (!condition) throw new GraphError(`${node.op}: ${message}`);
}

/** The shape of `weight`, which must have `rank` positive dimensions. */
export function dimensions<Rank extends 1 | 2 | 3>(
  node: GraphNode,
  weight: WeightRef,
  rank: Rank,
): Rank extends 1 ? [number] : Rank extends 2 ? [number, number] : [number, number, number];
export function dimensions(node: GraphNode, weight: WeightRef, rank: number): readonly number[] {
  const fine = weight.shape.length === rank && weight.shape.every((n) => Number.isInteger(n) && n > 0);
  check(fine, node, `weight "${weight.name}" has the shape [${weight.shape.join(", ")}], wanted ${rank} dimensions`);
  return weight.shape;
}

/** The weight is a vector of so many values. */
export function checkVector(node: GraphNode, weight: WeightRef, length: number): void {
  const [n] = dimensions(node, weight, 1);
  check(n === length, node, `"${weight.name}" has ${n} values, wanted ${length}`);
}
