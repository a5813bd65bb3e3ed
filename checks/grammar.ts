/**
 * npm run check:grammar: structured output accepts what it should, and nothing else.
 *  1. The JSON Schema Test Suite (../shared): no over-accepted and no under-accepted instance, at least 85 % of draft 7 compiled.
 *  2. Random grammars against a naive recogniser, masks of three real vocabularies against brute force.
 *  3. Hostile grammars: each refused or compiled, by counted work.
 * `--quick` runs a share of it. @mlc-ai/web-xgrammar, a peer, is compared by `npm run bench -- grammar` and `grammar-suite`.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { openGguf } from "../src/artifact/node-gguf.ts";
import { GrammarVocabulary } from "../src/decode/grammar/grammar.ts";
import { createTokenizer } from "../src/tokenizer/tokenizer.ts";
import { runHostile } from "./grammar-hostile.ts";
import { runRandom } from "./grammar-random.ts";
import { runSuite, type SuiteReport } from "./grammar-suite.ts";

const SHARED = path.resolve(import.meta.dirname, "../../shared/data");
const VOCABULARIES = ["gpt-2", "llama-spm", "deepseek-coder"];
const LEAST_COMPILED = 0.85;
/** Milliseconds of CPU that a hostile grammar may take, and MiB that they all may leave behind. */
const HOSTILE_LIMIT = 1000;
const HOSTILE_MEMORY = 256;

const quick = process.argv.includes("--quick");
const seed = 20261124;
let failures = 0;

function say(ok: boolean, line: string, faults: readonly string[] = []): void {
  if (!ok) failures++;
  process.stdout.write(`${ok ? "ok  " : "FAIL"} ${line}\n`);
  for (const fault of faults.slice(0, 10)) process.stdout.write(`       ${fault}\n`);
}

function suite(): void {
  const root = path.join(SHARED, "json-schema-test-suite");
  if (!existsSync(root)) {
    process.stdout.write(`skipped: the JSON Schema Test Suite (needs ${root})\n`);
    return;
  }
  process.stdout.write("                        schemas  compiled  refused  texts  over-accepted  under-accepted\n");
  for (const draft of ["7", "2020-12"] as const) {
    const report = runSuite(path.join(root, `draft${draft}`), draft);
    const enough = draft === "2020-12" || report.compiled >= LEAST_COMPILED * report.groups;
    say(report.over.length + report.under.length === 0 && enough, row(`draft ${draft}`, report), [
      ...report.over,
      ...report.under,
    ]);
    const refused = [...report.refused].sort((a, b) => b[1] - a[1]).map(([keyword, count]) => `${keyword} ${count}`);
    process.stdout.write(
      `       ${((100 * report.compiled) / report.groups).toFixed(1)} % compiled, ${report.unsatisfiable} of them said to be unsatisfiable; refused: ${refused.join(", ")}\n`,
    );
    // Formats are a subset of what their standards allow, so only over-acceptance is a fault.
    const formats = runSuite(path.join(root, `draft${draft}`, "optional/format"), draft);
    say(formats.over.length === 0, row(`  formats (enforced)`, formats), formats.over);
  }
}

function row(name: string, { groups, compiled, texts, over, under }: SuiteReport): string {
  const numbers = [groups, compiled, groups - compiled, texts, over.length, under.length];
  const widths = [7, 10, 9, 7, 15, 16];
  return name.padEnd(19) + numbers.map((number, i) => String(number).padStart(widths[i] ?? 0)).join("");
}

async function vocabularies(): Promise<readonly GrammarVocabulary[]> {
  const files = VOCABULARIES.map((name) => path.join(SHARED, `tokenizers/${name}.gguf`)).filter(existsSync);
  if (files.length < VOCABULARIES.length)
    process.stdout.write(`skipped: some vocabularies (need ${SHARED}/tokenizers)\n`);
  return Promise.all(
    files.slice(0, quick ? 1 : undefined).map(async (file) => {
      const artifact = await openGguf(file);
      await artifact.close();
      return new GrammarVocabulary(createTokenizer({ format: "gguf", metadata: artifact.metadata }));
    }),
  );
}

suite();
const prepared = await vocabularies();
const random = runRandom(quick ? 4000 : 100_000, seed, prepared, quick ? 50 : 25);
say(
  random.faults.length === 0,
  `random grammars, seed ${seed}: ${random.pairs} pairs of ${random.grammars} grammars and a text (${random.accepted} in the ` +
    `language), ${random.masks} masks of ${prepared.length} vocabularies (${random.tokens} tokens): ${random.faults.length} differ`,
  random.faults,
);
const [vocabulary] = prepared;
if (vocabulary !== undefined && !quick) {
  const before = process.memoryUsage().heapUsed / 2 ** 20;
  const results = runHostile(vocabulary);
  const slow = results.filter((one) => one.milliseconds > HOSTILE_LIMIT);
  const refused = results.filter((one) => one.outcome !== "compiled").length;
  const longest = Math.max(...results.map((one) => one.milliseconds));
  const heap = process.memoryUsage().heapUsed / 2 ** 20 - before;
  say(
    slow.length === 0 && heap < HOSTILE_MEMORY,
    `hostile grammars: ${results.length}, ${refused} refused, ${results.length - refused} compiled; the longest took ${longest.toFixed(0)} ms; heap ${heap.toFixed(0)} MiB larger`,
    slow.map((one) => `${one.name}: ${one.milliseconds.toFixed(0)} ms, ${one.outcome}`),
  );
}
process.stdout.write(failures === 0 ? "PASS\n" : `FAIL: ${failures}\n`);
process.exitCode = failures === 0 ? 0 : 1;
