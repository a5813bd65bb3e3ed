/**
 * EngineClient: how everything above the engine asks for work. In-process it is the Engine itself; a worker
 * thread or another Millrace over HTTP can stand behind it just as well, so work and events are plain data.
 */
import type { SampledToken, Score, Work } from "./request.ts";

export type WorkEvent =
  | { readonly type: "token"; readonly token: SampledToken }
  | { readonly type: "score"; readonly score: Score };

export interface WorkStream extends AsyncIterable<WorkEvent> {
  /** Ends one of the n answers: no more of its tokens come. */
  endAnswer(index: number): void;
}

export interface EngineClient {
  /**
   * Queues work at once and gives its events as they come, once. Leaving the iteration early, or `signal`, takes the
   * work out of the engine. Throws RequestError where it can never run, and the signal's reason when aborted.
   */
  submit(work: Work, signal?: AbortSignal): WorkStream;
  /** Ends all work and frees the memory. */
  close(): Promise<void>;
}
