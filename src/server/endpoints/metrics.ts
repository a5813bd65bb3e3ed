/**
 * GET /metrics: what is counted, in Prometheus' text form. Names that begin with vllm: mean what vLLM means by them, so that
 * its dashboards work; the rest is ours. Tokens are counted when their request ends.
 */
import process from "node:process";

import type { Endpoint } from "../endpoint.ts";
import type { ModelMetrics } from "../model-metrics.ts";
import { type Histogram, metric, sample } from "../prometheus.ts";
import type { ServedModel, Service } from "../service.ts";

export const metrics: Endpoint = {
  method: "GET",
  path: "/metrics",
  summary: "Counters and histograms for Prometheus",
  answer: "text/plain; version=0.0.4",
  handle(_call, service) {
    return new Response(render(service), { headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" } });
  },
};

function render(service: Service): string {
  const models = [...service.models.values()];
  const gauge = (name: string, help: string, of: (model: ServedModel) => number): string =>
    metric(
      name,
      "gauge",
      help,
      models.map((model) => sample(name, { model_name: model.name }, of(model))),
    );
  const counter = (name: string, help: string, of: (model: ServedModel) => number): string =>
    metric(
      name,
      "counter",
      help,
      models.map((model) => sample(name, { model_name: model.name }, of(model))),
    );
  const histogram = (name: string, help: string, of: (metrics: ModelMetrics) => Histogram): string =>
    metric(
      name,
      "histogram",
      help,
      models.flatMap((model) => of(model.metrics).lines(name, { model_name: model.name })),
    );
  return [
    gauge("vllm:num_requests_running", "Requests that are computed.", ({ llm }) => llm.stats().running),
    gauge("vllm:num_requests_waiting", "Requests that wait.", ({ llm }) => llm.stats().waiting),
    gauge("vllm:kv_cache_usage_perc", "The share of the KV cache that requests hold, 1 is all.", usedShare),
    counter(
      "vllm:prefix_cache_queries_total",
      "Tokens of prompts that were looked up.",
      ({ llm }) => llm.stats().promptTokens,
    ),
    counter(
      "vllm:prefix_cache_hits_total",
      "Tokens of prompts that were in memory.",
      ({ llm }) => llm.stats().cachedTokens,
    ),
    counter("vllm:num_preemptions_total", "Requests that lost their memory for a while.", (m) => m.metrics.preemptions),
    counter(
      "vllm:prompt_tokens_total",
      "Tokens of the prompts of requests that were answered.",
      (m) => m.metrics.promptTokens,
    ),
    counter("vllm:generation_tokens_total", "Tokens of all answers.", (m) => m.metrics.generationTokens),
    counter("vllm:spec_decode_num_draft_tokens_total", "Tokens that were guessed and verified.", ({ llm }) =>
      drafts(llm, "drafted"),
    ),
    counter("vllm:spec_decode_num_accepted_tokens_total", "Guessed tokens that were right.", ({ llm }) =>
      drafts(llm, "accepted"),
    ),
    metric(
      "vllm:request_success_total",
      "counter",
      "Answers by how they ended.",
      models.flatMap(({ name, metrics }) => metrics.ends.lines("vllm:request_success_total", { model_name: name })),
    ),
    histogram("vllm:time_to_first_token_seconds", "From a request to its first token.", (m) => m.timeToFirstToken),
    histogram("vllm:inter_token_latency_seconds", "From a token to the next.", (m) => m.interToken),
    histogram("vllm:e2e_request_latency_seconds", "From a request to the end of its answers.", (m) => m.requestSeconds),
    histogram("vllm:request_prompt_tokens", "Tokens of a prompt.", (m) => m.requestPromptTokens),
    histogram("vllm:request_generation_tokens", "Tokens of a request's answers.", (m) => m.requestGenerationTokens),
    histogram("vllm:iteration_tokens_total", "Tokens of a step.", (m) => m.stepTokens),
    histogram("millrace_step_seconds", "How long a step takes.", (m) => m.stepSeconds),
    counter("millrace_steps_total", "Steps of the engine.", ({ llm }) => llm.stats().steps),
    gauge("millrace_answers_inside", "Answers that are owed, waiting ones included.", ({ gate }) => gate.inside),
    counter(
      "millrace_swapped_out_total",
      "Blocks that gave way and were kept outside.",
      (m) => m.llm.stats().swap.saved,
    ),
    counter("millrace_swapped_in_total", "Blocks that came back.", (m) => m.llm.stats().swap.restored),
    gauge("millrace_swap_bytes", "Memory of blocks that are kept outside.", ({ llm }) => llm.stats().swap.bytes),
    metric("millrace_kv_blocks", "gauge", "KV blocks by state group and state.", models.flatMap(blockLines)),
    metric(
      "millrace_http_requests_total",
      "counter",
      "Requests by endpoint and status.",
      service.httpRequests.lines("millrace_http_requests_total"),
    ),
    metric("process_resident_memory_bytes", "gauge", "Resident memory.", [
      sample("process_resident_memory_bytes", {}, process.memoryUsage.rss()),
    ]),
  ].join("");
}

function drafts(llm: ServedModel["llm"], what: "drafted" | "accepted"): number {
  return llm.stats().drafts.reduce((sum, depth) => sum + depth[what], 0);
}

function usedShare({ llm }: ServedModel): number {
  return Math.max(0, ...llm.stats().blocks.map(({ used, size }) => (size > 0 ? used / size : 0)));
}

function blockLines({ name, llm }: ServedModel): string[] {
  return llm
    .stats()
    .blocks.flatMap(({ size, used, cached }, group) =>
      Object.entries({ used, cached, free: size - used - cached }).map(([state, count]) =>
        sample("millrace_kv_blocks", { model_name: name, group: String(group), state }, count),
      ),
    );
}
