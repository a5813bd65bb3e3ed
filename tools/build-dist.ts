/**
 * `npm run build:dist`: TypeScript → `dist/`, as published: JavaScript for Node ≥ 22.18 with declarations, imports of `.ts`
 * rewritten to `.js`, tests left out.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, readdirSync, rmSync } from "node:fs";
import process from "node:process";

rmSync("dist", { recursive: true, force: true });
const tsc = spawnSync("tsc", ["-p", "tsconfig.build.json"], { stdio: "inherit" });
if (tsc.error !== undefined) console.error(`tsc: ${tsc.error.message} (run this through npm)`);
if (tsc.status !== 0) process.exit(1);
// The page's parts that no compiler sees.
for (const name of readdirSync("src/server/page").filter((file) => /\.(html|css|svg)$/.test(file)))
  copyFileSync(`src/server/page/${name}`, `dist/server/page/${name}`);
if (existsSync("dist/cli/main.js")) chmodSync("dist/cli/main.js", 0o755);
