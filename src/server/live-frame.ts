/** What the live view is told, a few times a second: numbers only, nobody's text and nobody's name. */
import { z } from "zod";

const Histogram = z.strictObject({ bounds: z.array(z.number()), counts: z.array(z.int()) });

const LiveModel = z.strictObject({
  name: z.string(),
  description: z.string(),
  running: z.int(),
  waiting: z.int(),
  max_sequences: z.int(),
  step_tokens: z.int().describe("the most tokens that one step computes"),
  kv_bytes: z.int(),
  steps: z
    .array(
      z.strictObject({ tokens: z.int(), samples: z.int(), sequences: z.int(), preempted: z.int(), ms: z.number() }),
    )
    .describe("those since the frame before"),
  totals: z.strictObject({
    steps: z.int(),
    prompt_tokens: z.int(),
    cached_tokens: z.int(),
    generated_tokens: z.int(),
    preemptions: z.int(),
    answers: z.int(),
  }),
  first_token: Histogram.describe("seconds"),
  inter_token: Histogram.describe("seconds"),
  blocks: z
    .array(z.string())
    .describe(
      "for each state group a letter a block: f free, c cached, p private, s shared; of large pools several blocks a letter",
    ),
  prefixes: z
    .array(z.tuple([z.int(), z.int(), z.boolean()]))
    .describe("runs of the prefix tree: parent, blocks, in use"),
});

export const LiveFrame = z
  .strictObject({ time: z.int().describe("milliseconds since 1970"), models: z.array(LiveModel) })
  .meta({ id: "LiveFrame" });
export type LiveFrame = z.infer<typeof LiveFrame>;
