/**
 * npm run check:structured: answers at temperature 1.5 to 1,000 random schemas that cover every keyword, and to 100 fixed
 * skeletons, by brook, SmolLM2 (../shared) and random weights. Every answer that ends validates with ajv, at least 60 % end, the
 * ids are those of an engine that drafts nothing, and answers to skeletons take at least 30 % fewer steps than with that one.
 * `-- --schemas N --skeletons N --seed N`.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { Ajv } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import ajvFormats from "ajv-formats";
import type { ModelArtifact } from "../src/artifact/artifact.ts";
import { compileGrammar } from "../src/decode/grammar/compile.ts";
import type { JsonValue } from "../src/decode/grammar/spec.ts";
import { assemble, type AssembleOptions } from "../src/engine/assemble.ts";
import type { Llm } from "../src/engine/llm.ts";
import { createBackend, openReference } from "../src/engine/load.ts";
import { UnsupportedGrammarError } from "../src/errors.ts";
import { Random } from "../test/support/random.ts";
import { KEYWORDS, keywordsIn, randomSchema } from "../test/support/random-schema.ts";
import { randomSkeleton } from "../test/support/skeletons.ts";
import { tinyChatModel } from "../test/support/served.ts";

const { values } = parseArgs({
  options: {
    schemas: { type: "string", default: "1000" },
    skeletons: { type: "string", default: "100" },
    seed: { type: "string", default: "1" },
  },
});
const seed = Number(values.seed);
const SMOLLM = path.resolve(import.meta.dirname, "../../shared/models/smollm2-135m-instruct-q4_1.gguf");
const MOST_TOGETHER = 16;
const LEAST_FINISHED = 0.6;
const LEAST_SAVED = 0.3;

interface Contender {
  readonly name: string;
  readonly share: number;
  readonly open: () => Promise<ModelArtifact>;
}

const CONTENDERS: readonly Contender[] = [
  { name: "brook", share: 0.6, open: () => openReference(undefined) },
  { name: "SmolLM2", share: 0.2, open: () => openReference(SMOLLM) },
  { name: "random weights", share: 0.2, open: async () => tinyChatModel(3) },
];

async function load(open: Contender["open"], options: AssembleOptions): Promise<Llm> {
  return assemble(await open(), await createBackend({}), { context: 1024, maxSequences: MOST_TOGETHER, ...options });
}

const random = new Random(seed);
const covered = new Set<string>();
let [refused, failed] = [0, 0];

function nextSchema(): JsonValue {
  for (;;) {
    const schema = randomSchema(random);
    try {
      compileGrammar({ schema });
    } catch (error) {
      if (!(error instanceof UnsupportedGrammarError)) throw error;
      refused += 1;
      continue;
    }
    for (const keyword of keywordsIn(schema)) covered.add(keyword);
    return schema;
  }
}

/** A format of ajv-formats as a function. */
function asCheck(format: ReturnType<typeof ajvFormats.default.get>): (text: string) => boolean {
  if (format instanceof RegExp) return (text) => format.test(text);
  if (typeof format === "function") return format;
  throw new Error("a format of ajv-formats is of another kind than it was");
}

