/** /tokenize and /detokenize. */
import { z } from "zod";

import { ChatMessageBody } from "./chat.ts";
import { ModelName } from "./common.ts";

export const TokenizeRequest = z
  .strictObject({
    model: ModelName,
    prompt: z.string().optional(),
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
  .strictObject({ model: ModelName, tokens: z.array(z.int().min(0)) })
  .meta({ id: "DetokenizeRequest" });

export const Detokenized = z.strictObject({ prompt: z.string() }).meta({ id: "Detokenized" });
