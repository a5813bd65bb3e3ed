/**
 * `npm run format [-- --check]`: oxfmt for TypeScript and JavaScript, clang-format (its WebAssembly build from npm) for
 * the C++ sources. Styles: .oxfmtrc.json and .clang-format.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";

const check = process.argv.includes("--check");

const native = readdirSync("native", { recursive: true, encoding: "utf8" })
  .filter((name) => /\.(cpp|h)$/.test(name))
  .map((name) => join("native", name));
const package_ = createRequire(import.meta.url).resolve("@wasm-fmt/clang-format/package.json");
const clangFormat = [join(dirname(package_), "clang-format-cli.cjs"), ...(check ? ["--dry-run", "--Werror"] : ["-i"])];

const statuses = [
  run("oxfmt", [...(check ? ["--check"] : ["--write"]), "."]),
  native.length === 0 ? 0 : run(process.execPath, [...clangFormat, ...native]),
];
if (statuses.some((status) => status !== 0)) {
  if (check) console.error('Not formatted as the settings say: "npm run format" does it.');
  process.exitCode = 1;
}

function run(command: string, args: readonly string[]): number {
  const result = spawnSync(command, args, { stdio: "inherit" });
  if (result.error !== undefined) console.error(`${command}: ${result.error.message} (run this through npm)`);
  return result.status ?? 1;
}
