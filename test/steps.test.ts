/** A small part of check:exact's workloads on programs, on every backend. */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import type { KvType } from "../src/backend/contract.ts";
import { openBackends } from "./support/backends.ts";
import { Random } from "./support/random.ts";
import { randomStepJobs, StepModel, tellAlone } from "./support/step-jobs.ts";
import { noCounts } from "./support/step-walk.ts";
import { runStepWorkload } from "./support/step-workload.ts";

const backends = await openBackends();
after(async () => {
  await Promise.all(backends.map((backend) => backend.close()));
});

const MODELS = [
  ["f16", { window: 30 }],
  ["q8", { dtype: "Q8_0" }],
  ["f32", { experts: true, softcap: 5 }],
  ["f16", { recurrent: "delta" }],
] as const satisfies readonly (readonly [KvType, object])[];

for (const backend of backends) {
  test(`${backend.name}: answers told together by every mechanism of a step are those told alone`, async () => {
    const counts = noCounts();
    for (const [seed, [kv, options]] of MODELS.entries()) {
      const model = new StepModel(seed + 1, kv, options);
      const random = new Random(seed + 60);
      const jobs = randomStepJobs(random, 6);
      const told = await tellAlone(backend, model, jobs);
      await runStepWorkload(backend, model, jobs, told, random, counts);
    }
    // Whether a step is caught before it begins depends on the moment; check:exact runs long enough for that.
    const chance: ReadonlySet<string> = new Set(["cancelled steps", "steps unrun"]);
    const idle = Object.entries(counts).filter(([name, count]) => count === 0 && !chance.has(name));
    assert.deepEqual(idle, []);
  });
}
