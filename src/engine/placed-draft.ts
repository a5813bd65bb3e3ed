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
 * What may follow a sequence whose next `count` rows, with so many outputs, reach its last token: text that is forced, and
 * behind it what a drafting model or else speculation proposes. Undefined where nothing is proposed, or nothing fits.
 */
export function placeDraft(
  speculation: Speculator | undefined,
  forced: readonly number[],
  sequence: Sequence,
  count: number,
  outputs: number,
  plan: StepPlanBuffer,
  limits: StepLimits,
): PlacedDraft | undefined {
  const { request, length, coming, planned } = sequence;
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
  const listed = limits.maxListed - Math.max(plan.listedCount, plan.countedCount);
  // A chain of n nodes lists n (n + 1) / 2 of them.
  const chain = forced.slice(0, Math.min(room, deepest, Math.floor(Math.sqrt(2 * listed + 0.25) - 0.5)));
  const proposed = chain.length === room ? undefined : propose(speculation, sequence, forced, room - chain.length);
  if (proposed !== undefined && chain.length === forced.length) {
    const whole = prune(behind(chain, proposed), room, deepest);
    const placed = place(sequence, trim(sequence, whole), listed);
    if (placed !== undefined) return placed;
  }
  return place(sequence, behind(chain, NO_TREE), listed);
}

const NO_TREE: DraftTree = { tokens: [], parents: [] };

function propose(
  speculation: Speculator | undefined,
  sequence: Sequence,
  forced: readonly number[],
  room: number,
): DraftTree | undefined {
  if (speculation !== undefined) return speculation.propose(sequence, forced, room);
  return forced.length > 0 ? undefined : proposalOf(sequence.drafts, sequence.length);
}

/** Without what a kind of work can tell to be wrong. */
function trim(sequence: Sequence, tree: DraftTree): DraftTree {
  return sequence.request.kinds.reduce((left, kind) => kind.trim?.(sequence, left) ?? left, tree);
}

/** A tree whose root is the end of a chain. */
function behind(chain: readonly number[], tree: DraftTree): DraftTree {
  if (chain.length === 0) return tree;
  return {
    tokens: [...chain, ...tree.tokens],
    parents: [...chain.map((_, i) => i - 1), ...tree.parents.map((parent) => parent + chain.length)],
  };
}

/** A tree with its slots; undefined where it has no nodes, or lists more than is left. */
function place({ length }: Sequence, tree: DraftTree, left: number): PlacedDraft | undefined {
  const depths = depthsOf(tree);
  const listed = depths.reduce((sum, depth) => sum + depth, 0);
  if (tree.tokens.length === 0 || listed > left) return undefined;
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

/** The nodes down to a depth, at most `room` of them. */
function prune(tree: DraftTree, room: number, deepest: number): DraftTree {
  const depths = depthsOf(tree);
  let kept = 0;
  return cut(tree, (node) => (depths[node] ?? 0) <= deepest && ++kept <= room);
}
