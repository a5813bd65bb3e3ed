/**
 * First come, first served, by priority: a request starts when the blocks that it may come to need are free, so nothing
 * is ever preempted; else it and all behind it wait.
 */
import type { EngineRequest } from "../request.ts";
import { reserve } from "./admission.ts";
import { decodesFirst, type Policy, type SchedulerView, type Turn } from "./policy.ts";

export class FirstCome implements Policy {
  *admit(view: SchedulerView): Iterable<Readonly<EngineRequest>> {
    const fits = reserve(view);
    for (const request of view.waiting.toSorted((a, b) => (b.work.priority ?? 0) - (a.work.priority ?? 0))) {
      if (!fits(request)) return;
      yield request;
    }
  }

  turns(view: SchedulerView): Iterable<Turn> {
    return decodesFirst(view);
  }

  victim(): undefined {
    return undefined;
  }
}
