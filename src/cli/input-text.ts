/** The text that a command works on: its one word, or standard input. */
import { UsageError } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

export async function inputText(words: readonly string[], what: string, terminal: Terminal): Promise<string> {
  const [word, ...more] = words;
  if (more.length > 0) throw new UsageError(`one ${what} is expected, ${words.length} are given; put it in quotes`);
  if (word !== undefined) return word;
  if (terminal.inputIsTyped) terminal.note(`type the ${what}, then Ctrl-D:`);
  return terminal.readInput();
}
