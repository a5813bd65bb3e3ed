/** Answers under a grammar: valid, and the same however they are batched, drafted and overlapped. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { GrammarSpec } from "../src/decode/grammar/spec.ts";
import { compileGrammar } from "../src/decode/grammar/compile.ts";
import { assemble, type AssembleOptions } from "../src/engine/assemble.ts";
import { createBackend, openReference } from "../src/engine/load.ts";
import type { Llm } from "../src/engine/llm.ts";
import { UnsupportedGrammarError } from "../src/errors.ts";
import { borrowed, openBackends } from "./support/backends.ts";
import { Random } from "./support/random.ts";
import { tinyModel } from "./support/tiny-models.ts";
import { Guesser, Whimsical } from "./support/whimsical.ts";

const backends = await openBackends();
after(async () => {
  for (const backend of backends) await backend.close();
});

const SPECS: readonly GrammarSpec[] = [
  { choice: ["yes", "no", "maybe not"] },
  { regex: "[a-z]{2,6}( [0-9]{1,3})?" },
  {
    schema: {
      type: "object",
      properties: { name: { enum: ["Ada", "Grace"] }, age: { type: "integer", minimum: 0, maximum: 120 } },
      required: ["name", "age"],
      additionalProperties: false,
    },
  },
];

for (const backend of backends) {
  const load = (options: AssembleOptions = {}): Promise<Llm> =>
    assemble(tinyModel("llama", "Q8_0", 7), borrowed(backend), { context: 128, maxSequences: 8, ...options });

  test(`${backend.name}: an answer satisfies its grammar, however it is computed`, async () => {
    await using plain = await load({ depth: 1, prefixCache: false });
    const jobs = SPECS.flatMap((grammar, g) =>
      [0, 1.5].map((temperature) => ({
        grammar,
        options: { grammar, temperature, maxTokens: 60, seed: 10 + g, n: temperature > 0 ? 3 : 1, logprobs: 2 },
      })),
    );
    const alone = [];
    for (const { options } of jobs) alone.push(await plain.generate([5, 6, 7], options));
    for (const [j, { choices }] of alone.entries()) {
      const grammar = jobs[j]?.grammar ?? { choice: [] };
      const compiled = compileGrammar(grammar);
      for (const { text, finishReason } of choices) {
        const what = `${JSON.stringify(grammar)}: ${text}`;
        // One that was cut can still become what it should.
        if (finishReason === "stop") assert.ok(compiled.accepts(text), what);
        else assert.ok(finishReason === "length" && compiled.advance(compiled.start, text) !== undefined, what);
      }
    }
    const { text: cut, finishReason } = await plain.generate([5], { grammar: { regex: "[a-z]{90}" }, maxTokens: 9 });
    assert.equal(finishReason, "length");
    assert.match(cut, /^[a-z]{1,89}$/);
    const finished = alone.flatMap(({ choices }) => choices).filter(({ finishReason }) => finishReason === "stop");
    assert.ok(finished.length >= 9, `${finished.length} of 12 answers finished`);
    const known = alone.flatMap(({ choices, promptTokens }) =>
      choices.map(({ tokens }) => [...promptTokens, ...tokens]),
    );
    const drafter = new Guesser(new Random(3), known, 512);
    for (const options of [{}, { stepTokens: 2, depth: 2 }, { drafter }] as const) {
      await using llm = await load(options);
      const free = llm.generate([9, 9], { maxTokens: 30, seed: 1, temperature: 1 });
      const together = await Promise.all(jobs.map((job) => llm.generate([5, 6, 7], job.options)));
      for (const [j, { choices }] of together.entries()) assert.deepEqual(choices, alone[j]?.choices, `job ${j}`);
      assert.deepEqual(
        (await free).tokens,
        (await plain.generate([9, 9], { maxTokens: 30, seed: 1, temperature: 1 })).tokens,
      );
      assert.equal(llm.stats().blocks[0]?.used, 0);
    }
    assert.ok(drafter.nodes > 50);
  });

  test(`${backend.name}: what can't be enforced is refused, and an answer that can't go on fails alone`, async () => {
    await using llm = await load();
    await assert.rejects(
      llm.generate([1], { schema: { type: "array", items: { type: "string" }, uniqueItems: true } }),
      UnsupportedGrammarError,
    );
    await assert.rejects(llm.generate([1], { grammar: { regex: "(?=a)b" } }), UnsupportedGrammarError);
    await assert.rejects(llm.generate([1], { grammar: { choice: ["a"] }, schema: {} }), /give one of them/);
    const fine = llm.generate([1], { maxTokens: 5, temperature: 0 });
    const bias = Object.fromEntries(Array.from({ length: 512 }, (_, id) => [id, -Infinity]));
    await assert.rejects(
      llm.generate([1], { grammar: { choice: ["a"] }, logitBias: bias }),
      /every token is forbidden/,
    );
    assert.equal((await fine).tokens.length, 5);
  });
}

const ORDER = {
  type: "object",
  properties: {
    customer_name: { enum: ["Ada", "Grace"] },
    shipping_address: {
      type: "object",
      properties: {
        street_number: { type: "integer", minimum: 1, maximum: 99 },
        postal_code: { type: "string", pattern: "^[0-9]{5}$" },
      },
      required: ["street_number", "postal_code"],
      additionalProperties: false,
    },
    is_priority: { type: "boolean" },
  },
  required: ["customer_name", "shipping_address", "is_priority"],
  additionalProperties: false,
};

test("forced text is drafted: the same answers in fewer steps, whatever else goes on", async () => {
  const messages = [
    { role: "user", content: `Make up an order. Answer in JSON by this schema: ${JSON.stringify(ORDER)}` },
  ] as const;
  const answers = async (
    options: AssembleOptions,
  ): Promise<{ choices: unknown[]; steps: number; preempted: number }> => {
    const backend = await createBackend({});
    await using llm = await assemble(await openReference(undefined), backend, { context: 1024, ...options });
    let preempted = 0;
    llm.watch((step) => (preempted += step.preempted));
    const jobs = [1, 3].flatMap((n) =>
      [0, 0.7, 1.5].map((temperature, seed) => {
        const repetitionPenalty = n === 1 ? 1 : 1.05;
        return { schema: ORDER, temperature, seed, n, maxTokens: 120, logprobs: 1, repetitionPenalty };
      }),
    );
    const choices = [];
    let steps = 0;
    for (const job of jobs) {
      const before = llm.stats().steps;
      choices.push((await llm.chat(messages, job)).choices);
      // Where answers share steps, they need not draft in the same ones.
      if (job.n === 1) steps += llm.stats().steps - before;
    }
    // And all at once, in memory for a few of them.
    const together = await Promise.all(jobs.map((job) => llm.chat(messages, job)));
    assert.deepEqual(
      together.map((one) => one.choices),
      choices,
    );
    // A step planned ahead for answers that have ended may still be running.
    for (let tries = 0; tries < 500 && llm.stats().blocks[0]?.used !== 0; tries++) await setTimeout(10);
    assert.equal(llm.stats().blocks[0]?.used, 0);
    return { choices, steps, preempted };
  };
  const plain = await answers({ maxDraft: 0 });
  const drafted = await answers({});
  assert.deepEqual(drafted.choices, plain.choices);
  assert.ok(drafted.steps <= 0.7 * plain.steps, `${drafted.steps} steps, ${plain.steps} without drafts`);
  // Where nothing else may be guessed there is room for chains alone.
  const chained = await answers({ speculation: "off" });
  assert.deepEqual(chained.choices, plain.choices);
  assert.ok(chained.steps <= 0.8 * plain.steps, `${chained.steps} steps of chains, ${plain.steps} without drafts`);
  const known = plain.choices.flatMap((one) => (one as { tokens: number[] }[]).map(({ tokens }) => tokens));
  const drafter = new Guesser(new Random(5), known, 2048);
  const policy = new Whimsical(new Random(6));
  const crowded = await answers({
    drafter,
    policy,
    maxDraft: 12,
    kvBytes: 6 * 2 ** 20,
    prefixCache: false,
    maxSequences: 6,
  });
  assert.deepEqual(crowded.choices, plain.choices);
  assert.ok(drafter.nodes > 50, `${drafter.nodes} nodes drafted behind forced text and beside it`);
  assert.ok(crowded.preempted > 0, "nobody lost its memory");
});
