/**
 * Chat templates: messages → the prompt's text, by the model's own Jinja source. The text names control tokens
 * ("<|im_start|>") and often BOS, and knows of every character where it is from: encode it by the tokenizer's
 * `encodeMarked`, which takes control tokens from the template alone. A hostile template ends early (template-meter.ts).
 */
import { MillraceError, RequestError, UnsupportedError } from "../errors.ts";
import { MarkedText, type Origin } from "../tokenizer/marked-text.ts";
import { type ChatMessage, type CheckedMessage, checkMessages, lengthOf } from "./messages.ts";
import { spacedJson, withoutCalls, withTools } from "./tool-fallback.ts";
import { exampleOf, takesTools, toolFormat } from "./tool-calls/formats.ts";
import { templateTools, type ToolSpec } from "./tools.ts";
import { templateGlobals } from "./template-functions.ts";
import { runTemplate } from "./template-interpreter.ts";
import { Meter } from "./template-meter.ts";
import { parseTemplate, type Program } from "./template-syntax.ts";
import { Dict, fromPlain, List, own, type Value } from "./template-values.ts";

export type { ChatMessage } from "./messages.ts";

export interface ChatTemplateOptions {
  /** End with what opens the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** What the model may call; their texts count as messages' content. */
  readonly tools?: readonly ToolSpec[] | undefined;
  /** More variables for the template (`enable_thinking`, …); their texts count as messages' content. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** The texts of the special tokens that templates name: `bos_token`, `eos_token`, … */
export interface TemplateTokens {
  readonly bos?: string;
  readonly eos?: string;
  readonly unk?: string;
  readonly pad?: string;
}

/** How a template takes the calls of a message: their arguments as an object or as JSON, and no text as "" or null. */
interface CallStyle {
  readonly asText: boolean;
  readonly empty: "" | null;
}

const CALL_STYLES: readonly CallStyle[] = [
  { asText: false, empty: "" },
  { asText: false, empty: null },
  { asText: true, empty: "" },
  { asText: true, empty: null },
];

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
  let takesResults: boolean | undefined;
  let callStyle: { readonly found: CallStyle | undefined } | undefined;
  const render = (
    messages: readonly CheckedMessage[],
    variables: Readonly<Record<string, unknown>>,
    tools: readonly unknown[] | null,
    addGenerationPrompt: boolean,
    style: CallStyle | undefined,
  ): MarkedText => {
    program ??= guarded("can't be read", () => parseTemplate(source));
    const tree = program;
    return guarded("failed", () => {
      const meter = new Meter(sizeOf(messages) + textLength(variables) + textLength(tools));
      const trusted = {
        ...templateGlobals(() => new Date()),
        ...(tokens.bos !== undefined && { bos_token: tokens.bos }),
        ...(tokens.eos !== undefined && { eos_token: tokens.eos }),
        ...(tokens.unk !== undefined && { unk_token: tokens.unk }),
        ...(tokens.pad !== undefined && { pad_token: tokens.pad }),
        documents: null,
        add_generation_prompt: addGenerationPrompt,
      };
      const all = new Map<string, Value>();
      for (const [name, value] of Object.entries(trusted)) all.set(name, fromPlain(value, "template", meter));
      all.set("messages", new List(messages.map((message) => templateMessage(message, style, meter))));
      all.set("tools", fromPlain(tools, "content", meter));
      for (const [name, value] of Object.entries(otherNames(source, tools)))
        all.set(name, fromPlain(value, "content", meter));
      for (const [name, value] of Object.entries(variables)) all.set(name, fromPlain(value, "content", meter));
      return runTemplate(tree, all, meter);
    });
  };
  /** The first way of handing in calls by which the template writes one out; undefined: it writes none. */
  const findCallStyle = (): CallStyle | undefined => {
    const call = { id: "call00001", name: "probe", arguments: { key: "needle" } };
    const messages: readonly CheckedMessage[] = [
      { role: "user", content: "question" },
      { role: "assistant", content: "", toolCalls: [call] },
    ];
    return CALL_STYLES.find((style) => {
      try {
        const { value } = render(messages, {}, null, false, style);
        return value.includes("needle") && !value.includes("{'key'") && !value.includes('\\"needle');
      } catch {
        return false;
      }
    });
  };
  /** Whether it writes out a tool's message. */
  const hasResults = (): boolean => {
    try {
      const messages = [
        { role: "user", content: "question" },
        { role: "assistant", content: "answer" },
        { role: "tool", content: "needle" },
      ] as const;
      return render(messages, {}, null, false, undefined).value.includes("needle");
    } catch {
      return false;
    }
  };
  return {
    render(messages, { addGenerationPrompt = true, tools = [], variables = {} } = {}) {
      const checked = checkMessages(messages);
      if (typeof variables !== "object" || variables === null || Array.isArray(variables))
        throw new RequestError("the template's variables must be an object");
      const hasCalls = checked.some(({ toolCalls }) => toolCalls !== undefined);
      if (hasCalls) callStyle ??= { found: findCallStyle() };
      const style = callStyle?.found;
      const plain = hasCalls && style === undefined ? withoutCalls(checked, (takesResults ??= hasResults())) : checked;
      if (tools.length === 0 || takesTools(source))
        return render(plain, variables, tools.length > 0 ? templateTools(tools) : null, addGenerationPrompt, style);
      const example = exampleOf(toolFormat(source));
      const described = (by: "system" | "user"): MarkedText =>
        render(withTools(plain, tools, example, by), variables, null, addGenerationPrompt, style);
      try {
        return described("system");
      } catch (error) {
        if (error instanceof RequestError) return described("user");
        throw error;
      }
    },
  };
}

/** What some templates call by names of their own. */
function otherNames(source: string, tools: readonly unknown[] | null): Readonly<Record<string, unknown>> {
  return {
    // SmolLM3; FireFunction, which wants text and the day, too.
    ...(tools !== null && /\bxml_tools\b/.test(source) && { xml_tools: tools }),
    ...(/\+ functions\b/.test(source) && { functions: JSON.stringify(tools ?? []) }),
    ...(/\+ datetime\b/.test(source) && { datetime: new Date().toDateString() }),
  };
}

function templateMessage(message: CheckedMessage, style: CallStyle | undefined, meter: Meter): Dict {
  const { role, content, name, reasoning, toolCalls, toolCallId } = message;
  const origin: Origin = role === "assistant" ? "assistant" : "content";
  const fields: [MarkedText, Value][] = [
    // One of four words: templates build control tokens of it ("<|user|>").
    [own("role"), own(role)],
    [own("content"), content === "" && toolCalls && style?.empty === null ? null : MarkedText.of(content, origin)],
  ];
  if (name !== undefined) fields.push([own("name"), MarkedText.of(name, "content")]);
  if (reasoning !== undefined) fields.push([own("reasoning_content"), MarkedText.of(reasoning, origin)]);
  if (toolCallId !== undefined) fields.push([own("tool_call_id"), MarkedText.of(toolCallId, "content")]);
  if (toolCalls !== undefined) {
    const calls = toolCalls.map(({ id, name, arguments: args }) => ({
      id,
      type: "function",
      function: { name, arguments: style?.asText === true ? spacedJson(args) : args },
    }));
    fields.push([own("tool_calls"), fromPlain(calls, origin, meter)]);
  }
  return new Dict(fields);
}

/** Characters, and some for each message. */
function sizeOf(messages: readonly CheckedMessage[]): number {
  let size = 0;
  for (const message of messages) size += 100 + lengthOf(message);
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
