/**
 * A draft with its place in a step: which slots its nodes write, and what they see. A chain lies where its tokens would
 * lie; a tree's nodes take slots behind its deepest place, so that moving the accepted ones never overlaps.
 */
import type { StepPlanBuffer } from "../backend/step-plan.ts";
import { depthsOf, type Drafter, type DraftTree, isChain, pathTo } from "../decode/speculative/draft-tree.ts";
import type { Sequence } from "./request.ts";
import type { StepLimits } from "./limits.ts";

export interface PlacedDraft {
  readonly tree: DraftTree;
  readonly isChain: boolean;
  /** The slot of node 0; the others follow. */
  readonly base: number;
  /** Slots that the sequence needs with it. */
  readonly slots: number;
  addRows(plan: StepPlanBuffer): void;
}

/**
 * What a drafter proposes for a sequence whose next `count` rows, with so many outputs, reach its last token; undefined
 * where it can't or won't.
 */
export function placeDraft(
  drafter: Drafter,
  sequence: Sequence,
  count: number,
  outputs: number,
  plan: StepPlanBuffer,
  limits: StepLimits,
): PlacedDraft | undefined {
  const { request, length, coming, planned, tokens } = sequence;
  if (request.work.generate === undefined || coming.length > 0 || planned + count < length) return undefined;
  if (request.unforked.length > 0) return undefined;
  const room = Math.min(
    limits.maxDraft,
    limits.stepTokens - plan.tokenCount - count,
    limits.maxOutputs - plan.outputCount - outputs,
  );
  // The answer's last possible token needs no row.
  const deepest = request.capacity - 1 - length;
  if (room <= 0 || deepest <= 0) return undefined;
  const proposed = drafter.propose(tokens.subarray(0, length), room);
  if (proposed === undefined) return undefined;
  const tree = prune(proposed, room, deepest);
  const depths = depthsOf(tree);
  const listed = depths.reduce((sum, depth) => sum + depth, 0);
  if (tree.tokens.length === 0 || listed > limits.maxListed - Math.max(plan.listedCount, plan.countedCount)) {
    return undefined;
  }
  const chain = isChain(tree);
  const base = chain ? length : length + Math.max(...depths);
  return {
    tree,
    isChain: chain,
    base,
    slots: base + tree.tokens.length,
    addRows(to) {
      for (const [node, token] of tree.tokens.entries()) {
        const position = length - 1 + (depths[node] ?? 0);
        if (chain) to.addRow(token, position);
        else {
          to.addRow(token, position, base + node, length);
          for (const seen of pathTo(tree, node)) to.addListed(base + seen);
        }
      }
    },
  };
}

/** The nodes down to a depth, at most `room` of them; a node without its parent goes with it. */
function prune(tree: DraftTree, room: number, deepest: number): DraftTree {
  const depths = depthsOf(tree);
  const kept = new Map<number, number>([[-1, -1]]);
  const tokens: number[] = [];
  const parents: number[] = [];
  for (const [node, token] of tree.tokens.entries()) {
    const parent = kept.get(tree.parents[node] ?? -1);
    if (parent === undefined || (depths[node] ?? 0) > deepest || tokens.length === room) continue;
    kept.set(node, tokens.length);
    tokens.push(token);
    parents.push(parent);
  }
  return { tokens, parents };
}
