/**
 * The tokens in which forced text will be written, to be proposed as a draft: the model still chooses, token by token and
 * under its mask, so a wrong guess costs a row and never changes an answer. The guess is what the model wrote the last time
 * that the same text was forced behind the same token, else the tokenizer's own way; the last tokens of a run are withheld
 * where the bytes after it could merge with them.
 */
import { type ByteString, fromBytes, toBytes } from "./byte-string.ts";
import type { ParseState } from "./parser.ts";
import { SPECIAL, type TokenTable, type Vocabulary } from "./vocabulary.ts";

/** Tokens before the forced text that may change how it is cut. */
const CONTEXT = 4;
/** Bytes of forced text that tell one habit from another, and how many habits are kept. */
const HABIT_BYTES = 16;
const KEPT_HABITS = 20_000;

/** What this file needs of a grammar over tokens. */
interface Followed {
  forced(state: ParseState): Uint8Array;
  mask(state: ParseState): Uint32Array;
  advance(state: ParseState, token: number): ParseState | undefined;
}

/** What came the last time; one that has just been wrong is doubtful until it is right again. */
interface Habit {
  readonly token: number;
  readonly isDoubtful: boolean;
}

/** What is guessed to follow a state: the text, as far as it is forced, and tokens that it begins with. */
export interface ForcedRun {
  readonly bytes: ByteString;
  readonly tokens: readonly number[];
}

export class ForcedTokens {
  readonly #vocabulary: Vocabulary;
  readonly #encode: TokenTable["encode"];
  readonly #habits = new Map<string, Habit>();

  constructor(vocabulary: Vocabulary, encode: TokenTable["encode"]) {
    this.#vocabulary = vocabulary;
    this.#encode = encode;
  }

  /** At most `most` tokens, `before` being the last ones that came. */
  after(grammar: Followed, state: ParseState, before: readonly number[], most: number): ForcedRun {
    const bytes = fromBytes(grammar.forced(state));
    const tokens: number[] = [];
    let plain: readonly number[] = [];
    let at: ParseState | undefined = state;
    for (let rest = bytes; rest !== "" && tokens.length < most;) {
      const known = [...before, ...tokens];
      const habit = this.#habits.get(habitKey(known, rest));
      if (habit?.isDoubtful === true) break;
      if (habit === undefined && plain.length === 0) plain = this.#cut(rest, known);
      const token = habit?.token ?? plain[0];
      if (token === undefined || this.#mayMerge(rest, plain, token, grammar, at)) break;
      at = grammar.advance(at, token);
      if (at === undefined) break;
      plain = token === plain[0] ? plain.slice(1) : [];
      tokens.push(token);
      rest = rest.slice(this.#vocabulary.bytes(token).length);
    }
    return { bytes, tokens };
  }

  /** A token came where a text was forced: gives what is forced behind it. */
  note(rest: ByteString, before: readonly number[], token: number): ByteString {
    const bytes = this.#vocabulary.bytes(token);
    if (bytes === "" || !rest.startsWith(bytes)) return "";
    const key = habitKey(before, rest);
    const known = this.#habits.get(key);
    this.#habits.delete(key);
    this.#habits.set(key, { token, isDoubtful: known !== undefined && known.token !== token });
    const [oldest] = this.#habits.keys();
    if (oldest !== undefined && this.#habits.size > KEPT_HABITS) this.#habits.delete(oldest);
    return rest.slice(bytes.length);
  }

  /** The tokenizer's ids of whole characters, behind some tokens; none where a token lies across the beginning. */
  #cut(bytes: ByteString, before: readonly number[]): readonly number[] {
    const vocabulary = this.#vocabulary;
    // Control tokens stand between texts: nothing merges with them.
    const [run = ""] = bytes.split(SPECIAL.split, 1);
    if (run === "") return [vocabulary.find(bytes.slice(0, bytes.indexOf(SPECIAL.close) + 1))];
    const text = wholeCharacters(run);
    let context = "";
    for (const token of before.slice(-CONTEXT)) {
      const more = vocabulary.bytes(token);
      context = more === "" || more.startsWith(SPECIAL.open) ? "" : context + more;
    }
    const ids = this.#encode(`${decode(context)}${decode(text)}`);
    // From the end, since encoding may add a space at the beginning.
    let from = ids.length;
    for (let left = text.length; left > 0;) {
      left -= vocabulary.bytes(ids[--from] ?? -1).length;
      if (left < 0 || from < 0) return [];
    }
    return Array.from(ids.subarray(from));
  }

  /** Could the rest of the text, as far as it is forced, be the beginning of one token? */
  #mayMerge(rest: ByteString, plain: readonly number[], token: number, grammar: Followed, state: ParseState): boolean {
    if (plain[0] !== token) return false;
    return this.#vocabulary.hasLonger(rest, () => grammar.mask(state));
  }
}

function habitKey(before: readonly number[], rest: ByteString): string {
  return `${before.at(-1)} ${rest.slice(0, HABIT_BYTES)}`;
}

/** Without a character at the end that is not all there. */
function wholeCharacters(bytes: ByteString): ByteString {
  let last = bytes.length - 1;
  while (last > 0 && (bytes.charCodeAt(last) & 0xc0) === 0x80) last -= 1;
  const lead = bytes.charCodeAt(last);
  const size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  return last + size > bytes.length ? bytes.slice(0, last) : bytes;
}

function decode(bytes: ByteString): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(toBytes(bytes));
}
