/**
 * Buffer planning: which bytes of one arena a buffer takes, so that buffers whose lives don't overlap share them.
 * Time is counted in units between which all threads meet at a barrier; inside of a unit every buffer that it touches
 * is alive, because threads are at different places there.
 */
import { invariant } from "../../errors.ts";

export interface Buffer {
  readonly bytes: number;
  /** Units of time in which it is alive, both included. */
  first: number;
  last: number;
  /** Set by `plan`. */
  at: number;
}

const ALIGN = 64;

export class Arena {
  readonly #buffers: Buffer[] = [];

  allocate(bytes: number): Buffer {
    invariant(Number.isSafeInteger(bytes) && bytes > 0, `a buffer of ${bytes} bytes`);
    const buffer = { bytes: Math.ceil(bytes / ALIGN) * ALIGN, first: Infinity, last: -1, at: -1 };
    this.#buffers.push(buffer);
    return buffer;
  }

  /** The buffer is read or written at `time`. */
  static touch(buffer: Buffer, time: number): void {
    buffer.first = Math.min(buffer.first, time);
    buffer.last = Math.max(buffer.last, time);
  }

  /** Places all buffers, the largest first, each at the lowest free place. Returns the arena's size in bytes. */
  plan(): number {
    const placed: Buffer[] = [];
    let size = 0;
    for (const buffer of this.#buffers.toSorted((a, b) => b.bytes - a.bytes || a.first - b.first)) {
      const alive = placed
        .filter((other) => other.first <= buffer.last && buffer.first <= other.last)
        .sort((a, b) => a.at - b.at);
      let at = 0;
      for (const other of alive) {
        if (at + buffer.bytes <= other.at) break;
        at = Math.max(at, other.at + other.bytes);
      }
      buffer.at = at;
      placed.push(buffer);
      size = Math.max(size, at + buffer.bytes);
    }
    return size;
  }
}
