/**
 * Policies for real on the same arrivals as in the simulator: what a model of a step's cost leaves out shows as the difference
 * in throughput.
 */
import { openArtifact } from "../../src/artifact/node-open.ts";
import { createCpuBackend } from "../../src/backend/cpu/backend.ts";
import { assemble } from "../../src/engine/assemble.ts";
import type { Policy } from "../../src/engine/policies/policy.ts";
import type { Arrival } from "./traces.ts";

export interface RealShape {
  readonly model: string;
  readonly context: number;
  readonly sequences: number;
  /** Of 16 tokens. */
  readonly blocks: number;
  readonly stepTokens: number;
}

/** Tokens of answers per second, from the first arrival to the last answer's end. */
export async function runForReal(arrivals: readonly Arrival[], policy: Policy, shape: RealShape): Promise<number> {
  const { model, context, sequences, blocks, stepTokens } = shape;
  const probe = await assemble(await openArtifact(model), await createCpuBackend({}), { context, maxSequences: 1 });
  const tokenBytes = probe.info.kvBytes / probe.info.kvTokens;
  await probe.close();
  const llm = await assemble(await openArtifact(model), await createCpuBackend({}), {
    context,
    maxSequences: sequences,
    kvBytes: Math.ceil(blocks * 16 * tokenBytes),
    stepTokens,
    speculation: "off",
    policy,
  });
  const { vocabSize } = llm.info;
  const began = performance.now();
  const answers = arrivals.map(async ({ at, prompt, answer, tenant }) => {
    await new Promise((resolve) => setTimeout(resolve, 1000 * at));
    const ids = prompt.map((id) => id % vocabSize);
    const options = { maxTokens: answer, minTokens: answer, temperature: 0, tenant };
    return (await llm.generate(ids, options)).usage.completionTokens;
  });
  const tokens = (await Promise.all(answers)).reduce((sum, count) => sum + count, 0);
  const seconds = (performance.now() - began) / 1000;
  await llm.close();
  return tokens / seconds;
}
