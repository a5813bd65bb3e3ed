/** The examples of docs/structured-output.md: they compile, each is run, and it prints what its comments say. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const GUIDE = readFileSync(path.join(import.meta.dirname, "../docs/structured-output.md"), "utf8");
const INDEX = pathToFileURL(path.join(import.meta.dirname, "../src/index.ts")).href;
const ZOD = import.meta.resolve("zod");
const MAIN = path.join(import.meta.dirname, "../src/cli/main.ts");

const examples = [...GUIDE.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");

test("there are examples", () => assert.ok(examples.length >= 3));

test("they compile by the strictest rules", async () => {
  const folder = mkdtempSync(path.join(import.meta.dirname, "../build/docs-"));
  try {
    examples.forEach((example, i) => writeFileSync(path.join(folder, `example-${i}.ts`), example));
    const compilerOptions = { paths: { millrace: ["../../src/index.ts"] }, noEmit: true };
    writeFileSync(
      path.join(folder, "tsconfig.json"),
      JSON.stringify({ extends: "../../tsconfig.json", compilerOptions, include: ["*.ts"] }),
    );
    const tsc = path.join(import.meta.dirname, "../node_modules/typescript/bin/tsc");
    const { stdout } = await run(process.execPath, [tsc, "-p", folder]).catch((error: { stdout: string }) => error);
    assert.equal(stdout, "");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

for (const [i, example] of examples.entries()) {
  test(`example ${i + 1} of structured-output.md`, async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "millrace-docs-"));
    try {
      const file = path.join(folder, "example.ts");
      writeFileSync(
        file,
        example.replaceAll('from "millrace"', `from "${INDEX}"`).replaceAll('from "zod"', `from "${ZOD}"`),
      );
      const { stdout } = await run(process.execPath, [file]);
      const expected = [...example.matchAll(/\/\/ → (.*)/g)].map((match) => match[1]);
      assert.ok(expected.length > 0);
      assert.deepEqual(stdout.trim().split("\n"), expected);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}

test("the commands of structured-output.md end as it says", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "millrace-docs-"));
  try {
    const schema = path.join(folder, "person.json");
    writeFileSync(
      schema,
      JSON.stringify({ type: "object", properties: { name: { type: "string" } }, required: ["name"] }),
    );
    const unsupported = path.join(folder, "unsupported.json");
    writeFileSync(unsupported, JSON.stringify({ uniqueItems: true }));
    const cases: readonly [args: readonly string[], code: number, output: RegExp][] = [
      [["--schema", schema], 0, /^supported\n$/],
      [["--schema", schema, '{"name":"Ada"}'], 0, /^accepted\n$/],
      [["--schema", schema, '{"name":1}'], 1, /^rejected\n$/],
      [["--schema", unsupported], 2, /^unsupported: "uniqueItems"/],
      [["--regex", "[a-z]+(-[a-z]+)*", "kebab-case"], 0, /^accepted\n$/],
      [["--regex", "(", "x"], 2, /^unsupported: .* malformed/],
    ];
    for (const [args, code, output] of cases) {
      const ended = await run(process.execPath, [MAIN, "grammar", ...args]).then(
        ({ stdout }) => ({ code: 0, stdout }),
        (error: { code: number; stdout: string }) => error,
      );
      assert.equal(ended.code, code, args.join(" "));
      assert.match(ended.stdout, output);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
