/** One request on its way, as endpoints see it. */
import type { Fields } from "./log.ts";

export interface Call {
  readonly id: string;
  /** The name of the API key; "" where the server has none. */
  readonly key: string;
  readonly request: Request;
  readonly params: Readonly<Record<string, string>>;
  /** Aborted when the client hangs up, or `abort` is called. */
  readonly signal: AbortSignal;
  abort(reason: Error): void;
  /** Ends the connection, whatever of the answer is still to be written. */
  cut(): void;
  /** Fields for the log's line about it. */
  note(fields: Fields): void;
  /** The answer is a stream: whoever writes it calls `end`. */
  stream(): void;
  /** Called once when the answer is out, or never will be: its line is logged. */
  end(status: number, error?: unknown): void;
}
