/** A model whose engine stands in a thread of its own gives what one in process gives, and tells when the thread is gone. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Worker } from "node:worker_threads";

import { builtinModelPath } from "../src/artifact/node-builtin.ts";
import { createCpuBackend } from "../src/backend/cpu/backend.ts";
import type { WorkEvent } from "../src/engine/client.ts";
import { createLlm } from "../src/engine/front.ts";
import type { Generation, Llm } from "../src/engine/llm.ts";
import { load } from "../src/engine/load.ts";
import { assembleEngine } from "../src/engine/loaded-engine.ts";
import { connectThread } from "../src/engine/thread/node-thread.ts";
import { LengthError, MillraceError, RequestError, UnsupportedGrammarError } from "../src/errors.ts";
import { createServer } from "../src/server/server.ts";
import { loopback } from "./support/loopback.ts";
import { post, tinyChatModel } from "./support/served.ts";

const OPTIONS = { threads: 1, context: 4096, kvBytes: 8 * 2 ** 20, maxSequences: 8 } as const;

/** Without what differs from run to run. */
function facts(generation: Generation): unknown {
  return { ...generation, timings: undefined };
}

/** The same requests to both, all at once. */
function askAll(llm: Llm): Promise<Generation[]> {
  const ask = { maxTokens: 24, temperature: 1, seed: 3 };
  return Promise.all([
    llm.generate("The river", { ...ask, n: 3, logprobs: 4 }),
    llm.generate("The river runs", { ...ask, promptLogprobs: 2, logprobs: 0 }),
    llm.generate("Numbers:", { ...ask, grammar: { regex: "[0-9]{2,6}" } }),
    llm.generate("Once upon a time", { ...ask, stop: ["e"], temperature: 0 }),
  ]);
}

test("answers, rows, vectors and refusals are those of an engine in process", { timeout: 120_000 }, async () => {
  const reference = builtinModelPath("rill");
  await using here = await load(reference, OPTIONS);
  await using there = await load(reference, { ...OPTIONS, thread: true });
  assert.deepEqual(there.info, here.info);
  const [own, other] = [await askAll(here), await askAll(there)];
  assert.deepEqual(other.map(facts), own.map(facts));
  assert.deepEqual(await there.logits([5, 6, 7]), await here.logits([5, 6, 7]));
  assert.deepEqual(await there.embed(["a cat", "a dog"]), await here.embed(["a cat", "a dog"]));
  const text = "Rivers run to the sea, and the sea is not full. ".repeat(20);
  assert.equal((await there.perplexity(text, { window: 64 })).nll, (await here.perplexity(text, { window: 64 })).nll);

  await assert.rejects(Promise.resolve(there.generate("x", { adapter: "none" })), RequestError);
  await assert.rejects(Promise.resolve(there.generate([1], { n: 9 })), /9 answers were asked for/);
  const broken = { schema: { type: "object", unevaluatedProperties: { $dynamicRef: "#x" } } };
  const refusal = await here.generate("x", broken).catch((error: unknown) => error);
  const told = await there.generate("x", broken).catch((error: unknown) => error);
  assert.ok(refusal instanceof MillraceError && told instanceof MillraceError);
  assert.equal(told.message, refusal.message);
  assert.equal(told.constructor, refusal.constructor);
  assert.ok(refusal instanceof UnsupportedGrammarError || refusal instanceof RequestError);

  // The engine's numbers come with its messages.
  const { steps, running, blocks } = there.stats();
  assert.ok(steps > 0 && running === 0);
  assert.equal(blocks[0]?.used, 0);
  const { groups } = await there.memory();
  assert.equal(groups[0]?.length, blocks[0]?.size);
});

test("a long text is encoded in a thread of its own, as it would be here", { timeout: 120_000 }, async () => {
  await using llm = await load(builtinModelPath("rill"), {
    ...OPTIONS,
    context: 8192,
    kvBytes: 16 * 2 ** 20,
    thread: true,
  });
  const text = "the old mill by the river, ".repeat(700);
  const ids = llm.tokenize(text);
  assert.ok(text.length > 16_384 && ids.length < 8000, `${ids.length}`);
  const [answer, short] = await Promise.all([
    llm.generate(text, { maxTokens: 1 }),
    llm.generate("a", { maxTokens: 1 }),
  ]);
  assert.deepEqual(answer.promptTokens, [...ids]);
  assert.equal(short.usage.completionTokens, 1);
  const tooLong = "word ".repeat(30_000);
  await assert.rejects(Promise.resolve(llm.generate(tooLong)), LengthError);
});

