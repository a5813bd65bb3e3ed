/**
 * What a command is, and its help. A command gets checked values and a Terminal and returns when it is done; a failure
 * is an exception. Commands stand one a file in `commands/`.
 */
import type { Flag, Flags, Values } from "./flags.ts";
import type { Terminal } from "./terminal.ts";

export interface Invocation<F extends Flags> {
  readonly values: Values<F>;
  readonly words: readonly string[];
  readonly terminal: Terminal;
}

export interface FlagGroup<F extends Flags = Flags> {
  readonly title: string;
  readonly flags: F;
}

export interface Command<F extends Flags = Flags> {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Words after the name: "[PROMPT]". */
  readonly words: string;
  /** Paragraphs under the usage line. */
  readonly about: string;
  readonly groups: readonly FlagGroup[];
  readonly flags: F;
  readonly examples: readonly string[];
  run(invocation: Invocation<F>): Promise<void>;
}

/** Lets a command's flags, given in groups for the help, type its values. */
export function defineCommand<F extends Flags>(command: Command<F>): Command {
  return command;
}

const WIDTH = 100;

export function commandHelp(command: Command): string {
  const lines = [`Usage: millrace ${command.name} ${command.words}${command.words === "" ? "" : " "}[flags]`, ""];
  lines.push(...wrap(command.about, WIDTH), "");
  for (const group of command.groups) {
    lines.push(`${group.title}:`, ...flagLines(group.flags), "");
  }
  if (command.examples.length > 0) lines.push("Examples:", ...command.examples.map((example) => `  ${example}`), "");
  return lines.join("\n");
}

export function overview(commands: readonly Command[]): string {
  const names = commands.map(({ name, summary }): [string, string] => [name, summary]);
  return [
    "Usage: millrace COMMAND [flags]",
    "",
    "Runs language models on this machine.",
    "",
    "Commands:",
    ...columns(names),
    "",
    'A model is named by --model: a GGUF file, a folder with safetensors, or "hf:owner/repo[:file-or-quant]";',
    "without it the built-in model is used. `millrace COMMAND --help` tells a command's flags.",
    "",
    "Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.",
    "",
  ].join("\n");
}

function flagLines(flags: Flags): string[] {
  return columns(Object.entries(flags).map(([name, flag]): [string, string] => [flagUsage(name, flag), flag.help]));
}

function flagUsage(name: string, flag: Flag<unknown>): string {
  const short = flag.short === undefined ? "" : `-${flag.short}, `;
  return `${short}--${name}${flag.placeholder === undefined ? "" : ` ${flag.placeholder}`}`;
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const left = Math.max(...rows.map(([name]) => name.length)) + 4;
  return rows.flatMap(([name, text]) =>
    wrap(text, WIDTH - left).map((line, i) => `${i === 0 ? `  ${name}`.padEnd(left) : " ".repeat(left)}${line}`),
  );
}

function wrap(text: string, width: number): string[] {
  return text.split("\n").flatMap((paragraph) => {
    const lines = [""];
    for (const word of paragraph.split(" ")) {
      const line = lines.at(-1) ?? "";
      if (line !== "" && line.length + 1 + word.length > width) lines.push(word);
      else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
    }
    return lines;
  });
}
