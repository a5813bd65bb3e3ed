/** A model whose halves talk as over a thread border, within one thread: every message is cloned, and comes a turn later. */
import type { ModelArtifact } from "../../src/artifact/artifact.ts";
import type { Backend } from "../../src/backend/contract.ts";
import { createLlm } from "../../src/engine/front.ts";
import type { Llm } from "../../src/engine/llm.ts";
import { assembleEngine, type LoadEngineOptions } from "../../src/engine/loaded-engine.ts";
import { EngineHost } from "../../src/engine/thread/host.ts";
import { RemoteEngine } from "../../src/engine/thread/remote-engine.ts";

export interface Loopback {
  readonly llm: Llm;
  readonly client: RemoteEngine;
  /** How many messages came from the engine. */
  readonly told: () => number;
}

export async function loopback(
  artifact: ModelArtifact,
  backend: Backend,
  options: LoadEngineOptions = {},
): Promise<Loopback> {
  const { client: engine, card, release } = await assembleEngine(artifact, backend, options);
  let told = 0;
  const client: RemoteEngine = new RemoteEngine(
    {
      post: (list) => {
        const copy = structuredClone(list);
        setImmediate(() => host.take(copy));
      },
      hold: () => undefined,
    },
    engine.adapters(),
  );
  const host = new EngineHost(
    engine,
    (tell, transfer = []) => {
      const copy = structuredClone(tell, { transfer });
      told += 1;
      setImmediate(() => client.take(copy));
    },
    release,
  );
  const llm = createLlm({ card: structuredClone(card), client, release: () => Promise.resolve() });
  return { llm, client, told: () => told };
}
