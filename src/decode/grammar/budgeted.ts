/**
 * A grammar whose first part, the reasoning, may take so many tokens: where it is still going on then, the text has to go on
 * as another grammar says, which ends it. Counted in tokens, so that it stands above the grammars, which know bytes only.
 */
import type { AnswerGrammar } from "./answer-grammar.ts";
import type { GrammarState, TokenGrammar } from "./grammar.ts";

export interface BudgetedState {
  readonly grammar: TokenGrammar;
  readonly state: GrammarState;
  /** Where the text stands in the reasoning; undefined: it is over. */
  readonly thoughts: GrammarState | undefined;
  readonly tokens: number;
}

export class BudgetedGrammar implements AnswerGrammar<BudgetedState> {
  readonly #tokens: number;
  readonly #thoughts: TokenGrammar;
  readonly #then: TokenGrammar;
  readonly start: BudgetedState;

  /** `thoughts`: what reasoning that goes on is; `then`: what must follow when `tokens` of it have come. */
  constructor(grammar: TokenGrammar, tokens: number, thoughts: TokenGrammar, then: TokenGrammar) {
    this.#tokens = tokens;
    this.#thoughts = thoughts;
    this.#then = then;
    this.start = this.#checked({ grammar, state: grammar.start, thoughts: thoughts.start, tokens: 0 });
  }

  get stopIds(): ReadonlySet<number> {
    return this.#then.stopIds;
  }

  mask({ grammar, state }: BudgetedState): Uint32Array {
    return grammar.mask(state);
  }

  advance({ grammar, state, thoughts, tokens }: BudgetedState, token: number): BudgetedState | undefined {
    const next = grammar.advance(state, token);
    if (next === undefined) return undefined;
    const still = thoughts && this.#thoughts.advance(thoughts, token);
    // What opens the reasoning doesn't count.
    return this.#checked({ grammar, state: next, thoughts: still, tokens: tokens + (thoughts?.accepting ? 1 : 0) });
  }

  few({ grammar, state }: BudgetedState): readonly number[] {
    return grammar.few(state);
  }

  #checked(state: BudgetedState): BudgetedState {
    if (state.thoughts?.accepting !== true || state.tokens < this.#tokens) return state;
    return { grammar: this.#then, state: this.#then.start, thoughts: undefined, tokens: state.tokens };
  }
}
