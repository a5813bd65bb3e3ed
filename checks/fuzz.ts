/**
 * check:fuzz: hostile model files. 100,000 mutated headers, 10,000 mutated tensor tables, truncated files, the real
 * vocabularies and model of ../shared where present, and worst cases for memory; GGUF, safetensors and the JSON beside
 * them. Only ArtifactErrors, none slower than a second, memory within 4 × the header + 16 MiB. Prints PASS.
 *
 * Then mutated small models of every family are loaded and answer (fuzz-models.ts): only errors of ours that name the
 * file, the request or memory, within two seconds of processor time, and a model beside them answers as before.
 *
 * Then mutated chat templates and tokenizer.json (fuzz-texts.ts), and the API's options with random values of random
 * types (fuzz-options.ts), and the server with requests by its own schemas (fuzz-requests.ts).
 *
 * Options: --headers N, --tables N, --large N, --templates N, --tokenizers N, --calls N, --requests N, --models N, --model I (only that one), --seed S (printed, so that a run
 * can be repeated), --any-time (being slow is no fault).
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { memorySource } from "../src/artifact/byte-source.ts";
import { readGguf } from "../src/artifact/gguf-reader.ts";
import {
  fuzzHeaders,
  fuzzLarge,
  fuzzTensorTables,
  fuzzTruncated,
  fuzzWorstCases,
  ggufOriginal,
  type FuzzOptions,
  type FuzzReport,
} from "./fuzz-artifacts.ts";
import { fuzzModels } from "./fuzz-models.ts";
import { fuzzOptions } from "./fuzz-options.ts";
import { fuzzRequests } from "./fuzz-requests.ts";
import { fuzzTemplates, fuzzTokenizers } from "./fuzz-texts.ts";

const { values } = parseArgs({
  options: {
    headers: { type: "string", default: "100000" },
    tables: { type: "string", default: "10000" },
    "any-time": { type: "boolean", default: false },
    models: { type: "string", default: "3000" },
    model: { type: "string" },
    large: { type: "string", default: "400" },
    templates: { type: "string", default: "20000" },
    tokenizers: { type: "string", default: "5000" },
    calls: { type: "string", default: "20000" },
    requests: { type: "string", default: "20000" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
  },
});
const seed = Number(values.seed);
console.log(`seed ${seed}`);

if (values.model !== undefined) {
  const { faults } = await fuzzModels(1, { seed, only: Number(values.model), timed: !values["any-time"] });
  for (const fault of faults) console.log(fault);
  console.log(faults.length === 0 ? "PASS" : "FAIL");
  process.exit(faults.length === 0 ? 0 : 1);
}

let faults = 0;
async function part(
  name: string,
  total: number | undefined,
  run: (options: FuzzOptions) => Promise<FuzzReport>,
): Promise<void> {
  const started = performance.now();
  let shown = started;
  const onProgress = (done: number) => {
    if (performance.now() - shown < 5000) return;
    shown = performance.now();
    console.error(`  ${name}: ${done}${total === undefined ? "" : ` of ${total}`}`);
  };
  const report = await run({ seed, onProgress, timed: !values["any-time"] });
  faults += report.faults.length;
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(
    `${name}: ${report.cases} cases (${report.accepted} read, ${report.refused} refused) in ${seconds} s, ` +
      `slowest ${report.slowestMs.toFixed(0)} ms, memory at most ${(100 * report.memoryShare).toFixed(0)} % of the bound, ` +
      `${report.faults.length} faults`,
  );
  for (const fault of report.faults.slice(0, 10)) console.log(`  ${fault}`);
}

await part("headers", Number(values.headers), (options) => fuzzHeaders(Number(values.headers), options));
await part("tensor tables", Number(values.tables), (options) => fuzzTensorTables(Number(values.tables), options));
await part("truncated files", undefined, (options) => fuzzTruncated(1, options));
await part("worst cases", undefined, fuzzWorstCases);

const shared = resolve(import.meta.dirname, "../../shared");
const vocabularies = join(shared, "data/tokenizers");
const paths = existsSync(vocabularies) ? readdirSync(vocabularies).map((name) => join(vocabularies, name)) : [];
paths.push(join(shared, "models/smollm2-135m-instruct-q4_1.gguf"));
const originals: ReturnType<typeof ggufOriginal>[] = [];
for (const path of paths.filter((name) => name.endsWith(".gguf") && existsSync(name))) {
  const bytes = new Uint8Array(readFileSync(path));
  const { headerBytes } = await readGguf(memorySource(path, bytes));
  originals.push(ggufOriginal(path, bytes, headerBytes));
}
if (originals.length === 0) console.log(`real files: left out, ${shared} is missing`);
else await part("real files", Number(values.large), (options) => fuzzLarge(Number(values.large), originals, options));

/** What a part that isn't about files found, in a line, and its first faults. */
function tell(line: string, found: readonly string[]): void {
  faults += found.length;
  console.log(`${line}, ${found.length} faults`);
  for (const fault of found.slice(0, 10)) console.log(`  ${fault}`);
}

const timed = !values["any-time"];
for (const [name, count, fuzz] of [
  ["templates", Number(values.templates), fuzzTemplates],
  ["tokenizer.json", Number(values.tokenizers), fuzzTokenizers],
] as const) {
  const { cases, accepted, slowestMs, mostBytes, faults: found } = fuzz(count, { seed, timed });
  const memory = `at most ${(mostBytes / 2 ** 20).toFixed(0)} MiB`;
  tell(`${name}: ${cases} cases (${accepted} accepted), slowest ${slowestMs.toFixed(0)} ms, ${memory}`, found);
}
const calls = await fuzzOptions(Number(values.calls), { seed, timed });
tell(
  `options: ${calls.calls} calls (${calls.answered} answered, ${calls.refused} refused), slowest ${calls.slowestMs.toFixed(0)} ms`,
  calls.faults,
);

const requests = await fuzzRequests(Number(values.requests), { seed });
const answered = [...requests.paths].map(([path, count]) => `${path} ${count}`).join(", ");
tell(`requests: ${requests.answered} answered (${answered}), ${requests.refused} refused`, requests.faults);

const models = Number(values.models);
if (models > 0) {
  const started = performance.now();
  const onProgress = (done: number) => {
    if (done % 250 === 0) console.error(`  models: ${done} of ${models}`);
  };
  const report = await fuzzModels(models, { seed, timed, onProgress });
  faults += report.faults.length;
  const refused = [...report.errors].map(([kind, count]) => `${count} ${kind}s`).join(", ");
  console.log(
    `models: ${report.cases} cases (${report.answered} answered; ${refused}) in ` +
      `${((performance.now() - started) / 1000).toFixed(0)} s, slowest ${report.slowestMs.toFixed(0)} ms of processor time, ` +
      `${report.faults.length} faults`,
  );
  for (const fault of report.faults.slice(0, 10)) console.log(`  ${fault}`);
}

console.log(faults === 0 ? "PASS" : "FAIL");
process.exitCode = faults === 0 ? 0 : 1;
