/** The server as OpenAI's official client sees it. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI, { APIError, BadRequestError, NotFoundError } from "openai";

import { idle, NAME, type Served, serveTiny } from "./support/served.ts";

let served: Served;
let client: OpenAI;
before(async () => {
  served = await serveTiny();
  client = new OpenAI({ baseURL: `${served.url}/v1`, apiKey: "unused", maxRetries: 0 });
});
after(() => served[Symbol.asyncDispose]());

const USER = (content: string) => [{ role: "user" as const, content }];
const BASE = { model: NAME, temperature: 0.9, max_completion_tokens: 24 };

test("a conversation: the answer is the library's own, streamed or not", async () => {
  const messages = [{ role: "developer" as const, content: "Be brief." }, ...USER("Hello")];
  const alone = await served.llm.chat(
    [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello" },
    ],
    { temperature: 0.9, maxTokens: 24, seed: 5 },
  );
  const whole = await client.chat.completions.create({ ...BASE, messages, seed: 5 });
  assert.equal(whole.choices[0]?.message.content, alone.text);
  assert.equal(whole.choices[0]?.finish_reason, alone.finishReason);
  assert.equal(whole.system_fingerprint, served.llm.info.profile);
  const stream = await client.chat.completions.create({
    ...BASE,
    messages,
    seed: 5,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let finish: string | null = null;
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, alone.text);
  assert.equal(finish, alone.finishReason);
  assert.equal(usage?.prompt_tokens, alone.promptTokens.length);
  assert.equal(usage?.completion_tokens, alone.tokens.length);
  // All of the prompt but its last token was computed before.
  assert.equal(usage?.prompt_tokens_details?.cached_tokens, alone.promptTokens.length - 1);
});

test("a prediction is verified and told in the usage; the answer stays what it is", async () => {
  const request = { ...BASE, temperature: 0, messages: USER("Say it"), max_completion_tokens: 20 };
  const plain = await client.chat.completions.create({ ...request, speculation: "off" } as typeof request);
  const content = plain.choices[0]?.message.content ?? "";
  assert.deepEqual(plain.usage?.completion_tokens_details, {
    accepted_prediction_tokens: 0,
    rejected_prediction_tokens: 0,
  });
  const prediction = { type: "content" as const, content };
  const speculation = { drafter: "ngram", depth: 6 };
  const drafted = { ...request, prediction, speculation } as typeof request;
  const predicted = await client.chat.completions.create(drafted);
  assert.equal(predicted.choices[0]?.message.content, content);
  const { accepted_prediction_tokens: accepted = 0 } = predicted.usage?.completion_tokens_details ?? {};
  assert.ok(accepted > 0);
  const refused = client.chat.completions.create({ ...request, speculation: "medusa" } as typeof request);
  await assert.rejects(refused, /400.*"medusa" isn't built yet; there is auto, off/);
});

test("n = 2 gives the library's two answers, also as a stream", async () => {
  const alone = await served.llm.chat(USER("Two"), { temperature: 0.9, maxTokens: 12, seed: 3, n: 2 });
  const texts = alone.choices.map(({ text }) => text);
  const request = { ...BASE, messages: USER("Two"), n: 2, seed: 3, max_completion_tokens: 12 };
  const whole = await client.chat.completions.create(request);
  assert.deepEqual(
    whole.choices.map(({ message }) => message.content),
    texts,
  );
  const streamed = ["", ""];
  for await (const { choices } of await client.chat.completions.create({ ...request, stream: true })) {
    for (const { index, delta } of choices) streamed[index] += delta.content ?? "";
  }
  assert.deepEqual(streamed, texts);
});

test("logprobs: one a token, with alternatives in order, the same streamed", async () => {
  const request = {
    ...BASE,
    messages: USER("Log"),
    logprobs: true,
    top_logprobs: 3,
    seed: 1,
    max_completion_tokens: 8,
  };
  const whole = await client.chat.completions.create(request);
  const content = whole.choices[0]?.logprobs?.content ?? [];
  const ended = whole.choices[0]?.finish_reason === "stop" ? 1 : 0;
  assert.equal(content.length, (whole.usage?.completion_tokens ?? 0) - ended);
  assert.ok(content.length > 0);
  for (const { logprob, top_logprobs } of content) {
    assert.ok(logprob <= 0);
    assert.equal(top_logprobs.length, 3);
    assert.ok(top_logprobs.every((one, i) => i === 0 || one.logprob <= (top_logprobs[i - 1]?.logprob ?? 0)));
  }
  const streamed: unknown[] = [];
  for await (const { choices } of await client.chat.completions.create({ ...request, stream: true })) {
    streamed.push(...(choices[0]?.logprobs?.content ?? []));
  }
  assert.deepEqual(streamed, content);
});

test("stop, logit_bias and min_tokens do what they say", async () => {
  const biased = await client.chat.completions.create({
    ...BASE,
    messages: USER("x"),
    max_completion_tokens: 8,
    logit_bias: { 65: 100 },
  });
  assert.equal(biased.choices[0]?.message.content, "AAAAAAAA");
  const stopped = await client.chat.completions.create({
    ...BASE,
    messages: USER("x"),
    logit_bias: { 65: 100 },
    stop: ["AAA"],
  });
  assert.equal(stopped.choices[0]?.message.content, "");
  assert.equal(stopped.choices[0]?.finish_reason, "stop");
  assert.equal(stopped.usage?.completion_tokens, 3);
  const long = await client.chat.completions.create({
    ...BASE,
    messages: USER("x"),
    logit_bias: { 256: 100 },
    min_tokens: 5,
  } as OpenAI.ChatCompletionCreateParamsNonStreaming);
  assert.equal(long.usage?.completion_tokens, 6);
});

test("text completions: echo with the prompt's logprobs, several prompts, token ids", async () => {
  const echoed = await client.completions.create({
    model: NAME,
    prompt: "abc",
    echo: true,
    logprobs: 2,
    max_tokens: 0,
  });
  const [choice] = echoed.choices;
  assert.equal(choice?.text, "abc");
  assert.deepEqual(choice?.logprobs?.tokens, ["a", "b", "c"]);
  assert.deepEqual(choice?.logprobs?.text_offset, [0, 1, 2]);
  const alone = await served.llm.generate("abc", { promptLogprobs: 2, maxTokens: 1 });
  assert.deepEqual(choice?.logprobs?.token_logprobs, [
    null,
    ...(alone.promptLogprobs ?? []).map(({ logprob }) => logprob),
  ]);
  assert.equal(echoed.usage?.completion_tokens, 0);

  const several = { model: NAME, prompt: ["abc", "de"], n: 2, seed: 4, temperature: 1, max_tokens: 6 };
  const whole = await client.completions.create(several);
  assert.deepEqual(
    whole.choices.map(({ index }) => index),
    [0, 1, 2, 3],
  );
  const streamed = ["", "", "", ""];
  for await (const { choices } of await client.completions.create({ ...several, stream: true })) {
    for (const { index, text } of choices) streamed[index] += text;
  }
  assert.deepEqual(
    whole.choices.map(({ text }) => text),
    streamed,
  );
  const ids = await client.completions.create({
    ...several,
    prompt: [
      [97, 98, 99],
      [100, 101],
    ],
  });
  assert.deepEqual(
    ids.choices.map(({ text }) => text),
    streamed,
  );
});

test("response_format holds the answer to a JSON Schema", async () => {
  const schema = {
    type: "object",
    properties: { a: { enum: ["x", "y"] } },
    required: ["a"],
    additionalProperties: false,
  };
  const answer = await client.chat.completions.create({
    ...BASE,
    messages: USER("x"),
    max_completion_tokens: 100,
    response_format: { type: "json_schema", json_schema: { name: "a", schema } },
  });
  const { a } = JSON.parse(answer.choices[0]?.message.content ?? "") as { a: string };
  assert.ok(a === "x" || a === "y");
});

test("what is wrong is said in OpenAI's form", async () => {
  const create = (body: object) =>
    client.chat.completions.create({
      ...BASE,
      messages: USER("x"),
      ...body,
    } as OpenAI.ChatCompletionCreateParamsNonStreaming);
  await assert.rejects(create({ model: "gone" }), (error: unknown) => {
    assert.ok(error instanceof NotFoundError);
    assert.equal(error.code, "model_not_found");
    return true;
  });
  const wrong: [object, string][] = [
    [{ temperature: "hot" }, "temperature"],
    [{ top_p: 2 }, "top_p"],
    [{ tools: [{ type: "custom", custom: { name: "f" } }] }, "tools.0.type"],
    [{ response_format: { type: "yaml" } }, "response_format.type"],
    [{ response_format: { type: "json_schema", json_schema: { name: "x" } } }, "response_format.json_schema.schema"],
    [{ reasoning_effort: "huge" }, "reasoning_effort"],
    [{ no_such_field: 1 }, "no_such_field"],
    [{ top_logprobs: 2 }, "top_logprobs"],
    [{ messages: [] }, "messages"],
    [{ messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] }, "messages.0.content"],
  ];
  for (const [body, param] of wrong) {
    await assert.rejects(create(body), (error: unknown) => {
      assert.ok(error instanceof BadRequestError, param);
      assert.equal(error.param, param);
      assert.match(error.message, new RegExp(param.replaceAll(".", "\\.")));
      return true;
    });
  }
  for (const stream of [false, true]) {
    await assert.rejects(create({ stream, messages: USER("long ".repeat(200)) }), (error: unknown) => {
      assert.ok(error instanceof BadRequestError);
      assert.equal(error.code, "context_length_exceeded");
      assert.match(error.message, /\d{4} tokens.* 512/);
      return true;
    });
  }
  await assert.rejects(create({ logit_bias: { 999: 1 } }), BadRequestError);
  const schema = { $ref: "#" };
  const format = { type: "json_schema", json_schema: { name: "x", schema } };
  await assert.rejects(create({ response_format: format }), (error: unknown) => {
    return error instanceof BadRequestError && error.code === "unsupported_grammar";
  });
});

test("a failure in mid-stream reaches the client as an APIError", async () => {
  await using other = await serveTiny();
  const openai = new OpenAI({ baseURL: `${other.url}/v1`, apiKey: "unused", maxRetries: 0 });
  let steps = 0;
  other.llm.watch(() => {
    if (++steps === 5) void other.llm.close();
  });
  const request = { ...BASE, messages: USER("x"), max_completion_tokens: 400, logit_bias: { 256: -100 } };
  const stream = await openai.chat.completions.create({ ...request, stream: true });
  await assert.rejects(async () => {
    for await (const _ of stream);
  }, APIError);
});

test("a client that hangs up frees its sequences", async () => {
  const stream = await client.chat.completions.create({
    ...BASE,
    messages: USER("x"),
    max_completion_tokens: 400,
    logit_bias: { 256: -100 },
    stream: true,
  });
  for await (const _ of stream) break;
  await idle(served.llm);
  const abort = new AbortController();
  const whole = client.chat.completions.create(
    { ...BASE, messages: USER("x"), max_completion_tokens: 400, logit_bias: { 256: -100 } },
    { signal: abort.signal },
  );
  const unwatch = served.llm.watch(() => abort.abort());
  await assert.rejects(whole, /aborted/i);
  unwatch();
  const { steps } = served.llm.stats();
  await idle(served.llm);
  // Far fewer than the answer would have taken.
  assert.ok(served.llm.stats().steps < steps + 300);
});

test("50 at once, each gets what it gets alone; /metrics counts what the client counted", async () => {
  await using other = await serveTiny();
  const openai = new OpenAI({ baseURL: `${other.url}/v1`, apiKey: "unused" });
  const jobs = Array.from({ length: 50 }, (_, i) => ({
    ...BASE,
    messages: USER(`Question ${i % 10}`),
    seed: i,
    max_completion_tokens: 4 + (i % 7),
  }));
  const together = await Promise.all(jobs.map((job) => openai.chat.completions.create(job)));
  for (const i of [0, 13, 49]) {
    const again = await openai.chat.completions.create(jobs[i] ?? { ...BASE, messages: [] });
    assert.deepEqual(again.choices, together[i]?.choices);
    together.push(again);
  }
  const sum = (of: (usage: OpenAI.CompletionUsage) => number) =>
    together.reduce((total, { usage }) => total + (usage ? of(usage) : 0), 0);
  const text = await (await fetch(`${other.url}/metrics`)).text();
  const value = (name: string) => Number(new RegExp(`^${name}\\{[^}]*\\} (\\d+)$`, "m").exec(text)?.[1]);
  assert.equal(
    value("vllm:prompt_tokens_total"),
    sum((usage) => usage.prompt_tokens),
  );
  assert.equal(
    value("vllm:generation_tokens_total"),
    sum((usage) => usage.completion_tokens),
  );
  assert.equal(
    value("vllm:prefix_cache_hits_total"),
    sum((usage) => usage.prompt_tokens_details?.cached_tokens ?? 0),
  );
  assert.equal(value("vllm:time_to_first_token_seconds_count"), 53);
  const accepted = value("vllm:spec_decode_num_accepted_tokens_total");
  assert.ok(accepted >= 0 && accepted <= value("vllm:spec_decode_num_draft_tokens_total"));
});

test("the models, and one of them", async () => {
  const list = await client.models.list();
  assert.deepEqual(
    list.data.map(({ id }) => id),
    [NAME],
  );
  assert.equal((await client.models.retrieve(NAME)).id, NAME);
  await assert.rejects(client.models.retrieve("other"), NotFoundError);
});
