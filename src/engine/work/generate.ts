/**
 * Answers to a prompt. At an answer's last token, and at each node of a draft that may follow it, a sample is drawn; the
 * answer goes on along the nodes that equal the samples, so a plain step is a draft without nodes. The prompt's last row
 * is sampled once for each of the n answers. Under a grammar every sample has a mask, a node's by the path to it.
 */
import { MAX_TOP_LOGPROBS, NOT_FINITE, type StepResult } from "../../backend/contract.ts";
import type { StepPlanBuffer } from "../../backend/step-plan.ts";
import type { AnswerGrammar } from "../../decode/grammar/answer-grammar.ts";
import { likelyTokens } from "../../decode/grammar/likely-tokens.ts";
import { cut, type DraftTree, pathTo, verify } from "../../decode/speculative/draft-tree.ts";
import { ModelError, UnsupportedGrammarError, invariant } from "../../errors.ts";
import type { FinishReason, GenerateWish, ScoredToken } from "../client.ts";
import type { HeldGrammar } from "../grammars.ts";
import type { Asked, EngineRequest, MaskWish, Rows, Sequence, Taken, WorkKind } from "../request.ts";

const NONE: Taken = [];
const NOBODY: readonly Sequence[] = [];

export class Generate implements WorkKind {
  readonly #wish: GenerateWish;
  readonly #stopIds: ReadonlySet<number>;
  readonly #held: HeldGrammar | undefined;
  /** For each answer. */
  readonly #states: unknown[] = [];
  /** For each answer: what is likely behind its first `length` tokens, where that was looked for. */
  readonly #likely: ({ readonly length: number; readonly tree: DraftTree | undefined } | undefined)[] = [];

  constructor(wish: GenerateWish, held: HeldGrammar | undefined) {
    this.#wish = wish;
    this.#held = held;
    this.#stopIds = new Set(wish.stopIds);
  }

  outputs(sequence: Sequence, count: number): number {
    return answersAt(sequence, sequence.planned + count).length;
  }

  skippable({ length }: Sequence): number {
    return length - 1;
  }

  likely(answer: Sequence): DraftTree | undefined {
    const { index, length, finished } = answer;
    if (this.#held === undefined || finished) return undefined;
    const known = this.#likely[index];
    if (known?.length === length) return known.tree;
    const tree = likelyBehind(this.#held, this.#stateOf(answer, this.#held.grammar), lastTwo(answer));
    this.#likely[index] = { length, tree };
    return tree;
  }

  /** Without what the grammar forbids. */
  trim(sequence: Sequence, draft: DraftTree): DraftTree {
    const grammar = this.#held?.grammar;
    if (grammar === undefined) return draft;
    const states: unknown[] = [];
    return cut(draft, (node) => {
      const parent = draft.parents[node] ?? -1;
      const before = parent < 0 ? this.#stateOf(sequence, grammar) : states[parent];
      states[node] = before === undefined ? undefined : advanced(grammar, before, draft.tokens[node] ?? -1);
      return states[node] !== undefined;
    });
  }

  ask(rows: Rows, plan: StepPlanBuffer): Asked | undefined {
    const { sequence, step, draft } = rows;
    const end = rows.first + rows.count;
    const answers = answersAt(sequence, end);
    if (answers.length === 0) return undefined;
    const row = rows.row + rows.count - 1;
    const masks: MaskWish[] = [];
    const samples = answers.map((answer) => {
      this.#count(answer, plan);
      const sample = this.#sample(answer, row, plan, masks, (grammar) => this.#stateOf(answer, grammar));
      answer.coming.push({ step, sample });
      return { answer, sample };
    });
    if (draft !== undefined && draft.tokens.length > 0) {
      const [root] = samples;
      invariant(root !== undefined && samples.length === 1, "a draft where answers still share a prompt");
      // Node by node, each from its parent's.
      const states: unknown[] = [];
      for (const [node, token] of draft.tokens.entries()) {
        const parent = draft.parents[node] ?? -1;
        this.#sample(sequence, row + 1 + node, plan, masks, (grammar) => {
          const before = parent < 0 ? this.#stateOf(sequence, grammar) : states[parent];
          return (states[node] = before === undefined ? undefined : grammar.advance(before, token));
        });
        for (const before of pathTo(draft, node)) plan.addCounted(row + 1 + before);
      }
      const take = (result: StepResult): Taken => {
        const path = verify(draft, (node) => result.sampleIds[root.sample + 1 + node] ?? NOT_FINITE);
        const taken = this.#take(sequence, [root.sample, ...path.map((node) => root.sample + 1 + node)], result);
        const accepted = path.slice(0, Math.max(0, taken - 1));
        countDraft(sequence.request, draft, accepted);
        return accepted;
      };
      return { root: root.sample, take, masks };
    }
    const take = (result: StepResult): Taken => {
      for (const { answer, sample } of samples) if (!answer.finished) this.#take(answer, [sample], result);
      return NONE;
    };
    return { take, masks };
  }

