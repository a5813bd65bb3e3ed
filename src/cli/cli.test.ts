/** The program as a shell sees it: exit codes, and which stream says what. No model is loaded here. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function millrace(...args: string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

test("version and help are results: stdout, code 0", async () => {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  assert.deepEqual(await millrace("--version"), { code: 0, stdout: `${version}\n`, stderr: "" });
  const help = await millrace("--help");
  assert.equal(help.code, 0);
  assert.equal(help.stderr, "");
  const commands = [...help.stdout.matchAll(/^ {2}([a-z]+) {2,}/gm)].map((match) => match[1] ?? "");
  assert.ok(commands.length >= 6, help.stdout);
  for (const name of commands) {
    const { code, stdout } = await millrace(name, "--help");
    assert.equal(code, 0, name);
    assert.match(stdout, new RegExp(`^Usage: millrace ${name}`));
    const long = stdout.split("\n").filter((line) => line.length > 110);
    assert.deepEqual(long, [], `${name}: lines too long to read`);
  }
});

const MISUSES: readonly [args: string[], message: RegExp][] = [
  [[], /a command is needed/],
  [["chta"], /unknown command chta; did you mean chat\?/],
  [["run", "--sead", "1", "x"], /unknown flag --sead; did you mean --seed\?/],
  [["run", "two", "words"], /put it in quotes/],
  [["run", "--raw", "--system", "s", "x"], /--raw uses no chat template/],
  [["run", ""], /the prompt is empty/],
  [["chat", "hello"], /chat takes no words/],
  [["perplexity"], /--text FILE is needed/],
  [["bench", "model.gguf"], /"model\.gguf" is one word too many; the model is named by --model/],
  [["bench", "--backend", "reference"], /nobody times it/],
  [["detokenize", "twelve"], /"twelve" is no token id/],
];

test("wrong usage: code 2, one line on stderr, nothing on stdout", async () => {
  for (const [args, message] of MISUSES) {
    const { code, stdout, stderr } = await millrace(...args);
    assert.equal(code, 2, `${args.join(" ")}: ${stderr}`);
    assert.equal(stdout, "");
    assert.match(stderr, message);
    assert.match(stderr, /^millrace: .* \(see `millrace .*--help`\)\n$/);
  }
});

test("a failure: code 1, one line that names the matter", async () => {
  for (const args of [
    ["run", "--model", "/no/such.gguf", "hello", "--json"],
    ["inspect", MAIN],
    ["perplexity", "--text", "/no/such.txt"],
  ]) {
    const { code, stdout, stderr } = await millrace(...args);
    assert.equal(code, 1, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, /^millrace: .*(no\/such|main\.ts).*\n$/);
  }
});
