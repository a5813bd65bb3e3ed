/** The flags that commands share, in the groups in which the help shows them. */
import { METHOD_NAMES } from "../decode/speculative/methods.ts";
import { choiceFlag, limitFlag, listFlag, switchFlag, textFlag, wholeFlag } from "./flags.ts";

export const MODEL = {
  title: "Model",
  flags: {
    model: textFlag(
      "REF",
      'a GGUF file, a folder with safetensors, or "hf:owner/repo[:file-or-quant]"; default: the built-in model',
      "m",
    ),
    context: limitFlag(
      "context",
      "positions for prompt and answer together; default: what the model was made for, within memory",
    ),
    kv: choiceFlag(["f16", "f32", "q8"], "type of the KV cache; default f16"),
    backend: choiceFlag(
      ["cpu", "reference"],
      "cpu: native kernels (default); reference: plain TypeScript, slow, the oracle",
    ),
    threads: limitFlag("threads", "threads of the cpu backend; default: the machine's cores"),
    offline: switchFlag("never go to the network: only what is on disk already"),
  },
} as const;

export const DRAFTS = {
  title: "Speculation",
  flags: {
    speculation: textFlag(
      "NAME",
      `guess tokens ahead, the answer stays the same: auto (default), off, ${METHOD_NAMES.join(", ")}, or several joined by +`,
    ),
    datastore: textFlag(
      "FILE",
      "texts that are searched for what comes next: --speculation rest; datastore build makes one",
    ),
    draft: textFlag("MODEL", "a small model with the same tokens that guesses ahead: --speculation draft"),
  },
} as const;

export const SAMPLING = {
  title: "Answer",
  flags: {
    system: textFlag("TEXT", "the system line of the chat"),
    "max-tokens": limitFlag("maxTokens", "the most tokens of an answer; default 1024"),
    "reasoning-budget": limitFlag("reasoningBudget", "the most tokens that a model may think before it answers"),
    temperature: limitFlag("temperature", "0 picks the most likely token; default: the model's own, else 0.7"),
    "top-k": limitFlag("topK", "only the k most likely tokens; 0: all"),
    "top-p": limitFlag("topP", "only the most likely tokens whose probabilities add up to X"),
    "min-p": limitFlag("minP", "only tokens at least X times as likely as the likeliest"),
    seed: wholeFlag(0, "equal seeds give equal answers; default: drawn, and shown"),
    stop: listFlag("TEXT", "end the answer before this text; may be repeated"),
  },
} as const;

export const RAW = switchFlag("the prompt as it is, without the chat template; special tokens in it are parsed");
export const JSON_OUTPUT = switchFlag("print one JSON object to stdout and nothing else");
