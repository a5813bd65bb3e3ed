/**
 * The mask of a parse state: one bit a token, set where some continuation of the text exists. Items inside JSON
 * strings take their slice and go on only at its exits; the others walk the trie. Masks are kept by
 * state, so that requests with the same grammar share them.
 */
import type { Derivatives } from "./derivative.ts";
import type { Expression } from "./expression.ts";
import type { Item, Parser, ParseState } from "./parser.ts";
import type { Slice, Slices } from "./slices.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** Bytes of masks kept for a grammar; the oldest go first. */
const KEPT = 8 * 2 ** 20;
/** As many tokens are few. */
const FEW = 16;
const MANY: readonly number[] = [];

export class Masks {
  readonly #vocabulary: Vocabulary;
  readonly #slices: Slices;
  readonly #parser: Parser;
  readonly #derivatives: Derivatives;
  readonly #known = new Map<ParseState, Uint32Array>();
  readonly #few = new WeakMap<ParseState, readonly number[]>();
  readonly #states: ParseState[] = [];

  constructor(parser: Parser, vocabulary: Vocabulary, slices: Slices) {
    this.#parser = parser;
    this.#derivatives = parser.derivatives;
    this.#vocabulary = vocabulary;
    this.#slices = slices;
  }

  of(state: ParseState): Uint32Array {
    let mask = this.#known.get(state);
    if (mask === undefined) {
      mask = this.#compute(state);
      const [oldest] = this.#known.keys();
      if (oldest !== undefined && this.#known.size * mask.byteLength >= KEPT) this.#known.delete(oldest);
      this.#known.set(state, mask);
    }
    return mask;
  }

  /** The tokens that may come next where they are few, the longest first; none: they are many. */
  few(state: ParseState): readonly number[] {
    let few = this.#few.get(state);
    if (few === undefined) {
      few = this.#findFew(state);
      this.#few.set(state, few);
    }
    return few;
  }

  #findFew(state: ParseState): readonly number[] {
    const vocabulary = this.#vocabulary;
    const found = state.accepting ? [...vocabulary.stopIds] : [];
    const add = (id: number): boolean => {
      found.push(id, ...vocabulary.equals(id));
      return found.length <= FEW;
    };
    if (!this.#walk(state, 0, vocabulary.trie.size, 0, add)) return MANY;
    return found.sort((a, b) => vocabulary.bytes(b).length - vocabulary.bytes(a).length || a - b);
  }

  #compute(state: ParseState): Uint32Array {
    const mask = new Uint32Array(this.#vocabulary.words);
    const few = this.#few.get(state) ?? MANY;
    if (few.length > 0) {
      for (const id of few) this.#vocabulary.allow(mask, id);
      return mask;
    }
    const rest: Item[] = [];
    for (const item of state.items) {
      if (item.expression.kind !== "text") {
        rest.push(item);
        continue;
      }
      const inside = this.#withoutSink(item.expression);
      const slice = this.#slices.of(this.#derivatives, inside);
      unite(mask, slice.mask);
      this.#goOn(mask, item, state, slice);
    }
    const { size } = this.#vocabulary.trie;
    if (rest.length === state.items.length) this.#allow(mask, state, 0, size, 0);
    else if (rest.length > 0) this.#allow(mask, this.#parser.part(rest, state), 0, size, 0);
    if (state.accepting) for (const id of this.#vocabulary.stopIds) this.#vocabulary.allow(mask, id);
    return mask;
  }

  /** A key that is noted has the slice of one that isn't. */
  #withoutSink(expression: Expression): Expression {
    if (expression.kind !== "text" || expression.sink === undefined) return expression;
    return this.#derivatives.pool.jsonText(expression.content, expression.escape, undefined);
  }

  /** Tokens that go on after an exit of the slice. */
  #goOn(mask: Uint32Array, item: Item, state: ParseState, slice: Slice): void {
    const { trie } = this.#vocabulary;
    const origin = item.origin ?? state;
    const sink = item.expression.kind === "text" ? item.expression.sink : undefined;
    const after = sink === undefined ? this.#parser.complete(item.rule, origin) : undefined;
    for (const i of sink === undefined ? slice.onward : slice.keyLike) {
      if (slice.dropped.has(i)) continue;
      const node = slice.exits[i] ?? 0;
      const end = trie.end[node] ?? 0;
      const depth = (trie.depth[node] ?? 0) + 1;
      if (after !== undefined) {
        this.#allow(mask, after, node + 1, end, depth);
      } else if (sink !== undefined) {
        const expression = sink.owner.finish(sink.bytes + (slice.contents[i] ?? ""));
        const closed = this.#parser.part([{ rule: item.rule, expression, origin }], state);
        this.#allow(mask, closed, node + 1, end, depth);
      }
    }
  }

  #allow(mask: Uint32Array, start: ParseState, from: number, to: number, base: number): void {
    this.#walk(start, from, to, base, (id) => {
      this.#vocabulary.allow(mask, id);
      return true;
    });
  }

  /**
   * Tells the tokens that end in a range of the trie and are matched from `start`, whose depth is `base`, for as long as that is
   * answered with true.
   */
  #walk(start: ParseState, from: number, to: number, base: number, tell: (id: number) => boolean): boolean {
    const parser = this.#parser;
    const states = this.#states;
    const { byte, depth, end, token } = this.#vocabulary.trie;
    states[base] = start;
    for (let node = from; node < to;) {
      const at = depth[node] ?? 0;
      const next = parser.step(states[at] ?? start, byte[node] ?? 0);
      if (next === null) {
        node = end[node] ?? to;
        continue;
      }
      const id = token[node] ?? -1;
      if (id >= 0 && !tell(id)) return false;
      states[at + 1] = next;
      node++;
    }
    return true;
  }
}

function unite(mask: Uint32Array, more: Uint32Array): void {
  for (let i = 0; i < mask.length; i++) mask[i] = (mask[i] ?? 0) | (more[i] ?? 0);
}
