/**
 * Bounds what a chat template may do. A template comes with a model file, from anywhere, and runs on the event loop:
 * every step of the interpreter and every character that it makes or looks through is charged here before it is spent.
 */
import { RequestError } from "../errors.ts";

/** A step is some 100 ns. */
const MAX_STEPS = 4_000_000;
/** Characters of a text. */
const MAX_SIZE = 8 * 2 ** 20;
/** All that is made, in texts of that size: it may be kept until the end. */
const KEPT = 4;
/** An item of a list or object, in characters. */
const ITEM = 64;
/** Characters that are copied or looked through in a step. */
const PER_STEP = 32;
const MAX_DEPTH = 64;
const MAX_CALLS = 200;

export class Meter {
  readonly #maxSteps: number;
  readonly #maxSize: number;
  #steps = 0;
  #made = 0;
  #calls = 0;

  /** `given`: the characters of messages and variables; a template has room in proportion, up to the ceilings. */
  constructor(given: number) {
    this.#maxSteps = Math.min(500_000 + 20 * given, MAX_STEPS);
    this.#maxSize = Math.min(1_000_000 + 4 * given, MAX_SIZE);
  }

  charge(steps: number): void {
    this.#steps += steps;
    if (!(this.#steps <= this.#maxSteps))
      throw new RequestError(`the model's chat template takes more than ${this.#maxSteps} steps; it was stopped`);
  }

  /** For looking through so many characters (or items). */
  scan(length: number): void {
    this.charge(length / PER_STEP);
  }

  /** For looking for `part` in so many characters; long ones may be looked at from every place. */
  search(length: number, part: number): void {
    this.charge((length * (part > PER_STEP ? part / 4 : 1)) / PER_STEP);
  }

  /** For a new text of so many characters. */
  make(length: number): void {
    this.scan(length);
    this.#keep(length);
  }

  /** For a new list or object of so many items. */
  gather(items: number): void {
    this.charge(items);
    this.#keep((items + 1) * ITEM);
  }

  /** Throws where a text would be too long. */
  size(length: number): void {
    if (!(length <= this.#maxSize)) this.#tooMuch();
  }

  #keep(size: number): void {
    this.size(size);
    this.#made += size;
    if (this.#made > KEPT * this.#maxSize) this.#tooMuch();
  }

  #tooMuch(): never {
    throw new RequestError(
      `the model's chat template makes more than ${this.#maxSize} characters of text; it was stopped`,
    );
  }

  /** Lists and objects within each other; `depth` from 0. */
  nest(depth: number): void {
    if (depth > MAX_DEPTH)
      throw new RequestError(`the model's chat template is given or makes values more than ${MAX_DEPTH} levels deep`);
  }

  /** Runs the body of a macro. */
  call<T>(body: () => T): T {
    this.charge(10);
    if (++this.#calls > MAX_CALLS)
      throw new RequestError(`the model's chat template calls macros more than ${MAX_CALLS} levels deep`);
    const result = body();
    this.#calls--;
    return result;
  }
}
