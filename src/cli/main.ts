#!/usr/bin/env node
/**
 * The program `millrace`. Only the check of Node's version stands here, before anything is imported that an older Node
 * can't read; the rest is `cli.ts`.
 */
import process from "node:process";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(`millrace: Node 22.18 or newer is needed; this is ${process.version}\n`);
  process.exitCode = 1;
} else {
  const { main } = await import("./cli.ts");
  await main(process.argv.slice(2));
}
