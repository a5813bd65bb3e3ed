/**
 * Server-sent events, pulled by the reader: what it doesn't take is not made, and waits at most as the rest of an answer,
 * which the context bounds. Comments keep an idle connection open; a reader that takes nothing for too long is cut off. A
 * failure in mid-stream is an event, in the API's own form.
 */
import { GoneError } from "./failure.ts";

export interface EventStreamOptions {
  /** Ends the work behind the events. */
  readonly abort: (reason: Error) => void;
  /** Ends the connection. */
  readonly cut: () => void;
  /** A failure as the last events. */
  readonly describe: (error: unknown) => string;
  /** Called once, with the failure where there was one. */
  readonly onEnd: (error?: unknown) => void;
  readonly headers?: Readonly<Record<string, string>>;
  readonly stallMs: number;
  readonly pingMs: number;
}

/** One event. Data of several lines isn't needed: it is always JSON. */
export function frame(data: unknown, event?: string): string {
  const text = typeof data === "string" ? data : JSON.stringify(data);
  return event === undefined ? `data: ${text}\n\n` : `event: ${event}\ndata: ${text}\n\n`;
}

/** How often a connection on which nothing comes is kept open. */
export const PING_MS = 15_000;
const PING = ": ping\n\n";

export function eventStream(frames: AsyncIterator<string>, options: EventStreamOptions): Response {
  const { abort, cut, describe, onEnd, stallMs, pingMs } = options;
  const utf8 = new TextEncoder();
  let ended = false;
  let stall: NodeJS.Timeout | undefined;
  /** Asked for, and not yet here when a ping was due. */
  let pending: Promise<IteratorResult<string> | { readonly error: unknown }> | undefined;

  const end = (error?: unknown): void => {
    if (ended) return;
    ended = true;
    clearTimeout(stall);
    onEnd(error);
  };

  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        clearTimeout(stall);
        pending ??= frames.next().catch((error: unknown) => ({ error }));
        const next = await orAfter(pingMs, pending);
        if (ended) return;
        if (next === undefined) controller.enqueue(utf8.encode(PING));
        else {
          pending = undefined;
          if ("error" in next) controller.enqueue(utf8.encode(describe(next.error)));
          else if (next.done !== true) controller.enqueue(utf8.encode(next.value));
          if ("error" in next || next.done === true) {
            controller.close();
            end("error" in next ? next.error : undefined);
            return;
          }
        }
        stall = setTimeout(() => {
          const error = new GoneError(`the client read nothing for ${stallMs} ms`);
          abort(error);
          end(error);
          cut();
        }, stallMs);
      },
      cancel() {
        const error = new GoneError("the client hung up");
        abort(error);
        end(error);
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, {
    headers: { ...options.headers, "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" },
  });
}

/** What a promise gives, or undefined after `ms`. */
async function orAfter<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
