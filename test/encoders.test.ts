/** Encoders against what transformers recorded, on every backend, alone and beside others. */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { openBackends } from "./support/backends.ts";
import { encoderFamilies, openEncoderCase, runEncoder } from "./support/encoders.ts";

const LIMIT = 1e-3;
const backends = await openBackends();
after(async () => {
  await Promise.all(backends.map((backend) => backend.close()));
});

for (const family of encoderFamilies()) {
  for (const backend of backends) {
    test(`${family} on ${backend.name} has transformers' rows, and the same bits in a batch`, async () => {
      const encoderCase = await openEncoderCase(family);
      try {
        const { difference, compared, same } = await runEncoder(backend, encoderCase);
        assert.ok(compared > 0 && difference <= LIMIT, `max |Δ| ${difference}`);
        assert.ok(same, "other bits in a batch");
      } finally {
        await encoderCase.artifact.close();
      }
    });
  }
}
