/** What a policy sees of the scheduler: its queues, and how much memory there is and who has what of it. */
import { BLOCK_TOKENS } from "../backend/contract.ts";
import type { GroupMemory } from "../state/block-pool.ts";
import type { GroupView, SchedulerView } from "./policies/policy.ts";
import type { EngineRequest } from "./request.ts";
import type { Residents } from "./residents.ts";
import type { SchedulerOptions } from "./share.ts";

export class View implements SchedulerView {
  readonly waiting: readonly EngineRequest[];
  readonly running: readonly EngineRequest[];
  readonly stepTokens: number;
  readonly #residents: Residents;
  readonly #groups: readonly GroupMemory[];
  /** Blocks that a drafted tree may take beyond a sequence's tokens. */
  readonly #slack: number;

  constructor(
    waiting: readonly EngineRequest[],
    running: readonly EngineRequest[],
    residents: Residents,
    { groups, limits }: SchedulerOptions,
  ) {
    this.waiting = waiting;
    this.running = running;
    this.stepTokens = limits.stepTokens;
    this.#residents = residents;
    this.#groups = groups;
    this.#slack = Math.ceil(limits.treeSlots / BLOCK_TOKENS);
  }

  get memory(): readonly GroupView[] {
    const { pinned } = this.#residents.prefixes;
    return this.#groups.map(({ group, pool: { size, free } }, g) => {
      const grows = group.window === undefined && group.kind !== "recurrent";
      return { size: size - (pinned[g] ?? 0), free, grows, slack: this.#slack };
    });
  }

  get seats(): number {
    return this.#residents.seats;
  }

  reusable(request: EngineRequest): number {
    return this.#residents.prefixes.reusable(request);
  }

  cached(request: EngineRequest): number {
    return this.#residents.prefixes.cached(request);
  }
}