function validate(schema: JsonValue, text: string): string | undefined {
  const isOld = typeof schema === "object" && schema !== null && "$schema" in schema;
  const ajv = new (isOld ? Ajv : Ajv2020)({ strict: false, allErrors: true });
  ajvFormats.default(ajv);
  const [uri, email] = (["uri", "email"] as const).map((name) => asCheck(ajvFormats.default.get(name)));
  // RFC 3986 has empty paths ("a:?b") and RFC 5321 domains of one label, ajv-formats has neither: each is put in.
  const paths = /^([a-z][a-z0-9+.-]*:)(?=[?#]|$)/i;
  ajv.addFormat("uri", (text: string) => uri?.(text) === true || uri?.(text.replace(paths, "$1p")) === true);
  ajv.addFormat("email", (text: string) => email?.(text) === true || email?.(`${text}.example`) === true);
  const valid = ajv.compile(schema as object);
  return valid(JSON.parse(text)) ? undefined : ajv.errorsText(valid.errors);
}

interface Kind {
  readonly name: string;
  readonly count: number;
  /** Answers at a time. Among more than four, rows are drafted as they pay, which depends on the machine. */
  readonly together: number;
  readonly maxTokens: number;
  readonly leastSaved: number;
  next(): JsonValue;
}

const KINDS: readonly Kind[] = [
  {
    name: "schemas",
    count: Number(values.schemas),
    together: MOST_TOGETHER,
    maxTokens: 300,
    leastSaved: -Infinity,
    next: nextSchema,
  },
  {
    name: "skeletons",
    count: Number(values.skeletons),
    together: 4,
    // Where every byte is a token, a skeleton has many.
    maxTokens: 900,
    leastSaved: LEAST_SAVED,
    next: () => randomSkeleton(random),
  },
];

/** All answers of a model to schemas of a kind; prints a line, and says whether all is well. */
async function run(model: string, drafting: Llm, plain: Llm, kind: Kind, count: number): Promise<boolean> {
  let [answers, finished, invalid, different, steps, stepsWithout] = [0, 0, 0, 0, 0, 0];
  while (answers < count) {
    const schemas = Array.from({ length: Math.min(kind.together, count - answers) }, () => kind.next());
    const ask = (llm: Llm) => (schema: JsonValue, i: number) =>
      llm.generate("Answer: ", { schema, temperature: 1.5, seed: answers + i, maxTokens: kind.maxTokens });
    const drafted = await Promise.all(schemas.map(ask(drafting)));
    const stepwise = await Promise.all(schemas.map(ask(plain)));
    for (const [i, { text, tokens, finishReason, timings }] of drafted.entries()) {
      const schema = schemas[i] ?? {};
      steps += timings.steps;
      stepsWithout += stepwise[i]?.timings.steps ?? 0;
      if (tokens.join() !== stepwise[i]?.tokens.join()) different += 1;
      if (finishReason !== "stop") continue;
      finished += 1;
      const fault = validate(schema, text);
      if (fault === undefined) continue;
      invalid += 1;
      if (invalid <= 5) console.log(`  ${text} of ${JSON.stringify(schema)}: ${fault}`);
    }
    answers += schemas.length;
  }
  const saved = 1 - steps / stepsWithout;
  const isGood = invalid === 0 && different === 0 && finished >= LEAST_FINISHED * answers && !(saved < kind.leastSaved);
  console.log(
    `${isGood ? "ok  " : "FAIL"} ${model.padEnd(16)} ${answers} ${kind.name}, ${finished} answers finished, ${invalid} invalid, ` +
      `${different} differ from stepwise masking; ${steps} steps of answers, ${stepsWithout} without drafts: ${(100 * saved).toFixed(0)} % fewer`,
  );
  return isGood;
}

for (const { name, share, open } of CONTENDERS) {
  if (name === "SmolLM2" && !existsSync(SMOLLM)) {
    console.log(`skipped: ${name} (needs ${SMOLLM})`);
    continue;
  }
  await using drafting = await load(open, {});
  await using plain = await load(open, { maxDraft: 0 });
  for (const kind of KINDS) {
    const count = Math.round(share * kind.count);
    if (count > 0 && !(await run(name, drafting, plain, kind, count))) failed += 1;
  }
}
const missing = KEYWORDS.filter((keyword) => !covered.has(keyword));
if (missing.length > 0) failed += 1;
console.log(
  `seed ${seed}: ${covered.size} keywords covered, missing: ${missing.join(", ") || "none"}; ${refused} draws refused`,
);
console.log(failed === 0 ? "PASS" : "FAIL");
process.exitCode = failed === 0 ? 0 : 1;
