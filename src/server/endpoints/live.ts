/** GET /live: the engine at work, as a stream of frames for the page's live view. */
import type { BlockState, StepRecord } from "../../engine/client.ts";
import type { Call } from "../call.ts";
import type { Endpoint } from "../endpoint.ts";
import { eventStream, frame, PING_MS } from "../event-stream.ts";
import { LiveFrame } from "../live-frame.ts";
import { openaiFailureEvent } from "../openai-error.ts";
import type { Histogram } from "../prometheus.ts";
import type { ServedModel, Service } from "../service.ts";

const FRAME_MS = 250;
/** Of one frame; more steps than that in a quarter of a second are shown in part. */
const MAX_STEPS = 200;
/** Letters of a pool. */
const MAX_CELLS = 4096;

export const live: Endpoint = {
  method: "GET",
  path: "/live",
  summary: "What the engine does, a few times a second: numbers only",
  answer: "text/event-stream",
  events: LiveFrame,
  handle(call, service) {
    call.stream();
    return eventStream(frames(call, service), {
      abort: (reason) => call.abort(reason),
      cut: () => call.cut(),
      describe: openaiFailureEvent,
      onEnd: (error) => call.end(error === undefined ? 200 : 499, error),
      stallMs: service.stallMs,
      pingMs: PING_MS,
    });
  },
};

async function* frames(call: Call, service: Service): AsyncGenerator<string> {
  const ended = AbortSignal.any([call.signal, service.closing]);
  const watched = new Map<ServedModel, { readonly steps: StepRecord[]; readonly unwatch: () => void }>();
  const stepsOf = (model: ServedModel): StepRecord[] => {
    const known = watched.get(model);
    if (known !== undefined) return known.steps.splice(0);
    const steps: StepRecord[] = [];
    const unwatch = model.llm.watch((record) => {
      if (steps.push(record) > MAX_STEPS) steps.shift();
    });
    watched.set(model, { steps, unwatch });
    return [];
  };
  try {
    while (!ended.aborted) {
      const served = [...service.models.values()].filter(({ llm }) => llm.failure === undefined);
      const models = await Promise.all(served.map((model) => liveModel(model, stepsOf(model))));
      yield frame({ time: Date.now(), models } satisfies LiveFrame);
      await pause(FRAME_MS, ended);
    }
  } finally {
    for (const { unwatch } of watched.values()) unwatch();
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}

async function liveModel(
  { name, llm, metrics }: ServedModel,
  steps: readonly StepRecord[],
): Promise<LiveFrame["models"][number]> {
  const { running, waiting, promptTokens, cachedTokens, steps: count } = llm.stats();
  const { description, maxSequences, stepTokens, kvBytes } = llm.info;
  const { groups, prefixes } = await llm.memory();
  return {
    name,
    description,
    running,
    waiting,
    max_sequences: maxSequences,
    step_tokens: stepTokens,
    kv_bytes: kvBytes,
    steps: steps.map(({ tokens, samples, sequences, preempted, ms }) => ({
      tokens,
      samples,
      sequences,
      preempted,
      ms,
    })),
    totals: {
      steps: count,
      prompt_tokens: promptTokens,
      cached_tokens: cachedTokens,
      generated_tokens: metrics.sampledTokens,
      preemptions: metrics.preemptions,
      answers: metrics.requestSeconds.count,
    },
    first_token: histogram(metrics.timeToFirstToken),
    inter_token: histogram(metrics.interToken),
    blocks: groups.map(letters),
    prefixes: prefixes.map(({ parent, blocks, inUse }) => [parent, blocks, inUse]),
  };
}

function histogram({ bounds, counts }: Histogram): LiveFrame["models"][number]["first_token"] {
  return { bounds: [...bounds], counts: [...counts] };
}

const LETTERS: Readonly<Record<BlockState, string>> = { free: "f", cached: "c", private: "p", shared: "s" };
const RANKS: readonly BlockState[] = ["free", "cached", "private", "shared"];

/** Several blocks to a letter where there are many: the busiest of them. */
export function letters(states: readonly BlockState[]): string {
  const each = Math.max(1, Math.ceil(states.length / MAX_CELLS));
  const cells: string[] = [];
  for (let i = 0; i < states.length; i += each) {
    const best = Math.max(...states.slice(i, i + each).map((state) => RANKS.indexOf(state)));
    cells.push(LETTERS[RANKS[best] ?? "free"]);
  }
  return cells.join("");
}
