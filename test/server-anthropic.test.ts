/** The server as Anthropic's official client sees it. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic, { BadRequestError, NotFoundError } from "@anthropic-ai/sdk";

import { NAME, post, type Served, serveTiny } from "./support/served.ts";

let served: Served;
let client: Anthropic;
before(async () => {
  served = await serveTiny();
  client = new Anthropic({ baseURL: served.url, apiKey: "unused", maxRetries: 0 });
});
after(() => served[Symbol.asyncDispose]());

// Greedy, so that the streamed answer is the same.
const REQUEST = {
  model: NAME,
  max_tokens: 16,
  temperature: 0,
  system: "Be brief.",
  messages: [{ role: "user" as const, content: [{ type: "text" as const, text: "Hello" }] }],
};
const MESSAGES = [
  { role: "system" as const, content: "Be brief." },
  { role: "user" as const, content: "Hello" },
];

test("a message is the library's answer, whole and as events", async () => {
  const alone = await served.llm.chat(MESSAGES, { temperature: 0, maxTokens: 16 });
  const whole = await client.messages.create(REQUEST);
  assert.deepEqual(whole.content, [{ type: "text", text: alone.text }]);
  assert.equal(whole.stop_reason, alone.finishReason === "length" ? "max_tokens" : "end_turn");
  const final = await client.messages.stream(REQUEST).finalMessage();
  assert.deepEqual(final.content, whole.content);
  assert.equal(final.stop_reason, whole.stop_reason);
  const { usage } = final;
  assert.equal(usage.output_tokens, alone.tokens.length);
  assert.equal(usage.input_tokens + (usage.cache_read_input_tokens ?? 0), alone.promptTokens.length);
});

test("a stop sequence is named; tokens are counted", async () => {
  const alone = await served.llm.chat(MESSAGES, { temperature: 0, maxTokens: 16 });
  const stop = alone.text.slice(4, 6);
  const stopped = await client.messages.create({ ...REQUEST, stop_sequences: [stop] });
  assert.equal(stopped.stop_reason, "stop_sequence");
  assert.equal(stopped.stop_sequence, stop);
  const { max_tokens: _, temperature: __, ...conversation } = REQUEST;
  assert.equal((await client.messages.countTokens(conversation)).input_tokens, alone.promptTokens.length);
});

test("failures have Anthropic's envelope", async () => {
  await assert.rejects(client.messages.create({ ...REQUEST, model: "gone" }), NotFoundError);
  const tools = [{ type: "web_search_20260209" as const, name: "web_search" as const }];
  await assert.rejects(client.messages.create({ ...REQUEST, tools }), (error: unknown) => {
    assert.ok(error instanceof BadRequestError);
    assert.match(error.message, /tools/);
    return true;
  });
  const wrong = await post(`${served.url}/v1/messages`, { model: NAME });
  const { type, error } = (await wrong.json()) as { type: string; error: { type: string } };
  assert.deepEqual([wrong.status, type, error.type], [400, "error", "invalid_request_error"]);
});
