/** Memory that gave way and came back holds the same bits: answers and log-probabilities are those of an engine with room for all. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createCpuBackend } from "../src/backend/cpu/backend.ts";
import { assemble, type AssembleOptions } from "../src/engine/assemble.ts";
import type { ModelArtifact } from "../src/artifact/artifact.ts";
import { tinyModel } from "./support/tiny-models.ts";
import { tinyRecurrent } from "./support/tiny-recurrent.ts";

const PROMPTS = [1, 2, 3, 1, 2, 3, 1].map((salt) => Array.from({ length: 150 }, (_, i) => 3 + ((i * salt * 7) % 200)));

async function answers(
  artifact: ModelArtifact,
  options: AssembleOptions,
): Promise<{ readonly told: unknown[]; readonly restored: number; readonly cached: number }> {
  await using llm = await assemble(artifact, await createCpuBackend({ threads: 1 }), {
    context: 256,
    maxSequences: 2,
    speculation: "off",
    ...options,
  });
  const told: unknown[] = [];
  for (const prompt of PROMPTS) {
    const { tokens, logprobs } = await llm.generate(prompt, { maxTokens: 8, temperature: 1, seed: 4, logprobs: 5 });
    told.push({ tokens, logprobs });
  }
  const { swap, cachedTokens } = llm.stats();
  return { told, restored: swap.restored, cached: cachedTokens };
}

for (const [name, make] of [
  ["attention", () => tinyModel("llama", "Q8_0", 7)],
  ["windows", () => tinyModel("gemma3", "F32", 7)],
  ["recurrent state", () => tinyRecurrent("lfm2", "F32", 7)],
] as const) {
  test(`what came back is what gave way: ${name}`, async () => {
    const roomy = await answers(make(), { kvBytes: 64 * 2 ** 20, prefixCache: false });
    const least = await leastBytes(make());
    const swapped = await answers(make(), { kvBytes: least, swapBytes: 2 ** 26, swapSeconds: 0 });
    assert.deepEqual(swapped.told, roomy.told);
    assert.ok(swapped.restored > 0, "nothing came back");
    assert.ok(swapped.cached > 4 * 64, `${swapped.cached} tokens were found`);
    const little = await answers(make(), { kvBytes: least, swapBytes: 2 ** 14, swapSeconds: 0 });
    assert.deepEqual(little.told, roomy.told);
  });
}

/** Memory for one sequence of full length and a little more. */
async function leastBytes(artifact: ModelArtifact): Promise<number> {
  const llm = await assemble(artifact, await createCpuBackend({ threads: 1 }), { context: 256, maxSequences: 2 });
  const { kvBytes } = llm.info;
  await llm.close();
  return Math.ceil(0.3 * kvBytes);
}
