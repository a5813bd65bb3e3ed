/** A model as the lists of OpenAI's API show it. */
import { z } from "zod";

import type { ServedModel } from "./service.ts";

export const ModelCard = z
  .strictObject({
    id: z.string(),
    object: z.literal("model"),
    created: z.int(),
    owned_by: z.string(),
    loaded: z.boolean().describe("false: it will be when it is asked for; what it is, is not known before"),
    max_model_len: z.int().optional().describe("positions of prompt and answer together"),
    description: z.string().optional(),
    system_fingerprint: z.string().optional(),
    parent: z.string().optional().describe("the model that this is an adapter of"),
    chat: z.boolean().optional().describe("whether it can be given messages"),
  })
  .meta({ id: "Model" });

export function modelCard({ name, adapter, llm: { info } }: ServedModel, created: number): z.infer<typeof ModelCard> {
  return {
    id: name,
    object: "model",
    created,
    owned_by: "millrace",
    loaded: true,
    max_model_len: info.context,
    description: info.description,
    system_fingerprint: info.profile,
    ...(adapter !== undefined && { parent: name.slice(0, -adapter.length - 1) }),
    chat: info.hasChatTemplate,
  };
}

export function unloadedCard(name: string, created: number): z.infer<typeof ModelCard> {
  return { id: name, object: "model", created, owned_by: "millrace", loaded: false };
}
