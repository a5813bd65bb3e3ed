/** A stream of events for a call: what the endpoints that stream have in common. */
import type { Call } from "./call.ts";
import { eventStream, PING_MS } from "./event-stream.ts";
import { failureOf, GoneError } from "./failure.ts";
import type { Asked, Service } from "./service.ts";

/**
 * Answers with `frames`. What is wrong with a request is known at once, while the status can still say so; all later
 * failures are events.
 */
export async function answerWithStream(
  call: Call,
  service: Service,
  asked: readonly Asked[],
  frames: AsyncGenerator<string>,
  describe: (error: unknown) => string,
): Promise<Response> {
  await Promise.race([Promise.all(asked.map(({ result }) => result)), aMoment()]);
  call.stream();
  return eventStream(frames, {
    abort: (reason) => call.abort(reason),
    cut: () => call.cut(),
    describe,
    onEnd: (error) => call.end(endStatus(error), error),
    stallMs: service.stallMs,
    pingMs: PING_MS,
  });
}

function endStatus(error: unknown): number {
  if (error === undefined) return 200;
  return error instanceof GoneError ? 499 : failureOf(error).status;
}

function aMoment(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
