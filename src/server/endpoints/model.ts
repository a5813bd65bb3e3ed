/** GET /v1/models/:model: one of them. */
import type { Endpoint } from "../endpoint.ts";
import { ModelCard, modelCard } from "../model-card.ts";

export const model: Endpoint = {
  method: "GET",
  path: "/v1/models/:model",
  summary: "One model",
  answer: ModelCard,
  handle(call, service) {
    return Response.json(modelCard(service.model(call.params["model"] ?? ""), service.startedAt));
  },
};
