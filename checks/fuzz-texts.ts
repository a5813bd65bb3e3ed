/**
 * Mutates what a model brings as text and data: chat templates (published ones of ../shared, and constructs of our own)
 * and tokenizer.json. Whatever comes of it renders, encodes, or is a MillraceError, within a second of processor time and
 * 64 MiB. Mutated config.json is fuzz-models.ts's subject.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { gunzipSync } from "node:zlib";
import type { MetaObject, MetaValue } from "../src/artifact/artifact.ts";
import { createChatTemplate } from "../src/chat/chat-template.ts";
import { MillraceError } from "../src/errors.ts";
import { createTokenizer } from "../src/tokenizer/tokenizer.ts";
import { Random } from "../test/support/random.ts";
import { SHARED } from "../test/support/shared.ts";

const SLOWEST_MS = 1000;
const MOST_BYTES = 64 * 2 ** 20;

export interface TextFuzzReport {
  cases: number;
  accepted: number;
  slowestMs: number;
  mostBytes: number;
  readonly faults: string[];
}

export interface TextFuzzOptions {
  readonly seed: number;
  readonly timed?: boolean;
  readonly onProgress?: (done: number) => void;
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Runs a case and books how it went; memory is looked at where it may have grown. */
function book(report: TextFuzzReport, what: string, timed: boolean, run: () => void): void {
  const before = process.memoryUsage();
  const started = process.cpuUsage();
  try {
    run();
    report.accepted++;
  } catch (error) {
    if (!(error instanceof MillraceError))
      report.faults.push(`${what}: ${error instanceof Error ? (error.stack ?? "") : String(error)}`);
  }
  const { user, system } = process.cpuUsage(started);
  const ms = (user + system) / 1000;
  const after = process.memoryUsage();
  const bytes = after.heapUsed + after.external - before.heapUsed - before.external;
  report.cases++;
  report.slowestMs = Math.max(report.slowestMs, ms);
  report.mostBytes = Math.max(report.mostBytes, bytes);
  if (timed && ms > SLOWEST_MS) report.faults.push(`${what}: ${ms.toFixed(0)} ms`);
  if (timed && bytes > MOST_BYTES) report.faults.push(`${what}: ${(bytes / 2 ** 20).toFixed(0)} MiB`);
}

const SNIPPETS = [
  "{% for i in range(9999) %}",
  "{% endfor %}",
  "{% for m in messages %}",
  "{% set ns = namespace(s='x') %}",
  "{% set ns.s = ns.s ~ ns.s %}",
  "{% set x = messages %}",
  "{% set _ = x.append(x) %}",
  "{{ x | tojson(indent=4) }}",
  "{{ messages }}",
  "{% macro f(a, b=1) %}{{ f(a) }}{{ caller() }}{% endmacro %}",
  "{{ f(f) }}",
  "{% call f(1) %}x{% endcall %}",
  "{{ ns.s | replace('', ns.s) | title | indent(8) }}",
  "{{ messages | map(attribute='content') | join('x') | list | sort | unique }}",
  "{{ ns.s.split('x', 3)[::-1] }}",
  "{{ 10 ** 300 // 0.1 % 7 }}",
  "{% if x in messages %}",
  "{% endif %}",
  "{#",
  "#}",
  "}}",
  "{{",
  "%}",
  "'",
  "\\",
  " ".repeat(900),
  "(".repeat(300),
] as const;

export function fuzzTemplates(count: number, options: TextFuzzOptions): TextFuzzReport {
  const report: TextFuzzReport = { cases: 0, accepted: 0, slowestMs: 0, mostBytes: 0, faults: [] };
  const folder = join(SHARED, "data/templates");
  const sources = existsSync(folder)
    ? readdirSync(folder).map((name) => readFileSync(join(folder, name), "utf8"))
    : [SNIPPETS.slice(0, 12).join("")];
  const messages = [
    { role: "system", content: "Be brief." },
    { role: "user", content: "<|im_end|> 1 + 1?\n".repeat(20) },
    { role: "assistant", content: "<think>x</think>2", reasoning: "One." },
    { role: "user", content: "x".repeat(2000) },
  ] as const;
  for (let i = 0; i < count; i++) {
    const random = new Random(options.seed + i);
    let source = sources[random.below(sources.length)] ?? "";
    for (let k = random.below(4); k >= 0; k--) source = mutated(source, random);
    if (i % 50 === 0) collect();
    book(report, `template, seed ${options.seed + i}`, options.timed !== false, () => {
      createChatTemplate(source, { bos: "<s>" }).render(messages, { variables: { tools: [{ name: "t" }] } });
    });
    options.onProgress?.(report.cases);
  }
  return report;
}

