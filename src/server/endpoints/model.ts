/** GET /v1/models/:model: one of them. */
import type { Endpoint } from "../endpoint.ts";
import { ModelCard, modelCard, unloadedCard } from "../model-card.ts";

export const model: Endpoint = {
  method: "GET",
  path: "/v1/models/:model",
  summary: "One model",
  answer: ModelCard,
  handle(call, service) {
    const name = call.params["model"] ?? "";
    const { unloaded, startedAt } = service;
    // To be looked at is no reason to be loaded.
    if (unloaded.includes(name)) return Response.json(unloadedCard(name, startedAt));
    return Response.json(modelCard(service.loaded(name), startedAt));
  },
};
