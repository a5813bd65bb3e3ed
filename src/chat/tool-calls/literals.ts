/**
 * Arguments as literals of a language: Python's keyword arguments (`city="Paris", days=3`), and objects with bare names and
 * quotes of their own (`{city:<|"|>Paris<|"|>,days:3}`). Read when they are whole.
 */
import type { ArgumentNotation } from "./format.ts";
import { type Reading, Source } from "./reader.ts";

type Literals = Extract<ArgumentNotation, { readonly kind: "keywords" | "bare" }>;

const WORD = /[\p{L}\p{N}_-]/u;
const WORDS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ["null", null],
  ["None", null],
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
]);
const MAX_DEPTH = 64;

/** What could not be read. */
const FAILED = Symbol("malformed");

/** The members of an object, up to but not with what closes a call's parentheses; undefined: malformed. */
export function* readLiteral(
  source: Source,
  notation: Literals,
): Reading<never, Readonly<Record<string, unknown>> | undefined> {
  const reader = new LiteralReader(source, notation);
  const value = notation.kind === "bare" ? yield* reader.value(0) : yield* reader.keywords();
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

/** A whole text as a literal of Python's: a list or a dictionary, say; undefined where it is none. */
export function readPython(text: string): unknown {
  const source = new Source();
  source.text = text;
  source.hasEnded = true;
  const { value } = new LiteralReader(source, { kind: "keywords" }).value(0).next();
  return value === FAILED || source.text.trim() !== "" ? undefined : value;
}

class LiteralReader {
  readonly #source: Source;
  readonly #quotes: readonly string[];

  constructor(source: Source, notation: Literals) {
    this.#source = source;
    this.#quotes = notation.kind === "bare" ? [notation.quote] : ['"', "'"];
  }

  /** `name=value, …`, up to a closing parenthesis. */
  *keywords(): Reading<never, unknown> {
    const members: [string, unknown][] = [];
    while (!(yield* this.#isNext(")"))) {
      if (members.length > 0 && !(yield* this.#source.literal(","))) return FAILED;
      yield* this.#source.while(/\s/);
      const name = yield* this.#source.while(WORD);
      if (name === "" || !(yield* this.#source.literal("="))) return FAILED;
      const value = yield* this.value(0);
      if (value === FAILED) return FAILED;
      members.push([name, value]);
    }
    return Object.fromEntries(members);
  }

  *value(depth: number): Reading<never, unknown> {
    yield* this.#source.while(/\s/);
    if (depth > MAX_DEPTH) return FAILED;
    for (const quote of this.#quotes) if (yield* this.#source.exactly(quote)) return yield* this.#string(quote);
    if (yield* this.#source.exactly("{")) return yield* this.#object(depth);
    if (yield* this.#source.exactly("[")) return yield* this.#list(depth);
    const word = yield* this.#source.while(/[\p{L}\p{N}_.+-]/u);
    if (WORDS.has(word)) return WORDS.get(word);
    return /^-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?$/.test(word) ? Number(word) : FAILED;
  }

  *#string(quote: string): Reading<never, unknown> {
    if (quote.length > 1) return (yield* this.#source.until(quote)) ?? FAILED;
    let raw = "";
    for (;;) {
      if (!(yield* this.#source.has(1))) return FAILED;
      const char = this.#source.take(1);
      if (char === quote) return unescaped(raw);
      raw += char;
      if (char !== "\\") continue;
      if (!(yield* this.#source.has(1))) return FAILED;
      raw += this.#source.take(1);
    }
  }

  *#object(depth: number): Reading<never, unknown> {
    const members: [string, unknown][] = [];
    while (!(yield* this.#source.literal("}"))) {
      if (members.length > 0 && !(yield* this.#source.literal(","))) return FAILED;
      const name = yield* this.#name();
      if (typeof name !== "string" || !(yield* this.#source.literal(":"))) return FAILED;
      const value = yield* this.value(depth + 1);
      if (value === FAILED) return FAILED;
      members.push([name, value]);
    }
    return Object.fromEntries(members);
  }

  *#name(): Reading<never, unknown> {
    yield* this.#source.while(/\s/);
    for (const quote of this.#quotes) if (yield* this.#source.exactly(quote)) return yield* this.#string(quote);
    return yield* this.#source.while(/[^:,{}[\]]/);
  }

  *#list(depth: number): Reading<never, unknown> {
    const items: unknown[] = [];
    while (!(yield* this.#source.literal("]"))) {
      if (items.length > 0 && !(yield* this.#source.literal(","))) return FAILED;
      const value = yield* this.value(depth + 1);
      if (value === FAILED) return FAILED;
      items.push(value);
    }
    return items;
  }

  *#isNext(char: string): Reading<never, boolean> {
    yield* this.#source.while(/\s/);
    return (yield* this.#source.has(1)) && this.#source.text.startsWith(char);
  }
}

/** Escapes of Python, as far as JSON has them too, and its own for quotes. */
function unescaped(raw: string): string {
  return raw.replaceAll(/\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[^])/g, (_, escape: string) => {
    if (escape.length > 1) return String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    return { n: "\n", t: "\t", r: "\r", b: "\b", f: "\f", "\n": "" }[escape] ?? escape;
  });
}
