/**
 * A server of one model in a process of its own, with what the command line has no flag for: policies of bench/policies, and
 * no prefix cache. Its setting comes as JSON; it tells its parent the port.
 */
import { createCpuBackend } from "../../src/backend/cpu/backend.ts";
import { openArtifact } from "../../src/artifact/node-open.ts";
import { assemble } from "../../src/engine/assemble.ts";
import type { Llm } from "../../src/engine/llm.ts";
import { load } from "../../src/engine/load.ts";
import type { AdmissionName } from "../../src/engine/policies/admission.ts";
import { Balanced } from "../../src/engine/policies/balanced.ts";
import { FirstCome } from "../../src/engine/policies/first-come.ts";
import type { Policy } from "../../src/engine/policies/policy.ts";
import { createServer } from "../../src/server/server.ts";
import { PrefillFirst, StaticBatch } from "../policies/experiments.ts";

export const HOST_POLICIES = ["default", "balanced", "first come", "static", "prefill first"] as const;

export interface HostSetting {
  readonly model: string;
  readonly threads?: number;
  readonly context: number;
  readonly maxSequences: number;
  readonly kvBytes?: number;
  readonly stepTokens?: number;
  readonly chunkTokens?: number;
  readonly prefixCache?: boolean;
  readonly admission?: AdmissionName;
  /** Default: the engine in a thread of its own, as `millrace serve` has it. Policies other than the default run in process. */
  readonly inProcess?: boolean;
  readonly policy?: (typeof HOST_POLICIES)[number];
  readonly maxQueue?: number;
  readonly keys?: readonly { readonly name: string; readonly key: string }[];
  readonly stallMs?: number;
}

const setting = JSON.parse(process.argv[2] ?? "{}") as HostSetting;

function policyOf({ policy = "default", chunkTokens }: HostSetting): Policy {
  switch (policy) {
    case "static":
      return new StaticBatch();
    case "first come":
      return new FirstCome();
    case "prefill first":
      return new PrefillFirst();
    case "default":
    case "balanced":
      return new Balanced({ chunkTokens });
    default:
      return policy satisfies never;
  }
}

async function open(): Promise<Llm> {
  const { model, threads, policy = "default", inProcess = false, maxQueue: _queue, keys: _keys, ...engine } = setting;
  // Drafts would flatter: prompts of random tokens are answered by loops.
  const options = { ...engine, speculation: "off" } as const;
  if (policy === "default") return load(model, { ...options, threads, thread: !inProcess });
  return assemble(await openArtifact(model), await createCpuBackend({ threads }), {
    ...options,
    policy: policyOf(setting),
  });
}

const llm = await open();
const { maxQueue = 100_000, keys = [], stallMs = 60_000 } = setting;
const server = createServer({ models: new Map([["model", llm]]), maxQueue, apiKeys: keys, stallMs });
const port = await server.listen(0, "127.0.0.1");
process.on("disconnect", () => process.exit(0));
process.on("message", () => {
  // With --expose-gc: what is counted is in use.
  globalThis.gc?.();
  process.send?.({ memory: process.memoryUsage() });
});
process.send?.({ port, info: llm.info });
