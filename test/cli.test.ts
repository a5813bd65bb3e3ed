/** The command line on a real model: what a script reads from stdout, and how a person stops things. */
import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { openPeftCase } from "./support/peft.ts";

const MAIN = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
const MODEL = fileURLToPath(new URL("../../shared/models/smollm2-135m-instruct-q4_1.gguf", import.meta.url));
const options = { skip: existsSync(MODEL) ? false : `${MODEL} isn't here`, concurrency: 2, timeout: 120_000 };

const BUILTIN = fileURLToPath(new URL("../builtin/brook-q8_0.gguf", import.meta.url));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...args: string[]): ChildProcessWithoutNullStreams {
  const [command = "", ...rest] = args;
  return startMillrace(command, "--model", MODEL, ...rest);
}

function startMillrace(...args: string[]): ChildProcessWithoutNullStreams {
  const child = spawn(process.execPath, ["--no-warnings", MAIN, ...args]);
  child.stdout.setEncoding("utf8");
  child.stderr.setEncoding("utf8");
  return child;
}

function outcome(child: ChildProcessWithoutNullStreams): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (text: string) => (stdout += text));
    child.stderr.on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    // A signal that comes before the program listens for it ends it as well; a shell says 130 to both.
    child.on("close", (code, signal) => resolve({ code: signal === "SIGINT" ? 130 : code, stdout, stderr }));
  });
}

async function millrace(args: readonly string[], input = ""): Promise<Outcome> {
  const child = start(...args);
  child.stdin.end(input);
  return outcome(child);
}

/** The one object that stdout holds, and nothing beside it. */
async function json(args: readonly string[], input = ""): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await millrace([...args, "--json"], input);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^\{.*\}\n$/s);
  return JSON.parse(stdout) as Record<string, unknown>;
}

const GREEDY = ["--temperature", "0", "--max-tokens", "12"];

test("run: the same answer as text and as JSON, from an argument and from stdin", options, async () => {
  const prompt = "Name three rivers.";
  const object = await json(["run", ...GREEDY, prompt]);
  const keys = ["text", "tokens", "promptTokens", "finishReason", "usage", "timings", "seed"];
  assert.deepEqual(Object.keys(object), keys);
  assert.ok(Array.isArray(object["tokens"]) && Array.isArray(object["promptTokens"]));
  assert.equal(object["tokens"].length, 12);
  assert.equal(object["finishReason"], "length");

  const { code, stdout, stderr } = await millrace(["run", ...GREEDY], `${prompt}\n`);
  assert.equal(code, 0);
  assert.equal(stdout, `${String(object["text"])}\n`);
  const count = object["promptTokens"].length;
  const numbers = `prompt ${count} tokens at [\\d.]+ tokens/s, answer 12 tokens at [\\d.]+ tokens/s(?: \\([\\d.]+ a step\\))?, first token after `;
  assert.match(stderr, new RegExp(numbers));
});

test(
  "run --raw: special tokens are parsed and no template is applied; --stop ends before its text",
  options,
  async () => {
    const prompt = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    const raw = await json(["run", "--raw", ...GREEDY, prompt]);
    const { tokens } = await json(["tokenize", "--raw", prompt]);
    assert.deepEqual(raw["promptTokens"], tokens);
    const text = String(raw["text"]);
    const word = text.trim().split(/\s+/)[2] ?? "";
    assert.notEqual(word, "");
    const stopped = await json(["run", "--raw", ...GREEDY, "--stop", word, prompt]);
    assert.equal(stopped["text"], text.slice(0, text.indexOf(word)));
    assert.equal(stopped["finishReason"], "stop");
  },
);

test("tokenize and detokenize are each other's inverse, to the letter", options, async () => {
  const text = "  Grüße,\n\tworld 👩🏽‍🚀 <|im_end|> \r\n";
  const { tokens } = await json(["tokenize"], text);
  assert.ok(Array.isArray(tokens));
  const plain = await millrace(["tokenize"], text);
  assert.equal(plain.stdout, `${tokens.join(" ")}\n`);
  const back = await millrace(["detokenize"], plain.stdout);
  assert.equal(back.stdout, text);
  assert.equal((await json(["detokenize", ...tokens.map(String)]))["text"], text);
});

