/**
 * A step from its submission to its end: its copy of the plan, the masks that arrive late, and the one result or error.
 * When it may begin, and what it computes, is its program's business.
 */
import { type StepError, invariant } from "../../errors.ts";
import type { StepHandle, StepPlan, StepResult } from "../contract.ts";

export type Mask = Uint32Array | "drop";

export class Step implements StepHandle {
  readonly plan: StepPlan;
  readonly result: Promise<StepResult>;
  /** Resolves when the step has ended, well or not. */
  readonly end: Promise<void>;
  readonly masks = new Map<number, Mask>();
  /** The samples of a step that ended well. */
  sampleIds: Int32Array | undefined;
  /** Its turn has come: the steps before it have ended. */
  begun = false;
  ended = false;
  readonly #onMasks: (step: Step) => void;
  readonly #onCancel: (step: Step) => void;
  readonly #settle: PromiseWithResolvers<StepResult>;

  constructor(plan: StepPlan, onMasks: (step: Step) => void, onCancel: (step: Step) => void) {
    this.plan = plan;
    this.#onMasks = onMasks;
    this.#onCancel = onCancel;
    this.#settle = Promise.withResolvers();
    this.result = this.#settle.promise;
    this.end = this.result.then(
      () => undefined,
      () => undefined,
    );
  }

  /** Have all masks arrived that the plan declares? */
  get masked(): boolean {
    return this.plan.sampleMasked.every((declared, sample) => declared === 0 || this.masks.has(sample));
  }

  mask(sample: number, mask: Mask): void {
    invariant(this.plan.sampleMasked[sample] === 1, `no mask was declared for sample ${sample}`);
    invariant(!this.masks.has(sample), `sample ${sample} has its mask already`);
    this.masks.set(sample, mask === "drop" ? mask : mask.slice());
    if (!this.ended && this.masked) this.#onMasks(this);
  }

  cancel(): void {
    if (!this.ended) this.#onCancel(this);
  }

  succeed(result: StepResult): void {
    this.ended = true;
    this.sampleIds = result.sampleIds;
    this.#settle.resolve(result);
  }

  fail(error: StepError): void {
    this.ended = true;
    this.#settle.reject(error);
  }
}

/** The handle of a plan that was refused: nothing has changed, and nothing will come. */
export function refusedStep(cause: unknown): StepHandle {
  return { result: Promise.reject(cause), mask: () => undefined, cancel: () => undefined };
}
