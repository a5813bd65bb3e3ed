/**
 * State groups: layers whose states have equal kind and shape share one pool of blocks and one block table a
 * sequence, so that a model of thirty equal layers has one table and Gemma has two.
 */
import type { StateGroup } from "./contract.ts";
import type { Graph } from "../graph/graph.ts";

export function groupStates(graph: Graph): StateGroup[] {
  const groups = new Map<string, { kind: StateGroup["kind"]; window?: number; states: number[] }>();
  for (const [index, state] of graph.states.entries()) {
    const key = [state.kind, state.kvHeads, state.keyDim, state.valueDim, state.window ?? 0].join();
    const group = groups.get(key);
    if (group) group.states.push(index);
    else {
      const window = state.window === undefined ? {} : { window: state.window };
      groups.set(key, { kind: state.kind, ...window, states: [index] });
    }
  }
  return [...groups.values()];
}
