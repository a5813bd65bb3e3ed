/**
 * `npm run test:pack`: what a user gets. Packs the package, checks its size and contents, installs it into an empty
 * folder, type-checks a program against its declarations, and runs, on the oldest supported Node line (22) and on this
 * one: `millrace --version`, programs against the public API, and a short answer by the command line, which compiles the addon once (both Nodes at the same time, so that one
 * waits for the other). The model is the built-in one, or ../shared's; without either, the answer is left out and said so.
 */
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";

const NODE_22 = "22.23.3";
const MAX_BYTES = 5 * 1024 * 1024;

/** The README's program. */
const TYPED_PROGRAM = `import { load, type AnswerPart, type Generation, RequestError } from "millrace";
const show = (part: AnswerPart): string => ("text" in part ? part.text : part.type);
const llm = await load("hf:owner/repo:Q8_0", { context: 512, kv: "q8", onProgress: ({ stage, done, total }) => void [stage, done / total] });
try {
  for await (const part of llm.chat([{ role: "user", content: "Hi" }], { maxTokens: 64, seed: 1 })) show(part);
  const answer: Generation = await llm.generate("Once", { temperature: 0, stop: ["."], signal: new AbortController().signal });
  const ids: readonly number[] = answer.tokens;
  llm.detokenize(ids);
} catch (error) {
  if (!(error instanceof RequestError)) throw error;
}
await using other = await load();
await other.perplexity("text");
`;

const work = mkdtempSync(join(tmpdir(), "millrace-pack-"));
try {
  await main();
} finally {
  rmSync(work, { recursive: true, force: true });
}

