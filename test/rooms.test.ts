import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { sep } from "node:path";
import { test } from "node:test";

import { checkImports } from "./import-rules.ts";

function check(files: Record<string, string>): string[] {
  return checkImports({ files: new Map(Object.entries(files)), packages: new Set(["zod", "@huggingface/hub"]) });
}

test("every import of src/ keeps the rules", () => {
  const src = new URL("../src/", import.meta.url);
  const names = readdirSync(src, { recursive: true, encoding: "utf8" })
    .map((name) => name.split(sep).join("/"))
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));
  assert.ok(names.includes("errors.ts"), "the tree was found");
  const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
    dependencies: Record<string, string>;
    peerDependencies: Record<string, string>;
  };
  const complaints = checkImports({
    files: new Map(names.map((name) => [name, readFileSync(new URL(name, src), "utf8")])),
    packages: new Set(Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })),
  });
  assert.deepEqual(complaints, []);
});

test("a clean tree gets no complaint", () => {
  const complaints = check({
    "index.ts": `export { load } from "./engine/load.ts";\n`,
    "engine/load.ts": `import { z } from "zod";\nimport type { A } from "../artifact/a.ts";\nimport "../errors.ts";\n`,
    "backend/cpu/addon.ts": `import { createRequire } from "node:module";\nimport { b } from "../contract.ts";\n`,
    "backend/contract.ts": `// import { x } from "../engine/load.ts"\n`,
    "artifact/node-file.ts": `import fs from "node:fs";\nimport { hub } from "@huggingface/hub/x";\n`,
    "artifact/a.ts": "",
    "errors.ts": "",
  });
  assert.deepEqual(complaints, []);
});

const FORBIDDEN: readonly [name: string, files: Record<string, string>, complaint: RegExp][] = [
  [
    "an upward import",
    { "graph/g.ts": `import { e } from "../engine/e.ts";\n`, "engine/e.ts": "" },
    /graph\/g\.ts: imports upwards from engine/,
  ],
  [
    "an upward import of types over lines",
    { "graph/g.ts": `import type {\n  E,\n} from "../cli/e.ts";\n`, "cli/e.ts": "" },
    /upwards/,
  ],
  ["an upward re-export", { "state/s.ts": `export * from "../index.ts";\n`, "index.ts": "" }, /upwards/],
  [
    "an upward import expression",
    { "state/s.ts": `const e = await import("../engine/e.ts");\n`, "engine/e.ts": "" },
    /upwards/,
  ],
  [
    "a cycle",
    { "graph/a.ts": `import "./b.ts";\n`, "graph/b.ts": `import type { A } from "./a.ts";\n` },
    /cycle: graph\/a\.ts → graph\/b\.ts → graph\/a\.ts/,
  ],
  [
    "the engine by a side door",
    { "cli/c.ts": `import type { S } from "../engine/scheduler.ts";\n`, "engine/scheduler.ts": "" },
    /cli\/c\.ts: imports engine\/scheduler\.ts; the engine is reached by/,
  ],
  ["node: in the core", { "engine/e.ts": `import { join } from "node:path";\n` }, /engine\/e\.ts: imports node:path/],
  ["node: in a plain artifact file", { "artifact/gguf.ts": `import fs from "node:fs";\n` }, /imports node:fs/],
  ["the addon outside its room", { "engine/e.ts": `process.dlopen(module, "x");\n` }, /native addon/],
  ["an undeclared package", { "cli/c.ts": `import x from "left-pad";\n` }, /left-pad, which isn't a dependency/],
  ["a missing file", { "cli/c.ts": `import { x } from "./gone.ts";\n` }, /isn't a file/],
  ["a folder that is no room", { "utils/u.ts": "" }, /no room/],
];

for (const [name, files, complaint] of FORBIDDEN) {
  test(`${name} is found`, () => {
    const complaints = check(files);
    assert.equal(complaints.length, 1, complaints.join("\n"));
    assert.match(complaints[0] ?? "", complaint);
  });
}
