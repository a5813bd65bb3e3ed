/** Every method of drafting with every feature of an answer and of an engine: the answer is the one without drafts, bit for bit. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { buildDatastore, vocabularyOf, type WordReader } from "../src/decode/speculative/datastore.ts";
import { METHOD_NAMES } from "../src/decode/speculative/methods.ts";
import { assemble, type AssembleOptions } from "../src/engine/assemble.ts";
import type { GenerateOptions, Llm } from "../src/engine/llm.ts";
import { createBackend } from "../src/engine/load.ts";
import { Random } from "./support/random.ts";
import { RECURRENT_HEADS, tinyHead } from "./support/tiny-heads.ts";
import { tinyModel } from "./support/tiny-models.ts";
import { Whimsical } from "./support/whimsical.ts";

const PROMPT = "One two three one two three one two three one";

const ANSWERS: Readonly<Record<string, GenerateOptions>> = {
  greedy: { temperature: 0 },
  "temperature 1": { temperature: 1 },
  "temperature 1.5 within top-p": { temperature: 1.5, topP: 0.9, topK: 50 },
  penalties: { temperature: 0.6, repetitionPenalty: 1.3, presencePenalty: 0.5, frequencyPenalty: 0.4 },
  "log-probabilities": { temperature: 0.7, logprobs: 5, promptLogprobs: 2 },
  "several answers": { temperature: 0.9, n: 3 },
  "logit bias": { temperature: 0, logitBias: { 40: 4, 41: 4, 42: 4 } },
  "a stop text": { temperature: 0.8, stop: ["e", "a"] },
  "a grammar": { temperature: 0.7, grammar: { regex: "([a-c ]{1,4},)*" } },
  "minimum length": { temperature: 0, minTokens: 12 },
};

const whimsical = new Whimsical(new Random(5));

const ENGINES: Readonly<Record<string, AssembleOptions>> = {
  "as it is": {},
  "prompts in chunks of 3": { stepTokens: 3 },
  "no prefix cache": { prefixCache: false },
  preemption: { policy: whimsical, maxSequences: 12 },
};

const METHODS = [...METHOD_NAMES, "ngram+suffix+rest+draft", "ngram+mtp+eagle3", "a prediction"];

async function open(options: AssembleOptions): Promise<Llm> {
  return assemble(tinyModel("llama", "F32", 7), await createBackend({ threads: 1 }), {
    context: 160,
    maxSequences: 4,
    ...options,
  });
}

function datastore(llm: Llm, texts: readonly (readonly number[])[]): WordReader {
  const { tokenizer } = llm;
  const vocabulary = vocabularyOf(tokenizer.vocabSize, (id) => tokenizer.tokenText(id));
  const parts = buildDatastore(
    texts.map((text) => Int32Array.from(text)),
    vocabulary,
  );
  const words = Int32Array.from(parts.flatMap((part) => [...part]));
  return { length: words.length, read: (first, count) => words.slice(first, first + count), close: () => undefined };
}

/** All answers at once, as text that shows every bit. */
async function answersOf(
  llm: Llm,
  more: (name: string) => GenerateOptions,
): Promise<{ told: string[]; drafted: number }> {
  let drafted = 0;
  const told = await Promise.all(
    Object.entries(ANSWERS).map(async ([name, options]) => {
      const { choices, promptLogprobs, timings } = await llm.generate(PROMPT, {
        maxTokens: 28,
        seed: 11,
        ...options,
        ...more(name),
      });
      drafted += timings.drafted;
      const all = choices.map(({ tokens, text, finishReason, logprobs }) => [tokens, text, finishReason, logprobs]);
      return `${name}: ${JSON.stringify([all, promptLogprobs])}`;
    }),
  );
  return { told, drafted };
}

test("every pair of a method and a feature gives the answer without drafts", { timeout: 300_000 }, async (t) => {
  const plain = await open({ speculation: "off" });
  const { told: expected } = await answersOf(plain, () => ({}));
  const known = new Map<string, readonly number[]>();
  for (const [name, options] of Object.entries(ANSWERS))
    known.set(name, (await plain.generate(PROMPT, { maxTokens: 28, seed: 11, ...options })).tokens);
  const texts = [...known.values()].map((tokens) => [...plain.tokenize(PROMPT), ...tokens]);
  for (const [engine, options] of Object.entries(ENGINES)) {
    const llm = await open({
      ...options,
      // About half of what four sequences take, nine tenths of it for the model and the heads that draft.
      kvBytes: 7 * plain.info.kvBytes,
      speculation: { drafter: METHOD_NAMES.join("+"), tree: 12 },
      drafting: [
        { artifact: tinyModel("llama", "F32", 7), depth: 3, minProbability: 1e-6 },
        { method: "skip", skip: [1], depth: 3, minProbability: 1e-6 },
        ...RECURRENT_HEADS.map((method, i) => ({
          artifact: tinyHead(method, 20 + i),
          method,
          depth: 3,
          minProbability: 1e-9,
          beam: 1 + i,
        })),
      ],
      datastore: datastore(plain, texts),
    });
    for (const method of METHODS) {
      await t.test(`${method}, ${engine}`, async () => {
        const isPredicted = method === "a prediction";
        const speculation = { drafter: isPredicted ? "ngram" : method, depth: 3 };
        const { told, drafted } = await answersOf(llm, (name) => ({
          speculation,
          ...(isPredicted && { prediction: known.get(name) ?? [] }),
        }));
        assert.deepEqual(told, expected);
        assert.ok(drafted > 0, "nothing was drafted");
        for (const { used } of llm.stats().blocks) assert.equal(used, 0);
      });
    }
    await llm.close();
  }
  assert.ok(whimsical.preempted > 0);
  await plain.close();
});