async function main(): Promise<void> {
  const packed = await output("npm", ["pack", "--json", "--pack-destination", work], process.cwd());
  const [report] = JSON.parse(packed) as { filename: string; size: number; files: { path: string }[] }[];
  if (report === undefined) throw new Error("npm pack reported nothing");
  const names = report.files.map((file) => file.path);
  console.log(`packed ${names.length} files, ${(report.size / 1024).toFixed(0)} KiB`);
  if (report.size > MAX_BYTES)
    throw new Error(`the package has ${report.size} bytes; at most ${MAX_BYTES} are allowed`);
  const page = ["index.html", "main.js", "base.css"].map((name) => `dist/server/page/${name}`);
  const entries = ["dist/index.js", "dist/index.d.ts", "dist/cli/main.js", "dist/ai-sdk/ai-sdk.js"];
  for (const name of [...entries, ...page, "README.md", "LICENSE"]) {
    if (!names.includes(name)) throw new Error(`${name} isn't in the package`);
  }
  const strangers = names.filter((name) => /\.test\.|^src\/|fixtures|\.node$/.test(name));
  if (strangers.length > 0) throw new Error(`these don't belong into the package: ${strangers.join(", ")}`);

  const app = join(work, "app");
  mkdirSync(app);
  writeFileSync(join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  const builtin = await packBuiltinModel();
  await output("npm", ["install", "--no-audit", "--no-fund", join(work, report.filename), ...builtin], app);

  writeFileSync(join(app, "types.ts"), TYPED_PROGRAM);
  const flags = ["--module", "nodenext", "--target", "es2024", "--strict", "--exactOptionalPropertyTypes", "--noEmit"];
  await output("tsc", [...flags, "--lib", "es2024,esnext.disposable,dom", "--types", "", "types.ts"], app);

  const nodes = new Map([[process.version, process.execPath]]);
  const old = await install22();
  if (old !== undefined) nodes.set(`v${NODE_22}`, old);

  const shared = resolve("..", "shared", "models", "smollm2-135m-instruct-q4_1.gguf");
  // Undefined: load() without a model, which finds the other package.
  const model = builtin.length > 0 ? undefined : existsSync(shared) ? shared : null;
  writeFileSync(join(app, "close.mjs"), closeProgram(model));
  writeFileSync(join(app, "using.mjs"), usingProgram(model));
  const home = join(work, "home");
  const cli = join(app, "node_modules", "millrace", "dist", "cli", "main.js");
  const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
  const check = async ([name, node]: [string, string]): Promise<void> => {
    const printed = (await output(node, [cli, "--version"], app)).trim();
    if (printed !== version) throw new Error(`millrace --version on ${name} printed "${printed}", not ${version}`);
    if (model === null) {
      await output(node, ["-e", `import("millrace").then((m) => { if (!m.load) process.exit(1) })`], app);
      console.log(`${name}: --version and import work; no model here, so no answer was tried`);
      return;
    }
    const env = { MILLRACE_HOME: home };
    const raw = ["run", "--raw", "--json", "--max-tokens", "8", "--temperature", "0", "Once upon a time"];
    const run = JSON.parse(
      await output(node, [cli, ...raw, ...(model === undefined ? [] : ["--model", model])], app, env),
    ) as { text: string };
    const closed = await output(node, ["close.mjs"], app, env);
    const hasUsing = Number(name.slice(1).split(".")[0]) >= 24;
    const using = hasUsing ? await output(node, ["using.mjs"], app, env) : closed;
    if (closed !== using || closed.trim() !== JSON.stringify(run.text)) {
      throw new Error(`on ${name} the answers were ${closed}, ${using} and ${JSON.stringify(run.text)}`);
    }
    console.log(`${name}: --version, load, generate, close${hasUsing ? ", await using" : ""}: ${closed.trim()}`);
  };
  await Promise.all([...nodes].map(check));
  if (model !== null) {
    const built = readdirSync(join(home, "native"), { recursive: true, encoding: "utf8" });
    const addons = built.filter((name) => name.endsWith(".node"));
    if (addons.length !== 1) throw new Error(`the addon was built ${addons.length} times: ${built.join(", ")}`);
  }
}

function closeProgram(model: string | undefined | null): string {
  return `import { load } from "millrace";
import { createMillrace } from "millrace/ai-sdk";
const llm = await load(${model ? JSON.stringify(model) : ""});
if (createMillrace({ m: llm })("m").specificationVersion !== "v4") throw new Error("no model for the AI SDK");
const { text } = await llm.generate("Once upon a time", { maxTokens: 8, temperature: 0 });
await llm.close();
console.log(JSON.stringify(text));
`;
}

function usingProgram(model: string | undefined | null): string {
  return `import { load } from "millrace";
await using llm = await load(${model ? JSON.stringify(model) : ""});
const { text } = await llm.generate("Once upon a time", { maxTokens: 8, temperature: 0 });
console.log(JSON.stringify(text));
`;
}

/** The built-in model's tarball, where this checkout has one. */
async function packBuiltinModel(): Promise<string[]> {
  if (!existsSync("builtin/brook-q8_0.gguf")) return [];
  const packed = await output("npm", ["pack", "--json", "--pack-destination", work], resolve("builtin"));
  const [report] = JSON.parse(packed) as { filename: string }[];
  return report === undefined ? [] : [join(work, report.filename)];
}

async function install22(): Promise<string | undefined> {
  const name = `node-${process.platform}-${process.arch}`;
  if (process.platform !== "linux") {
    console.log(`no npm package of Node ${NODE_22} is known for ${name}: only ${process.version} is tried`);
    return undefined;
  }
  const folder = join(work, "node22");
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "node22", private: true }));
  await output("npm", ["install", "--no-audit", "--no-fund", `${name}@${NODE_22}`], folder);
  const node = join(folder, "node_modules", name, "bin", "node");
  statSync(node);
  return node;
}

function output(
  command: string,
  args: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
): Promise<string> {
  return new Promise((done, fail) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => (text += part));
    child.on("error", fail);
    child.on("close", (code) => {
      if (code === 0) done(text);
      else fail(new Error(`${command} ${args.join(" ")} ended with ${code}:\n${text}`));
    });
  });
}
