/**
 * A compiled grammar, and its states over a vocabulary. A state is an immutable value: to go back, keep the earlier one.
 * `Grammar` answers about texts, `TokenGrammar` about tokens, and `GrammarCursor` follows one sequence.
 */
import type { AnswerGrammar } from "./answer-grammar.ts";
import { toBytes, utf8Bytes } from "./byte-string.ts";
import type { GrammarBuilder } from "./builder.ts";
import type { Rule } from "./expression.ts";
import { Masks } from "./masks.ts";
import { Parser, type ParseState } from "./parser.ts";
import { Slices } from "./slices.ts";
import { type TokenTable, Vocabulary } from "./vocabulary.ts";

/** Where a text stands in a grammar; opaque, immutable. */
export type GrammarState = ParseState;

/** Units of work (fuel.ts) that one token, and one mask, may take: far more than any sane grammar needs. */
const STEP_FUEL = 500_000;
const MASK_FUEL = 1_500_000;
/** Parse states and expressions that a grammar keeps before it forgets what it can compute again. */
const KEPT_STATES = 50_000;
/** Forced text is looked for this far. */
const FORCED = 512;

/**
 * A vocabulary, prepared for masks: build it once a tokenizer (`llm.tokenizer`).
 *
 * @example
 * const tokens = compileGrammar({ choice: ["yes", "no"] }).over(new GrammarVocabulary(llm.tokenizer));
 * const mask = tokens.mask(tokens.start); // bit i of word i / 32: may token i come first?
 */
export class GrammarVocabulary {
  /** What masks are made of; of no use outside. */
  readonly vocabulary: Vocabulary;
  readonly slices: Slices;

  constructor(table: TokenTable) {
    this.vocabulary = new Vocabulary(table);
    this.slices = new Slices(this.vocabulary);
  }
}

export class Grammar {
  readonly #builder: GrammarBuilder;
  readonly #parser: Parser;
  readonly #tokens = new WeakMap<GrammarVocabulary, TokenGrammar>();

  constructor(builder: GrammarBuilder, root: Rule) {
    this.#builder = builder;
    this.#parser = new Parser(builder.derivatives, root);
  }

  get start(): GrammarState {
    return this.#parser.start;
  }

  /** Is the whole text in the language? */
  accepts(text: string): boolean {
    if (!text.isWellFormed()) return false;
    const state = this.advance(this.start, utf8Bytes(text));
    return state?.accepting === true;
  }

  /** The state after some more bytes (a string of units 0…255), or undefined where nothing goes on so. */
  advance(state: GrammarState, bytes: string): GrammarState | undefined {
    this.begin(STEP_FUEL, "reading a text");
    let at: ParseState | null = state;
    for (let i = 0; i < bytes.length; i++) {
      at = this.#parser.step(at, bytes.charCodeAt(i));
      if (at === null) return undefined;
      if (i % 256 === 255) this.begin(STEP_FUEL, "reading a text");
    }
    return at;
  }

  /** The bytes that must come next: as long as there is one choice, and the text may not end. */
  forced(state: GrammarState): Uint8Array {
    this.begin(STEP_FUEL, "looking for forced text");
    const parser = this.#parser;
    let bytes = "";
    for (let at = state; bytes.length < FORCED && !at.accepting;) {
      let only: { byte: number; next: ParseState } | undefined;
      for (const byte of parser.bytes(at)) {
        const next = parser.step(at, byte);
        if (next === null) continue;
        if (only !== undefined) return toBytes(bytes);
        only = { byte, next };
      }
      if (only === undefined) break;
      bytes += String.fromCharCode(only.byte);
      at = only.next;
    }
    return toBytes(bytes);
  }

  /** The grammar over a vocabulary; asked again, the same. */
  over(vocabulary: GrammarVocabulary): TokenGrammar {
    let tokens = this.#tokens.get(vocabulary);
    if (tokens === undefined) {
      tokens = new TokenGrammar(this, vocabulary, this.#parser);
      this.#tokens.set(vocabulary, tokens);
    }
    return tokens;
  }

  /** Called before an operation: bounds its work, and lets go of what isn't needed. */
  begin(fuel: number, what: string): void {
    this.#builder.fuel.fill(fuel, what);
    this.#builder.pool.tidy(this.#parser.size > KEPT_STATES);
  }
}

/** A grammar over a vocabulary: which tokens may come next in a state, and the state after each. */
export class TokenGrammar implements AnswerGrammar<GrammarState> {
  readonly #grammar: Grammar;
  readonly #vocabulary: Vocabulary;
  readonly #masks: Masks;

  constructor(grammar: Grammar, { vocabulary, slices }: GrammarVocabulary, parser: Parser) {
    this.#grammar = grammar;
    this.#vocabulary = vocabulary;
    this.#masks = new Masks(parser, vocabulary, slices);
  }

  get start(): GrammarState {
    return this.#grammar.start;
  }

  get stopIds(): ReadonlySet<number> {
    return this.#vocabulary.stopIds;
  }

  /** One bit a token id, set where the token may come next. It is shared: don't write to it. */
  mask(state: GrammarState): Uint32Array {
    this.#grammar.begin(MASK_FUEL, "making a mask");
    return this.#masks.of(state);
  }

  /** The state after a token; undefined where the grammar forbids it. A stop token leaves an accepting state as it is. */
  advance(state: GrammarState, token: number): GrammarState | undefined {
    if (this.#vocabulary.stopIds.has(token)) return state.accepting ? state : undefined;
    const bytes = this.#vocabulary.bytes(token);
    return bytes === "" ? undefined : this.#grammar.advance(state, bytes);
  }

  /** The bytes that must come next, whatever tokens they are written in. */
  forced(state: GrammarState): Uint8Array {
    return this.#grammar.forced(state);
  }

  /** The tokens that may come next where they are few, the longest first; none: they are many. It is shared. */
  few(state: GrammarState): readonly number[] {
    this.#grammar.begin(MASK_FUEL, "looking for what may come next");
    return this.#masks.few(state);
  }
}

/** One sequence's way through a grammar. */
export class GrammarCursor {
  readonly #tokens: TokenGrammar;
  readonly #states: GrammarState[];

  constructor(tokens: TokenGrammar) {
    this.#tokens = tokens;
    this.#states = [tokens.start];
  }

  get state(): GrammarState {
    return this.#states.at(-1) ?? this.#tokens.start;
  }

  /** Tokens taken. */
  get length(): number {
    return this.#states.length - 1;
  }

  /** The text may end here. */
  get accepting(): boolean {
    return this.state.accepting;
  }

  mask(): Uint32Array {
    return this.#tokens.mask(this.state);
  }

  forced(): Uint8Array {
    return this.#tokens.forced(this.state);
  }

  /** Takes a token if the grammar allows it. */
  advance(token: number): boolean {
    const next = this.#tokens.advance(this.state, token);
    if (next === undefined) return false;
    this.#states.push(next);
    return true;
  }

  /** Takes back the last `count` tokens. */
  rollback(count: number): void {
    this.#states.length = Math.max(1, this.#states.length - count);
  }
}
