/**
 * A progress line on stderr: a bar that is redrawn where a person sees it, a line now and then where a log does. It is
 * cleared when done, so that nothing of it stays between a prompt and its answer.
 */
import type { Terminal } from "./terminal.ts";

const REDRAW_MS = 100;
const LOG_MS = 10_000;
const BAR = 24;

export type Unit = "bytes" | "steps";

export class ProgressLine {
  readonly #terminal: Terminal;
  #last = -Infinity;
  #label = "";
  #started = 0;
  #drawn = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** `total` may be unknown. A new label begins a new bar. */
  update(label: string, done: number, total: number | undefined, unit: Unit): void {
    const now = performance.now();
    if (label !== this.#label) {
      this.#label = label;
      this.#started = now;
      // A log learns of work that lasts; a person sees the bar at once.
      this.#last = this.#terminal.notesAreSeen ? -Infinity : now;
    }
    if (now - this.#last < (this.#terminal.notesAreSeen ? REDRAW_MS : LOG_MS)) return;
    this.#last = now;
    const text = describe(label, done, total, unit, (now - this.#started) / 1000);
    if (this.#terminal.notesAreSeen) {
      this.#terminal.noteControl("\r\x1b[K");
      this.#terminal.noteText(text);
      this.#drawn = true;
    } else this.#terminal.note(text);
  }

  clear(): void {
    if (this.#drawn) this.#terminal.noteControl("\r\x1b[K");
    this.#drawn = false;
    this.#label = "";
  }
}

function describe(label: string, done: number, total: number | undefined, unit: Unit, seconds: number): string {
  const amount = (n: number): string => (unit === "bytes" ? formatBytes(n) : String(n));
  const speed = unit === "bytes" && seconds > 0.5 ? `, ${formatBytes(done / seconds)}/s` : "";
  if (total === undefined || total <= 0) return `${label} ${amount(done)}${speed}`;
  const share = Math.min(1, done / total);
  const left = share > 0 && seconds > 2 ? `, ${formatSeconds((seconds * (1 - share)) / share)} left` : "";
  const filled = Math.round(share * BAR);
  const bar = "█".repeat(filled) + "░".repeat(BAR - filled);
  return `${label} ${bar} ${Math.floor(share * 100)}% of ${amount(total)}${speed}${left}`;
}

export function formatBytes(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let u = 0;
  for (; value >= 1024 && u < units.length - 1; u++) value /= 1024;
  return `${u === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[u]}`;
}

export function formatSeconds(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
