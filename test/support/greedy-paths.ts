/** transformers' greedy paths on the shared model, and how far an implementation's logits are from them. */
import type { Llm } from "../../src/engine/llm.ts";

export const MODEL = "models/smollm2-135m-instruct-q4_1.gguf";
export const GREEDY = "models/smollm2-135m-instruct-q4_1.greedy.jsonl";

/** A record of `*.greedy.jsonl`; a step is [id, logit, runner-up's id, its logit]. */
export interface GreedyPath {
  readonly id: string;
  readonly text_prompt: string;
  readonly prompt_ids: readonly number[];
  readonly steps: readonly (readonly [number, number, number, number])[];
  readonly text: string;
}

/** What an implementation makes of one recorded step. */
export interface Step {
  readonly path: string;
  readonly step: number;
  /** Recorded logit − runner-up's logit. */
  readonly gap: number;
  /** The same difference as computed. */
  readonly computed: number;
  /** Is the recorded token the computed argmax? */
  readonly agrees: boolean;
}

/** All tokens of a path but the last: what must be computed to see every step. */
export function teacherForced(path: GreedyPath): number[] {
  return [...path.prompt_ids, ...path.steps.slice(0, -1).map(([id]) => id)];
}

export async function stepsOf(llm: Llm, path: GreedyPath): Promise<Step[]> {
  const rows = await llm.logits(teacherForced(path));
  return path.steps.map(([id, logit, runnerUp, second], step) => {
    const row = rows[path.prompt_ids.length - 1 + step] ?? new Float32Array();
    let best = 0;
    for (let i = 1; i < row.length; i++) if ((row[i] ?? 0) > (row[best] ?? 0)) best = i;
    const computed = (row[id] ?? Number.NaN) - (row[runnerUp] ?? Number.NaN);
    return { path: path.id, step, gap: logit - second, computed, agrees: best === id };
  });
}

export interface Summary {
  readonly steps: number;
  /** Root mean square of computed − recorded margins. */
  readonly rms: number;
  readonly largest: number;
  readonly changed: readonly Step[];
}

export function summarise(steps: readonly Step[]): Summary {
  const errors = steps.map(({ gap, computed }) => Math.abs(computed - gap));
  return {
    steps: steps.length,
    rms: Math.sqrt(errors.reduce((sum, error) => sum + error * error, 0) / errors.length),
    // A NaN must not hide.
    largest: errors.some(Number.isNaN) ? Number.NaN : Math.max(...errors),
    changed: steps.filter(({ agrees }) => !agrees),
  };
}
