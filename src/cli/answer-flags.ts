/** From the flags of an answer to the engine's options, and the line of numbers after it. */
import type { ChatOptions, Generation } from "../engine/llm.ts";
import type { SAMPLING } from "./common-flags.ts";
import type { Values } from "./flags.ts";
import { formatSeconds } from "./progress.ts";

export function generateOptions(flags: Values<(typeof SAMPLING)["flags"]>): ChatOptions {
  const { temperature, seed, stop } = flags;
  const { "reasoning-budget": reasoningBudget } = flags;
  const { "max-tokens": maxTokens, "top-k": topK, "top-p": topP, "min-p": minP } = flags;
  return {
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(reasoningBudget === undefined ? {} : { reasoningBudget }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topK === undefined ? {} : { topK }),
    ...(topP === undefined ? {} : { topP }),
    ...(minP === undefined ? {} : { minP }),
    ...(seed === undefined ? {} : { seed }),
    ...(stop.length === 0 ? {} : { stop }),
  };
}

/** "prompt 12 tokens at 803.1 tokens/s, answer 64 tokens at 91.2 tokens/s (1.6 a step), first token after 21 ms, seed 7" */
export function answerNumbers(answer: Generation): string {
  const { usage, timings } = answer;
  const { promptTokensPerSecond: read, tokensPerSecond: write } = timings;
  const aStep = timings.accepted === 0 ? "" : ` (${timings.tokensPerStep.toFixed(1)} a step)`;
  return (
    `prompt ${usage.promptTokens} tokens at ${read.toFixed(1)} tokens/s, ` +
    `answer ${usage.completionTokens} tokens at ${write.toFixed(1)} tokens/s${aStep}, ` +
    `first token after ${formatSeconds(timings.firstTokenMs / 1000)}, seed ${answer.seed}`
  );
}

/** A seed as JSON can hold it: a number where that is exact. */
export function jsonSeed(seed: bigint): number | string {
  return seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : String(seed);
}
