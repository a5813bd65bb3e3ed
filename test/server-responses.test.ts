/** /v1/responses as OpenAI's official client sees it. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI, { BadRequestError, NotFoundError } from "openai";

import type { Llm } from "../src/engine/llm.ts";
import { load } from "../src/engine/load.ts";
import { createServer } from "../src/server/server.ts";
import { NAME, type Served, serveTiny } from "./support/served.ts";

let served: Served;
let client: OpenAI;
before(async () => {
  served = await serveTiny();
  client = new OpenAI({ baseURL: `${served.url}/v1`, apiKey: "unused", maxRetries: 0 });
});
after(() => served[Symbol.asyncDispose]());

const BASE = { model: NAME, temperature: 0.9, max_output_tokens: 24, seed: 5 };
const OPTIONS = { temperature: 0.9, maxTokens: 24, seed: 5 };

test("an answer is the library's own; a stored one can be had again, goes on, and is forgotten", async () => {
  const alone = await served.llm.chat(
    [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello" },
    ],
    OPTIONS,
  );
  const first = await client.responses.create({ ...BASE, instructions: "Be brief.", input: "Hello" });
  assert.equal(first.output_text, alone.text);
  assert.equal(first.status, alone.finishReason === "stop" ? "completed" : "incomplete");
  assert.equal(first.usage?.input_tokens, alone.promptTokens.length);
  assert.equal(first.usage?.output_tokens, alone.tokens.length);
  const again = await client.responses.retrieve(first.id);
  assert.deepEqual(again.output, first.output);

  // Instructions are not kept for what follows.
  const next = await served.llm.chat(
    [
      { role: "user", content: "Hello" },
      { role: "assistant", content: alone.text },
      { role: "user", content: "And?" },
    ],
    OPTIONS,
  );
  const second = await client.responses.create({ ...BASE, input: "And?", previous_response_id: first.id });
  assert.equal(second.output_text, next.text);
  await client.responses.delete(first.id);
  await assert.rejects(client.responses.retrieve(first.id), NotFoundError);
  await assert.rejects(
    client.responses.create({ ...BASE, input: "And?", previous_response_id: first.id }),
    NotFoundError,
  );
  const gone = await client.responses.create({ ...BASE, input: "Hello", store: false });
  await assert.rejects(client.responses.retrieve(gone.id), NotFoundError);
});

test("items of a conversation are messages", async () => {
  const input = [
    { role: "developer", content: "Be brief." },
    {
      role: "user",
      content: [
        { type: "input_text", text: "One " },
        { type: "input_text", text: "two" },
      ],
    },
    { type: "message", role: "assistant", content: [{ type: "output_text", text: "three" }] },
    { role: "user", content: "four" },
  ];
  const alone = await served.llm.chat(
    [
      { role: "system", content: "Be brief." },
      { role: "user", content: "One two" },
      { role: "assistant", content: "three" },
      { role: "user", content: "four" },
    ],
    OPTIONS,
  );
  const answer = await client.responses.create({ ...BASE, input: input as OpenAI.Responses.ResponseInput });
  assert.equal(answer.output_text, alone.text);
});

test("a stream: typed events, numbered without a gap, that add up to the response", async () => {
  const alone = await served.llm.chat([{ role: "user", content: "Stream" }], OPTIONS);
  const stream = client.responses.stream({ ...BASE, input: "Stream" });
  const types: string[] = [];
  let text = "";
  let expected = 0;
  for await (const event of stream) {
    types.push(event.type);
    assert.equal(event.sequence_number, expected++);
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  assert.equal(text, alone.text);
  const runs = types.filter((type, i) => type !== types[i - 1]);
  const end = alone.finishReason === "stop" ? "response.completed" : "response.incomplete";
  assert.deepEqual(runs, [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    end,
  ]);
  const final = await stream.finalResponse();
  assert.equal(final.output_text, alone.text);
  assert.equal((await client.responses.retrieve(final.id)).output_text, alone.text);
});

test("a response belongs to the key that asked for it", async () => {
  const apiKeys = [
    { name: "a", key: "secret-one" },
    { name: "b", key: "secret-two" },
  ];
  await using other = await serveTiny({ apiKeys });
  const of = (apiKey: string) => new OpenAI({ baseURL: `${other.url}/v1`, apiKey, maxRetries: 0 });
  const { id } = await of("secret-one").responses.create({ ...BASE, input: "Hello" });
  await assert.rejects(of("secret-two").responses.retrieve(id), NotFoundError);
  await assert.rejects(of("secret-two").responses.delete(id), NotFoundError);
  assert.equal((await of("secret-one").responses.retrieve(id)).id, id);
});

test("a failure in mid-stream is response.failed; wrong fields are named", async () => {
  await using other = await serveTiny();
  const openai = new OpenAI({ baseURL: `${other.url}/v1`, apiKey: "unused", maxRetries: 0 });
  let steps = 0;
  other.llm.watch(() => {
    if (++steps === 5) void other.llm.close();
  });
  const request = { ...BASE, input: "x", max_output_tokens: 400, logit_bias: { 256: -100 } };
  const stream = await openai.responses.create({ ...request, stream: true });
  const events: OpenAI.Responses.ResponseStreamEvent[] = [];
  for await (const event of stream) events.push(event);
  const last = events.at(-1);
  assert.ok(last?.type === "response.failed" && last.response.error !== null);
  assert.ok(last.response.output.length > 0);

  const wrong: [object, string][] = [
    [{ background: true }, "background"],
    [{ conversation: "x" }, "conversation"],
    [{ tools: [{ type: "web_search" }] }, "tools.0.type"],
    [{ include: ["message.output_text.logprobs"] }, "include"],
    [{ no_such_field: 1 }, "no_such_field"],
    [{ input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] }, "input"],
    [{ n: 2 }, "n"],
  ];
  for (const [body, param] of wrong) {
    const create = client.responses.create({
      ...BASE,
      input: "x",
      ...body,
    } as OpenAI.Responses.ResponseCreateParamsNonStreaming);
    await assert.rejects(create, (error: unknown) => error instanceof BadRequestError && error.param === param, param);
  }
});

test(
  "functions are called, and their results are read; an answer is held to a schema",
  { timeout: 60_000 },
  async () => {
    await using llm: Llm = await load();
    const server = createServer({ models: new Map([["brook", llm]]) });
    const port = await server.listen(0, "127.0.0.1");
    const openai = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: "unused", maxRetries: 0 });
    const parameters = {
      type: "object",
      properties: { city: { enum: ["Oslo", "Rome"] } },
      required: ["city"],
      additionalProperties: false,
    };
    const request = {
      model: "brook",
      input: "What is the weather in Rome?",
      tools: [{ type: "function" as const, name: "weather", parameters, strict: true }],
      tool_choice: "required" as const,
      temperature: 0,
      parallel_tool_calls: false,
    };
    const first = await openai.responses.create(request);
    const call = first.output.find((item) => item.type === "function_call");
    assert.ok(call?.type === "function_call" && call.name === "weather");
    assert.ok(["Oslo", "Rome"].includes((JSON.parse(call.arguments) as { city: string }).city));
    let streamed = "";
    for await (const event of await openai.responses.create({ ...request, stream: true })) {
      if (event.type === "response.function_call_arguments.delta") streamed += event.delta;
    }
    assert.deepEqual(JSON.parse(streamed), JSON.parse(call.arguments));
    const second = await openai.responses.create({
      ...request,
      tool_choice: "none",
      previous_response_id: first.id,
      input: [{ type: "function_call_output", call_id: call.call_id, output: "sunny" }],
      max_output_tokens: 12,
    });
    assert.ok(second.output_text.length > 0);
    const schema = {
      type: "object",
      properties: { a: { enum: ["x", "y"] } },
      required: ["a"],
      additionalProperties: false,
    };
    const held = await openai.responses.create({
      model: "brook",
      input: "x or y?",
      text: { format: { type: "json_schema", name: "a", schema } },
    });
    assert.ok(["x", "y"].includes((JSON.parse(held.output_text) as { a: string }).a));
    await server.close();
  },
);
