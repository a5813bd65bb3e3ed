/** Nothing but the prompt's keys and values: what a pin needs. */
import type { Sequence, WorkKind } from "../request.ts";

export class Prefill implements WorkKind {
  skippable({ length }: Sequence): number {
    return length - 1;
  }

  outputs(): number {
    return 0;
  }

  ask(): undefined {
    return undefined;
  }
}
