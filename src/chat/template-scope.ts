/** The variables of a running template: of the whole, of a macro's call, of one round of a loop. */
import type { Meter } from "./template-meter.ts";
import type { Value } from "./template-values.ts";

export class Scope {
  readonly #variables = new Map<string, Value>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  set(name: string, value: Value): void {
    this.#variables.set(name, value);
  }

  get(name: string, meter: Meter): Value {
    if (this.#variables.has(name)) return this.#variables.get(name);
    meter.charge(0.1);
    return this.#outer?.get(name, meter);
  }
}
