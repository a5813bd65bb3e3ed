/**
 * One vector for a prompt: the rows of one of the model's outputs, pooled in order of position, so that the vector has the
 * same bits however the prompt was cut into chunks and whatever else was in the steps. Only rows that count are wanted.
 */
import type { StepResult } from "../../backend/contract.ts";
import type { StepPlanBuffer } from "../../backend/step-plan.ts";
import { ModelError } from "../../errors.ts";
import type { EmbedWish } from "../client.ts";
import type { Asked, Rows, Sequence, Taken, WorkKind } from "../request.ts";

const NONE: Taken = [];

export class Embed implements WorkKind {
  readonly #wish: EmbedWish;
  /** The wanted one among the program's outputs. */
  readonly #output: number;
  /** Of the rows so far. */
  readonly #sum: Float64Array;
  /** The prompt's rows that are in the sum, or count for nothing. */
  #pooled = 0;

  constructor(wish: EmbedWish, output: number, width: number) {
    this.#wish = wish;
    this.#output = output;
    this.#sum = new Float64Array(width);
  }

  outputs(sequence: Sequence, count: number): number {
    return this.#wanted(sequence, sequence.planned, count).length;
  }

  skippable({ request }: Sequence): number {
    return this.#wish.pooling === "last" ? request.work.prompt.length - 1 : this.#pooled;
  }

  ask({ sequence, first, count, row }: Rows, plan: StepPlanBuffer): Asked | undefined {
    const { request } = sequence;
    const end = first + count;
    const at = this.#wanted(sequence, first, count).map((i) => plan.addOutput(this.#output, row + i - first));
    if (at.length === 0) return undefined;
    const take = (result: StepResult): Taken => {
      const rows = result.outputs[this.#output] ?? new Float32Array();
      const width = this.#sum.length;
      for (const i of at)
        for (let c = 0; c < width; c++) this.#sum[c] = (this.#sum[c] ?? 0) + (rows[i * width + c] ?? 0);
      this.#pooled = end;
      const isWhole = this.#wish.pooling === "first" || end >= request.work.prompt.length;
      if (isWhole) this.#tell(sequence);
      return NONE;
    };
    return { take };
  }

  /** The rows among first … first + count − 1 that count and are not pooled yet. */
  #wanted({ request }: Sequence, first: number, count: number): readonly number[] {
    const length = request.work.prompt.length;
    const begin = Math.max(first, this.#pooled);
    const end = Math.min(first + count, length);
    const { pooling } = this.#wish;
    if (pooling === "first") return begin === 0 && end > 0 ? [0] : [];
    if (pooling === "last") return begin < length && end === length ? [length - 1] : [];
    return Array.from({ length: Math.max(0, end - begin) }, (_, i) => begin + i);
  }

  #tell({ request }: Sequence): void {
    const rows = this.#wish.pooling === "mean" ? request.work.prompt.length : 1;
    const values = Float32Array.from(this.#sum, (sum) => sum / rows);
    if (values.every(Number.isFinite)) request.listen({ type: "vector", values });
    else {
      request.failure = new ModelError(
        "the model gave a vector that is not finite (NaN or infinite): a weight of its file or a factor of its config " +
          "is broken",
      );
    }
  }
}
