/**
 * From the rows that a graph gave to a step's result: samples, log-probabilities and the rows of named outputs, in arrays
 * of the result's own.
 */
import { invariant } from "../../errors.ts";
import { MAX_TOP_LOGPROBS, NO_SAMPLE, type StepPlan, type StepResult } from "../contract.ts";
import { logSumExp, sampleToken, topIds } from "./sample.ts";
import { count, type SamplerSlots, type Slot } from "./slots.ts";
import type { Step } from "./step.ts";

/** Some rows of a named output: their indices in the step, and their values one after another. */
export interface Rows {
  readonly rows: readonly number[];
  readonly values: Float32Array;
}

/** `tokens` are the step's ids; `names` the outputs that the plan's lists belong to. */
export function stepResult(
  step: Step,
  tokens: Int32Array,
  outputs: ReadonlyMap<string, Rows>,
  names: readonly string[],
  slots: SamplerSlots,
): StepResult {
  const { plan } = step;
  const rowOf = (name: string, row: number): Float32Array => {
    const found = outputs.get(name);
    const at = found?.rows.indexOf(row) ?? -1;
    invariant(found !== undefined && at >= 0, `row ${row} of "${name}" wasn't computed`);
    const width = found.values.length / found.rows.length;
    return found.values.subarray(at * width, (at + 1) * width);
  };
  const sampleIds = new Int32Array(plan.sampleCount);
  const sampleLogprobs = new Float32Array(plan.sampleCount);
  const tops = new Alternatives(plan.sampleTop.some((top) => top > 0) ? plan.sampleCount : 0);
  for (const [i, row] of plan.sampleRows.entries()) {
    const logits = rowOf("logits", row);
    const id = sample(step, i, tokens, logits, slots);
    sampleIds[i] = id;
    sampleLogprobs[i] = logprob(logits, id);
    tops.set(i, logits, plan.sampleTop[i] ?? 0);
  }
  const logprobs = new Float32Array(plan.logprobCount);
  const given = new Alternatives(plan.logprobTop.some((top) => top > 0) ? plan.logprobCount : 0);
  for (const [i, row] of plan.logprobRows.entries()) {
    const logits = rowOf("logits", row);
    logprobs[i] = logprob(logits, plan.logprobIds[i] ?? -1);
    given.set(i, logits, plan.logprobTop[i] ?? 0);
  }
  return {
    sampleIds,
    sampleLogprobs,
    topIds: tops.ids,
    topLogprobs: tops.logprobs,
    logprobs,
    logprobTopIds: given.ids,
    logprobTopLogprobs: given.logprobs,
    outputs: names.map((name, i) => joined(Array.from(plan.outputs[i]?.rows ?? [], (row) => rowOf(name, row)))),
  };
}

function sample(step: Step, i: number, tokens: Int32Array, logits: Float32Array, slots: SamplerSlots): number {
  const { plan } = step;
  const mask = step.masks.get(i);
  if (mask === "drop") return NO_SAMPLE;
  const row = plan.sampleRows[i] ?? 0;
  const { params, seen, generated } = withCounted(slots.get(plan.sampleSlots[i] ?? -1), plan, i, tokens);
  return sampleToken(logits, (plan.positions[row] ?? 0) + 1, params, seen, generated, mask);
}

/** What a sample's slot has, and the rows of this step that count for it. */
function withCounted(slot: Slot, plan: StepPlan, sample: number, tokens: Int32Array): Slot {
  const rows = plan.counted.subarray(plan.countStarts[sample], plan.countStarts[sample + 1]);
  const seen = new Map(slot.seen);
  for (const row of rows) count(seen, tokens[row] ?? -1);
  return { params: slot.params, seen, generated: slot.generated + rows.length };
}

/** Of the model's own distribution; NaN where there is no such token. */
function logprob(logits: Float32Array, id: number): number {
  return (logits[id] ?? NaN) - logSumExp(logits);
}

/** The most likely ids of some rows, and their log-probabilities: −1 and −∞ beyond what was asked for. */
class Alternatives {
  readonly ids: Int32Array;
  readonly logprobs: Float32Array;

  constructor(rows: number) {
    this.ids = new Int32Array(rows * MAX_TOP_LOGPROBS).fill(-1);
    this.logprobs = new Float32Array(rows * MAX_TOP_LOGPROBS).fill(-Infinity);
  }

  set(row: number, logits: Float32Array, wanted: number): void {
    if (!logits.every(Number.isFinite)) return;
    for (const [rank, id] of topIds(logits, wanted).entries()) {
      this.ids[row * MAX_TOP_LOGPROBS + rank] = id;
      this.logprobs[row * MAX_TOP_LOGPROBS + rank] = logprob(logits, id);
    }
  }
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const width = rows[0]?.length ?? 0;
  const out = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) out.set(row, i * width);
  return out;
}