test("leaving an answer ends its work; pins hold memory until they are released", { timeout: 60_000 }, async () => {
  const { llm, told } = await loopback(tinyChatModel(), await createCpuBackend({ threads: 1 }), { context: 512 });
  const pin = await llm.pin("0123456789abcdef".repeat(3));
  assert.equal(pin.tokens, 48);
  assert.equal(llm.stats().blocks[0]?.used, 3);
  const endless = { maxTokens: 400, minTokens: 400 };
  let seen = 0;
  for await (const _ of llm.generate("0123456789abcdefX", endless)) if (++seen === 5) break;
  const abort = new AbortController();
  const answer = llm.generate("abc", { ...endless, signal: abort.signal });
  setTimeout(() => abort.abort(new Error("enough")), 20);
  await assert.rejects(Promise.resolve(answer), /enough/);
  while (llm.stats().running > 0) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(llm.stats().steps < 300, `${llm.stats().steps}`);
  pin.release();
  pin.release();
  while (llm.stats().blocks[0]?.used !== 0) await new Promise((resolve) => setImmediate(resolve));

  // A message a step, for eight requests as for one.
  const before = { told: told(), steps: llm.stats().steps };
  await Promise.all(Array.from({ length: 8 }, (_, i) => llm.generate(`${i}`, { maxTokens: 50, minTokens: 50 })));
  const [messages, steps] = [told() - before.told, llm.stats().steps - before.steps];
  assert.ok(messages <= steps + 4, `${messages} messages for ${steps} steps`);
  const closing = llm.generate("x", endless);
  closing.catch(() => undefined);
  await new Promise((resolve) => setImmediate(resolve));
  await llm.close();
  await assert.rejects(Promise.resolve(closing), { code: "ERR_CLOSED" });
  await assert.rejects(Promise.resolve(llm.generate("x")), { code: "ERR_CLOSED" });
});

test("a listener that throws ends its own request; work that is no plain data is refused", async () => {
  const { llm, client } = await loopback(tinyChatModel(), await createCpuBackend({ threads: 1 }), { context: 512 });
  const work = { prompt: Int32Array.of(1, 2, 3), score: { want: "logits", topLogprobs: 0 } } as const;
  const end = (listen: (event: WorkEvent) => void, more: object = {}): Promise<unknown> =>
    new Promise((resolve) => {
      client.submit({ ...work, ...more }, (event) => {
        if (event.type === "end") resolve(event.error);
        else listen(event);
      });
    });
  const outcomes = await Promise.all([
    end(() => assert.fail("the listener's own")),
    end(() => undefined, { tenant: () => "a function" }),
    end(() => undefined),
  ]);
  assert.match(String(outcomes[0]), /the listener's own/);
  assert.ok(outcomes[1] instanceof RequestError, String(outcomes[1]));
  assert.equal(outcomes[2], undefined);
  await llm.close();
});

/** A model whose engine's thread answers nothing, and ends when it is told to. */
async function doomed(t: TestContext): Promise<{ llm: Llm; kill: () => void }> {
  const engine = await assembleEngine(tinyChatModel(), await createCpuBackend({ threads: 1 }), { context: 512 });
  t.after(async () => {
    await engine.client.close();
    await engine.release();
  });
  const code = `require("node:worker_threads").parentPort.on("message", (m) => { if (m === "die") throw new Error("no more"); })`;
  const worker = new Worker(code, { eval: true });
  const llm = createLlm({ card: engine.card, client: connectThread(worker, []), release: () => Promise.resolve() });
  return { llm, kill: () => worker.postMessage("die") };
}

test("where the engine's thread ends, every request ends with an error that says so, and /health too", async (t) => {
  const { llm, kill } = await doomed(t);
  const server = createServer({ models: new Map([["tiny", llm]]) });
  const port = await server.listen(0, "127.0.0.1");
  const url = `http://127.0.0.1:${port}`;
  assert.equal((await fetch(`${url}/health`)).status, 200);
  const request = { model: "tiny", prompt: "abc" };
  const pending = [post(`${url}/v1/completions`, request), post(`${url}/v1/completions`, { ...request, stream: true })];
  const own = llm.generate("abc");
  own.catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 50));
  kill();
  await assert.rejects(Promise.resolve(own), { code: "ERR_ENGINE", message: /the engine's thread failed: .*no more/ });
  const [plain, streamed] = await Promise.all(pending);
  assert.equal(plain?.status, 503);
  assert.match((await streamed?.text()) ?? "", /no more/);
  const health = await fetch(`${url}/health`);
  assert.equal(health.status, 503);
  assert.deepEqual(await health.json(), { status: "failed" });
  assert.equal((await post(`${url}/v1/completions`, request)).status, 503);
  assert.equal(llm.failure?.code, "ERR_ENGINE");
  await server.drain();
  await llm.close();
});
