/**
 * Rows that a caller gives in place of tokens' (a picture, a soft prompt): checked against what the model takes, put into
 * steps, and named for the prefix tree, which compares a negative number a content where it compares ids of tokens. A
 * content is always whole, so that the number at a row and those before it tell which of its rows stands there.
 */
import type { StepPlanBuffer } from "../backend/step-plan.ts";
import { RequestError } from "../errors.ts";
import type { GivenRows, Span, Work } from "./client.ts";
import type { ValueShape } from "../graph/interface.ts";

/** The rows `begin … end − 1` of a prompt, whose values are given. */
export interface Given {
  readonly begin: number;
  readonly end: number;
  /** Among the program's inputs, and its columns. */
  readonly input: number;
  readonly width: number;
  /** `[end − begin, width]`. */
  readonly values: Float32Array;
  /** Stands for each of them in the prefix tree. */
  readonly key: number;
}

/** Contents whose numbers are known, the least recently used ones given up first: these are computed again. */
const MAX_CONTENTS = 4096;

export class GivenContents {
  readonly #inputs: readonly ValueShape[];
  /** By input, rows, sight and name, in order of use. */
  readonly #keys = new Map<string, number>();
  #last = -1;

  constructor(inputs: readonly ValueShape[]) {
    this.#inputs = inputs;
  }

  /** Throws RequestError where the model doesn't take what a request gives. */
  read({ given = [], prompt, spans = [] }: Work): Given[] {
    const read: Given[] = [];
    for (const rows of given) {
      const one = this.#read(rows, spans);
      const fits = Number.isInteger(one.begin) && one.begin >= 0 && one.end <= prompt.length;
      if (!fits) throw new RequestError(`given rows at ${one.begin} … ${one.end}; the prompt has ${prompt.length}`);
      // Two inputs may be given for one row, which then is of both contents: nobody needs that yet.
      const other = read.find(({ begin, end }) => begin < one.end && one.begin < end);
      if (other !== undefined) throw new RequestError(`the row ${Math.max(one.begin, other.begin)} is given twice`);
      read.push(one);
    }
    return read;
  }

  #read({ input, begin, values, content }: GivenRows, spans: readonly Span[]): Given {
    const index = this.#inputs.findIndex(({ name }) => name === input);
    const width = this.#inputs[index]?.width;
    if (width === undefined) {
      const known = this.#inputs.map(({ name }) => name).join(", ");
      throw new RequestError(`the model has no input "${input}"; it has ${known === "" ? "none" : known}`);
    }
    if (values.length === 0 || values.length % width !== 0)
      throw new RequestError(`${values.length} given values are not rows of ${width}, which "${input}" takes`);
    if (!values.every(Number.isFinite)) throw new RequestError(`values given for "${input}" are not finite`);
    const end = begin + values.length / width;
    // Rows that see each other are others than those that don't.
    const sight = spans.filter((span) => span.begin < end && begin < span.end);
    const parts = [index, end - begin, ...sight.map((span) => `${span.begin - begin}-${span.end - begin}`), content];
    return { begin, end, input: index, width, values, key: this.#keyOf(parts.join(" ")) };
  }

  #keyOf(content: string): number {
    // One more each time: a number that was given up never comes back with another meaning.
    const key = this.#keys.get(content) ?? (this.#last -= 1);
    this.#keys.delete(content);
    this.#keys.set(content, key);
    for (const oldest of this.#keys.keys()) {
      if (this.#keys.size <= MAX_CONTENTS) break;
      this.#keys.delete(oldest);
    }
    return key;
  }
}

/** Puts what is given of a sequence's rows `first … end − 1` into a step, in which the first of them is row `row`. */
export function addGiven(plan: StepPlanBuffer, given: readonly Given[], first: number, end: number, row: number): void {
  for (const one of given) {
    for (let i = Math.max(first, one.begin); i < Math.min(end, one.end); i++) {
      const at = (i - one.begin) * one.width;
      plan.addInput(one.input, row + i - first, one.values.subarray(at, at + one.width));
    }
  }
}
