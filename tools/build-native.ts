/**
 * `npm run build:native [-- --variant=release|debug|sanitize|sabotage --here --tests --run --quiet --jobs=N]`: the command
 * over `src/backend/cpu/build.ts`. `--here` builds what this processor runs best and no other instruction set that wasn't
 * built before; `--tests` the C++ unit tests too, `--run` runs them (words after `--` choose which).
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

import { targetHere } from "../src/backend/cpu/addon.ts";
import { buildNative, builtIsas, packageRoot } from "../src/backend/cpu/build.ts";
import { VARIANTS, hostTarget, type Target } from "../src/backend/cpu/toolchain.ts";
import { MillraceError } from "../src/errors.ts";

const { values, positionals } = parseArgs({
  options: {
    variant: { type: "string", default: "release" },
    here: { type: "boolean", default: false },
    tests: { type: "boolean", default: false },
    run: { type: "boolean", default: false },
    quiet: { type: "boolean", default: false },
    jobs: { type: "string" },
  },
  allowPositionals: true,
});

const variant = VARIANTS.find((v) => v === values.variant);
if (variant === undefined) fail(`--variant is ${values.variant}; it can be ${VARIANTS.join(", ")}`);

const outDir = join(packageRoot(), "build", variant);
const started = performance.now();
try {
  const result = await buildNative({
    outDir,
    variant,
    target: values.here ? await withBuilt(await targetHere()) : hostTarget(),
    strict: true,
    tests: values.tests || values.run,
    ...(values.jobs === undefined ? {} : { jobs: Number(values.jobs) }),
    onProgress: ({ done, total, what }) => {
      if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K[${done}/${total}] ${what}${done === total ? "\n" : ""}`);
      else if (done === 0) process.stderr.write(`compiling ${total - 1} native sources (${variant}) …\n`);
    },
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (!values.quiet) console.error(`${result.addon}: ${result.steps === 0 ? "up to date" : "built"} (${seconds} s)`);
  if (values.run && result.tests !== undefined) {
    process.exitCode = spawnSync(result.tests, positionals, { stdio: "inherit" }).status ?? 1;
  }
} catch (error) {
  if (!(error instanceof MillraceError)) throw error;
  if (process.stderr.isTTY) process.stderr.write("\n");
  fail(error.message);
}

/** A build never loses an instruction set again: who tests all of them would compile them after every start. */
async function withBuilt(here: Target): Promise<Target> {
  const built = await builtIsas(outDir);
  return {
    ...here,
    isas: hostTarget().isas.filter((isa) => here.isas.some(({ name }) => name === isa.name) || built.has(isa.name)),
  };
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