  /** A sample of an answer, and the wish for its mask: masks are made in this order, once the answer's known tokens are taken. */
  #sample(
    answer: Sequence,
    row: number,
    plan: StepPlanBuffer,
    masks: MaskWish[],
    stateAt: (grammar: AnswerGrammar<unknown>) => unknown,
  ): number {
    const grammar = this.#held?.grammar;
    const sample = plan.addSample(row, answer.slot, this.#wish.topLogprobs, grammar !== undefined);
    if (grammar === undefined) return sample;
    const make = (): Uint32Array | "drop" => {
      const state = stateAt(grammar);
      return answer.finished || state === undefined ? "drop" : grammar.mask(state);
    };
    masks.push({ sample, make });
    return sample;
  }

  /** Where the answer's known tokens stand in the grammar. */
  #stateOf(answer: Sequence, grammar: AnswerGrammar<unknown>): unknown {
    return this.#states[answer.index] ?? grammar.start;
  }

  /** Sees to it that the answer's sampler slot is open and counts its tokens, the last one included. */
  #count(answer: Sequence, plan: StepPlanBuffer): void {
    const { slot, index, length, tokens, coming, request } = answer;
    const prompt = request.work.prompt.length;
    if (!answer.isOpen) {
      const params = this.#wish.samplers[index];
      invariant(params !== undefined, `there is no answer ${index}`);
      plan.addOpen({ slot, params, prompt: request.work.prompt, answer: tokens.slice(prompt, length) });
      answer.isOpen = true;
      answer.committed = length - prompt;
    }
    for (; prompt + answer.committed < length; answer.committed++) {
      plan.addCommit(slot, tokens[prompt + answer.committed] ?? -1);
    }
    for (; prompt + answer.committed < length + coming.length; answer.committed++) {
      const reference = coming[prompt + answer.committed - length];
      invariant(reference !== undefined, "a token is neither known nor coming");
      plan.addCommit(slot, plan.addReference(reference.step, reference.sample));
    }
  }

  /** A token follows the answer's known ones. */
  #advance(answer: Sequence, token: number, { grammar, choices }: HeldGrammar): void {
    const state = this.#stateOf(answer, grammar);
    const among = fewIn(grammar, state);
    if (among.length > 1) choices.learn(...lastTwo(answer), among, among.indexOf(token));
    this.#states[answer.index] = grammar.advance(state, token);
  }

  /** Appends samples of the step to an answer, as far as it goes; gives how many. */
  #take(answer: Sequence, samples: readonly number[], result: StepResult): number {
    const { request } = answer;
    request.steps += 1;
    answer.coming.shift();
    const tokens: ScoredToken[] = [];
    let finish: FinishReason | undefined;
    for (const sample of samples) {
      const id = result.sampleIds[sample] ?? NOT_FINITE;
      if (id < 0) {
        request.failure = new ModelError(
          id === NOT_FINITE
            ? `the model gave logits that are not finite (NaN or infinite) at position ${answer.length}: a weight of its ` +
                "file or a factor of its config is broken"
            : "every token is forbidden here, by logitBias or a grammar",
        );
        return tokens.length;
      }
      if (this.#held !== undefined) this.#advance(answer, id, this.#held);
      answer.tokens[answer.length] = id;
      answer.length += 1;
      tokens.push(scored(id, result.sampleLogprobs, result.topIds, result.topLogprobs, sample, this.#wish.topLogprobs));
      if (this.#stopIds.has(id)) finish = "stop";
      else if (answer.length === request.capacity) finish = "length";
      if (finish !== undefined) break;
    }
    answer.finished = finish !== undefined;
    request.listen({ type: "tokens", answer: answer.index, tokens, ...(finish && { finish }) });
    return tokens.length;
  }
}

/** A grammar that grows too large while it is looked through ends the request where its mask is made. */
function likelyBehind(held: HeldGrammar, state: unknown, last: readonly [number, number]): DraftTree | undefined {
  try {
    return likelyTokens(held.grammar, state, last, held.choices);
  } catch (error) {
    if (error instanceof UnsupportedGrammarError) return undefined;
    throw error;
  }
}

function fewIn(grammar: AnswerGrammar<unknown>, state: unknown): readonly number[] {
  try {
    return grammar.few(state);
  } catch (error) {
    if (error instanceof UnsupportedGrammarError) return [];
    throw error;
  }
}

function lastTwo({ tokens, length }: Sequence): readonly [number, number] {
  return [tokens[length - 2] ?? -1, tokens[length - 1] ?? -1];
}

function advanced(grammar: AnswerGrammar<unknown>, state: unknown, token: number): unknown {
  try {
    return grammar.advance(state, token);
  } catch (error) {
    if (error instanceof UnsupportedGrammarError) return undefined;
    throw error;
  }
}

function countDraft(request: EngineRequest, draft: DraftTree, accepted: readonly number[]): void {
  request.drafted += draft.tokens.length;
  request.accepted += accepted.length;
  request.predicted.drafted += draft.predicted?.size ?? 0;
  request.predicted.accepted += accepted.filter((node) => draft.predicted?.has(node)).length;
}

/** The answers whose last token is the last of a sequence's first `end` ones: its own, and those that share its prompt. */
function answersAt(sequence: Sequence, end: number): readonly Sequence[] {
  const { request } = sequence;
  const isThere = ({ reach, finished }: Sequence): boolean => reach === end && !finished;
  if (!request.hasUnforked) return isThere(sequence) ? [sequence] : NOBODY;
  return [sequence, ...request.unforked].filter(isThere);
}

/** Token `id`, and the first `count` of the alternatives at index `at` of a result's lists. */
export function scored(
  id: number,
  logprobs: Float32Array,
  topIds: Int32Array,
  topLogprobs: Float32Array,
  at: number,
  count: number,
): ScoredToken {
  const top = Array.from({ length: count }, (_, i) => ({
    id: topIds[at * MAX_TOP_LOGPROBS + i] ?? -1,
    logprob: topLogprobs[at * MAX_TOP_LOGPROBS + i] ?? Number.NaN,
  }));
  return { id, logprob: logprobs[at] ?? Number.NaN, top };
}
