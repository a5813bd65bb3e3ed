/**
 * A contender is a process that holds a model and measures on command, so that several can be measured in turn
 * within one run (the machine is shared: only numbers of the same minutes can be compared). Messages are JSON
 * over Node's IPC.
 */

/** What a contender can be asked: milliseconds come back. */
export type Task =
  /** `tokens` decode steps after a prompt of 16 tokens: ms for all steps. */
  | { readonly kind: "decode"; readonly tokens: number }
  /** A prompt of `tokens` tokens, until its first token is chosen. */
  | { readonly kind: "prefill"; readonly tokens: number }
  /** The same as decode, for several sequences at once: ms for all steps of all. */
  | { readonly kind: "batch"; readonly tokens: number; readonly sequences: number };

export interface Contender {
  readonly measure: (task: Task) => Promise<number>;
}

/** Ordinary token ids that every vocabulary of 30,000 or more has; different for different `salt`. */
export function promptIds(length: number, salt: number): number[] {
  return Array.from({ length }, (_, i) => 1000 + ((i * 7919 + salt * 104_729) % 28_000));
}

/** Answers tasks from the parent process until it hangs up. */
export function serve(make: () => Promise<Contender>): void {
  const contender = make();
  contender.then(
    () => process.send?.({ ready: true }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
  process.on("message", (task: Task) => {
    contender
      .then(({ measure }) => measure(task))
      .then(
        (ms) => process.send?.({ ms }),
        (error: unknown) => process.send?.({ error: String(error) }),
      );
  });
  process.on("disconnect", () => process.exit(0));
}
