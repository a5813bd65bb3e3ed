/** Answers that call tools, as templates and models write them, cut anywhere and read back: for tests and checks. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { answerFormat, type AnswerParser, type AnswerWish } from "../../src/chat/answer-format.ts";
import { type ChatMessage, createChatTemplate } from "../../src/chat/chat-template.ts";
import { toolFormat } from "../../src/chat/tool-calls/formats.ts";
import type { ToolCall, ToolSpec } from "../../src/chat/tools.ts";
import { SHARED } from "./shared.ts";
import type { Random } from "./random.ts";

const text = (description: string) => ({ type: "string", description });

export const TOOLS: readonly ToolSpec[] = [
  {
    name: "get_weather",
    description: "The weather of a city",
    parameters: {
      type: "object",
      properties: {
        city: text("The city"),
        days: { type: "integer", minimum: 1, maximum: 14, description: "How many days" },
        places: { type: "array", items: { type: "array", items: { type: "number" } }, description: "Pairs of degrees" },
        units: {
          type: "object",
          properties: { wind: text("Of speed"), rain: { type: "boolean" } },
          description: "Units",
        },
      },
      required: ["city"],
    },
  },
  { name: "get_time", description: "The time", parameters: { type: "object", properties: {}, required: [] } },
  {
    name: "note-down",
    description: "Keeps a note",
    parameters: { type: "object", properties: { body: text("What it says") }, required: ["body"] },
  },
];

export function formatOf(template: string): AnswerWish {
  const tools = { tools: TOOLS, choice: "auto", parallel: true } as const;
  return { template, reasoning: undefined, tools, grammar: undefined, controls: [] };
}

interface Read {
  text: string;
  reasoning: string;
  readonly calls: Pick<ToolCall, "name" | "arguments">[];
  /** Names of calls that began. */
  readonly begun: string[];
}

/** Reads a text in pieces of these sizes. */
export function readCalls(parser: AnswerParser, text: string, size: () => number): Read {
  const read: Read = { text: "", reasoning: "", calls: [], begun: [] };
  let name = "";
  let args = "";
  const take = (events: ReturnType<AnswerParser["push"]>): void => {
    for (const event of events) {
      if (event.type === "text") read.text += event.text;
      else if (event.type === "reasoning") read.reasoning += event.text;
      else if (event.type === "call") {
        ({ name } = event);
        read.begun.push(name);
        args = "";
      } else if (event.type === "arguments") args += event.text;
      else if (event.type === "call-end") read.calls.push({ name, arguments: JSON.parse(args) });
    }
  };
  for (let at = 0; at < text.length;) {
    const length = size();
    take(parser.push(text.slice(at, at + length)));
    at += length;
  }
  take(parser.end());
  return read;
}

/** What stands in a template, what its model writes, and the calls that it is; `before`: the text ahead of them. */
export const TOOL_CASES: readonly {
  readonly mark: string;
  readonly text: string;
  readonly calls: readonly Pick<ToolCall, "name" | "arguments">[];
  readonly before?: string;
}[] = [
  {
    mark: "<|tool_call|> <|/tool_call|>",
    text: '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Köln", "days": 3}}, {"name": "get_time", "arguments": {}}]<|/tool_call|>',
    calls: [weather(), time()],
  },
  {
    mark: "<|tool_call|>",
    text: 'Let me see.<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Köln", "days": 3}}]',
    calls: [weather()],
    before: "Let me see.",
  },
  {
    mark: "List of tools: [",
    text: '<|tool_call_start|>[get_weather(city="Köln", days=3, places=[[1, -2.5]], units={"rain": True}), get_time()]<|tool_call_end|>',
    calls: [weather({ places: [[1, -2.5]], units: { rain: true } }), time()],
  },
  {
    mark: "[func_name1(params_name1=params_value1), func_name2(params)]",
    text: '[get_weather(city="Köln", days=3)]',
    calls: [weather()],
  },
  {
    mark: "<start_function_call>",
    text: "<start_function_call>call:get_weather{city:<escape>Köln<escape>,days:3,units:{wind:<escape>m/s<escape>}}<end_function_call>",
    calls: [weather({ units: { wind: "m/s" } })],
  },
  {
    mark: "<tool_call> <parameter=",
    text: 'Let me see.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nKöln\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=note-down>\n<parameter=body>\n\n<b>"3"</b>\n\n</parameter>\n</function>\n</tool_call>',
    calls: [weather(), { name: "note-down", arguments: { body: '\n<b>"3"</b>\n' } }],
    before: "Let me see.",
  },
  {
    mark: '<|python_tag|> {"name": function name, "parameters": dictionary of argument name and its value}',
    text: '{"name": "get_weather", "parameters": {"city": "Köln", "days": 3}}',
    calls: [weather()],
  },
];

function weather(more: object = {}): Pick<ToolCall, "name" | "arguments"> {
  return { name: "get_weather", arguments: { city: "Köln", days: 3, ...more } };
}

