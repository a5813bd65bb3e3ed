/**
 * What the model makes of the prompt's own tokens: the log-probability of each but the first, or the logits after each.
 * Alone, or beside answers to it.
 */
import type { StepResult } from "../../backend/contract.ts";
import type { StepPlanBuffer } from "../../backend/step-plan.ts";
import type { ScoreWish } from "../client.ts";
import type { Asked, Rows, Sequence, Taken, WorkKind } from "../request.ts";
import { scored } from "./generate.ts";

const NONE: Taken = [];

export class Score implements WorkKind {
  readonly #wish: ScoreWish;
  /** Of `logits` among the program's outputs. */
  readonly #output: number;
  readonly #vocabSize: number;

  constructor(wish: ScoreWish, output: number, vocabSize: number) {
    this.#wish = wish;
    this.#output = output;
    this.#vocabSize = vocabSize;
  }

  outputs(sequence: Sequence, count: number): number {
    const { begin, end } = this.#wanted(sequence, sequence.planned, count);
    return Math.max(0, end - begin);
  }

  skippable({ request }: Sequence): number {
    return request.scored;
  }

  ask({ sequence, first, count, row }: Rows, plan: StepPlanBuffer): Asked | undefined {
    const { request, tokens } = sequence;
    const { begin, end } = this.#wanted(sequence, first, count);
    if (begin >= end) return undefined;
    const at: number[] = [];
    for (let i = begin; i < end; i++) {
      const inStep = row + i - first;
      at.push(
        this.#wish.want === "logits"
          ? plan.addOutput(this.#output, inStep)
          : plan.addLogprob(inStep, tokens[i + 1] ?? -1, this.#wish.topLogprobs),
      );
    }
    const take = (result: StepResult): Taken => {
      request.scored = end;
      if (this.#wish.want === "logits") {
        const all = result.outputs[this.#output] ?? new Float32Array();
        const rows = at.map((i) => all.slice(i * this.#vocabSize, (i + 1) * this.#vocabSize));
        request.listen({ type: "logits", first: begin, rows });
      } else {
        const { logprobs, logprobTopIds, logprobTopLogprobs } = result;
        const told = at.map((i, n) =>
          scored(tokens[begin + n + 1] ?? -1, logprobs, logprobTopIds, logprobTopLogprobs, i, this.#wish.topLogprobs),
        );
        request.listen({ type: "logprobs", first: begin + 1, tokens: told });
      }
      return NONE;
    };
    return { take };
  }

  /** Which of the tokens first … first + count − 1 have an output that was not told yet. */
  #wanted({ request }: Sequence, first: number, count: number): { readonly begin: number; readonly end: number } {
    const last = request.work.prompt.length - (this.#wish.want === "logits" ? 0 : 1);
    return { begin: Math.max(first, request.scored), end: Math.min(first + count, last) };
  }
}
