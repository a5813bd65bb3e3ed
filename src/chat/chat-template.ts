/**
 * Chat templates: messages → the prompt's text, by the model's own Jinja source. The text names control tokens
 * ("<|im_start|>") and often BOS, and knows of every character where it is from: encode it by the tokenizer's
 * `encodeMarked`, which takes control tokens from the template alone. A hostile template ends early (template-meter.ts).
 */
import { MillraceError, RequestError, UnsupportedError } from "../errors.ts";
import { MarkedText, type Origin } from "../tokenizer/marked-text.ts";
import { type ChatMessage, type CheckedMessage, checkMessages } from "./messages.ts";
import { templateGlobals } from "./template-functions.ts";
import { runTemplate } from "./template-interpreter.ts";
import { Meter } from "./template-meter.ts";
import { parseTemplate, type Program } from "./template-syntax.ts";
import { Dict, fromPlain, List, own, type Value } from "./template-values.ts";

export type { ChatMessage } from "./messages.ts";

export interface ChatTemplateOptions {
  /** End with what opens the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** More variables for the template (`enable_thinking`, `tools`, …); their texts count as messages' content. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** The texts of the special tokens that templates name: `bos_token`, `eos_token`, … */
export interface TemplateTokens {
  readonly bos?: string;
  readonly eos?: string;
  readonly unk?: string;
  readonly pad?: string;
}

export interface ChatTemplate {
  /**
   * Throws RequestError where the messages are wrong, the template refuses them (or there is none) or goes beyond its
   * bounds, UnsupportedError where it can't be read or fails.
   */
  render(messages: readonly ChatMessage[], options?: ChatTemplateOptions): MarkedText;
}

/**
 * Nothing is parsed before the first `render`: a model whose template is beyond us can still be given plain text.
 * `source` undefined: a model without a template, whose `render` says so.
 */
export function createChatTemplate(source: string | undefined, tokens: TemplateTokens = {}): ChatTemplate {
  if (source === undefined) {
    return {
      render() {
        throw new RequestError(
          "this model has no chat template, so it can't be given messages; give it plain text instead (generate(), or --raw)",
        );
      },
    };
  }
  let program: Program | undefined;
  return {
    render(messages, { addGenerationPrompt = true, variables = {} } = {}) {
      const checked = checkMessages(messages);
      if (typeof variables !== "object" || variables === null || Array.isArray(variables))
        throw new RequestError("the template's variables must be an object");
      program ??= guarded("can't be read", () => parseTemplate(source));
      const tree = program;
      return guarded("failed", () => {
        const meter = new Meter(sizeOf(checked) + textLength(variables));
        const trusted = {
          ...templateGlobals(() => new Date()),
          ...(tokens.bos !== undefined && { bos_token: tokens.bos }),
          ...(tokens.eos !== undefined && { eos_token: tokens.eos }),
          ...(tokens.unk !== undefined && { unk_token: tokens.unk }),
          ...(tokens.pad !== undefined && { pad_token: tokens.pad }),
          tools: null,
          documents: null,
          add_generation_prompt: addGenerationPrompt,
        };
        const all = new Map<string, Value>();
        for (const [name, value] of Object.entries(trusted)) all.set(name, fromPlain(value, "template", meter));
        all.set("messages", new List(checked.map(templateMessage)));
        for (const [name, value] of Object.entries(variables)) all.set(name, fromPlain(value, "content", meter));
        return runTemplate(tree, all, meter);
      });
    },
  };
}

function templateMessage({ role, content, name, reasoning }: CheckedMessage): Dict {
  const origin: Origin = role === "assistant" ? "assistant" : "content";
  const fields: [MarkedText, Value][] = [
    // One of four words: templates build control tokens of it ("<|user|>").
    [own("role"), own(role)],
    [own("content"), MarkedText.of(content, origin)],
  ];
  if (name !== undefined) fields.push([own("name"), MarkedText.of(name, "content")]);
  if (reasoning !== undefined) fields.push([own("reasoning_content"), MarkedText.of(reasoning, origin)]);
  return new Dict(fields);
}

/** Characters, and some for each message. */
function sizeOf(messages: readonly CheckedMessage[]): number {
  let size = 0;
  for (const { content, reasoning } of messages) size += 100 + content.length + (reasoning?.length ?? 0);
  return size;
}

/** Characters of the texts in some data, and one for each value. */
function textLength(data: unknown, depth = 0): number {
  if (typeof data === "string") return data.length;
  if (typeof data !== "object" || data === null) return 1;
  if (depth > 64) throw new RequestError("the template's variables are nested more than 64 levels deep");
  let size = 1;
  for (const [key, value] of Object.entries(data)) {
    size += key.length + textLength(value, depth + 1);
    if (size > 8_000_000) throw new RequestError("the template's variables hold more than 8,000,000 characters");
  }
  return size;
}

/** Errors of the parser and the interpreter, a stack overflow included, as ours. */
function guarded<T>(what: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    const reason =
      error instanceof RangeError
        ? "it goes too deep or grows too large"
        : error instanceof Error
          ? error.message
          : String(error);
    throw new UnsupportedError(`the model's chat template ${what}: ${reason}`, { cause: error });
  }
}
