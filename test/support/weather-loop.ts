/** The AI SDK's tool loop, whole and streamed, on any model of it: brook, forced by grammar, asks for the weather. */
import assert from "node:assert/strict";
import { generateText, isStepCount, type LanguageModel, streamText, tool } from "ai";
import type { z } from "zod";

type Settings = Parameters<typeof generateText>[0];

/** Gives the types of the stream's parts. */
export async function weatherLoop(
  model: LanguageModel,
  inputSchema: z.ZodType<{ city: string }>,
  providerOptions: NonNullable<Settings["providerOptions"]>,
): Promise<ReadonlySet<string>> {
  const asked: unknown[] = [];
  const weather = tool({
    description: "The weather of a city",
    inputSchema,
    execute: async (args) => {
      asked.push(args);
      return { sky: "clear" };
    },
  });
  const options = {
    model,
    tools: { weather },
    prompt: "What is the weather in Paris?",
    seed: 4,
    maxOutputTokens: 200,
    stopWhen: isStepCount(2),
    toolChoice: "required" as const,
    providerOptions,
  };
  const { steps } = await generateText(options);
  assert.equal(steps.length, 2);
  assert.equal(asked.length, 2);
  for (const args of asked) inputSchema.parse(args);
  asked.length = 0;
  const kinds = new Set<string>();
  for await (const part of streamText(options).fullStream) kinds.add(part.type);
  assert.ok(kinds.has("tool-call") && kinds.has("tool-result"), [...kinds].join());
  assert.equal(asked.length, 2);
  return kinds;
}
