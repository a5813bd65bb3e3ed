/** Encoders against what transformers recorded, on every backend, alone and beside others. */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { ProgramRunner } from "../src/backend/program-runner.ts";
import { modelGraph } from "../src/models/models.ts";
import { openBackends } from "./support/backends.ts";
import { encoderFamilies, openEncoderCase } from "./support/encoders.ts";

const LIMIT = 1e-3;
const backends = await openBackends();
after(async () => {
  await Promise.all(backends.map((backend) => backend.close()));
});

/** The largest difference; what is not a number is as wrong as can be. */
function difference(actual: Float32Array, expected: ArrayLike<number>): number {
  assert.equal(actual.length, expected.length);
  const gaps = Array.from(actual, (x, i) => Math.abs(x - (expected[i] ?? NaN)));
  return Math.max(...gaps.map((gap) => (Number.isNaN(gap) ? Infinity : gap)));
}

for (const family of encoderFamilies()) {
  for (const backend of backends) {
    test(`${family} on ${backend.name} has transformers' rows, and the same bits in a batch`, async () => {
      const { artifact, tokens, positions, hidden, pooled, scores } = await openEncoderCase(family);
      const { graph } = await modelGraph(artifact, { context: tokens.length });
      const outputs = [...graph.outputs.keys()];
      const options = { kv: "f32", context: tokens.length, sequences: 3, outputs } as const;
      const runner = await ProgramRunner.create(backend, artifact, graph, options);
      try {
        const named = {
          hidden: positions,
          ...(pooled && { pooled: [0] }),
          ...(scores && { scores: [0] }),
        };
        const at = Object.keys(named).map((name) => runner.options.outputs.indexOf(name));
        const alone = await runner.step([{ sequence: 0, tokens, span: true }], { named });
        const expected = [hidden, ...(pooled ? [pooled] : []), ...(scores ? [scores] : [])];
        for (const [i, index] of at.entries()) {
          const most = difference(alone.outputs[index] ?? new Float32Array(0), expected[i] ?? []);
          assert.ok(most <= LIMIT, `${Object.keys(named)[i]}: max |Δ| ${most}`);
        }

        runner.restart();
        const first = tokens.slice(0, 70);
        const feeds = [first, tokens, tokens.slice(30, 61)].map((list, sequence) => ({
          sequence,
          tokens: list,
          span: true,
        }));
        const moved = Object.fromEntries(
          Object.entries(named).map(([name, rows]) => [name, rows.map((row) => row + 70)]),
        );
        const beside = await runner.step(feeds, { named: moved });
        for (const index of at) assert.deepEqual(beside.outputs[index], alone.outputs[index]);
      } finally {
        await runner.close();
        await artifact.close();
      }
    });
  }
}
