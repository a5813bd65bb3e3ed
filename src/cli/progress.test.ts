import assert from "node:assert/strict";
import { test } from "node:test";

import { formatBytes, formatSeconds } from "./progress.ts";

test("bytes and seconds read well at every size", () => {
  assert.deepEqual([0, 1023, 1536, 104_857_600, 2 ** 40].map(formatBytes), [
    "0 bytes",
    "1023 bytes",
    "1.5 KiB",
    "100 MiB",
    "1.0 TiB",
  ]);
  assert.deepEqual([0.021, 1.26, 59.4, 75].map(formatSeconds), ["21 ms", "1.3 s", "59 s", "1 min 15 s"]);
});
