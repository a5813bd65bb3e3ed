/**
 * check:hostile: crafted files, folders, prompts and command lines, a hub that misbehaves, and signals at every stage. Each
 * case must end with the right code and one line, nothing on stdout, within a second of processor time and 64 MiB above a
 * good run's. Prints PASS.
 *
 * Options: --only TEXT (cases whose name contains it), --any-time (being slow or large is no fault).
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { HOSTILE, modelFile } from "./hostile-cases.ts";
import { HUB_CASES, pullLine, withHub } from "./hostile-hub.ts";
import { INTERRUPTS, interrupt } from "./hostile-interrupts.ts";
import { attack, REQUEST_CASES, Target } from "./hostile-requests.ts";
import { complaints, inFolder, millrace, type Outcome, runCase } from "./hostile-run.ts";

const MORE_MS = 1000;
const MORE_BYTES = 64 * 2 ** 20;
/** What a request may cost others, at most, one that is as large as allowed too. */
const SLOW_MS = 2000;

const { values } = parseArgs({
  options: { only: { type: "string", default: "" }, "any-time": { type: "boolean", default: false } },
});
const chosen = <T extends { readonly name: string }>(cases: readonly T[]): readonly T[] =>
  cases.filter(({ name }) => name.includes(values.only));
let faults = 0;

function tell(name: string, found: readonly string[], numbers: string): void {
  faults += found.length;
  console.log(`${found.length === 0 ? "ok  " : "FAIL"} ${name} (${numbers})`);
  for (const line of found) console.log(`     ${line}`);
}

const good = await inFolder(async (folder) =>
  millrace({ args: ["run", "Hi", "--max-tokens", "4", "--model", await modelFile(folder)] }),
);
if (good.code !== 0) throw new Error(`a sound model doesn't run: ${good.stderr}`);

function judge(name: string, found: readonly string[], { ms, bytes }: Outcome): void {
  const [more, larger] = [ms - good.ms, bytes - good.bytes];
  const costs: string[] = [];
  if (!values["any-time"] && more > MORE_MS) costs.push(`${more.toFixed(0)} ms of processor time above a good run's`);
  if (!values["any-time"] && larger > MORE_BYTES) costs.push(`${(larger / 2 ** 20).toFixed(0)} MiB above a good run's`);
  tell(name, [...found, ...costs], `${ms.toFixed(0)} ms, ${(bytes / 2 ** 20).toFixed(0)} MiB`);
}

console.log(`a good run: ${good.ms.toFixed(0)} ms, ${(good.bytes / 2 ** 20).toFixed(0)} MiB`);
for (const hostile of chosen(HOSTILE)) {
  const outcome = await runCase(hostile);
  judge(hostile.name, complaints(hostile, outcome), outcome);
}
for (const { name, answer, home, says } of chosen(HUB_CASES)) {
  const outcome = await inFolder((folder) => withHub(answer, (endpoint) => millrace(pullLine(endpoint, folder, home))));
  judge(`hub: ${name}`, complaints({ code: 1, says }, outcome), outcome);
}
for (const each of chosen(INTERRUPTS)) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const { ms, complaints: found } = await interrupt(each, signal);
    tell(`${signal}: ${each.name}`, found, `ended after ${ms.toFixed(0)} ms`);
  }
}
const attacks = chosen(REQUEST_CASES);
if (attacks.length > 0) {
  const target = await Target.start();
  for (const each of attacks) {
    // What the first of a kind needs, and the collector keeps, is no leak: the second one tells.
    await attack(target, each);
    const { complaints: found, slowestMs, moreBytes } = await attack(target, each);
    const [slow, large] = [slowestMs > SLOW_MS, moreBytes > MORE_BYTES];
    const costs = values["any-time"]
      ? []
      : [...(slow ? ["others waited too long"] : []), ...(large ? ["memory grew"] : [])];
    const numbers = `others waited ${slowestMs.toFixed(0)} ms at most, ${(moreBytes / 2 ** 20).toFixed(0)} MiB more`;
    tell(`request: ${each.name}`, [...found, ...costs], numbers);
  }
  await target.stop();
}
console.log(faults === 0 ? "PASS" : "FAIL");
process.exitCode = faults === 0 ? 0 : 1;
