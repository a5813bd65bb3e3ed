/** Picks the command, and turns how it ends into a message and an exit code. */
import { readFileSync } from "node:fs";
import process from "node:process";

import { type Command, commandHelp, overview } from "./command.ts";
import { bench } from "./commands/bench.ts";
import { cache } from "./commands/cache.ts";
import { chat } from "./commands/chat.ts";
import { compress } from "./commands/compress.ts";
import { datastore } from "./commands/datastore.ts";
import { detokenize } from "./commands/detokenize.ts";
import { embed } from "./commands/embed.ts";
import { evaluate } from "./commands/evaluate.ts";
import { grammar } from "./commands/grammar.ts";
import { inspect } from "./commands/inspect.ts";
import { list } from "./commands/list.ts";
import { merge } from "./commands/merge.ts";
import { perplexity } from "./commands/perplexity.ts";
import { pull } from "./commands/pull.ts";
import { rerank } from "./commands/rerank.ts";
import { run } from "./commands/run.ts";
import { serve } from "./commands/serve.ts";
import { tokenize } from "./commands/tokenize.ts";
import { EXIT, InterruptedError, UsageError } from "./exit.ts";
import { parseFlags } from "./flags.ts";
import { nearest } from "../nearest.ts";
import { Terminal } from "./terminal.ts";

const COMMANDS: readonly Command[] = [
  chat,
  run,
  serve,
  tokenize,
  detokenize,
  perplexity,
  embed,
  rerank,
  grammar,
  datastore,
  pull,
  list,
  inspect,
  merge,
  compress,
  evaluate,
  bench,
  cache,
];

/** Runs a command line and sets the exit code. */
export async function main(args: readonly string[]): Promise<void> {
  const terminal = new Terminal();
  try {
    await dispatch(args, terminal);
    // A command may have set a code of its own.
    process.exitCode = terminal.signal.aborted ? EXIT.interrupted : (process.exitCode ?? EXIT.success);
  } catch (error) {
    process.exitCode = report(error, terminal);
  }
  // A pipe on stdin that nobody reads to its end must not keep the program alive.
  process.stdin.destroy();
}

async function dispatch(args: readonly string[], terminal: Terminal): Promise<void> {
  const [name, ...rest] = args;
  if (name === undefined) throw new UsageError("a command is needed");
  if (name === "--version" || name === "-v" || name === "version") return terminal.write(`${version()}\n`);
  if (name === "--help" || name === "-h") return terminal.write(overview(COMMANDS));
  if (name === "help") {
    const [about] = rest;
    return terminal.write(about === undefined ? overview(COMMANDS) : commandHelp(find(about)));
  }
  const command = find(name);
  try {
    const { values, words, help } = parseFlags(rest, command.flags);
    if (help) return terminal.write(commandHelp(command));
    await command.run({ values, words, terminal });
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(`${name}: ${error.message}`, { cause: command.name });
    throw error;
  }
}

function find(name: string): Command {
  const command = COMMANDS.find((c) => c.name === name);
  if (command !== undefined) return command;
  const kind = name.startsWith("-") ? "flag" : "command";
  const near = nearest(
    name,
    COMMANDS.map((c) => c.name),
  );
  throw new UsageError(`unknown ${kind} ${name}${near === undefined ? "" : `; did you mean ${near}?`}`);
}

function report(error: unknown, terminal: Terminal): number {
  if (error instanceof InterruptedError || terminal.signal.aborted) return EXIT.interrupted;
  if (error instanceof UsageError) {
    const help = typeof error.cause === "string" ? `millrace ${error.cause} --help` : "millrace --help";
    terminal.note(`millrace: ${error.message} (see \`${help}\`)`);
    return EXIT.usage;
  }
  terminal.note(`millrace: ${error instanceof Error ? error.message : String(error)}`);
  if (process.env["MILLRACE_DEBUG"] && error instanceof Error) terminal.note(error.stack ?? "");
  return EXIT.failure;
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  if (typeof manifest === "object" && manifest !== null && "version" in manifest) return String(manifest.version);
  throw new Error("package.json has no version");
}
