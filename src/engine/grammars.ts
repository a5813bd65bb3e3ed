/**
 * Grammars of requests over the model's vocabulary. Nothing is prepared before the first one comes; what grammars have in
 * common, and the masks that they have made, is shared.
 */
import { GrammarCompiler } from "../decode/grammar/compile.ts";
import { GrammarVocabulary, type TokenGrammar } from "../decode/grammar/grammar.ts";
import type { GrammarSpec } from "../decode/grammar/spec.ts";
import type { TokenTable } from "../decode/grammar/vocabulary.ts";

export class Grammars {
  readonly #table: TokenTable;
  readonly #compiler = new GrammarCompiler();
  #vocabulary: GrammarVocabulary | undefined;

  constructor(table: TokenTable) {
    this.#table = table;
  }

  /** Throws UnsupportedGrammarError where the grammar can't be enforced, RequestError where it is malformed. */
  get(spec: GrammarSpec): TokenGrammar {
    const grammar = this.#compiler.compile(spec);
    this.#vocabulary ??= new GrammarVocabulary(this.#table);
    return grammar.over(this.#vocabulary);
  }
}
