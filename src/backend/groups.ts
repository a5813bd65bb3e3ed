/**
 * State groups: layers whose states have equal kind and shape share one pool of blocks and one block table a
 * sequence, so that a model of thirty equal layers has one table and Gemma has two. Several graphs share what they
 * call by the same name.
 */
import { invariant } from "../errors.ts";
import type { Graph, StateSpec } from "../graph/graph.ts";
import type { KvType, StateGroup } from "./contract.ts";

/** The groups that hold all states of the graphs. */
export function groupStates(graphs: readonly Graph[], type: KvType): StateGroup[] {
  const specs = new Map<string, StateSpec>();
  for (const { states, name } of graphs) {
    for (const state of states) {
      const same = specs.get(state.name);
      invariant(same === undefined || shapeOf(same) === shapeOf(state), `${name} has another state "${state.name}"`);
      specs.set(state.name, state);
    }
  }
  const groups = new Map<string, StateSpec[]>();
  for (const state of specs.values()) {
    const group = groups.get(shapeOf(state));
    if (group) group.push(state);
    else groups.set(shapeOf(state), [state]);
  }
  return [...groups.values()].map((members) => {
    const [first] = members;
    invariant(first !== undefined, "a state group without states");
    const states = members.map(({ name }) => name);
    if (first.kind === "rows" || first.kind === "recurrent") {
      const { name: _, ...shape } = first;
      return { ...shape, states };
    }
    const { name: _, ...shape } = first;
    return { ...shape, states, type };
  });
}

/** Where a state lies: its group, and which of the group's layers it is. */
export function findState(
  groups: readonly StateGroup[],
  name: string,
): { readonly group: number; readonly layer: number } {
  for (const [group, { states }] of groups.entries()) {
    const layer = states.indexOf(name);
    if (layer >= 0) return { group, layer };
  }
  throw new Error(`Millrace defect: no group holds the state "${name}"`);
}

function shapeOf(state: StateSpec): string {
  if (state.kind === "recurrent") return `recurrent ${state.width}`;
  if (state.kind === "rows") return `rows ${state.width} ${state.window ?? 0}`;
  const { kind, kvHeads, keyDim, valueDim, window = 0 } = state;
  return [kind, kvHeads, keyDim, valueDim, window].join();
}