test("perplexity: the four numbers, consistent with each other", options, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-cli-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, "text.txt");
  await writeFile(file, "The river runs through the old town and under the stone bridge. ".repeat(8));
  const object = await json(["perplexity", "--text", file, "--window", "32", "--limit", "2"]);
  assert.deepEqual(Object.keys(object), ["perplexity", "nll", "predicted", "bitsPerByte"]);
  const { perplexity, nll, predicted } = object as Record<string, number>;
  assert.equal(predicted, 62);
  assert.ok(perplexity !== undefined && nll !== undefined && predicted !== undefined);
  assert.ok(Math.abs(Math.log(perplexity) - nll / predicted) < 1e-9);
});

const LONG = ["--temperature", "0", "--max-tokens", "2000"];

test("run: Ctrl-C ends a long answer with 130 and without a word", options, async () => {
  const child = start("run", "--raw", ...LONG, "Once upon a time");
  child.stdin.end();
  const ended = outcome(child);
  child.stdout.once("data", () => child.kill("SIGINT"));
  const { code, stdout, stderr } = await ended;
  assert.equal(code, 130);
  assert.match(stdout, /\n$/);
  assert.equal(stderr, "");
});

test("run --json: Ctrl-C leaves nothing on stdout", options, async () => {
  const child = start("run", "--raw", "--json", ...LONG, "Once upon a time");
  child.stdin.end();
  setTimeout(() => child.kill("SIGINT"), 1500);
  const { code, stdout } = await outcome(child);
  assert.deepEqual({ code, stdout }, { code: 130, stdout: "" });
});

test("run: a reader that leaves ends the program quietly", options, async () => {
  const child = start("run", "--raw", ...LONG, "Once upon a time");
  child.stdin.end();
  child.stdout.once("data", () => child.stdout.destroy());
  const { code, stderr } = await outcome(child);
  assert.equal(code, 0);
  assert.equal(stderr, "");
});

test(
  "chat through a pipe: a line an answer, Ctrl-C stops one answer only, old turns are dropped aloud",
  options,
  async () => {
    const child = start("chat", "--context", "160", ...GREEDY.slice(0, 2), "--max-tokens", "60");
    const ended = outcome(child);
    // The first answer is stopped by a signal, the others are waited for: each closes with a line's end.
    child.stdout.once("data", () => child.kill("SIGINT"));
    const long = "Tell me about the sea, the ships, the wind, the stars, the harbour and the long way home. ".repeat(2);
    child.stdin.end(`Count to one hundred.\n${long}\n\n${long}\nHello\n/nwe\n`);
    const { code, stderr } = await ended;
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^\(stopped\)$/m);
    assert.match(stderr, /^\(the context of 160 tokens is full: the oldest (turn|\d turns) dropped\)$/m);
    assert.match(stderr, /unknown command \/nwe; did you mean \/new\?/);
  },
);

test("a prompt beyond the context is an error with the numbers", options, async () => {
  const { code, stdout, stderr } = await millrace(["run", "--context", "32", "word ".repeat(100)]);
  assert.deepEqual({ code, stdout }, { code: 1, stdout: "" });
  assert.match(stderr, /^millrace: the prompt has \d+ tokens, the context has 32.*\n$/);
});

test(
  "without --model the built-in model answers",
  { skip: existsSync(BUILTIN) ? false : `${BUILTIN} isn't here` },
  async () => {
    const child = startMillrace("chat", "--temperature", "0", "--max-tokens", "24");
    child.stdin.end("Who are you?\n");
    const { code, stdout, stderr } = await outcome(child);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /Brook/);
    const list = startMillrace("list");
    list.stdin.end();
    assert.match((await outcome(list)).stdout, /^\(built in\) .*brook-q8_0\.gguf$/m);
  },
);

