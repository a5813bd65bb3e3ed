/** GET /v1/models: what is served. */
import { z } from "zod";

import type { Endpoint } from "../endpoint.ts";
import { ModelCard, modelCard, unloadedCard } from "../model-card.ts";

export const models: Endpoint = {
  method: "GET",
  path: "/v1/models",
  summary: "The models that are served",
  answer: z.strictObject({ object: z.literal("list"), data: z.array(ModelCard) }).meta({ id: "ModelList" }),
  handle(_call, service) {
    const { served, unloaded, startedAt } = service;
    const cards = served.map((model) => modelCard(model, startedAt));
    const data = [...cards, ...unloaded.map((name) => unloadedCard(name, startedAt))];
    return Response.json({ object: "list", data });
  },
};
