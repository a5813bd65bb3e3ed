/**
 * What the npm scripts go through: `run.mjs [--native [--here] [--tests]] [FILE ARGUMENTS]`. It says in one line where this
 * Node is too old, builds the addon where asked (`--native`; with `--here` for this processor alone, with `--tests` the C++
 * unit tests too), and runs FILE in this process.
 * Plain JavaScript of an old kind, so that any Node can read it.
 */
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  console.error(
    `Millrace needs Node 22.18 or newer; this is ${process.version}. On Linux and Windows "npm ci" brings Node 26 for the npm ` +
      `scripts (not with --omit=optional); elsewhere install it from https://nodejs.org.`,
  );
  process.exit(1);
}
const words = process.argv.slice(2);
const first = words.findIndex((word) => !word.startsWith("--"));
const flags = first < 0 ? words : words.slice(0, first);
const [file, ...rest] = words.slice(flags.length);
if (flags.includes("--native")) {
  const wishes = flags.filter((flag) => flag !== "--native");
  const build = spawnSync(process.execPath, ["tools/build-native.ts", "--quiet", ...wishes], { stdio: "inherit" });
  if (build.status !== 0) process.exit(build.status ?? 1);
}
if (file !== undefined) {
  process.argv.splice(1, Infinity, resolve(file), ...rest);
  await import(pathToFileURL(resolve(file)).href);
}
