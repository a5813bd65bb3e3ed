/** How a command ends when it doesn't succeed. `cli.ts` turns these into messages and exit codes. */

export const EXIT = { success: 0, failure: 1, usage: 2, interrupted: 130 } as const;

/** The command line is wrong. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Ctrl-C (or SIGTERM) ended the command. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";
  constructor() {
    super("interrupted");
  }
}
