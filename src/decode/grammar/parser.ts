/**
 * The parser above the expressions: Earley's algorithm (1970), byte by byte, over rules whose bodies are expressions. A state
 * (`ParseState`) is the set of items after some bytes; it points back to the states where its items began, so that it is a
 * persistent value: keeping a state is all that a rollback needs. Equal states are one object, their transitions are kept, and
 * so a text met again costs a look-up a byte. Calls in last place take over their caller's item (as in Leo 1991), which keeps
 * right recursion flat.
 */
import type { Derivatives } from "./derivative.ts";
import type { Expression, Rule } from "./expression.ts";
import type { Partition } from "./partition.ts";

/** "This much of `rule`, begun at `origin`, remains to be matched." */
export interface Item {
  readonly rule: Rule;
  readonly expression: Expression;
  /** Undefined: begun in the state that holds the item. */
  readonly origin: ParseState | undefined;
}

/** An item that goes on with `after` when the rule it waits for is complete. */
interface Waiter {
  readonly rule: Rule;
  readonly after: Expression;
  readonly origin: ParseState | undefined;
}

export class ParseState {
  readonly id: number;
  readonly items: readonly Item[];
  readonly waiting: ReadonlyMap<Rule, readonly Waiter[]>;
  /** The text so far is in the language. */
  readonly accepting: boolean;
  partition: Partition | undefined;
  generation: number;
  /** Next state by class of byte; null: none. */
  next: (ParseState | null | undefined)[] = [];
  /** What completing a rule that began here leads to. */
  completions = new Map<Rule, ParseState>();

  constructor(
    id: number,
    items: readonly Item[],
    waiting: ReadonlyMap<Rule, readonly Waiter[]>,
    accepting: boolean,
    generation: number,
  ) {
    this.id = id;
    this.items = items;
    this.waiting = waiting;
    this.accepting = accepting;
    this.generation = generation;
  }
}

export class Parser {
  readonly derivatives: Derivatives;
  readonly start: ParseState;
  readonly #root: Rule;
  #states = new Map<string, ParseState>();
  #generation = 0;
  #ids = 0;

