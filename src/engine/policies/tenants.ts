/**
 * What each tenant has been given, in virtual tokens: one for a token of a prompt, two for a token of an answer (Sheng et
 * al. 2024, "Fairness in Serving Large Language Models"). Whoever has been given least comes first; a tenant that comes
 * anew begins where the one that has least of all stands, so that nobody saves up a claim by staying away.
 */
import type { EngineRequest } from "../request.ts";
import type { SchedulerView } from "./policy.ts";

const ANSWER_WEIGHT = 2;

export class Tenants {
  readonly #given = new Map<string, number>();
  /** Of running requests: what was counted already. */
  readonly #charged = new WeakMap<Readonly<EngineRequest>, number>();
  #active: ReadonlySet<string> = new Set();

  /** Counts what has been computed since, and takes in who has come and gone. */
  observe({ running, waiting }: SchedulerView): void {
    for (const request of running) this.#charge(request);
    const active = new Set([...running, ...waiting].map(tenantOf));
    const least = Math.min(...[...active].filter((one) => this.#active.has(one)).map((one) => this.given(one)));
    for (const tenant of active) {
      if (!this.#active.has(tenant)) this.#given.set(tenant, Math.max(this.given(tenant), finite(least)));
    }
    // Of the others only what they owe must be remembered.
    for (const [tenant, given] of this.#given) {
      if (!active.has(tenant) && given <= (active.size === 0 ? Infinity : finite(least))) this.#given.delete(tenant);
    }
    this.#active = active;
  }

  given(tenant: string): number {
    return this.#given.get(tenant) ?? 0;
  }

  left(request: Readonly<EngineRequest>): void {
    if (request.cachedTokens >= 0) this.#charge(request);
  }

  #charge(request: Readonly<EngineRequest>): void {
    const cost = costOf(request);
    const tenant = tenantOf(request);
    this.#given.set(tenant, this.given(tenant) + cost - (this.#charged.get(request) ?? 0));
    this.#charged.set(request, cost);
  }
}

export function tenantOf({ work }: Readonly<EngineRequest>): string {
  return work.tenant ?? "";
}

/** What a request costs so far, once it has started: its prompt, as far as it was not in memory, and its answers. */
export function costOf({ work, cachedTokens, sequences }: Readonly<EngineRequest>): number {
  const prompt = work.prompt.length - Math.max(0, cachedTokens);
  return sequences.reduce((sum, { length }) => sum + ANSWER_WEIGHT * (length - work.prompt.length), prompt);
}

function finite(value: number): number {
  return Number.isFinite(value) ? value : 0;
}