test("run: an answer is held to a choice, an expression or a schema", { timeout: 120_000 }, async () => {
  const ask = async (...args: string[]): Promise<Outcome> => {
    const child = startMillrace("run", "--model", BUILTIN, "--seed", "1", ...args);
    child.stdin.end();
    return outcome(child);
  };
  assert.match((await ask("--choice", "red,green", "What colour is grass?")).stdout, /^(red|green)\n$/);
  assert.match((await ask("--regex", "[0-9]{2}", "A number?")).stdout, /^[0-9]{2}\n$/);
  assert.match((await ask("--regex", "a", "--choice", "a", "x")).stderr, /exclude each other/);
  const folder = await mkdtemp(join(tmpdir(), "millrace-"));
  try {
    const file = join(folder, "schema.json");
    await writeFile(
      file,
      '{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false}',
    );
    assert.match((await ask("--schema", file, "Is all well?")).stdout, /^\{"ok":(true|false)\}\n$/);
    const [gbnf, lark] = [join(folder, "sum.gbnf"), join(folder, "sum.lark")];
    await writeFile(gbnf, 'root ::= [0-9] "+" [0-9]');
    await writeFile(lark, 'start: DIGIT "-" DIGIT\nDIGIT: /[0-9]/');
    assert.match((await ask("--grammar", gbnf, "Add.")).stdout, /^[0-9]\+[0-9]\n$/);
    assert.match((await ask("--grammar", lark, "Subtract.")).stdout, /^[0-9]-[0-9]\n$/);
    await writeFile(file, "{");
    const { code, stderr } = await ask("--schema", file, "x");
    assert.equal(code, 2);
    assert.match(stderr, /schema\.json is not JSON/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test(
  "run: tools are called as they are, as text and as JSON, and wrong ones are told",
  { timeout: 120_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "millrace-"));
    const file = join(folder, "tools.json");
    const ask = async (...args: string[]): Promise<Outcome> => {
      const child = startMillrace(
        "run",
        "--model",
        BUILTIN,
        "--seed",
        "1",
        "--tools",
        file,
        ...args,
        "The weather in Rome?",
      );
      child.stdin.end();
      return outcome(child);
    };
    const city = { enum: ["Paris", "Rome"] };
    const parameters = { type: "object", properties: { city }, required: ["city"], additionalProperties: false };
    const weather = { type: "function", function: { name: "get_weather", description: "The weather", parameters } };
    const clock = { type: "function", function: { name: "get_time" } };
    try {
      await writeFile(file, JSON.stringify([weather, clock]));
      const call = /^get_weather\(\{"city":"(Paris|Rome)".*\}\)$/m;
      const told = await ask("--tool-choice", "get_weather", "--max-tokens", "200");
      assert.equal(told.code, 0, told.stderr);
      assert.match(told.stdout, call);
      const { stdout } = await ask("--tool-choice", "required", "--json", "--max-tokens", "200");
      const { toolCalls } = JSON.parse(stdout) as { toolCalls: { id: string; name: string; arguments: object }[] };
      assert.ok(toolCalls.length > 0);
      for (const { id, name, arguments: args } of toolCalls) {
        assert.match(id, /^[a-z0-9]{9}$/);
        assert.deepEqual(Object.keys(args), name === "get_weather" ? ["city"] : []);
      }
      const refusals: readonly (readonly [args: readonly string[], why: RegExp])[] = [
        [["--tool-choice", "get_money"], /must be auto, none, required or one of get_weather, get_time/],
        [["--raw"], /so it has no --tools/],
      ];
      for (const [args, why] of refusals) {
        const { code, stderr } = await ask(...args);
        assert.equal(code, 2);
        assert.match(stderr, why);
      }
      await writeFile(file, '[{"type":"function","function":{}}]');
      assert.match((await ask()).stderr, /tools\.json is no list of tools: 0\.function\.name/);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);

test("inspect tells an adapter from a model", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-cli-adapter-"));
  try {
    const { config, weights } = openPeftCase("dora");
    await writeFile(join(folder, "adapter_config.json"), config);
    await writeFile(join(folder, "adapter_model.safetensors"), weights);
    const { code, stdout, stderr } = await outcome(startMillrace("inspect", folder));
    assert.equal(code, 0, stderr);
    assert.match(stdout, /adapter +DoRA \(peft\)\nmade for +llama\nrank +4\nlayers +10: /);
    const loaded = await outcome(startMillrace("run", "Hello", "--model", folder));
    assert.notEqual(loaded.code, 0);
    assert.match(loaded.stderr, /is an adapter: load the model that it was made for/);
    const wrong = await outcome(startMillrace("run", "Hello", "--model", BUILTIN, "--adapter", folder));
    assert.notEqual(wrong.code, 0);
    assert.match(wrong.stderr, /made for another model/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
