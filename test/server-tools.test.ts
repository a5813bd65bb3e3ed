/** Tools over HTTP, as the official clients of OpenAI and Anthropic and the AI SDK see them: brook, forced by grammar. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import OpenAI, { BadRequestError } from "openai";
import { z } from "zod";
import { load, type Llm } from "../src/index.ts";
import { createServer, type Server } from "../src/server/server.ts";
import { weatherLoop } from "./support/weather-loop.ts";

let llm: Llm;
let server: Server;
let url: string;
let client: OpenAI;
before(async () => {
  llm = await load(undefined, { context: 2048 });
  server = createServer({ models: new Map([["brook", llm]]) });
  url = `http://127.0.0.1:${await server.listen(0, "127.0.0.1")}`;
  client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "unused", maxRetries: 0 });
});
after(async () => {
  await server.close();
  await llm.close();
});

const parameters = {
  type: "object",
  properties: { city: { enum: ["Paris", "Rome"] }, days: { type: "integer", minimum: 1, maximum: 3 } },
  required: ["city"],
  additionalProperties: false,
} as const;
const TOOL = {
  type: "function" as const,
  function: { name: "get_weather", description: "The weather of a city", parameters },
};
const QUESTION = "What is the weather in Paris?";
const Arguments = z.strictObject({ city: z.enum(["Paris", "Rome"]), days: z.int().min(1).max(3).optional() });

test("OpenAI's client: a call, its result, an answer; the same as a stream", async () => {
  const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: QUESTION }];
  const request = { model: "brook", tools: [TOOL], seed: 4, temperature: 1, max_completion_tokens: 200 };
  const forced = { ...request, messages, tool_choice: "required" as const, parallel_tool_calls: false };
  const first = await client.chat.completions.create(forced);
  const [choice] = first.choices;
  assert.equal(choice?.finish_reason, "tool_calls");
  assert.equal(choice.message.content, null);
  const [call] = choice.message.tool_calls ?? [];
  assert.ok(call?.type === "function" && call.function.name === "get_weather");
  Arguments.parse(JSON.parse(call.function.arguments));

  const streamed: { id: string; name: string; text: string }[] = [];
  let finish: string | null = null;
  for await (const { choices } of await client.chat.completions.create({ ...forced, stream: true })) {
    for (const delta of choices[0]?.delta.tool_calls ?? []) {
      const known = (streamed[delta.index] ??= { id: delta.id ?? "", name: delta.function?.name ?? "", text: "" });
      known.text += delta.function?.arguments ?? "";
    }
    finish = choices[0]?.finish_reason ?? finish;
  }
  assert.equal(finish, "tool_calls");
  assert.deepEqual(
    streamed.map(({ id, name, text }) => [id, name, JSON.parse(text)]),
    [[call.id, call.function.name, JSON.parse(call.function.arguments)]],
  );

  const told = [
    ...messages,
    choice.message,
    { role: "tool" as const, tool_call_id: call.id, content: '{"sky":"clear"}' },
  ];
  const answer = await client.chat.completions.create({ ...request, messages: told, tool_choice: "none" });
  assert.ok((answer.choices[0]?.message.content ?? "").length > 0);
  assert.equal(answer.choices[0]?.message.tool_calls, undefined);
});

test("OpenAI's own tool loop runs the function", async () => {
  const asked: unknown[] = [];
  const runner = client.chat.completions.runTools({
    model: "brook",
    messages: [{ role: "user", content: QUESTION }],
    seed: 4,
    max_completion_tokens: 120,
    tool_choice: { type: "function", function: { name: "get_weather" } },
    tools: [
      {
        type: "function",
        function: {
          ...TOOL.function,
          parameters: structuredClone(parameters) as never,
          parse: (text: string): object => JSON.parse(text) as object,
          function: (args: object) => {
            asked.push(Arguments.parse(args));
            return "clear";
          },
        },
      },
    ],
  });
  await runner.done();
  assert.equal(asked.length, 1);
  assert.ok(runner.messages.some(({ role }) => role === "tool"));
});

test("Anthropic's client: tool_use and tool_result, whole and streamed", async () => {
  const anthropic = new Anthropic({ baseURL: url, apiKey: "unused", maxRetries: 0 });
  const request = {
    model: "brook",
    max_tokens: 200,
    temperature: 0,
    tools: [{ name: "get_weather", description: "The weather of a city", input_schema: parameters as never }],
    tool_choice: { type: "any" as const, disable_parallel_tool_use: true },
    messages: [{ role: "user" as const, content: QUESTION }],
  };
  const first = await anthropic.messages.create(request);
  assert.equal(first.stop_reason, "tool_use");
  const [use] = first.content;
  assert.ok(use?.type === "tool_use" && use.name === "get_weather");
  Arguments.parse(use.input);
  const stream = anthropic.messages.stream(request);
  const inputs: string[] = [];
  stream.on("inputJson", (part) => inputs.push(part));
  const whole = await stream.finalMessage();
  assert.deepEqual(
    whole.content.map((block) => (block.type === "tool_use" ? [block.name, block.input] : block.type)),
    [["get_weather", use.input]],
  );
  assert.deepEqual(JSON.parse(inputs.join("")), use.input);
  const result = {
    type: "tool_result" as const,
    tool_use_id: use.id,
    content: [{ type: "text" as const, text: "clear" }],
  };
  const answer = await anthropic.messages.create({
    ...request,
    tool_choice: { type: "none" },
    messages: [...request.messages, { role: "assistant", content: first.content }, { role: "user", content: [result] }],
  });
  assert.ok(answer.content[0]?.type === "text" && answer.content[0].text.length > 0);
  const without = await anthropic.messages.countTokens({ model: "brook", messages: request.messages });
  const counted = await anthropic.messages.countTokens({
    model: "brook",
    messages: request.messages,
    tools: request.tools,
  });
  assert.ok(counted.input_tokens > without.input_tokens + 20);
});

test("the AI SDK's tool loop, whole and streamed", async () => {
  const provider = createOpenAICompatible({ name: "millrace", baseURL: `${url}/v1` });
  await weatherLoop(provider("brook"), Arguments, { millrace: { parallel_tool_calls: false } });
});

test("what is wrong with tools is told by field", async () => {
  const base = { model: "brook", messages: [{ role: "user" as const, content: "Hi" }] };
  const refused = async (body: object, message: RegExp): Promise<void> => {
    await assert.rejects(
      client.chat.completions.create({ ...base, ...body } as OpenAI.ChatCompletionCreateParamsNonStreaming),
      (error: unknown) => error instanceof BadRequestError && message.test(error.message),
    );
  };
  await refused({ tools: [TOOL, TOOL] }, /two tools/);
  await refused({ tools: [{ type: "web_search" }] }, /no tools of its own|function/);
  await refused({ tools: [TOOL], tool_choice: { type: "function", function: { name: "other" } } }, /names no tool/);
  const call = { id: "a", type: "function", function: { name: "get_weather", arguments: "{" } };
  await refused({ messages: [...base.messages, { role: "assistant", tool_calls: [call] }] }, /no JSON/);
  await refused({ messages: [{ role: "user" }] }, /needs a content/);
  const unique = { type: "object", properties: { x: { type: "array", items: {}, uniqueItems: true } } };
  await refused({ tools: [{ type: "function", function: { name: "f", parameters: unique } }] }, /uniqueItems/);
});

test("vLLM's structured outputs, on both endpoints", async () => {
  const chat = async (body: object): Promise<string> => {
    const answer = await client.chat.completions.create({
      model: "brook",
      messages: [{ role: "user", content: "Yes or no?" }],
      max_completion_tokens: 60,
      ...body,
    } as OpenAI.ChatCompletionCreateParamsNonStreaming);
    return answer.choices[0]?.message.content ?? "";
  };
  assert.ok(["yes", "no"].includes(await chat({ structured_outputs: { choice: ["yes", "no"] } })));
  assert.match(await chat({ guided_regex: "[a-c]{3}" }), /^[a-c]{3}$/);
  assert.match(await chat({ structured_outputs: { grammar: 'root ::= "a" [0-9]' } }), /^a[0-9]$/);
  assert.match(await chat({ guided_grammar: 'start: "b" /[0-9]/' }), /^b[0-9]$/);
  assert.deepEqual(JSON.parse(await chat({ guided_json: JSON.stringify({ const: { a: 1 } }) })), { a: 1 });
  const completion = await client.completions.create({
    model: "brook",
    prompt: "x",
    ...({ structured_outputs: { json: { enum: ["q"] } } } as object),
  });
  assert.equal(completion.choices[0]?.text, '"q"');
  await assert.rejects(chat({ guided_regex: "a", guided_choice: ["b"] }), /one says what an answer is/);
});
