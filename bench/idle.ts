/**
 * `npm run bench -- idle [MODEL] [--rounds=N]`: the share of wall time in which the thread team had nothing to run while
 * sequences decode, counted natively between the steps, with 1 and 2 threads and 1 and 16 sequences. What is left of a
 * step's way through JavaScript shows here.
 */
import path from "node:path";
import { parseArgs } from "node:util";
import { openArtifact } from "../src/artifact/node-open.ts";
import { createCpuBackend } from "../src/backend/cpu/backend.ts";
import { assemble } from "../src/engine/assemble.ts";
import { promptIds } from "./contenders/protocol.ts";

const TOKENS = 64;

export async function benchIdle(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { rounds: { type: "string", default: "5" } },
    allowPositionals: true,
  });
  const model = positionals[0] ?? path.join(import.meta.dirname, "../../shared/models/smollm2-135m-instruct-q4_1.gguf");
  for (const threads of [1, 2]) {
    const backend = await createCpuBackend({ threads });
    const llm = await assemble(await openArtifact(model), backend, { context: 512, maxSequences: 16 });
    for (const sequences of [1, 16]) {
      const shares: number[] = [];
      let tokensPerSecond = 0;
      for (let round = -1; round < Number(values.rounds); round++) {
        const started = performance.now();
        const idle = backend.idleSeconds();
        const options = { maxTokens: TOKENS, minTokens: TOKENS, temperature: 0 };
        await Promise.all(
          Array.from({ length: sequences }, (_, i) => llm.generate(promptIds(16, 100 * (round + 1) + i), options)),
        );
        const seconds = (performance.now() - started) / 1000;
        // The first round warms up.
        if (round >= 0) shares.push((backend.idleSeconds() - idle) / seconds);
        tokensPerSecond = (sequences * TOKENS) / seconds;
      }
      const share = shares.toSorted((a, b) => a - b)[Math.floor(shares.length / 2)] ?? NaN;
      const speed = tokensPerSecond.toFixed(0);
      console.log(`${threads} threads, ${sequences} sequences: idle ${(100 * share).toFixed(2)} % (${speed} tokens/s)`);
    }
    await llm.close();
  }
}
