/** A model's file that changes while it is loaded is an error that says so, never a model of two halves. */
import assert from "node:assert/strict";
import { openSync, closeSync, statSync, truncateSync, writeSync } from "node:fs";
import { test } from "node:test";

import { modelFile } from "../checks/hostile-cases.ts";
import { inFolder } from "../checks/hostile-run.ts";
import { load } from "../src/engine/load.ts";
import { ArtifactError } from "../src/errors.ts";

const CHANGES: Readonly<Record<string, { change: (path: string) => void; says: RegExp }>> = {
  truncated: {
    change: (path) => truncateSync(path, Math.floor(statSync(path).size / 3)),
    says: /model\.gguf.*(changed while it was read: it had \d+ bytes and has \d+|became shorter)/,
  },
  overwritten: {
    change(path) {
      const { size } = statSync(path);
      const file = openSync(path, "r+");
      writeSync(file, new Uint8Array(size / 4).fill(7), 0, Math.floor(size / 4), Math.floor(size / 2));
      closeSync(file);
    },
    says: /model\.gguf changed while it was read: it was written to/,
  },
};

for (const backend of ["cpu", "reference"] as const) {
  for (const [name, { change, says }] of Object.entries(CHANGES)) {
    test(`a file ${name} while the ${backend} backend loads it`, async () => {
      await inFolder(async (folder) => {
        const path = await modelFile(folder);
        // What is written within a tick of the file's clock has the same time.
        await new Promise((resolve) => setTimeout(resolve, 50));
        let changed = false;
        const loading = load(path, {
          backend,
          onProgress({ stage }) {
            if (stage !== "load" || changed) return;
            changed = true;
            change(path);
          },
        });
        await assert.rejects(loading, (error) => error instanceof ArtifactError && says.test(error.message));
        assert.ok(changed);
      });
    });
  }
}
