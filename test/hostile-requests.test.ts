/** A share of check:hostile's requests: the rest, and what each may cost others and memory, is looked at there. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { attack, REQUEST_CASES, Target } from "../checks/hostile-requests.ts";

let target: Target;
before(async () => (target = await Target.start()));
after(() => target.stop());

for (const each of REQUEST_CASES.filter(({ quick }) => quick === true)) {
  test(`harms nobody: ${each.name}`, { timeout: 120_000 }, async () => {
    assert.deepEqual((await attack(target, each)).complaints, []);
  });
}
