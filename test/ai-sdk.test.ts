/** The AI SDK with models of this process: its own functions over our provider. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { cosineSimilarity, embedMany, generateText, jsonSchema, Output, streamText } from "ai";
import { z } from "zod";

import { createMillrace, type MillraceProvider } from "../src/ai-sdk/ai-sdk.ts";
import { RequestError, UnsupportedError } from "../src/errors.ts";
import { load, type Llm } from "../src/index.ts";
import { weatherLoop } from "./support/weather-loop.ts";

let llm: Llm;
let millrace: MillraceProvider;
before(async () => {
  llm = await load(undefined, { context: 1024 });
  millrace = createMillrace({ brook: llm });
});
after(() => llm.close());

const QUESTION = "Name three rivers.";

test("text, whole and streamed, is the library's own", async () => {
  const alone = await llm.chat(
    [
      { role: "system", content: "Be brief." },
      { role: "user", content: QUESTION },
    ],
    { seed: 3, temperature: 0.8, maxTokens: 24 },
  );
  const options = {
    model: millrace("brook"),
    instructions: "Be brief.",
    prompt: QUESTION,
    seed: 3,
    temperature: 0.8,
    maxOutputTokens: 24,
  };
  const whole = await generateText(options);
  assert.equal(whole.text, alone.text);
  assert.equal(whole.finishReason, alone.finishReason);
  assert.equal(whole.usage.inputTokens, alone.promptTokens.length);
  assert.equal(whole.usage.outputTokens, alone.tokens.length);
  assert.deepEqual(whole.providerMetadata?.["millrace"], { profile: llm.info.profile, seed: "3" });
  const stream = streamText(options);
  let text = "";
  for await (const part of stream.textStream) text += part;
  assert.equal(text, alone.text);
  assert.equal((await stream.usage).outputTokens, alone.tokens.length);
});

test("a conversation, stop texts, and options of the library's own", async () => {
  const messages = [
    { role: "user" as const, content: QUESTION },
    { role: "assistant" as const, content: "Rhine, Elbe, Oder." },
    { role: "user" as const, content: "And a lake?" },
  ];
  const alone = await llm.chat(messages, { temperature: 0, maxTokens: 16, stop: ["."], repetitionPenalty: 1.3 });
  const { text } = await generateText({
    model: millrace("brook"),
    messages,
    temperature: 0,
    maxOutputTokens: 16,
    stopSequences: ["."],
    providerOptions: { millrace: { repetitionPenalty: 1.3 } },
  });
  assert.equal(text, alone.text);
});

test("tools are called in a loop, whole and streamed; objects satisfy their schema", async () => {
  const Arguments = z.strictObject({ city: z.enum(["Paris", "Rome"]) });
  const kinds = await weatherLoop(millrace("brook"), Arguments, { millrace: { parallelToolCalls: false } });
  assert.ok(kinds.has("tool-input-delta"), [...kinds].join());
  const schema = jsonSchema<{ a: string }>({
    type: "object",
    properties: { a: { enum: ["x", "y"] } },
    required: ["a"],
    additionalProperties: false,
  });
  const { output } = await generateText({
    model: millrace("brook"),
    prompt: "x or y?",
    seed: 1,
    output: Output.object({ schema }),
  });
  assert.ok(["x", "y"].includes(output.a));
});

test("an abort ends the work; wrong options and unknown models are told", async () => {
  const abort = new AbortController();
  const stream = streamText({
    model: millrace("brook"),
    prompt: QUESTION,
    maxOutputTokens: 800,
    abortSignal: abort.signal,
    providerOptions: { millrace: { minTokens: 800 } },
    onError: () => undefined,
  });
  for await (const _ of stream.textStream) abort.abort();
  for (let i = 0; i < 200 && llm.stats().running > 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(llm.stats().running, 0);
  const wrong = generateText({ model: millrace("brook"), prompt: QUESTION, temperature: -1, maxRetries: 0 });
  await assert.rejects(wrong, (error: unknown) => error instanceof RequestError && /temperature/.test(error.message));
  assert.throws(() => millrace("none"), /no model "none" in this provider; it has brook/);
  assert.throws(() => millrace.imageModel("x"), UnsupportedError);
  const image = generateText({
    model: millrace("brook"),
    messages: [{ role: "user", content: [{ type: "file", mediaType: "image/png", data: new Uint8Array(8) }] }],
    maxRetries: 0,
  });
  await assert.rejects(image, /"file" in user messages aren't supported/);
});

test("embedMany gives the library's vectors", async () => {
  const values = ["a cat", "a dog", "the price of steel"];
  const { embeddings, usage } = await embedMany({ model: millrace.embeddingModel("brook"), values });
  const own = await llm.embedCounted(values);
  assert.deepEqual(
    embeddings,
    own.map(({ vector }) => [...vector]),
  );
  assert.equal(
    usage.tokens,
    own.reduce((sum, { tokens }) => sum + tokens, 0),
  );
  assert.ok(Math.abs(cosineSimilarity(embeddings[0] ?? [], embeddings[0] ?? []) - 1) < 1e-6);
  const last = await embedMany({
    model: millrace.embeddingModel("brook"),
    values: ["a cat"],
    providerOptions: { millrace: { pooling: "last" } },
  });
  assert.notDeepEqual(last.embeddings[0], embeddings[0]);
  assert.throws(() => millrace.embeddingModel("none"), RequestError);
});
