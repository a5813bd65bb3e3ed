/** `npm run bench -- NAME …`: the benchmarks by name. The first run installs the peers, beside us and nowhere else. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { benchAdapters } from "./adapters.ts";
import { benchCompress } from "./compress.ts";
import { benchDecode } from "./decode.ts";
import { benchGrammar } from "./grammar.ts";
import { benchGrammarSuite } from "./grammar-suite.ts";
import { benchHttp } from "./http.ts";
import { benchIdle } from "./idle.ts";
import { benchLoad } from "./load.ts";
import { benchPolicies } from "./policies.ts";
import { benchServe } from "./serve.ts";
import { benchShape } from "./shape.ts";
import { benchSoak } from "./soak.ts";
import { benchSpeculation } from "./speculation.ts";

const benchmarks: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  adapters: benchAdapters,
  compress: benchCompress,
  decode: benchDecode,
  grammar: benchGrammar,
  "grammar-suite": benchGrammarSuite,
  http: benchHttp,
  idle: benchIdle,
  load: benchLoad,
  policies: benchPolicies,
  serve: benchServe,
  shape: benchShape,
  soak: benchSoak,
  speculation: benchSpeculation,
};

const [name = "", ...args] = process.argv.slice(2);
const run = benchmarks[name];
if (!run) {
  console.error(`usage: npm run bench -- NAME [ARGUMENTS]\nNAME is one of: ${Object.keys(benchmarks).join(", ")}`);
  process.exitCode = 2;
} else {
  const needsPeers = name === "decode" && !args.includes("--against");
  if (needsPeers && !existsSync(path.join(import.meta.dirname, "node_modules"))) {
    execFileSync("npm", ["ci"], { cwd: import.meta.dirname, stdio: "inherit" });
  }
  await run(args);
  process.exit(0);
}