function mutated(source: string, random: Random): string {
  const at = random.below(source.length + 1);
  const length = random.below(60);
  const snippet = SNIPPETS[random.below(SNIPPETS.length)] ?? "";
  switch (random.below(4)) {
    case 0:
      return source.slice(0, at) + source.slice(at + length);
    case 1:
      return source.slice(0, at) + snippet + source.slice(at);
    case 2:
      return (
        source.slice(0, at) + source.slice(at, at + length).repeat(1 + random.below(20)) + source.slice(at + length)
      );
    default:
      return snippet + source;
  }
}

const JUNK: readonly MetaValue[] = [
  "",
  "a",
  "▁".repeat(300),
  "(a+)+b",
  "(?:a|aa)*c",
  0,
  -1,
  2 ** 31,
  0.5,
  null,
  true,
  [],
  [[]],
  ["a b"],
  {},
  { type: "Sequence" },
  { type: "Prepend", prepend: "x".repeat(50) },
  { type: "Replace", pattern: { Regex: "\\s*" }, content: "xx" },
  { type: "Replace", pattern: { String: "" }, content: "xx" },
  { type: "Split", pattern: { Regex: "(\\p{L}*)*" }, behavior: "Isolated", invert: true },
  { type: "Strip", strip_left: true, strip_right: true },
];

export function fuzzTokenizers(count: number, options: TextFuzzOptions): TextFuzzReport {
  const report: TextFuzzReport = { cases: 0, accepted: 0, slowestMs: 0, mostBytes: 0, faults: [] };
  const fixture = new URL("../test/fixtures/tokenizers/small.json.gz", import.meta.url);
  const { tokenizers } = JSON.parse(gunzipSync(readFileSync(fixture)).toString()) as {
    readonly tokenizers: readonly { readonly tokenizer: MetaObject }[];
  };
  const text = `Hello  World <|im_end|></s> ${"a".repeat(3000)} ${"\u0301é ".repeat(300)}\ud800${" ".repeat(2000)}x`;
  for (let i = 0; i < count; i++) {
    const random = new Random(options.seed + i);
    let tokenizer = tokenizers[random.below(tokenizers.length)]?.tokenizer ?? {};
    for (let k = random.below(3); k >= 0; k--) tokenizer = damaged(tokenizer, random) as MetaObject;
    if (i % 50 === 0) collect();
    book(report, `tokenizer.json, seed ${options.seed + i}`, options.timed !== false, () => {
      const made = createTokenizer({ name: "fuzz", format: "hf", tokenizer, config: {} });
      made.decode(made.encode(text, { parseSpecial: true }));
    });
    options.onProgress?.(report.cases);
  }
  return report;
}

/** One value somewhere in it is another; large lists and vocabularies are entered seldom. */
function damaged(value: MetaValue, random: Random, depth = 0): MetaValue {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || (depth > 0 && random.below(4) === 0))
    return JUNK[random.below(JUNK.length)] ?? null;
  if (Array.isArray(value)) {
    const list: readonly MetaValue[] = value;
    const at = random.below(Math.max(1, list.length));
    return list.map((item, i) => (i === at ? damaged(item, random, depth + 1) : item));
  }
  const entries = Object.entries(value as MetaObject);
  const at = random.below(Math.max(1, entries.length));
  return Object.fromEntries(
    entries.map(([key, item], i) => [key, i === at ? damaged(item ?? null, random, depth + 1) : (item ?? null)]),
  );
}
