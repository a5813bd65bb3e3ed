/** Loads a model whose engine stands in a worker thread of Node's, and whose front stands here. */
import type { Worker } from "node:worker_threads";

import { MillraceError } from "../../errors.ts";
import type { AdapterInfo } from "../adapters.ts";
import { createLlm } from "../front.ts";
import type { Llm } from "../llm.ts";
import type { ModelCard } from "../model-card.ts";
import type { LoadEvent, LoadOptions } from "../options.ts";
import { errorOf, type ErrorData } from "./error-data.ts";
import type { Tell } from "./protocol.ts";
import { RemoteEngine } from "./remote-engine.ts";
import { startThread } from "./node-start.ts";
import { TextThread } from "./node-text-thread.ts";

/** What the thread begins with. */
export interface ThreadData {
  readonly reference: string | undefined;
  readonly options: Omit<LoadOptions, "onProgress" | "signal">;
}

/** What it says until the engine is there. */
export type Loading =
  | { readonly type: "progress"; readonly event: LoadEvent }
  | { readonly type: "ready"; readonly card: ModelCard; readonly adapters: readonly AdapterInfo[] }
  | { readonly type: "failed"; readonly error: ErrorData };

/** As `load` does, which calls it. Any message to the thread before it is ready ends the loading. */
export async function loadInThread(
  reference: string | undefined,
  { onProgress, signal, ...options }: LoadOptions,
): Promise<Llm> {
  signal?.throwIfAborted();
  const workerData: ThreadData = { reference, options };
  const worker = startThread("node-worker", "millrace engine", workerData);
  const onAbort = (): void => worker.postMessage("abort");
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const { card, adapters } = await untilReady(worker, onProgress);
    const client = connectThread(worker, adapters);
    const longTexts = new TextThread(card.tokenizer);
    const release = async (): Promise<void> => {
      await longTexts.close();
      await worker.terminate();
    };
    return createLlm({ card, client, longTexts, release });
  } catch (error) {
    await worker.terminate();
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

function untilReady(
  worker: Worker,
  onProgress: LoadOptions["onProgress"],
): Promise<Extract<Loading, { readonly type: "ready" }>> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      worker.off("message", take).off("error", reject).off("exit", onExit);
    };
    const onExit = (code: number): void => reject(ended(`ended with exit code ${code} while it loaded the model`));
    const take = (message: Loading): void => {
      if (message.type === "progress") {
        onProgress?.(message.event);
        return;
      }
      stop();
      if (message.type === "ready") resolve(message);
      else reject(errorOf(message.error));
    };
    worker.on("message", take).on("error", reject).on("exit", onExit);
  });
}

/** The client of an engine whose host stands in a worker. */
export function connectThread(worker: Worker, adapters: readonly AdapterInfo[]): RemoteEngine {
  let isHeld = true;
  const hold = (isWaitedFor: boolean): void => {
    if (isWaitedFor === isHeld) return;
    isHeld = isWaitedFor;
    if (isWaitedFor) worker.ref();
    else worker.unref();
  };
  const engine = new RemoteEngine({ post: (asks) => worker.postMessage(asks), hold }, adapters);
  worker.on("message", (tell: Tell) => engine.take(tell));
  worker.on("messageerror", (error) => engine.fail(ended(`sent what can't be read: ${error.message}`, error)));
  worker.on("error", (error) => engine.fail(ended(`failed: ${String(error)}`, error)));
  worker.on("exit", (code) => engine.fail(ended(`ended with exit code ${code}`)));
  hold(false);
  return engine;
}

function ended(how: string, cause?: unknown): MillraceError {
  return new MillraceError("ERR_ENGINE", `the engine's thread ${how}; load the model again`, { cause });
}
