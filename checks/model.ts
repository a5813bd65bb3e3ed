/**
 * check:model: a real model against what transformers said about it (../shared/models): token ids, the margins
 * of every recorded step on `reference` (F32 KV) and on `cpu` beside node-llama-cpp, and the perplexity of a text.
 *
 * npm run check:model -- [--reference all|few|none] [--windows N] [--quick]
 *
 * Defaults: few paths on `reference` (all take half an hour), all windows of the text. `--quick` is npm test's share:
 * a few paths on either backend, three windows, no peer.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { load } from "../src/index.ts";
import {
  GREEDY,
  type GreedyPath,
  MODEL,
  type Step,
  stepsOf,
  type Summary,
  summarise,
} from "../test/support/greedy-paths.ts";
import { peerMissing, peerSteps } from "../test/support/peer-steps.ts";
import { progress } from "../test/support/progress.ts";
import { missing, readJsonLines, sharedFile } from "../test/support/shared.ts";

const PERPLEXITY = "models/smollm2-135m-instruct-q4_1.wikitext-2-valid.json";
const TEXT = "data/text/wikitext-2-valid.txt";
/** Short paths, for the slow reference. */
const FEW = new Set(["capital", "json", "one-token-raw"]);
/** A changed argmax is a near tie only below this gap. */
const NEAR_TIE = 0.35;

const { values } = parseArgs({
  options: {
    reference: { type: "string", default: "few" },
    windows: { type: "string" },
    quick: { type: "boolean", default: false },
  },
});
const absent = missing(MODEL, GREEDY, PERPLEXITY, TEXT);
if (absent !== false) {
  console.log(`SKIPPED: ${absent}`);
  process.exit(0);
}
const modelPath = sharedFile(MODEL) ?? "";
const paths = readJsonLines<GreedyPath>(sharedFile(GREEDY) ?? "");
const recorded = JSON.parse(readFileSync(sharedFile(PERPLEXITY) ?? "", "utf8")) as {
  readonly token_ids_sha256: string;
  readonly tokens: number;
  readonly perplexity: number;
  readonly windows: readonly { readonly nll: number; readonly predicted: number }[];
};
let failures = 0;

function report(ok: boolean, line: string): void {
  if (!ok) failures += 1;
  console.log(`${ok ? "ok  " : "FAIL"} ${line}`);
}

function describe({ steps, rms, largest, changed }: Summary): string {
  return `${steps} steps, margins: RMS error ${rms.toFixed(4)}, largest ${largest.toFixed(4)}; ${changed.length} argmaxes changed`;
}

if (values.reference !== "none") {
  await using llm = await load(modelPath, {
    backend: "reference",
    kv: "f32",
    context: 2048,
    stepTokens: 128,
    maxSequences: 1,
  });
  const steps: Step[] = [];
  for (const path of paths) {
    if (values.reference !== "all" && !FEW.has(path.id)) continue;
    const own = await stepsOf(llm, path);
    steps.push(...own);
    const summary = summarise(own);
    report(summary.largest <= 2e-3, `reference, F32 KV, ${path.id}: ${describe(summary)} (each within 0.002)`);
  }
}

await using llm = await load(modelPath, { context: 2048, maxSequences: 1 });
console.log(`     cpu: ${llm.info.profile}`);

const text = readFileSync(sharedFile(TEXT) ?? "", "utf8");
const ids = llm.tokenize(text, { addSpecial: false, parseSpecial: false });
const digest = createHash("sha256")
  .update(new Uint8Array(Uint32Array.from(ids).buffer))
  .digest("hex");
report(
  digest === recorded.token_ids_sha256,
  `token ids of the text: ${ids.length} of ${recorded.tokens}, SHA-256 equal`,
);
const same = (a: ArrayLike<number>, b: ArrayLike<number>): boolean => Array.from(a).join() === Array.from(b).join();
const wrong = paths.filter(
  ({ text_prompt, prompt_ids }) => !same(llm.tokenize(text_prompt, { addSpecial: false }), prompt_ids),
);
report(wrong.length === 0, `token ids of ${paths.length} prompts equal ${wrong.map(({ id }) => id).join(", ")}`);

const steps: Step[] = [];
for (const path of paths) if (!values.quick || FEW.has(path.id)) steps.push(...(await stepsOf(llm, path)));
const ours = summarise(steps);
report(Number.isFinite(ours.rms), `cpu:            ${describe(ours)}`);
const far = ours.changed.filter(({ gap }) => gap >= NEAR_TIE);
report(
  far.length === 0,
  `no argmax changed where the gap is ${NEAR_TIE} or more ${far.map(({ path, step, gap }) => `${path}[${step}] ${gap}`).join(", ")}`,
);
if (values.quick) console.log("     node-llama-cpp is not asked (--quick)");
else if (peerMissing !== false) console.log(`SKIPPED the comparison with node-llama-cpp: ${peerMissing}`);
else {
  const peer = summarise(await peerSteps(modelPath, paths));
  console.log(`     node-llama-cpp: ${describe(peer)}`);
  report(
    ours.rms <= peer.rms,
    `RMS error no larger than node-llama-cpp's: ${ours.rms.toFixed(4)} ≤ ${peer.rms.toFixed(4)}`,
  );
  report(
    ours.changed.length <= peer.changed.length,
    `changed argmaxes no more than node-llama-cpp's: ${ours.changed.length} ≤ ${peer.changed.length}`,
  );
}

const windows = Number(values.windows ?? (values.quick ? 3 : recorded.windows.length));
const start = performance.now();
const result = await llm.perplexity(ids, {
  limit: windows,
  onProgress: ({ done, windows: all }) => progress(`perplexity: window ${done} of ${all}`),
});
progress("");
const seconds = (performance.now() - start) / 1000;
const part = recorded.windows.slice(0, windows);
const expected = Math.exp(
  part.reduce((sum, { nll }) => sum + nll, 0) / part.reduce((sum, { predicted }) => sum + predicted, 0),
);
const deviation = result.perplexity / expected - 1;
report(
  Math.abs(deviation) <= 0.005,
  `perplexity of ${windows} windows: ${result.perplexity.toFixed(4)}, recorded ${expected.toFixed(4)} ` +
    `(${(100 * deviation).toFixed(3)} %, at most 0.5 %); ${(result.predicted / seconds).toFixed(0)} tokens/s`,
);
console.log(failures === 0 ? "PASS" : `FAILED: ${failures}`);
// node-llama-cpp's threads would keep the process alive.
process.exitCode = failures === 0 ? 0 : 1;