function time(): Pick<ToolCall, "name" | "arguments"> {
  return { name: "get_time", arguments: {} };
}

/** Templates that write one call alone, or none beside a text; and what they can't write. */
const ONE_CALL = /^(?:meta-llama|GigaChat|openai|deepseek-ai-DeepSeek-R1-Distill-Llama)/;
const NO_TEXT =
  /^(?:Cohere|deepseek-ai-DeepSeek-R1|llama-cpp-deepseek|Mistral-Small|NousResearch|mistralai-Mistral-Nemo|meta-llama|openai)/;
const TOOLS_FIRST = /^google-gemma-4/;

/** Renders random calls by every template, `rounds` times each, and reads each text back, cut in `cuts` ways. */
export function roundTrips(
  random: Random,
  rounds: number,
  cuts: number,
): { readonly streams: number; readonly templates: number; readonly failures: readonly string[] } {
  const folder = path.join(SHARED, "data/templates");
  const failures: string[] = [];
  const files = readdirSync(folder).filter((name) => name.endsWith(".jinja"));
  let streams = 0;
  for (const file of files) {
    const source = readFileSync(path.join(folder, file), "utf8");
    const template = createChatTemplate(source, { bos: "<BOS>", eos: "<EOS>" });
    const name = file.slice(0, -".jinja".length);
    const render = (messages: readonly ChatMessage[], addGenerationPrompt: boolean): string =>
      template.render(messages, { tools: TOOLS, addGenerationPrompt }).value;
    for (let round = 0; round < rounds; round++) {
      const seed = `${name}, round ${round}`;
      const calls = Array.from({ length: ONE_CALL.test(name) ? 1 : random.between(1, 3) }, (_, i) =>
        randomCall(random, i),
      );
      const said = NO_TEXT.test(name) || random.below(2) === 0 ? "" : "Let me see.";
      const user = { role: "user", content: "QUESTION?" } as const;
      const turn = { role: "assistant", content: said, toolCalls: calls } as const;
      const results = calls.map(
        ({ id, name }) => ({ role: "tool", toolCallId: id, name, content: "OUTCOME" }) as const,
      );
      try {
        const prompt = render([user], true);
        const full = render([user, turn], false);
        const made = template.render([user, turn, ...results], { tools: TOOLS }).segments();
        if (made.some(({ text, origin }) => origin === "template" && /OUTCOME|QUESTION|Köln|two\nlines/.test(text)))
          failures.push(`${seed}: what a message says counts as the template's`);
        // The whole loop renders too: the results of calls, and the next question.
        const whole = render([user, turn, ...results, { role: "assistant", content: "ANSWER" }, user], true);
        if (!whole.includes("OUTCOME") && !/rwkv|Phi-3\.5/.test(name))
          failures.push(`${seed}: no result in ${whole.slice(-300)}`);
        const answer = full.startsWith(prompt) ? full.slice(prompt.length) : full.slice(full.indexOf("QUESTION?") + 9);
        // Where the template has no calls, ours are written.
        const format = answer.includes("<tool_call>\n{") ? "" : source;
        const expected = calls.map(({ name, arguments: args }) => ({ name, arguments: args }));
        for (let cut = 0; cut < cuts; cut++) {
          const read = readCalls(answerFormat(formatOf(format)).parser(), answer, () => random.between(1, 1 + 4 * cut));
          const got = JSON.stringify(read.calls);
          // Some templates sort keys.
          if (!isDeepStrictEqual(read.calls, expected))
            failures.push(`${seed}: ${got} for ${JSON.stringify(expected)} of ${JSON.stringify(answer.slice(0, 400))}`);
          if (!TOOLS_FIRST.test(name) && said !== "" && !read.text.includes(said))
            failures.push(`${seed}: the text is lost`);
          streams += 1;
        }
      } catch (error) {
        failures.push(`${seed} (${toolFormat(source).name}): ${String(error)}`);
      }
    }
  }
  return { streams, templates: files.length, failures };
}

const WORDS = [
  "Köln",
  'a "b"',
  "x\\y",
  "{",
  "}]",
  "3",
  "",
  "<b>",
  "\u{1f600}",
  "two\nlines",
  "it's",
  "null",
  "a, b=c",
] as const;

function randomCall(random: Random, index: number): ToolCall {
  const id = `call0000${index + 1}`;
  const word = (): string => random.pick(WORDS);
  const kind = random.below(4);
  if (kind === 0) return { id, name: "get_time", arguments: {} };
  if (kind === 1) return { id, name: "note-down", arguments: { body: word() } };
  return {
    id,
    name: "get_weather",
    arguments: {
      city: word(),
      ...(random.below(2) === 0 && { days: random.between(1, 14) }),
      ...(random.below(2) === 0 && { places: Array.from({ length: random.below(3) }, () => [random.below(90), 2.5]) }),
      ...(random.below(2) === 0 && { units: { wind: "m/s", rain: random.below(2) === 0 } }),
    },
  };
}
