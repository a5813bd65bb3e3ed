/** The commands of docs/serving.md do what it says, on the built-in model. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const MAIN = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
const DOCS = new URL("../docs/serving.md", import.meta.url);

/** Resolves with the address that the server tells. */
function address(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stderr?.on("data", (part: Buffer) => {
      text += part.toString();
      const found = /at (http:\S+)/.exec(text)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once("exit", () => reject(new Error(`no address: ${text}`)));
  });
}

test("every curl of docs/serving.md is answered; SIGTERM ends the server in peace", { timeout: 120_000 }, async (t) => {
  const text = await readFile(DOCS, "utf8");
  const commands = [...text.matchAll(/```sh\n(.*?)```/gs)].map((match) => match[1] ?? "");
  const [start = "", ...curls] = commands;
  const args = /millrace -- (serve .*)\n/.exec(start)?.[1]?.replace("8080", "0").split(" ") ?? [];
  assert.ok(args.length > 1 && curls.length >= 4);
  const child = spawn(process.execPath, ["--no-warnings", MAIN, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  const exit = once(child, "exit");
  const url = await address(child);
  for (const command of curls) {
    const { stdout } = await promisify(execFile)("sh", ["-c", command.replaceAll("http://127.0.0.1:8080", url)]);
    assert.ok(command.includes("/metrics") ? stdout.includes("vllm:prompt_tokens_total") : JSON.parse(stdout));
  }
  child.kill("SIGTERM");
  const [code] = (await exit) as [number | null];
  assert.equal(code, 0);
});
