/**
 * What an operation on a grammar may cost: work is counted, not timed, so that a hostile grammar fails at the same place on
 * every machine, with an error and without a stall.
 */
import { UnsupportedGrammarError } from "../../errors.ts";

export class Fuel {
  #left: number;
  #what = "compiling";

  constructor(amount: number) {
    this.#left = amount;
  }

  /** Begins an operation: `amount` units of about 100 ns. */
  fill(amount: number, what: string): void {
    this.#left = amount;
    this.#what = what;
  }

  spend(units: number): void {
    this.#left -= units;
    if (this.#left < 0) {
      throw new UnsupportedGrammarError(
        `the grammar is too complex: ${this.#what} it takes more work than is allowed`,
        "complexity",
        "",
      );
    }
  }
}
