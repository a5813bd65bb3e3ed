/** A share of check:hostile: the rest, and what each case may cost, is looked at there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { HOSTILE } from "../checks/hostile-cases.ts";
import { HUB_CASES, pullLine, withHub } from "../checks/hostile-hub.ts";
import { INTERRUPTS, interrupt } from "../checks/hostile-interrupts.ts";
import { complaints, inFolder, millrace, runCase } from "../checks/hostile-run.ts";

const skip = process.platform === "win32" ? "needs pipes and devices among files" : false;
const options = { skip, timeout: 120_000 };

for (const hostile of HOSTILE.filter(({ quick }) => quick === true)) {
  test(`one line and code ${hostile.code}: ${hostile.name}`, options, async () => {
    assert.deepEqual(complaints(hostile, await runCase(hostile)), []);
  });
}

for (const { name, answer, home, says } of HUB_CASES.filter((each) => /longer|\/proc|steers/.test(each.name))) {
  test(`one line from a hub or home that misbehaves: ${name}`, options, async () => {
    const outcome = await inFolder((folder) =>
      withHub(answer, (endpoint) => millrace(pullLine(endpoint, folder, home))),
    );
    assert.deepEqual(complaints({ code: 1, says }, outcome), []);
  });
}

for (const each of INTERRUPTS.filter(({ name }) => /stalls|template/.test(name))) {
  test(`a signal ends ${each.name}`, options, async () => {
    const { complaints: found } = await interrupt(each, "SIGTERM");
    // How soon is check:hostile's to say.
    assert.deepEqual(
      found.filter((line) => !line.endsWith(" ms")),
      [],
    );
  });
}
