/**
 * The default policy. Higher priorities first; then the tenant that has been given least (tenants.ts); of one tenant's
 * requests the one with the most tokens in memory (cache-aware.ts). Who runs gets on before anybody starts, and prompts are computed beside
 * answers in chunks that don't hold them up.
 */
import type { EngineRequest, Sequence } from "../request.ts";
import { type Admission, peak } from "./admission.ts";
import { CacheAware } from "./cache-aware.ts";
import { decodesFirst, type Policy, type SchedulerView, type Turn } from "./policy.ts";
import { costOf, tenantOf, Tenants } from "./tenants.ts";

export interface BalancedOptions {
  readonly admission?: Admission;
  /** Rows of prompts in a step in which answers go on. Default 64: such a step takes some three times one of answers alone. */
  readonly chunkTokens?: number | undefined;
}

export class Balanced implements Policy {
  readonly #admission: Admission;
  readonly #chunkTokens: number;
  readonly #tenants = new Tenants();
  readonly #order = new CacheAware();

  constructor({ admission = peak, chunkTokens = 64 }: BalancedOptions = {}) {
    this.#admission = admission;
    this.#chunkTokens = chunkTokens;
  }

  *admit(view: SchedulerView): Iterable<Readonly<EngineRequest>> {
    if (view.waiting.length === 0) return;
    this.#tenants.observe(view);
    this.#order.tick();
    let { seats } = view;
    const fits = this.#admission(view);
    const queues = queuesOf(view.waiting);
    const given = new Map([...queues.keys()].map((tenant) => [tenant, this.#tenants.given(tenant)]));
    const computing = view.running.filter(({ sequences }) => sequences.some((one) => one.state && one.pending > 1));
    while (queues.size > 0 && seats > 0) {
      const tenant = this.#nextTenant(queues, given);
      const queue = queues.get(tenant) ?? [];
      const request = this.#order.next(
        queue.filter((one) => priorityOf(one) === mostOf(queue)),
        view,
        computing,
      );
      if (request === undefined) {
        queues.delete(tenant);
        continue;
      }
      // Whoever doesn't fit is waited for: else a large one would never start.
      if (request.unfinished.length > seats || !fits(request)) return;
      this.#order.take(request, queue);
      if (queue.length === 0) queues.delete(tenant);
      given.set(tenant, (given.get(tenant) ?? 0) + costOf(request));
      seats -= request.unfinished.length;
      computing.push(request);
      yield request;
    }
  }

  turns(view: SchedulerView): Iterable<Turn> {
    return decodesFirst(view, this.#chunkTokens);
  }

  /** The one that started last, but nobody who started before the one that needs memory. */
  victim(
    { running }: SchedulerView,
    { request }: Readonly<Sequence>,
    candidates: readonly Readonly<EngineRequest>[],
  ): Readonly<EngineRequest> | undefined {
    const last = candidates.at(-1);
    const own = running.indexOf(request);
    if (last !== undefined && running.indexOf(last) > own) return last;
    // The oldest always gets on.
    return own > 0 ? request : undefined;
  }

  left(request: Readonly<EngineRequest>): void {
    this.#tenants.left(request);
  }

  /** The one with the request of the highest priority; among equals the one that was given least. */
  #nextTenant(
    queues: ReadonlyMap<string, readonly Readonly<EngineRequest>[]>,
    given: ReadonlyMap<string, number>,
  ): string {
    const standing = [...queues].map(([tenant, queue]) => ({ tenant, priority: mostOf(queue) }));
    standing.sort((a, b) => b.priority - a.priority || (given.get(a.tenant) ?? 0) - (given.get(b.tenant) ?? 0));
    return standing[0]?.tenant ?? "";
  }
}

function mostOf(queue: readonly Readonly<EngineRequest>[]): number {
  return Math.max(...queue.map(priorityOf));
}

function priorityOf({ work }: Readonly<EngineRequest>): number {
  return work.priority ?? 0;
}

function queuesOf(waiting: readonly Readonly<EngineRequest>[]): Map<string, Readonly<EngineRequest>[]> {
  const queues = new Map<string, Readonly<EngineRequest>[]>();
  for (const request of waiting) {
    const queue = queues.get(tenantOf(request));
    if (queue === undefined) queues.set(tenantOf(request), [request]);
    else queue.push(request);
  }
  return queues;
}
