/**
 * Steps of the drafting models: before the model that answers takes a step, each drafting model takes as many small ones as
 * its drafts need. A model lags behind: it computes a sequence's known tokens when it first drafts for it. Blocks that
 * several sequences share are computed by one of them at a time; the prefix tree knows which models have done so.
 */
import { BLOCK_TOKENS, type StepResult } from "../backend/contract.ts";
import type { StepPlanBuffer } from "../backend/step-plan.ts";
import { invariant } from "../errors.ts";
import type { SequenceState } from "../state/sequence-state.ts";
import type { EngineRequest, Sequence } from "./request.ts";
import type { Residents } from "./residents.ts";
import { planOps, type Share } from "./share.ts";
import { SURE, type Speculator } from "./speculator.ts";
import type { DraftingModel, SequenceDraft } from "./work/draft.ts";

export interface DraftingStep {
  readonly model: number;
  readonly plan: StepPlanBuffer;
  readonly shares: Share[];
}

export class Drafting {
  readonly #models: readonly DraftingModel[];
  readonly #residents: Residents;
  readonly #speculation: Speculator | undefined;

  constructor(models: readonly DraftingModel[], residents: Residents, speculation: Speculator | undefined) {
    this.#models = models;
    this.#speculation = speculation;
    this.#residents = residents;
  }

  /** The next step of the first model whose drafts aren't done; undefined: all are. */
  schedule(step: number, running: readonly EngineRequest[]): DraftingStep | undefined {
    for (const [model, options] of this.#models.entries()) {
      const shares = this.#share(model, options, step, running);
      if (shares.length === 0) continue;
      for (const slot of this.#residents.takeClosing(model + 1)) options.plan.addClose(slot);
      return { model, plan: options.plan, shares };
    }
    return undefined;
  }

  #share(model: number, options: DraftingModel, step: number, running: readonly EngineRequest[]): Share[] {
    const { plan, depth, stepTokens } = options;
    const depthOf = this.#speculation?.draftDepths(running, model, depth) ?? (() => depth);
    const shares: Share[] = [];
    plan.clear();
    // Of blocks that others have too, one sequence at a time computes what is missing.
    let isLate = false;
    for (const sequence of running.flatMap(({ sequences }) => sequences)) {
      const draft = sequence.drafts[model];
      const { state } = sequence;
      if (draft === undefined || state === undefined || !isReady(sequence)) continue;
      draft.begin(sequence.length);
      // What a grammar all but forces is known without a model.
      if ((sequence.likely?.chances?.[0] ?? 0) >= SURE) draft.isDone = true;
      const most = Math.min(depthOf(sequence), sequence.request.capacity - 1 - sequence.length);
      if (draft.isDone || draft.depth >= most) continue;
      const shared = draft.lags ? sharedPlaces(sequence) : 0;
      if (draft.computed < shared) {
        draft.computed = draft.planned = Math.max(draft.computed, this.#known(model, sequence));
        if (draft.computed < shared && isLate) continue;
        isLate ||= draft.computed < shared;
      }
      const count = Math.min(draft.pending, stepTokens - plan.tokenCount);
      if (count <= 0) continue;
      if (state.grow(draft.places(count))) shares.push(this.#add(model, options, step, sequence, state, draft, count));
      else draft.isDone = true;
    }
    return shares;
  }

  #add(
    model: number,
    { plan, depth, minProbability }: DraftingModel,
    step: number,
    sequence: Sequence,
    state: SequenceState,
    draft: SequenceDraft,
    count: number,
  ): Share {
    plan.addSequence(state.tables);
    const { tokens, slot, index, request } = sequence;
    const params = request.work.generate?.samplers[index];
    invariant(params !== undefined, "what is not an answer is drafted");
    const take = draft.addRows(plan, { tokens, slot, params }, count);
    const ops = planOps(plan, state);
    sequence.lastStep = step;
    sequence.isDrafted = true;
    const { capacity, work } = request;
    const most = Math.min(depth, capacity - 1 - sequence.length);
    const end = { depth: most, minProbability, stopIds: work.generate?.stopIds ?? new Int32Array() };
    return {
      sequence,
      state,
      ops,
      asked: [],
      settle: (result: StepResult) => {
        sequence.isDrafted = false;
        take(result, end);
        this.#residents.prefixes.mark(sequence, model, draft.computed);
        return { hasEnded: false };
      },
      rewind: () => {
        sequence.isDrafted = false;
        state.restoreOps(ops);
        draft.rewind();
      },
    };
  }

  /** Places at a sequence's beginning that the model has computed already, for another sequence. */
  #known(model: number, { request, prefix, entered }: Sequence): number {
    const prompt = Math.floor(request.work.prompt.length / BLOCK_TOKENS) * BLOCK_TOKENS;
    const siblings = request.sequences.map(({ drafts }) => Math.min(prompt, drafts[model]?.computed ?? 0));
    return Math.max(this.#residents.prefixes.markedPlaces(prefix, entered, model), ...siblings);
  }
}

/** Whether the sequence stands at the last of its answer's known tokens, and what follows may be drafted. */
function isReady({ request, finished, coming, isDrafted, planned, length }: Sequence): boolean {
  if (request.work.generate === undefined || finished || isDrafted || coming.length > 0) return false;
  // Nobody waits for a draft before the first token.
  return planned === length - 1 && length > request.work.prompt.length && !request.hasUnforked;
}

/** Places whose blocks other sequences may have, too: in the prefix tree, or as the prompt of several answers. */
function sharedPlaces({ entered, request }: Sequence): number {
  const prompt = request.sequences.length > 1 ? request.work.prompt.length : 0;
  return Math.max(entered * BLOCK_TOKENS, prompt);
}
