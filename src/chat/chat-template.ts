/**
 * Chat templates: messages → the prompt's text, by the model's own Jinja source. Rendered text names control tokens
 * ("<|im_start|>") and often BOS: encode it with `{addSpecial: false, parseSpecial: true}`. template-sandbox.ts keeps a
 * hostile template within bounds.
 */
import { parse, tokenize } from "@huggingface/jinja";
import { MarkedText } from "../tokenizer/marked-text.ts";
import { MillraceError, RequestError, UnsupportedError } from "../errors.ts";
import { templateGlobals } from "./template-functions.ts";
import { type Limits, prepare, runSandboxed } from "./template-sandbox.ts";

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
  readonly name?: string;
  /** What the model thought before this answer; templates see it as `reasoning_content`. */
  readonly reasoning?: string;
}

export interface ChatTemplateOptions {
  /** End with what opens the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** More variables for the template (`enable_thinking`, `tools`, …); functions may be among them. */
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
   * Throws RequestError where the template refuses the messages (or there is none), UnsupportedError where it can't be
   * read, fails, or goes beyond its bounds.
   */
  render(messages: readonly ChatMessage[], options?: ChatTemplateOptions): MarkedText;
}

/** The longest published templates have some 30,000 characters. */
const MAX_SOURCE = 256 * 1024;

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
  let program: unknown;
  return {
    render(messages, { addGenerationPrompt = true, variables = {} } = {}) {
      const all = {
        ...templateGlobals(() => new Date()),
        ...(tokens.bos !== undefined && { bos_token: tokens.bos }),
        ...(tokens.eos !== undefined && { eos_token: tokens.eos }),
        ...(tokens.unk !== undefined && { unk_token: tokens.unk }),
        ...(tokens.pad !== undefined && { pad_token: tokens.pad }),
        tools: null,
        documents: null,
        messages: messages.map(templateMessage),
        add_generation_prompt: addGenerationPrompt,
        ...variables,
      };
      program ??= guarded("can't be read", () => parseTemplate(source));
      return guarded("failed", () =>
        MarkedText.of(runSandboxed(program, all, limitsFor(messages, variables)), "template"),
      );
    },
  };
}

function parseTemplate(source: string): unknown {
  if (source.length > MAX_SOURCE)
    throw new UnsupportedError(`the chat template has ${source.length} characters, more than ${MAX_SOURCE}`);
  const program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  prepare(program);
  return program;
}

function templateMessage({ role, content, name, reasoning }: ChatMessage): Record<string, string> {
  return {
    role,
    content,
    ...(name !== undefined && { name }),
    ...(reasoning !== undefined && { reasoning_content: reasoning }),
  };
}

/** Room in proportion to what the template is given, and some. */
function limitsFor(messages: readonly ChatMessage[], variables: Readonly<Record<string, unknown>>): Limits {
  let size = JSON.stringify(variables).length;
  for (const { content, reasoning } of messages) size += 100 + content.length + (reasoning?.length ?? 0);
  return { steps: 500_000 + 20 * size, size: 1_000_000 + 4 * size };
}

/** Errors of the template engine, a stack overflow included, as ours. */
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
