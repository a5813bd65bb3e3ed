/**
 * Grammars of requests over the model's vocabulary. Nothing is prepared before the first one comes; what grammars have in
 * common, and the masks that they have made, is shared.
 */
import { type AnswerGrammar, BudgetedGrammar } from "../decode/grammar/budgeted.ts";
import { GrammarCompiler } from "../decode/grammar/compile.ts";
import { GrammarVocabulary, type TokenGrammar } from "../decode/grammar/grammar.ts";
import type { GrammarSpec } from "../decode/grammar/spec.ts";
import type { TokenTable } from "../decode/grammar/vocabulary.ts";
import type { GenerateWish } from "./client.ts";

export class Grammars {
  readonly #table: TokenTable;
  readonly #compiler = new GrammarCompiler();
  #vocabulary: GrammarVocabulary | undefined;

  constructor(table: TokenTable) {
    this.#table = table;
  }

  /** Throws UnsupportedGrammarError where a grammar can't be enforced, RequestError where it is malformed. */
  get({ grammar, budget }: GenerateWish): AnswerGrammar<unknown> | undefined {
    if (budget !== undefined) {
      const whole = this.#compile(grammar ?? { without: [] });
      return new BudgetedGrammar(whole, budget.tokens, this.#compile(budget.thoughts), this.#compile(budget.rest));
    }
    return grammar && this.#compile(grammar);
  }

  #compile(spec: GrammarSpec): TokenGrammar {
    const grammar = this.#compiler.compile(spec);
    this.#vocabulary ??= new GrammarVocabulary(this.#table);
    return grammar.over(this.#vocabulary);
  }
}