  constructor(derivatives: Derivatives, root: Rule) {
    this.derivatives = derivatives;
    this.#root = root;
    const gather = new Gather(this.derivatives);
    gather.add(root, root.body(), undefined);
    this.start = this.#build(
      gather.kernel,
      gather.kernel.some((item) => item.expression.nullable),
    );
  }

  /** The state after a byte, or null where no text of the language goes on so. */
  step(state: ParseState, byte: number): ParseState | null {
    const { pool } = this.derivatives;
    if (state.generation !== pool.generation) this.#forget(state);
    const partition = (state.partition ??= this.#partition(state));
    const index = partition.classOf[byte] ?? 0;
    let next = state.next[index];
    if (next === undefined) {
      next = this.#step(state, byte);
      state.next[index] = next;
    }
    return next;
  }

  /** Two bytes of each class that the state tells apart, one where a class has no more. */
  bytes(state: ParseState): readonly number[] {
    return (state.partition ??= this.#partition(state)).pairs;
  }

  /** How many states are kept. */
  get size(): number {
    return this.#states.size;
  }

  /** The state after `rule`, begun at `origin`, is complete. */
  complete(rule: Rule, origin: ParseState): ParseState {
    const { pool } = this.derivatives;
    if (origin.generation !== pool.generation) this.#forget(origin);
    let after = origin.completions.get(rule);
    if (after === undefined) {
      const gather = new Gather(this.derivatives);
      after = this.#finish(gather, this.#resume(gather, rule, origin));
      origin.completions.set(rule, after);
    }
    return after;
  }

  /** A state with some of another's items only: for masks, which are made item by item. */
  part(items: readonly Item[], of: ParseState): ParseState {
    return new ParseState(
      this.#ids++,
      items.map((item) => within(item, of)),
      of.waiting,
      false,
      of.generation,
    );
  }

  #partition(state: ParseState): Partition {
    const { partitions } = this.derivatives;
    return state.items.reduce(
      (all, item) => partitions.merge(all, this.derivatives.partition(item.expression)),
      partitions.whole,
    );
  }

  #step(state: ParseState, byte: number): ParseState | null {
    const { derivatives } = this;
    const { none } = derivatives.pool;
    const [only, ...more] = state.items;
    if (only !== undefined && more.length === 0) {
      const expression = derivatives.step(only.expression, byte);
      if (expression === none) return null;
      // The common case, inside a string or a number: nothing to predict, nothing to complete.
      if (expression.callFree && !expression.nullable) {
        return this.#intern([{ rule: only.rule, expression, origin: only.origin ?? state }], false);
      }
    }
    const gather = new Gather(derivatives);
    for (const item of state.items) {
      const expression = derivatives.step(item.expression, byte);
      if (expression !== none) gather.add(item.rule, expression, item.origin ?? state);
    }
    return gather.kernel.length === 0 ? null : this.#finish(gather, false);
  }

  /** Lets the items that wait for a rule begun at `origin` go on. Says whether the whole text is complete. */
  #resume(gather: Gather, rule: Rule, origin: ParseState): boolean {
    for (const waiter of origin.waiting.get(rule) ?? []) {
      gather.add(waiter.rule, waiter.after, waiter.origin ?? origin);
    }
    return rule === this.#root && origin === this.start;
  }

  #finish(gather: Gather, complete: boolean): ParseState {
    const { fuel, empty } = this.derivatives.pool;
    let accepting = complete;
    // The list grows while it is read.
    for (const { rule, expression, origin } of gather.kernel) {
      fuel.spend(1);
      if (origin !== undefined && expression.nullable) accepting = this.#resume(gather, rule, origin) || accepting;
    }
    return this.#intern(
      gather.kernel.filter((item) => item.expression !== empty),
      accepting,
    );
  }

  #intern(kernel: readonly Item[], accepting: boolean): ParseState {
    const key = kernel
      .map((item) => `${item.rule.id} ${item.expression.id} ${item.origin?.id}`)
      .sort()
      .join(",");
    const named = accepting ? `${key}!` : key;
    let state = this.#states.get(named);
    if (state === undefined) {
      state = this.#build(kernel, accepting);
      this.#states.set(named, state);
    }
    return state;
  }

  /** Predicts: rules that are called begin here. */
  #build(kernel: readonly Item[], accepting: boolean): ParseState {
    const { derivatives } = this;
    const waiting = new Map<Rule, Waiter[]>();
    const gather = new Gather(derivatives, kernel);
    for (let i = 0; i < gather.kernel.length; i++) {
      const item = gather.kernel[i];
      if (item === undefined) continue;
      for (const { rule, after } of derivatives.calls(item.expression)) {
        if (isTail(after)) continue;
        const list = waiting.get(rule);
        const waiter = { rule: item.rule, after, origin: item.origin };
        if (list === undefined) {
          waiting.set(rule, [waiter]);
          gather.add(rule, rule.body(), undefined);
        } else if (
          !list.some((one) => one.rule === waiter.rule && one.after === after && one.origin === waiter.origin)
        ) {
          list.push(waiter);
        }
      }
    }
    derivatives.pool.fuel.spend(gather.kernel.length);
    return new ParseState(this.#ids++, gather.kernel, waiting, accepting, derivatives.pool.generation);
  }

  #forget(state: ParseState): void {
    const { generation } = this.derivatives.pool;
    if (this.#generation !== generation) {
      this.#generation = generation;
      this.#states = new Map();
    }
    state.generation = generation;
    state.next = [];
    state.completions = new Map();
  }
}

/** Collects items without repeats; nullable rules are skipped, calls in last place are followed. */
class Gather {
  readonly kernel: Item[];
  readonly #derivatives: Derivatives;
  readonly #seen = new Set<string>();

  constructor(derivatives: Derivatives, kernel: readonly Item[] = []) {
    this.#derivatives = derivatives;
    this.kernel = [...kernel];
    for (const item of kernel) this.#seen.add(keyOf(item.rule, item.expression, item.origin));
  }

  add(rule: Rule, expression: Expression, origin: ParseState | undefined): void {
    // Apart, so that a mask can take the slice of a string among them.
    if (expression.kind === "alternatives" && expression.list.some((one) => one.kind === "text" || !one.callFree)) {
      for (const one of expression.list) this.add(rule, one, origin);
      return;
    }
    const key = keyOf(rule, expression, origin);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.kernel.push({ rule, expression, origin });
    if (expression.callFree) return;
    for (const call of this.#derivatives.calls(expression)) {
      if (isTail(call.after)) this.add(rule, call.rule.body(), origin);
      else if (call.rule.nullable) this.add(rule, call.after, origin);
    }
  }
}

function keyOf(rule: Rule, expression: Expression, origin: ParseState | undefined): string {
  return `${rule.id} ${expression.id} ${origin?.id}`;
}

function isTail(after: Expression): boolean {
  return after.kind === "empty";
}

function within(item: Item, state: ParseState): Item {
  return item.origin === undefined ? { ...item, origin: state } : item;
}
