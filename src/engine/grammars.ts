/**
 * Grammars of requests over the model's vocabulary. Nothing is prepared before the first one comes; what grammars have in
 * common, and the masks that they have made, is shared.
 */
import type { AnswerGrammar } from "../decode/grammar/answer-grammar.ts";
import { BudgetedGrammar } from "../decode/grammar/budgeted.ts";
import { Choices } from "../decode/grammar/choices.ts";
import { GrammarCompiler } from "../decode/grammar/compile.ts";
import { GrammarVocabulary, type TokenGrammar } from "../decode/grammar/grammar.ts";
import type { GrammarSpec } from "../decode/grammar/spec.ts";
import type { TokenTable } from "../decode/grammar/vocabulary.ts";
import type { GenerateWish } from "./client.ts";

/** Callers of whom it is remembered how their answers chose. */
const KEPT_CHOICES = 16;

/** What an answer is held to, and what is known of how such answers go. */
export interface HeldGrammar {
  readonly grammar: AnswerGrammar<unknown>;
  readonly choices: Choices;
}

export class Grammars {
  readonly #table: TokenTable;
  readonly #compiler = new GrammarCompiler();
  /** By cache salt; the first was used least recently. */
  readonly #choices = new Map<string, Choices>();
  #vocabulary: GrammarVocabulary | undefined;

  constructor(table: TokenTable) {
    this.#table = table;
  }

  /**
   * Throws UnsupportedGrammarError where a grammar can't be enforced, RequestError where it is malformed. What answers chose is
   * remembered for those with an equal salt, who share memory too.
   */
  get({ grammar, budget }: GenerateWish, cacheSalt = ""): HeldGrammar | undefined {
    if (budget !== undefined) {
      const whole = this.#compile(grammar ?? { without: [] });
      const [thoughts, rest] = [this.#compile(budget.thoughts), this.#compile(budget.rest)];
      const budgeted = new BudgetedGrammar(whole, budget.tokens, thoughts, rest);
      return { grammar: budgeted, choices: this.#choicesOf(cacheSalt) };
    }
    return grammar && { grammar: this.#compile(grammar), choices: this.#choicesOf(cacheSalt) };
  }

  #choicesOf(cacheSalt: string): Choices {
    const choices = this.#choices.get(cacheSalt) ?? new Choices();
    this.#choices.delete(cacheSalt);
    this.#choices.set(cacheSalt, choices);
    const [oldest] = this.#choices.keys();
    if (oldest !== undefined && this.#choices.size > KEPT_CHOICES) this.#choices.delete(oldest);
    return choices;
  }

  #compile(spec: GrammarSpec): TokenGrammar {
    const grammar = this.#compiler.compile(spec);
    this.#vocabulary ??= new GrammarVocabulary(this.#table);
    return grammar.over(this.#vocabulary);
  }
}
