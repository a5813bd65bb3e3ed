/**
 * Text that comes in pieces, read by code that is written as if it were all there: a reader is a generator that yields
 * undefined where it needs more text, and goes on when there is more.
 */
import { partialSuffix } from "../reasoning.ts";

export type Reading<Event, Result = void> = Generator<Event | undefined, Result, void>;

const SPACE = /\s/;

/** Text in, events out. */
export interface TextReader<Event> {
  push(text: string): Event[];
  /** No more text comes: everything held is due. */
  end(): Event[];
}

/** A reader at work on text as it comes. */
export function readerOf<Event>(read: (source: Source) => Reading<Event>): TextReader<Event> {
  const source = new Source();
  const reading = read(source);
  const drain = (): Event[] => {
    const events: Event[] = [];
    for (;;) {
      const { done, value } = reading.next();
      if (done === true || value === undefined) return events;
      events.push(value);
    }
  };
  return {
    push(text) {
      source.text += text;
      return drain();
    },
    end() {
      source.hasEnded = true;
      return drain();
    },
  };
}

export class Source {
  /** What has come and is not yet read; whether more may come. */
  text = "";
  hasEnded = false;
  #sinceMark = "";
  #hasRunOut = false;

  /** Reads `length` characters. */
  take(length: number): string {
    const taken = this.text.slice(0, length);
    this.text = this.text.slice(length);
    this.#sinceMark += taken;
    return taken;
  }

  mark(): void {
    this.#sinceMark = "";
    this.#hasRunOut = false;
  }

  /** More text was wanted since the mark than there is. */
  get hasRunOut(): boolean {
    return this.#hasRunOut;
  }

  /** What has been read since the mark. */
  get sinceMark(): string {
    return this.#sinceMark;
  }

  /** Waits until there are so many characters; false where the text ends before. */
  *has(length: number): Reading<never, boolean> {
    while (this.text.length < length) {
      this.#hasRunOut = this.hasEnded;
      if (this.hasEnded) return false;
      yield undefined;
    }
    return true;
  }

  /** Reads a literal, white space in either taken loosely; false, and nothing is read, where something else stands there. */
  *literal(text: string): Reading<never, boolean> {
    let at = 0;
    for (const char of text.replaceAll(/\s/g, "")) {
      for (;;) {
        if (!(yield* this.has(at + 1))) return false;
        if (!SPACE.test(this.text.charAt(at))) break;
        at += 1;
      }
      if (!(yield* this.has(at + char.length)) || !this.text.startsWith(char, at)) return false;
      at += char.length;
    }
    this.take(at);
    return true;
  }

  /** Reads exactly these characters, or nothing. */
  *exactly(text: string): Reading<never, boolean> {
    for (let length = 1; length <= text.length; length++) {
      if (!(yield* this.has(length)) || this.text.charAt(length - 1) !== text.charAt(length - 1)) return false;
    }
    this.take(text.length);
    return true;
  }

  /** Reads as long as characters match. */
  *while(pattern: RegExp): Reading<never, string> {
    let at = 0;
    while ((yield* this.has(at + 1)) && pattern.test(this.text.charAt(at))) at += 1;
    return this.take(at);
  }

  /** Reads up to a text; undefined, and nothing is read, where it never comes. */
  *upTo(text: string): Reading<never, string | undefined> {
    for (let from = 0; ;) {
      const at = this.text.indexOf(text, from);
      if (at >= 0) return this.take(at);
      if (this.hasEnded) return undefined;
      from = Math.max(0, this.text.length - text.length + 1);
      yield undefined;
    }
  }

  /** The same, and the text is read too. */
  *until(text: string): Reading<never, string | undefined> {
    const taken = yield* this.upTo(text);
    if (taken !== undefined) this.take(text.length);
    return taken;
  }

  /** Tells what comes before a text, as it comes; true where the text is met, which is read too. */
  *before(text: string): Reading<string, boolean> {
    for (;;) {
      const at = this.text.indexOf(text);
      const keep = at >= 0 || this.hasEnded ? 0 : partialSuffix(this.text, text);
      const said = this.take(at < 0 ? this.text.length - keep : at);
      if (said !== "") yield said;
      if (at >= 0) {
        this.take(text.length);
        return true;
      }
      if (!(yield* this.has(this.text.length + 1))) {
        if (this.text !== "") yield this.take(this.text.length);
        return false;
      }
    }
  }
}
