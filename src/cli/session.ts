/** Loads the model that a command's flags name, with progress on stderr and Ctrl-C heard. */
import type { Llm } from "../engine/llm.ts";
import type { MODEL } from "./common-flags.ts";
import type { Values } from "./flags.ts";
import type { Terminal } from "./terminal.ts";
import { UnsupportedError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

export async function openModel(_flags: Values<(typeof MODEL)["flags"]>, _terminal: Terminal): Promise<Llm> {
  throw new UnsupportedError("models can't be loaded yet");
}

export async function openTokenizer(
  _flags: Pick<Values<(typeof MODEL)["flags"]>, "model" | "offline">,
  _terminal: Terminal,
): Promise<Tokenizer> {
  throw new UnsupportedError("models can't be loaded yet");
}
