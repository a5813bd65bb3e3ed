/**
 * Grammars of requests, compiled over the model's vocabulary: the last ones are kept, with the masks that they have made,
 * so that requests under the same grammar share them.
 */
import { compileGrammar } from "../decode/grammar/compile.ts";
import { GrammarVocabulary, type TokenGrammar } from "../decode/grammar/grammar.ts";
import type { GrammarSpec } from "../decode/grammar/spec.ts";
import type { TokenTable } from "../decode/grammar/vocabulary.ts";

const KEPT = 64;

export class Grammars {
  readonly #table: TokenTable;
  #vocabulary: GrammarVocabulary | undefined;
  /** In order of use. */
  readonly #compiled = new Map<string, TokenGrammar>();

  /** Nothing is prepared before the first grammar comes. */
  constructor(table: TokenTable) {
    this.#table = table;
  }

  /** Throws UnsupportedGrammarError where the grammar can't be enforced, RequestError where it is malformed. */
  get(spec: GrammarSpec): TokenGrammar {
    const key = JSON.stringify(spec);
    this.#vocabulary ??= new GrammarVocabulary(this.#table);
    const grammar = this.#compiled.get(key) ?? compileGrammar(spec).over(this.#vocabulary);
    this.#compiled.delete(key);
    this.#compiled.set(key, grammar);
    for (const oldest of this.#compiled.keys()) if (this.#compiled.size > KEPT) this.#compiled.delete(oldest);
    return grammar;
  }
}
