/** `millrace chat`: a conversation in the terminal, or line by line through a pipe. */
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";

import { millraceHome } from "../../artifact/node-home.ts";
import type { GenerateOptions } from "../../engine/llm.ts";
import type { Llm } from "../../engine/llm.ts";
import { MillraceError } from "../../errors.ts";
import type { ChatMessage } from "../../chat/chat-template.ts";
import { ADAPTER, adapterOptions } from "../adapter-flags.ts";
import { generateOptions } from "../answer-flags.ts";
import { AnswerPrinter } from "../answer-printer.ts";
import { defineCommand } from "../command.ts";
import { DRAFTS, MODEL, SAMPLING } from "../common-flags.ts";
import { fitConversation } from "../conversation.ts";
import { InterruptedError, UsageError } from "../exit.ts";
import { createLineReader } from "../line-reader.ts";
import { nearest } from "../../nearest.ts";
import { loadModel, speculationOf } from "../session.ts";
import type { Terminal } from "../terminal.ts";

const LOCAL: Readonly<Record<string, string>> = {
  "/help": "what you read now",
  "/new": "begin a new conversation (the system line stays)",
  "/exit": "leave, as Ctrl-D does",
};
/** Tokens that an answer gets at least, where maxTokens doesn't say: a quarter of a small context. */
const DEFAULT_ROOM = 1024;

export const chat = defineCommand({
  name: "chat",
  summary: "talk with a model",
  words: "",
  about:
    "A conversation: a line (or a pasted text) is a message. Ctrl-C stops an answer and not the program, Ctrl-D leaves, " +
    "arrow-up brings back what was typed, in earlier chats too. When the conversation outgrows the context, its oldest " +
    "turns are dropped. Lines from a pipe are answered one after another.",
  groups: [MODEL, ADAPTER, SAMPLING, DRAFTS],
  flags: { ...MODEL.flags, ...ADAPTER.flags, ...SAMPLING.flags, ...DRAFTS.flags },
  examples: ["millrace chat", 'millrace chat --model model.gguf --system "You answer in French."'],
  async run({ values, words, terminal }) {
    if (words.length > 0)
      throw new UsageError(`chat takes no words ("${words[0]}"); \`millrace run\` answers one prompt`);
    const { engine, request } = adapterOptions(values);
    await using llm = await loadModel(values, terminal, { speculation: speculationOf(values), ...engine });
    if (!llm.info.hasChatTemplate) {
      throw new Error(`${llm.info.model} has no chat template; use \`millrace run --raw\` with a prompt of your own`);
    }
    const options = { ...generateOptions(values), ...request };
    const system: readonly ChatMessage[] =
      values.system === undefined ? [] : [{ role: "system", content: values.system }];
    if (terminal.inputIsTyped) {
      const { description, context, profile } = llm.info;
      terminal.note(`${description}, ${context} tokens of context, ${profile}`);
      terminal.note("Ctrl-C stops an answer, Ctrl-D leaves, /help tells more.");
    }
    const lines = await createLineReader(terminal, join(millraceHome(), "chat-history"));
    let messages = system;
    const counts = { answered: 0, failed: 0 };
    for (let line = await lines.next(); line !== undefined; line = await lines.next()) {
      // Lines that wait already come without a pause; a signal needs one to be heard.
      await setImmediate();
      terminal.signal.throwIfAborted();
      const message = line.trim();
      if (message === "") continue;
      if (message === "/exit") break;
      if (message === "/new") messages = system;
      else if (message.startsWith("/") && !message.includes("\n")) explain(message, terminal);
      else {
        const { conversation, failed } = await turn(
          llm,
          [...messages, { role: "user", content: message }],
          options,
          terminal,
        );
        messages = conversation;
        if (failed) counts.failed++;
        else counts.answered++;
      }
    }
    // A person has seen it; a script looks at the exit code.
    if (!terminal.inputIsTyped && counts.failed > 0 && counts.answered === 0)
      throw new Error(`none of the ${counts.failed} messages was answered`);
  },
});

interface Turn {
  /** After the answer; without the question where it got none. */
  readonly conversation: readonly ChatMessage[];
  readonly failed: boolean;
}

async function turn(
  llm: Llm,
  asked: readonly ChatMessage[],
  options: GenerateOptions,
  terminal: Terminal,
): Promise<Turn> {
  const room = Math.min(options.maxTokens ?? DEFAULT_ROOM, Math.floor(llm.info.context / 4));
  const count = (messages: readonly ChatMessage[]): number => llm.tokenizeChat(messages).length;
  const stop = new AbortController();
  const printer = new AnswerPrinter(terminal);
  try {
    const { messages, dropped } = fitConversation(asked, llm.info.context - room, count);
    if (dropped > 0) {
      const turns = dropped === 1 ? "turn" : `${dropped} turns`;
      terminal.note(`(the context of ${llm.info.context} tokens is full: the oldest ${turns} dropped)`);
    }
    await terminal.withInterrupt(
      () => stop.abort(new InterruptedError()),
      async () => {
        const signal = AbortSignal.any([stop.signal, terminal.signal]);
        for await (const part of llm.chat(messages, { ...options, signal })) printer.print(part);
      },
    );
    printer.end();
    return { conversation: [...messages, { role: "assistant", content: printer.text }], failed: false };
  } catch (error) {
    printer.end();
    terminal.signal.throwIfAborted();
    const { text } = printer;
    if (stop.signal.aborted) {
      terminal.note("(stopped)");
      const conversation = text === "" ? asked.slice(0, -1) : [...asked, { role: "assistant", content: text } as const];
      return { conversation, failed: false };
    }
    if (!(error instanceof MillraceError)) throw error;
    terminal.note(`millrace: ${error.message}`);
    return { conversation: asked.slice(0, -1), failed: true };
  }
}

function explain(typed: string, terminal: Terminal): void {
  if (typed === "/help") {
    for (const [name, help] of Object.entries(LOCAL)) terminal.note(`${name.padEnd(8)}${help}`);
    return;
  }
  const near = nearest(typed, Object.keys(LOCAL));
  terminal.note(`unknown command ${typed}; ${near === undefined ? "/help lists them" : `did you mean ${near}?`}`);
}
