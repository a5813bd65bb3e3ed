/**
 * check:grammar, second part: random grammars against the naive recogniser. Texts are accepted or not as it says; the mask of a
 * state has a token exactly if some text of the language goes on with it; forced bytes are the only way on; going back
 * and forward again leads to the same masks.
 */
import { RequestError, UnsupportedGrammarError } from "../src/errors.ts";
import { compileGrammar } from "../src/decode/grammar/compile.ts";
import { type Grammar, GrammarCursor, type GrammarVocabulary } from "../src/decode/grammar/grammar.ts";
import { allows } from "../src/decode/grammar/vocabulary.ts";
import { NaiveRecogniser, randomGrammar, randomLetters, toGbnf } from "../test/support/naive-grammar.ts";
import { Random } from "../test/support/random.ts";

const LETTERS = ["a", "b", "c"];

export interface RandomReport {
  grammars: number;
  pairs: number;
  accepted: number;
  masks: number;
  tokens: number;
  readonly faults: string[];
}

/** `pairs` of grammar and text, 20 texts a grammar; masks on every `maskEvery`-th grammar. */
export function runRandom(
  pairs: number,
  seed: number,
  vocabularies: readonly GrammarVocabulary[],
  maskEvery: number,
): RandomReport {
  const report: RandomReport = { grammars: 0, pairs: 0, accepted: 0, masks: 0, tokens: 0, faults: [] };
  const random = new Random(seed);
  while (report.pairs < pairs) {
    const small = randomGrammar(random);
    const source = toGbnf(small);
    const oracle = new NaiveRecogniser(small);
    const grammar = compile(source, report);
    if ((grammar === undefined) !== oracle.isEmpty) report.faults.push(`${source}\nis empty: ${oracle.isEmpty}`);
    if (grammar === undefined) continue;
    report.grammars++;
    for (let i = 0; i < 20; i++) {
      const text = randomLetters(random, random.below(9));
      const expected = oracle.accepts(text);
      report.pairs++;
      if (expected) report.accepted++;
      if (grammar.accepts(text) !== expected) report.faults.push(`${source}\n${JSON.stringify(text)}: ${expected}`);
    }
    if (report.grammars % maskEvery === 0) {
      for (const vocabulary of vocabularies) followOne(grammar, oracle, source, vocabulary, random, report);
    }
  }
  return report;
}

function compile(source: string, report: RandomReport): Grammar | undefined {
  try {
    return compileGrammar({ gbnf: source });
  } catch (error) {
    if (error instanceof UnsupportedGrammarError && error.keyword === "unsatisfiable") return undefined;
    if (error instanceof RequestError) report.faults.push(`${source}\n${error.message}`);
    throw error;
  }
}

/** Walks along random allowed tokens, and compares every mask on the way with brute force. */
function followOne(
  grammar: Grammar,
  oracle: NaiveRecogniser,
  source: string,
  prepared: GrammarVocabulary,
  random: Random,
  report: RandomReport,
): void {
  const { vocabulary } = prepared;
  const cursor = new GrammarCursor(grammar.over(prepared));
  let text = "";
  const masks: Uint32Array[] = [];
  for (let step = 0; step < 3 && text.length < 10; step++) {
    const mask = cursor.mask();
    masks.push(mask);
    report.masks++;
    const allowed: number[] = [];
    for (let id = 0; id < vocabulary.size; id++) {
      const bytes = vocabulary.bytes(id);
      const expected = vocabulary.stopIds.has(id)
        ? oracle.accepts(text)
        : /^[abc]+$/.test(bytes) && oracle.isPrefix(text + bytes);
      report.tokens++;
      if (allows(mask, id) !== expected) {
        report.faults.push(
          `${source}\nafter ${JSON.stringify(text)} token ${id} ${JSON.stringify(bytes)}: ${expected}`,
        );
      }
      if (expected && bytes !== "") allowed.push(id);
    }
    checkForced(cursor, oracle, source, text, report);
    const [first, ...more] = allowed;
    if (first === undefined) break;
    const token = random.pick([first, ...more]);
    if (!cursor.advance(token))
      report.faults.push(`${source}\nafter ${JSON.stringify(text)}: token ${token} is refused`);
    text += vocabulary.bytes(token);
  }
  // Back to the beginning, step by step: the same masks again.
  for (; cursor.length > 0; cursor.rollback(1)) {
    const mask = masks[cursor.length];
    if (mask !== undefined && !sameMask(cursor.mask(), mask))
      report.faults.push(`${source}\nanother mask after going back`);
  }
}

function checkForced(
  cursor: GrammarCursor,
  oracle: NaiveRecogniser,
  source: string,
  text: string,
  report: RandomReport,
): void {
  const forced = String.fromCharCode(...cursor.forced());
  for (let i = 0; i < Math.min(forced.length, 10); i++) {
    const before = text + forced.slice(0, i);
    const ways = LETTERS.filter((letter) => oracle.isPrefix(before + letter));
    if (oracle.accepts(before) || ways.length !== 1 || ways[0] !== forced[i]) {
      report.faults.push(`${source}\nafter ${JSON.stringify(before)} ${JSON.stringify(forced[i])} isn't forced`);
    }
  }
  if (forced.length > 0) return;
  const ways = LETTERS.filter((letter) => oracle.isPrefix(text + letter));
  if (!oracle.accepts(text) && ways.length === 1)
    report.faults.push(`${source}\nafter ${JSON.stringify(text)} ${ways[0]} is forced`);
}

function sameMask(a: Uint32Array, b: Uint32Array): boolean {
  return a.length === b.length && a.every((word, i) => word === b[i]);
}
