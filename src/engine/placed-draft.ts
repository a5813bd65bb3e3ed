/**
 * A draft with its place in a step: which slots its nodes write, and what they see. A chain lies where its tokens would
 * lie; a tree's nodes take slots behind its deepest place, so that moving the accepted ones never overlaps.
 */
import type { StepPlanBuffer } from "../backend/step-plan.ts";
import { cut, depthsOf, type DraftTree, isChain, pathTo } from "../decode/speculative/draft-tree.ts";
import { proposalOf } from "./work/draft.ts";
import type { Sequence } from "./request.ts";
import type { Speculator } from "./speculator.ts";
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
 * What is proposed behind a sequence whose next `count` rows, with so many outputs, reach its last token. Undefined where nothing
 * is, or nothing fits.
 */
export function placeDraft(
  speculation: Speculator | undefined,
  sequence: Sequence,
  count: number,
  outputs: number,
  plan: StepPlanBuffer,
  limits: StepLimits,
): PlacedDraft | undefined {
  const { request, length, coming, planned } = sequence;
  if (request.work.generate === undefined || coming.length > 0 || planned + count < length) return undefined;
  if (request.hasUnforked) return undefined;
  const room = Math.min(
    limits.maxDraft,
    limits.stepTokens - plan.tokenCount - count,
    limits.maxOutputs - plan.outputCount - outputs,
  );
  // The answer's last possible token needs no row.
  const deepest = request.capacity - 1 - length;
  if (room <= 0 || deepest <= 0) return undefined;
  const proposed =
    speculation === undefined ? proposalOf(sequence.drafts, length) : speculation.propose(sequence, room);
  if (proposed === undefined) return undefined;
  const tree = trim(sequence, limits.treeSlots > 0 ? proposed : trunk(proposed));
  // A tree's slots lie behind its deepest place, which no node is deeper than there are nodes.
  const nodes = isChain(tree) ? room : Math.min(room, limits.treeSlots >> 1);
  const left = limits.maxListed - Math.max(plan.listedCount, plan.countedCount);
  return place(sequence, fitting(tree, nodes, deepest, left));
}

/** Without what a kind of work can tell to be wrong. */
function trim(sequence: Sequence, tree: DraftTree): DraftTree {
  return sequence.request.kinds.reduce((left, kind) => kind.trim?.(sequence, left) ?? left, tree);
}

/** A tree with its slots; undefined where it has no nodes. */
function place({ length }: Sequence, tree: DraftTree): PlacedDraft | undefined {
  if (tree.tokens.length === 0) return undefined;
  const depths = depthsOf(tree);
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

/** A tree's first node, that one's first child, and so on. */
function trunk(tree: DraftTree): DraftTree {
  let tip = -1;
  return cut(tree, (node) => {
    if (tree.parents[node] !== tip) return false;
    tip = node;
    return true;
  });
}

/** The first nodes of a tree, at most `most`, down to a depth, that list no more than is left; a node lists its path. */
function fitting(tree: DraftTree, most: number, deepest: number, left: number): DraftTree {
  const depths = depthsOf(tree);
  let [nodes, listed] = [0, 0];
  return cut(tree, (node) => {
    const depth = depths[node] ?? 0;
    if (depth > deepest || nodes === most || listed + depth > left) return false;
    nodes += 1;
    listed += depth;
    return true;
  });
}
