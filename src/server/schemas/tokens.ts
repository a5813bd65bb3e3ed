/** /tokenize and /detokenize. */
import { z } from "zod";

import { ChatMessageBody } from "./chat.ts";
import { ModelName } from "./common.ts";

/** Characters of a text, and token ids: the time that more would take is others' too. */
const MOST = 2 ** 20;

export const TokenizeRequest = z
  .strictObject({
    model: ModelName,
    prompt: z.string().max(MOST).optional(),
    messages: z
      .array(ChatMessageBody)
      .min(1)
      .optional()
      .describe("instead of prompt: what the chat template makes of them"),
    add_special_tokens: z
      .boolean()
      .nullish()
      .describe("with prompt: put the model's BOS token before it; default true"),
  })
  .refine(({ prompt, messages }) => (prompt === undefined) !== (messages === undefined), {
    error: "either prompt or messages is needed",
  })
  .meta({ id: "TokenizeRequest" });

export const Tokenized = z
  .strictObject({ count: z.int(), max_model_len: z.int(), tokens: z.array(z.int()) })
  .meta({ id: "Tokenized" });

export const DetokenizeRequest = z
  .strictObject({ model: ModelName, tokens: z.array(z.int().min(0)).max(MOST) })
  .meta({ id: "DetokenizeRequest" });

export const Detokenized = z.strictObject({ prompt: z.string() }).meta({ id: "Detokenized" });
