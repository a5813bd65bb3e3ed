/** A model that drafts for another one, through every room: the answers are those without it, in fewer steps. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assemble, type AssembleOptions } from "../src/engine/assemble.ts";
import { createBackend } from "../src/engine/load.ts";
import type { Llm } from "../src/engine/llm.ts";
import { tinyModel } from "./support/tiny-models.ts";

async function load(options: AssembleOptions = {}): Promise<Llm> {
  return assemble(tinyModel("llama", "F32", 7), await createBackend({ threads: 1 }), { context: 128, ...options });
}

/** Tokens of some answers, and the steps that the model that answers took for them. */
async function answersOf(llm: Llm): Promise<{ tokens: number[][]; steps: number; drafting: number }> {
  let [steps, drafting] = [0, 0];
  const stop = llm.watch(({ program }) => (program === 0 ? (steps += 1) : (drafting += 1)));
  const tokens: number[][] = [];
  for (const options of [
    { temperature: 0 },
    { temperature: 0.9, n: 3 },
    { temperature: 1.2, topP: 0.9, repetitionPenalty: 1.2, frequencyPenalty: 0.5 },
    { temperature: 0.7, grammar: { regex: "[a-z ]*" } },
  ]) {
    const { choices } = await llm.generate("Once upon a time there was", { maxTokens: 24, seed: 3, ...options });
    for (const choice of choices) tokens.push([...choice.tokens]);
  }
  stop();
  return { tokens, steps, drafting };
}

test("a model of the same tokens drafts: equal answers, fewer steps", async () => {
  await using plain = await load();
  const expected = await answersOf(plain);
  assert.equal(expected.drafting, 0);
  for (const seed of [7, 8]) {
    // A twin guesses all; a stranger of the same shape next to nothing.
    const artifact = tinyModel("llama", "F32", seed);
    await using llm = await load({ drafting: [{ artifact, depth: 4, minProbability: 1e-6 }] });
    const found = await answersOf(llm);
    assert.deepEqual(found.tokens, expected.tokens);
    assert.ok(found.drafting > 20);
    if (seed === 7) assert.ok(found.steps < 0.6 * expected.steps, `${found.steps} of ${expected.steps} steps`);
    else assert.ok(found.steps <= expected.steps);
    for (const { used } of llm.stats().blocks) assert.equal(used, 0);
  }
});

test("two drafting models make one tree", async () => {
  await using plain = await load();
  const expected = await answersOf(plain);
  const drafting = [7, 8].map((seed) => ({
    artifact: tinyModel("llama", "F32", seed),
    depth: seed - 4,
    minProbability: 1e-6,
  }));
  await using llm = await load({ drafting });
  const found = await answersOf(llm);
  assert.deepEqual(found.tokens, expected.tokens);
  assert.ok(found.steps < 0.6 * expected.steps, `${found.steps} of ${expected.steps} steps`);
});

test("a model that can't draft is refused with the reason", async () => {
  const other = tinyModel("gemma3", "F32", 7);
  await assert.rejects(load({ drafting: [{ artifact: other }] }), /can't draft/);
});
