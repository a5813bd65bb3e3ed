/**
 * A text that remembers where each of its characters comes from. A prompt is put together from the template's own
 * words and from messages; only the former may name control tokens, however the two were cut and joined on the way.
 * What an origin is allowed to do is said in token-trust.ts.
 */

/** In falling order of trust: the model's own template, an assistant's message, anything else that was handed in. */
export type Origin = "template" | "assistant" | "content";

const RANK: Readonly<Record<Origin, number>> = { template: 0, assistant: 1, content: 2 };

/** Text of one origin. */
export interface TextSegment {
  readonly text: string;
  readonly origin: Origin;
}

interface Run {
  readonly end: number;
  readonly origin: Origin;
}

export class MarkedText {
  readonly value: string;
  /** Not empty ones, in order, neighbours of different origin; the last ends where the text does. */
  readonly #runs: readonly Run[];

  private constructor(value: string, runs: readonly Run[]) {
    this.value = value;
    this.#runs = runs;
  }

  static of(value: string, origin: Origin): MarkedText {
    return new MarkedText(value, value === "" ? [] : [{ end: value.length, origin }]);
  }

  static join(parts: readonly MarkedText[]): MarkedText {
    let length = 0;
    const runs: Run[] = [];
    for (const part of parts) {
      for (const run of part.#runs) pushRun(runs, length + run.end, run.origin);
      length += part.length;
    }
    return new MarkedText(parts.map(({ value }) => value).join(""), runs);
  }

  get length(): number {
    return this.value.length;
  }

  /** Runs of equal origin: what a text costs beside its characters. */
  get runCount(): number {
    return this.#runs.length;
  }

  slice(from: number, to: number = this.value.length): MarkedText {
    if (from === 0 && to === this.value.length) return this;
    const value = this.value.slice(from, to);
    const runs: Run[] = [];
    for (let at = this.#runAt(from); at < this.#runs.length && runs.at(-1)?.end !== value.length; at++) {
      const run = this.#runs[at];
      if (run !== undefined && value !== "") pushRun(runs, Math.min(run.end - from, value.length), run.origin);
    }
    return new MarkedText(value, runs);
  }

  /** Each run rewritten by itself. */
  map(rewrite: (text: string) => string): MarkedText {
    return MarkedText.join(this.segments().map(({ text, origin }) => MarkedText.of(rewrite(text), origin)));
  }

  /** Lone surrogates become U+FFFD. */
  toWellFormed(): MarkedText {
    return new MarkedText(this.value.toWellFormed(), this.#runs);
  }

  segments(): TextSegment[] {
    let start = 0;
    return this.#runs.map(({ end, origin }) => {
      const text = this.value.slice(start, end);
      start = end;
      return { text, origin };
    });
  }

  /** The least trusted origin in `[from, to)`; of nothing, the template's. */
  worst(from = 0, to = this.value.length): Origin {
    let worst: Origin = "template";
    for (let at = this.#runAt(from), start = from; start < to && at < this.#runs.length; at++) {
      const run = this.#runs[at];
      if (run === undefined) break;
      if (RANK[run.origin] > RANK[worst]) worst = run.origin;
      start = run.end;
    }
    return worst;
  }

  /** Whether `[from, to)` has one origin. */
  isUniform(from: number, to: number): boolean {
    return to <= (this.#runs[this.#runAt(from)]?.end ?? this.value.length);
  }

  /** The index of the run that holds a position. */
  #runAt(position: number): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#runs[middle]?.end ?? 0) > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

function pushRun(runs: Run[], end: number, origin: Origin): void {
  if (runs.at(-1)?.origin === origin) runs.pop();
  runs.push({ end, origin });
}
