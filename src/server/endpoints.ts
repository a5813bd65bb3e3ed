/** All endpoints. A new one is a file in endpoints/ and a line here. */
import type { Endpoint } from "./endpoint.ts";
import { chatCompletions } from "./endpoints/chat-completions.ts";
import { completions } from "./endpoints/completions.ts";
import { countTokens } from "./endpoints/count-tokens.ts";
import { detokenize } from "./endpoints/detokenize.ts";
import { embeddings } from "./endpoints/embeddings.ts";
import { live, ready } from "./endpoints/health.ts";
import { live as liveView } from "./endpoints/live.ts";
import { messages } from "./endpoints/messages.ts";
import { metrics } from "./endpoints/metrics.ts";
import { model } from "./endpoints/model.ts";
import { models } from "./endpoints/models.ts";
import { openapi } from "./endpoints/openapi.ts";
import { page, pagePart } from "./endpoints/page.ts";
import { responses } from "./endpoints/responses.ts";
import { deleteResponse, storedResponse } from "./endpoints/stored-responses.ts";
import { rerank } from "./endpoints/rerank.ts";
import { tokenize } from "./endpoints/tokenize.ts";

const API: readonly Endpoint[] = [
  ready,
  live,
  models,
  model,
  chatCompletions,
  completions,
  responses,
  storedResponse,
  deleteResponse,
  messages,
  countTokens,
  embeddings,
  rerank,
  tokenize,
  detokenize,
  metrics,
  liveView,
  page,
  pagePart,
];

export const ENDPOINTS: readonly Endpoint[] = [...API, openapi(API)];
