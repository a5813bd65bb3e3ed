/**
 * The server over an engine that computes nothing: every few milliseconds each request gets a token, as from a step. What it
 * costs is HTTP's. Tells its parent the port, and for each message the processor time that its thread has used.
 */
import { builtinModelPath } from "../../src/artifact/node-builtin.ts";
import { openArtifact } from "../../src/artifact/node-open.ts";
import { createCpuBackend } from "../../src/backend/cpu/backend.ts";
import type { EngineClient, Work, WorkEvent } from "../../src/engine/client.ts";
import { createLlm } from "../../src/engine/front.ts";
import { assembleEngine } from "../../src/engine/loaded-engine.ts";
import { createServer } from "../../src/server/server.ts";

const STEP_MS = 5;

interface Request {
  readonly listen: (event: WorkEvent) => void;
  readonly most: number;
  tokens: number;
}

const requests = new Set<Request>();
const end = {
  type: "end",
  cachedTokens: 0,
  drafts: { steps: 0, drafted: 0, accepted: 0, predicted: { drafted: 0, accepted: 0 } },
} as const;

const real = await assembleEngine(
  await openArtifact(builtinModelPath("rill")),
  await createCpuBackend({ threads: 1 }),
  {
    maxSequences: 64,
    kvBytes: 64 * 2 ** 20,
  },
);

const client: EngineClient = {
  failure: undefined,
  submit({ generate }: Work, listen) {
    const request = { listen, most: generate?.maxTokens ?? 1, tokens: 0 };
    requests.add(request);
    return {
      endAnswer: () => undefined,
      cancel: (error) => {
        if (requests.delete(request)) listen({ ...end, error });
      },
    };
  },
  stats: () => real.client.stats(),
  memory: () => real.client.memory(),
  loadAdapter: (name, reference) => real.client.loadAdapter(name, reference),
  dropAdapter: (name) => real.client.dropAdapter(name),
  adapters: () => [],
  watch: () => () => undefined,
  pin: (prompt, salt) => real.client.pin(prompt, salt),
  close: () => real.client.close(),
};

setInterval(() => {
  for (const request of requests) {
    request.tokens += 1;
    const isLast = request.tokens === request.most;
    const tokens = [{ id: 1000 + (request.tokens % 500), logprob: -1, top: [] }];
    request.listen({ type: "tokens", answer: 0, tokens, ...(isLast && { finish: "length" as const }) });
    if (!isLast) continue;
    requests.delete(request);
    request.listen(end);
  }
}, STEP_MS);

const llm = createLlm({ ...real, client });
const server = createServer({ models: new Map([["model", llm]]) });
const port = await server.listen(0, "127.0.0.1");
process.on("disconnect", () => process.exit(0));
process.on("message", () => process.send?.({ cpu: process.cpuUsage() }));
process.send?.({ port });
