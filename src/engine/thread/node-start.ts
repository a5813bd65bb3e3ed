/** Starts a thread from a file of this folder. */
import { Worker } from "node:worker_threads";

/** `file` without its ending: from source it is TypeScript, as published JavaScript. */
export function startThread(file: string, name: string, workerData: unknown): Worker {
  const ending = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new Worker(new URL(`${file}.${ending}`, import.meta.url), { workerData, name });
}
