/** A policy and a drafter that do anything allowed: whatever they do, every answer must stay what it is alone. */
import type { DraftTree } from "../../src/decode/speculative/draft-tree.ts";
import type { Drafter } from "../../src/decode/speculative/drafter.ts";
import type { Policy, SchedulerView, Turn } from "../../src/engine/policies/policy.ts";
import type { EngineRequest } from "../../src/engine/request.ts";
import type { Random } from "./random.ts";

/** Serves in any order, skips, cuts chunks, and preempts for no reason. */
export class Whimsical implements Policy {
  readonly #random: Random;
  preempted = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  *admit({ waiting, running, memory }: SchedulerView): Iterable<Readonly<EngineRequest>> {
    for (const request of waiting) {
      if (this.#random.below(3) === 0 && running.length > 0) continue;
      // Optimistic: an eighth of what it may come to need.
      if (running.length > 0 && memory.some(({ free }, g) => free < (request.need[g] ?? 0) / 8)) return;
      yield request;
    }
  }

  *turns({ running, stepTokens }: SchedulerView): Iterable<Turn> {
    const sequences = running.flatMap((request) =>
      request.sequences.filter(({ state, pending }) => state && pending > 0),
    );
    sequences.sort(() => this.#random.below(3) - 1);
    for (const [i, sequence] of sequences.entries()) {
      if (i > 0 && this.#random.below(4) === 0) continue;
      yield { sequence, rows: this.#random.between(1, stepTokens) };
    }
  }

  victim(
    { running }: SchedulerView,
    sequence: Readonly<{ request: Readonly<EngineRequest> }>,
    candidates: readonly Readonly<EngineRequest>[],
  ): Readonly<EngineRequest> | undefined {
    const last = candidates.at(-1);
    // The oldest is never taken, so that somebody always gets on.
    if (last === undefined || last === running[0]) return undefined;
    this.preempted += 1;
    return this.#random.below(5) === 0 && sequence.request !== running[0] ? sequence.request : last;
  }
}

/** Proposes trees and chains of tokens that are partly the right ones: it knows whole sequences. */
export class Guesser implements Drafter {
  readonly #random: Random;
  readonly #known: readonly (readonly number[])[];
  readonly #vocab: number;
  /** Tokens proposed so far. */
  nodes = 0;

  constructor(random: Random, known: readonly (readonly number[])[], vocab: number) {
    this.#random = random;
    this.#known = known;
    this.#vocab = vocab;
  }

  propose(tokens: Int32Array, room: number): DraftTree | undefined {
    const random = this.#random;
    if (random.below(5) === 0) return undefined;
    const known = this.#known.find((ids) => ids.length > tokens.length && tokens.every((id, i) => id === ids[i]));
    const next = known?.slice(tokens.length, tokens.length + room) ?? [];
    const tree: { tokens: number[]; parents: number[] } = { tokens: [], parents: [] };
    const chain = random.below(2) === 0;
    let [tip, depth] = [-1, 0];
    while (tree.tokens.length < room && random.below(8) > 0) {
      const right = next[depth];
      const good = right !== undefined && random.below(4) > 0;
      tree.parents.push(good || chain ? tip : random.between(-1, tree.tokens.length - 1));
      tree.tokens.push(good ? right : random.below(this.#vocab));
      if (!good && !chain) continue;
      tip = tree.tokens.length - 1;
      depth += 1;
    }
    this.nodes += tree.tokens.length;
    return tree;
  }
}
