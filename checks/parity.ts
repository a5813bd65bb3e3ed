/**
 * check:parity: every family's tiny model against the logits that transformers recorded, on `reference` and `cpu`
 * with F32 KV: prefill, token by token, and prefill + decode; and every encoder's rows, alone and in a batch, where they
 * must have the same bits. One line each, then PASS or FAIL.
 *
 * npm run check:parity [-- FAMILY ...]
 * npm run check:parity -- --docs     writes docs/models.md too
 */
import { openBackends } from "../test/support/backends.ts";
import { writeModelsDoc } from "./models-doc.ts";
import { encoderFamilies, openEncoderCase, runEncoder } from "../test/support/encoders.ts";
import { openParityCase, parityFamilies, runParity, SCHEDULES, type Schedule } from "../test/support/parity.ts";

const LIMIT = 1e-3;
const wanted = process.argv.slice(2).filter((word) => word !== "--docs");
const figures = new Map<string, Map<string, number>>();
const encoders = new Map<string, Map<string, number>>();
const families = parityFamilies().filter((name) => wanted.length === 0 || wanted.includes(name));
const schedules = Object.keys(SCHEDULES) as Schedule[];
const backends = await openBackends();
let failures = families.length === 0 && !encoderFamilies().some((name) => wanted.includes(name)) ? 1 : 0;

for (const name of families) {
  const parityCase = await openParityCase(name);
  for (const backend of backends) {
    const title = `${name.padEnd(16)} ${backend.name.padEnd(10)}`;
    try {
      for (const { schedule, difference, compared } of await runParity(backend, parityCase, schedules)) {
        const fine = difference <= LIMIT && compared > 0;
        if (!fine) failures += 1;
        const row = figures.get(name) ?? new Map<string, number>();
        figures.set(name, row.set(backend.name, Math.max(row.get(backend.name) ?? 0, difference)));
        const numbers = `max |Δlogit| ${difference.toExponential(2)} over ${compared} logits`;
        console.log(`${fine ? "ok  " : "FAIL"} ${title} ${schedule.padEnd(17)} ${numbers}`);
      }
    } catch (error) {
      failures += 1;
      console.log(`FAIL ${title} ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  await parityCase.artifact.close();
}
for (const name of encoderFamilies().filter((one) => wanted.length === 0 || wanted.includes(one))) {
  const encoderCase = await openEncoderCase(name);
  for (const backend of backends) {
    const { difference, compared, same } = await runEncoder(backend, encoderCase);
    const fine = difference <= LIMIT && compared > 0 && same;
    if (!fine) failures += 1;
    const row = encoders.get(name) ?? new Map<string, number>();
    encoders.set(name, row.set(backend.name, difference));
    const numbers = `max |Δ| ${difference.toExponential(2)} over ${compared} numbers${same ? "" : ", other bits in a batch"}`;
    console.log(
      `${fine ? "ok  " : "FAIL"} ${name.padEnd(16)} ${backend.name.padEnd(10)} ${"span".padEnd(17)} ${numbers}`,
    );
  }
  await encoderCase.artifact.close();
}
await Promise.all(backends.map((backend) => backend.close()));
if (process.argv.includes("--docs") && wanted.length === 0 && failures === 0) writeModelsDoc(figures, encoders);
console.log(failures === 0 ? "PASS" : `FAIL: ${failures}`);
process.exitCode = failures === 0 ? 0 : 1;
