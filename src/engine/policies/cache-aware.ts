/**
 * The order of a queue by what is in memory already (Zheng et al. 2024, SGLang's longest prefix first): the request with the
 * most such tokens goes first, as long as it doesn't overtake an older one too often; and nobody starts while another one
 * computes what both begin with, which is in memory soon.
 */
import type { EngineRequest } from "../request.ts";
import type { SchedulerView } from "./policy.ts";

/** How often a request may be overtaken, and how many of a queue are looked at. */
const MOST_OVERTAKEN = 16;
const LOOK_AHEAD = 64;
/** What two prompts must begin with alike, beyond what is in memory, for one to wait for the other. */
const WORTH_WAITING = 64;
/** For so many calls it is remembered what is in memory: a long queue is not looked up in every step. */
const FRESH_CALLS = 8;

export class CacheAware {
  readonly #overtaken = new WeakMap<Readonly<EngineRequest>, number>();
  readonly #cached = new WeakMap<Readonly<EngineRequest>, { readonly tokens: number; readonly call: number }>();
  #calls = 0;

  /** A step begins. */
  tick(): void {
    this.#calls += 1;
  }

  /** Who of a queue, in order of arrival, starts next; undefined: nobody now. */
  next(
    queue: readonly Readonly<EngineRequest>[],
    view: SchedulerView,
    computing: readonly Readonly<EngineRequest>[],
  ): Readonly<EngineRequest> | undefined {
    const candidates = queue.slice(0, LOOK_AHEAD);
    const [oldest] = candidates;
    if (oldest === undefined || (this.#overtaken.get(oldest) ?? 0) >= MOST_OVERTAKEN) return oldest;
    const ready = candidates.filter((request) => {
      const worth = this.#cachedOf(request, view) + WORTH_WAITING;
      return view.reusable(request) < worth || !computing.some((other) => common(request, other) >= worth);
    });
    return ready.toSorted((a, b) => this.#cachedOf(b, view) - this.#cachedOf(a, view))[0];
  }

  #cachedOf(request: Readonly<EngineRequest>, view: SchedulerView): number {
    const known = this.#cached.get(request);
    if (known !== undefined && this.#calls - known.call < FRESH_CALLS) return known.tokens;
    const tokens = view.cached(request);
    this.#cached.set(request, { tokens, call: this.#calls });
    return tokens;
  }

  /** It starts, and overtakes those before it. */
  take(request: Readonly<EngineRequest>, queue: Readonly<EngineRequest>[]): void {
    const place = queue.indexOf(request);
    for (const older of queue.slice(0, place)) this.#overtaken.set(older, (this.#overtaken.get(older) ?? 0) + 1);
    queue.splice(place, 1);
  }
}

/** Tokens that two prompts begin with alike, where they share memory. */
function common({ work: a }: Readonly<EngineRequest>, { work: b }: Readonly<EngineRequest>): number {
  if ((a.cacheSalt ?? "") !== (b.cacheSalt ?? "") || a.adapter !== b.adapter) return 0;
  let count = 0;
  while (count < a.prompt.length && a.prompt[count] === b.prompt[count]) count += 1;
  return count;
}
