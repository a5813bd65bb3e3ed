/**
 * First come, first served, by priority: a request starts when the blocks that it may come to need are free, so nothing
 * is ever preempted; else it and all behind it wait. Whoever needs one row gets it before long prompts are continued, so
 * that a prompt slows others down, but never stops them; where there are more of them than a step holds, those that have
 * waited longest come first.
 */
import type { EngineRequest, Sequence } from "../request.ts";
import type { Policy, SchedulerView, Turn } from "./policy.ts";

export class FirstCome implements Policy {
  *admit({ waiting, running, memory }: SchedulerView): Iterable<Readonly<EngineRequest>> {
    const taken = memory.map((_, g) => running.reduce((sum, { need }) => sum + (need[g] ?? 0), 0));
    for (const request of waiting.toSorted((a, b) => (b.work.priority ?? 0) - (a.work.priority ?? 0))) {
      const fits = memory.every(({ size }, g) => (taken[g] ?? 0) + (request.need[g] ?? 0) <= size);
      if (!fits) return;
      for (const [g, blocks] of request.need.entries()) taken[g] = (taken[g] ?? 0) + blocks;
      yield request;
    }
  }

  *turns({ running }: SchedulerView): Iterable<Turn> {
    const pending = running.flatMap(({ sequences }) => sequences.filter((one) => one.state && one.pending > 0));
    const [single, long]: [Readonly<Sequence>[], Readonly<Sequence>[]] = [[], []];
    for (const sequence of pending) (sequence.pending === 1 ? single : long).push(sequence);
    single.sort((a, b) => a.lastStep - b.lastStep);
    for (const sequence of [...single, ...long]) yield { sequence, rows: sequence.pending };
  }

  victim(): undefined {
    return undefined;
  }
}
