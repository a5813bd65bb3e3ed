/** How a loaded model behaves to its user: tiny random weights on the reference backend, through every room. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModelArtifact } from "../src/artifact/artifact.ts";
import { createReferenceBackend } from "../src/backend/reference/backend.ts";
import { assemble, type EngineOptions } from "../src/engine/assemble.ts";
import type { Llm } from "../src/engine/llm.ts";
import { load } from "../src/engine/load.ts";
import { MemoryError, RequestError } from "../src/errors.ts";
import { tinyModel } from "./support/tiny-models.ts";

const CHATML =
  "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

function loadTiny(options: EngineOptions = {}, change: Partial<ModelArtifact> = {}): Promise<Llm> {
  const artifact = { ...tinyModel("llama", "Q8_0", 7), chatTemplate: CHATML, ...change };
  return assemble(artifact, createReferenceBackend(), { context: 128, maxSequences: 8, ...options });
}

test("an answer can be awaited or iterated, and both say the same", async () => {
  await using llm = await loadTiny();
  const options = { maxTokens: 12, temperature: 1, seed: 5, logprobs: 3 };
  const whole = await llm.generate("Once upon", options);
  assert.equal(whole.tokens.length, 12);
  assert.equal(whole.finishReason, "length");
  assert.equal(whole.usage.completionTokens, 12);
  assert.deepEqual(whole.promptTokens, [...llm.tokenize("Once upon")]);
  assert.equal(whole.logprobs?.length, 12);
  for (const { id, logprob, top } of whole.logprobs ?? []) {
    assert.equal(top.length, 3);
    assert.ok(
      top.every((t, i) => i === 0 || t.logprob <= (top[i - 1]?.logprob ?? 0)),
      "most likely first",
    );
    const own = top.find((t) => t.id === id);
    if (own) assert.equal(own.logprob, logprob);
  }
  let text = "";
  let finish: string | undefined;
  for await (const part of llm.generate("Once upon", options)) {
    if (part.type === "text") text += part.text;
    if (part.type === "finish") finish = part.finishReason;
  }
  assert.equal(text, whole.text);
  assert.equal(finish, "length");
  assert.equal(text, llm.detokenize(whole.tokens, { skipSpecial: true }));
});

test("a missing seed is drawn and reported, and repeats the answer", async () => {
  await using llm = await loadTiny();
  const first = await llm.generate([1, 2, 3], { maxTokens: 10, temperature: 1 });
  const again = await llm.generate([1, 2, 3], { maxTokens: 10, temperature: 1, seed: first.seed });
  const other = await llm.generate([1, 2, 3], { maxTokens: 10, temperature: 1 });
  assert.deepEqual(again.tokens, first.tokens);
  assert.notEqual(other.seed, first.seed);
});

test("n answers differ, and the first is the one that n = 1 gives", async () => {
  await using llm = await loadTiny();
  const options = { maxTokens: 8, temperature: 1, seed: 11 };
  const { choices } = await llm.generate([5, 6], { ...options, n: 3 });
  assert.equal(new Set(choices.map(({ tokens }) => tokens.join())).size, 3);
  assert.deepEqual(choices[0]?.tokens, (await llm.generate([5, 6], options)).tokens);
});

test("logits agree with the log-probabilities of an answer, and with perplexity", async () => {
  await using llm = await loadTiny();
  const ids = [10, 20, 30, 40, 50];
  const rows = await llm.logits(ids);
  const logprob = (row: Float32Array, id: number): number => {
    const top = row.reduce((a, b) => Math.max(a, b));
    return (row[id] ?? 0) - top - Math.log(row.reduce((sum, value) => sum + Math.exp(value - top), 0));
  };
  const { nll, predicted } = await llm.perplexity(ids, { window: 5 });
  const expected = rows.slice(0, 4).reduce((sum, row, i) => sum - logprob(row, ids[i + 1] ?? 0), 0);
  assert.equal(predicted, 4);
  assert.ok(Math.abs(nll - expected) < 1e-4, `${nll} ${expected}`);
  const { tokens, logprobs } = await llm.generate(ids, { maxTokens: 1, temperature: 0, logprobs: 1 });
  const last = rows.at(-1) ?? new Float32Array();
  assert.equal(tokens[0], last.indexOf(last.reduce((a, b) => Math.max(a, b))));
  assert.ok(Math.abs((logprobs?.[0]?.logprob ?? 0) - logprob(last, tokens[0] ?? 0)) < 1e-5);
});

test("bias, min tokens, stop tokens and stop strings do what they say", async () => {
  await using llm = await loadTiny();
  const forced = await llm.generate([1], { maxTokens: 3, logitBias: { 65: 100 }, temperature: 0 });
  assert.deepEqual(forced.tokens, [65, 65, 65]);
  assert.equal(forced.text, llm.detokenize([65, 65, 65]));
  const forbidden = await llm.generate([1], {
    maxTokens: 3,
    logitBias: new Map([
      [65, 100],
      [66, Number.NEGATIVE_INFINITY],
    ]),
    stopTokens: [65],
    minTokens: 2,
    temperature: 0,
  });
  assert.ok(!forbidden.tokens.slice(0, 2).includes(65) && !forbidden.tokens.includes(66));
  assert.equal(forbidden.tokens.at(-1), 65);
  assert.equal(forbidden.finishReason, "stop");
  assert.ok(!forbidden.text.includes(llm.detokenize([65])), "a stop token is no part of the text");
  const plain = await llm.generate([1], { maxTokens: 20, temperature: 1, seed: 4 });
  const stop = plain.text.slice(5, 8);
  const stopped = await llm.generate([1], { maxTokens: 20, temperature: 1, seed: 4, stop });
  assert.equal(stopped.text, plain.text.slice(0, plain.text.indexOf(stop)));
  assert.equal(stopped.finishReason, "stop");
});

test("penalties push tokens away that the answer has", async () => {
  await using llm = await loadTiny();
  const options = { maxTokens: 30, temperature: 0 };
  const distinct = async (extra: object): Promise<number> =>
    new Set((await llm.generate([9], { ...options, ...extra })).tokens).size;
  assert.equal(await distinct({ presencePenalty: 100 }), 30);
  assert.equal(await distinct({ frequencyPenalty: 100 }), 30);
  assert.ok((await distinct({ repetitionPenalty: 100 })) > (await distinct({})));
});

test("chat renders the template, and the prompt is a function of the messages", async () => {
  await using llm = await loadTiny();
  const messages = [{ role: "user", content: "Hi <|user|>" }] as const;
  assert.equal(llm.renderChat(messages), "<|user|>Hi <|user|>\n<|assistant|>");
  const { promptTokens } = await llm.chat(messages, { maxTokens: 1 });
  assert.equal(llm.detokenize(promptTokens), "<|user|>Hi <|user|>\n<|assistant|>");
  await assert.rejects(() => llm.chat([]), RequestError);
  const { chatTemplate: _, ...bare } = tinyModel("llama", "Q8_0", 7) as ModelArtifact & { chatTemplate?: string };
  await using raw = await assemble(bare, createReferenceBackend(), { context: 64 });
  await assert.rejects(() => raw.chat(messages), /no chat template.*--raw/);
});

test("bad requests are errors with the numbers", async () => {
  await using llm = await loadTiny();
  await assert.rejects(() => llm.generate(""), /the prompt is empty/);
  await assert.rejects(
    () => llm.generate(Array.from({ length: 128 }, () => 1)),
    /prompt has 128 tokens, the context has 128/,
  );
  await assert.rejects(() => llm.generate([512]), /512 is not a token id.*0 to 511/);
  await assert.rejects(
    () => llm.generate([1], { temperature: -1 }),
    /temperature must be a number from 0 to 100, not -1/,
  );
  await assert.rejects(() => llm.generate([1], { topP: Number.NaN }), /topP/);
  await assert.rejects(() => llm.generate([1], { maxTokens: 0 }), /maxTokens/);
  await assert.rejects(() => llm.generate([1], { n: 9 }), /9 answers.*8 sequences/);
  await assert.rejects(() => llm.generate([1], { logprobs: 21 }), /logprobs must be a whole number from 0 to 20/);
  await assert.rejects(() => llm.generate([1], { logitBias: { 600: 1 } }), /token 600/);
  await assert.rejects(() => llm.generate("a".repeat(1e6)), /1000000 characters; for a context of 128 tokens/);
  const many = Array.from({ length: 129 }, () => ({ role: "user", content: "a" }) as const);
  await assert.rejects(() => llm.chat(many), /129 messages, the context has 128 tokens/);
  await assert.rejects(() => llm.generate([1], { schema: { const: "x".repeat(2 ** 20) } }), /grammar has 10485\d\d /);
  await assert.rejects(() => loadTiny({ kvBytes: 10 }), MemoryError);
  await assert.rejects(() => loadTiny({ context: 0 }), RequestError);
});

test("what is no option at all is refused before anything is submitted", async () => {
  await using llm = await loadTiny();
  const wrong: readonly [Record<string, unknown>, RegExp][] = [
    [{ stop: 5 }, /stop must be a text .*not 5/],
    [{ stop: {} }, /stop must be a text .*not an object/],
    [{ stop: [null] }, /stop must be a text .*not null/],
    [{ seed: "abc" }, /seed must be a whole number .*not "abc"/],
    [{ logitBias: null }, /logitBias must be a map .*not null/],
    [{ logitBias: { 5: "x" } }, /logitBias of token 5 must be a number .*not "x"/],
    [{ logitBias: new Map(Array.from({ length: 512 }, (_, id) => [id, -Infinity])) }, /every token is forbidden/],
    [{ n: "2" }, /n must be a whole number/],
    [{ signal: {} }, /signal must be an AbortSignal/],
  ];
  for (const [options, message] of wrong) {
    await assert.rejects(
      () => llm.generate([1], options),
      (error) => error instanceof RequestError && message.test(error.message),
      JSON.stringify(options),
    );
    assert.deepEqual([llm.stats().running, llm.stats().waiting], [0, 0]);
  }
  await assert.rejects(llm.perplexity([1, 2, 3], { window: Number.NaN }), /window must be a whole number.*not NaN/);
  const odd = (options: object) => load("/no/such/model.gguf", options);
  await assert.rejects(load(5 as never), /a model is named by a path .*not by 5/);
  await assert.rejects(odd({ maxSequences: 1e7 }), /maxSequences must be a whole number from 1 to 4096, not 10000000/);
  await assert.rejects(odd({ backend: "bogus" }), /backend must be one of cpu, reference, not "bogus"/);
  await assert.rejects(odd({ kvBytes: Number.NaN }), /kvBytes must be .*not NaN/);
  await assert.rejects(odd({ threads: 1024 }), /threads must be a whole number from 1 to 256, not 1024/);
});

test("an answer is a whole promise, and its parts come once", async () => {
  await using llm = await loadTiny();
  const options = { maxTokens: 4, temperature: 0 };
  let finished = false;
  const { tokens } = await llm.generate([1], options).finally(() => {
    finished = true;
  });
  assert.ok(finished);
  assert.equal(
    await llm.generate([1], { ...options, topP: 7 }).catch((error: unknown) => error instanceof RequestError),
    true,
  );
  const answer = llm.generate([1], options);
  for await (const _ of answer);
  assert.throws(() => answer[Symbol.asyncIterator](), /iterated already.*await it/);
  assert.deepEqual((await answer).tokens, tokens);
});

test("a prompt is scored beside its answer", async () => {
  await using llm = await loadTiny();
  const options = { maxTokens: 3, temperature: 0 };
  const prompt = [5, 9, 200, 31];
  const { promptLogprobs, tokens } = await llm.generate(prompt, { ...options, promptLogprobs: 2 });
  assert.deepEqual(tokens, (await llm.generate(prompt, options)).tokens);
  assert.deepEqual(
    promptLogprobs?.map(({ id }) => id),
    prompt.slice(1),
  );
  const rows = await llm.logits(prompt);
  for (const [i, { logprob, id, top }] of (promptLogprobs ?? []).entries()) {
    const row = rows[i] ?? new Float32Array();
    const mass = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
    assert.ok(Math.abs(logprob - ((row[id] ?? 0) - mass)) < 1e-4);
    assert.equal(top.length, 2);
    assert.equal(row[top[0]?.id ?? -1], Math.max(...row));
  }
});

test("logits that are not finite end their own request with an error", async () => {
  const artifact = tinyModel("llama", "F32", 7);
  const name = "output_norm.weight";
  const norm = artifact.tensors.get(name) ?? artifact.tensors.get("model.norm.weight");
  assert.ok(norm);
  const bytes = new Uint8Array(await norm.source.read(norm.offset, 4 * (norm.shape[0] ?? 0)));
  new DataView(bytes.buffer).setFloat32(8, Number.NaN, true);
  const broken = {
    ...norm,
    offset: 0,
    source: { ...norm.source, read: async (at: number, n: number) => bytes.slice(at, at + n) },
  };
  const tensors = new Map([...artifact.tensors].map(([key, tensor]) => [key, tensor === norm ? broken : tensor]));
  await using llm = await assemble({ ...artifact, tensors }, createReferenceBackend(), { context: 64 });
  await assert.rejects(() => llm.generate([1], { maxTokens: 3, temperature: 0 }), /not finite/);
  assert.equal(llm.stats().blocks[0]?.used, 0);
});

test("abort ends an answer with the signal's reason; close ends all; leaving an iteration frees the sequence", async () => {
  const llm = await loadTiny();
  const abort = new AbortController();
  const aborted = llm.generate([1], { maxTokens: 100, signal: abort.signal });
  abort.abort(new Error("enough"));
  await assert.rejects(async () => aborted, /enough/);
  for await (const _ of llm.generate([1], { maxTokens: 100 })) break;
  const late = llm.generate([1], { maxTokens: 100 });
  await Promise.all([llm.close(), assert.rejects(async () => late, /closed/)]);
  await assert.rejects(async () => llm.generate([1]), /closed/);
  await llm.close();
});
