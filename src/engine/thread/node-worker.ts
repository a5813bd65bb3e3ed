/** The engine's thread: loads what its parent names, then serves the parent's front until it is told to close. */
import { parentPort, workerData } from "node:worker_threads";

import { invariant } from "../../errors.ts";
import { loadEngine } from "../load.ts";
import { errorData } from "./error-data.ts";
import { EngineHost } from "./host.ts";
import type { Loading, ThreadData } from "./node-thread.ts";
import type { Ask } from "./protocol.ts";

const port = parentPort;
invariant(port !== null, "the engine's thread has no parent");
const { reference, options } = workerData as ThreadData;
const abort = new AbortController();
const onAbort = (): void => abort.abort();
port.once("message", onAbort);
try {
  const { card, client, release } = await loadEngine(reference, {
    ...options,
    signal: abort.signal,
    onProgress: (event) => port.postMessage({ type: "progress", event } satisfies Loading),
  });
  port.off("message", onAbort);
  port.postMessage({ type: "ready", card, adapters: client.adapters() } satisfies Loading);
  const host = new EngineHost(client, (tell, transfer = []) => port.postMessage(tell, transfer), release);
  port.on("message", (asks: readonly Ask[]) => host.take(asks));
} catch (error) {
  port.postMessage({ type: "failed", error: errorData(error) } satisfies Loading);
}
