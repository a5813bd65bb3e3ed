/**
 * Pre-tokenizers of tokenizer.json: they cut text into the pieces inside which tokens are merged. Described in
 * tokenizer.json's terms; for GGUF files pre-tokenizer-names.ts gives the description that belongs to a name.
 * A pipeline is a list of stages, each working on every piece of the stage before it and seeing nothing of the
 * neighbours. ByteLevel's rewriting into the byte alphabet is left to the model when it is the last stage.
 */
import type { MetaObject, MetaValue } from "../artifact/artifact.ts";
import { UnsupportedError } from "../errors.ts";
import { type ByteAlphabet, toByteChars } from "./byte-alphabet.ts";
import { type CodePoints, fromRanges, invert, unite, type UnicodeClasses, WHITE_SPACE } from "./code-points.ts";
import { flag, isObject, listField, objectField, stringField, wrong } from "./json-fields.ts";
import { compilePattern } from "./pattern.ts";

/** Piece i is `text.slice(starts[i], ends[i])`. */
export interface Pieces {
  readonly text: string;
  readonly starts: number[];
  readonly ends: number[];
}

export interface PreTokenizer {
  /** `atStart`: the segment is the beginning of the whole text, and not behind a special token. */
  split(segment: string, atStart: boolean): Pieces;
  /** What is left to do with each piece: a function of its text alone, so that its result can be remembered. */
  readonly refine: ((piece: string) => Pieces) | undefined;
  /** The pieces are plain text whose UTF-8 bytes are the symbols, and not characters of the vocabulary. */
  readonly bytes: boolean;
}

interface Stage {
  run(pieces: Pieces, atStart: boolean): Pieces;
  /** It cuts running text into words (a matter of speed only). */
  readonly cutsWords?: boolean;
  /** It must know whether a piece begins the whole text. */
  readonly needsStart?: boolean;
}

/** Calls `onMatch` for each match inside `text[start, end)`. */
type Finder = (text: string, start: number, end: number, onMatch: (from: number, to: number) => void) => void;

const WHERE = "tokenizer.json, pre_tokenizer";
/** The pattern that ByteLevel applies by itself. */
export const GPT2_PATTERN = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

export function createPreTokenizer(
  description: MetaValue | undefined,
  classes: UnicodeClasses,
  alphabet: ByteAlphabet,
): PreTokenizer {
  const flat = flatten(description);
  const last = flat.at(-1);
  const bytes = last !== undefined && last["type"] === "ByteLevel";
  const stages = flat.flatMap((stage, i) => createStages(stage, classes, alphabet, bytes && i === flat.length - 1));
  // Pieces are words from here on, if not before.
  const words = stages.findIndex((stage) => stage.cutsWords) + 1;
  const outer = words === 0 || stages.slice(words).some((stage) => stage.needsStart) ? stages : stages.slice(0, words);
  const inner = stages.slice(outer.length);
  const run = (list: readonly Stage[], text: string, atStart: boolean): Pieces =>
    list.reduce<Pieces>((pieces, stage) => stage.run(pieces, atStart), { text, starts: [0], ends: [text.length] });
  return {
    bytes,
    split: (segment, atStart) => run(outer, segment, atStart),
    refine: inner.length === 0 ? undefined : (piece) => run(inner, piece, false),
  };
}

function flatten(description: MetaValue | undefined): MetaObject[] {
  if (description === undefined || description === null) return [];
  if (!isObject(description)) return wrong("tokenizer.json", "pre_tokenizer", "an object", description);
  if (description["type"] !== "Sequence") return [description];
  return listField(description, "pretokenizers", WHERE).flatMap(flatten);
}

function createStages(
  description: MetaObject,
  classes: UnicodeClasses,
  alphabet: ByteAlphabet,
  last: boolean,
): Stage[] {
  const type = stringField(description, "type", WHERE);
  switch (type) {
    case "ByteLevel": {
      const stages: Stage[] = [];
      if (flag(description, "add_prefix_space", WHERE, true))
        stages.push(rewrite((piece) => (piece.startsWith(" ") ? piece : ` ${piece}`)));
      if (flag(description, "use_regex", WHERE, true))
        stages.push({ ...cut(compilePattern(GPT2_PATTERN, classes).findAll, "Isolated", false), cutsWords: true });
      if (!last) stages.push(rewrite((piece) => toByteChars(piece, alphabet)));
      return stages;
    }
    case "Split": {
      const pattern = objectField(description, "pattern", WHERE);
      const stage = cut(
        finder(pattern, classes),
        stringField(description, "behavior", WHERE),
        flag(description, "invert", WHERE, false),
      );
      const regex = pattern["Regex"];
      return [{ ...stage, cutsWords: typeof regex === "string" && /\\p\{L|A-Za-z/.test(regex) }];
    }
    case "Digits": {
      const each = flag(description, "individual_digits", WHERE, false);
      return [cut(classFinder(classes.digits, true), each ? "Isolated" : "Contiguous", false)];
    }
    case "Punctuation":
      return [
        cut(classFinder(classes.punctuation, true), stringField(description, "behavior", WHERE, "Isolated"), false),
      ];
    case "Whitespace": {
      const other = invert(unite([classes.rustWord, WHITE_SPACE]));
      const words = classFinder(classes.rustWord, false);
      return [
        cut(words, "Isolated", false),
        cut(classFinder(WHITE_SPACE, true), "Removed", false),
        cut(classFinder(other, false), "Isolated", false),
      ];
    }
    case "WhitespaceSplit":
      return [cut(classFinder(WHITE_SPACE, true), "Removed", false)];
    case "BertPreTokenizer":
      return [
        { ...cut(classFinder(WHITE_SPACE, true), "Removed", false), cutsWords: true },
        cut(classFinder(classes.punctuation, true), "Isolated", false),
      ];
    case "Metaspace":
      return metaspace(description);
    default:
      throw new UnsupportedError(`the pre-tokenizer ${JSON.stringify(type)} is not supported`);
  }
}

/** " " becomes "▁"; where the description says so, one is put before the text, and each begins a piece. */
function metaspace(description: MetaObject): Stage[] {
  const mark = stringField(description, "replacement", WHERE, "▁");
  const scheme = prependScheme(description);
  const stages: Stage[] = [
    {
      ...rewrite((piece, first) => {
        const marked = piece.replaceAll(" ", mark);
        return (scheme === "always" || (scheme === "first" && first)) && !marked.startsWith(mark)
          ? mark + marked
          : marked;
      }),
      needsStart: true,
    },
  ];
  if (flag(description, "split", WHERE, true)) stages.push(cut(literalFinder(mark), "MergedWithNext", false));
  return stages;
}

/** Old files say `add_prefix_space`, new ones `prepend_scheme`. Decoders read it too. */
export function prependScheme(description: MetaObject): "always" | "first" | "never" {
  const scheme = stringField(
    description,
    "prepend_scheme",
    WHERE,
    flag(description, "add_prefix_space", WHERE, true) ? "always" : "never",
  );
  if (scheme !== "always" && scheme !== "first" && scheme !== "never")
    throw new UnsupportedError(`the Metaspace scheme ${JSON.stringify(scheme)} is not supported`);
  return scheme;
}

/** A stage that replaces the text of each piece. `first`: the piece begins the whole text. */
function rewrite(change: (piece: string, first: boolean) => string): Stage {
  const run = (pieces: Pieces, atStart: boolean): Pieces => {
    const parts: string[] = [];
    const starts: number[] = [];
    const ends: number[] = [];
    let length = 0;
    for (let i = 0; i < pieces.starts.length; i++) {
      const start = pieces.starts[i] ?? 0;
      const part = change(pieces.text.slice(start, pieces.ends[i]), atStart && start === 0);
      starts.push(length);
      length += part.length;
      ends.push(length);
      parts.push(part);
    }
    return { text: parts.join(""), starts, ends };
  };
  return { run };
}

function finder(pattern: MetaObject, classes: UnicodeClasses): Finder {
  const literal = pattern["String"];
  if (typeof literal === "string") return literalFinder(literal);
  return compilePattern(stringField(pattern, "Regex", WHERE), classes).findAll;
}

function literalFinder(literal: string): Finder {
  return (text, start, end, onMatch) => {
    if (literal === "") return;
    const piece = text.slice(start, end);
    for (let at = piece.indexOf(literal); at >= 0; at = piece.indexOf(literal, at + literal.length)) {
      onMatch(start + at, start + at + literal.length);
    }
  };
}

/** Matches of a class: each member alone, or each longest run of members. */
function classFinder(set: CodePoints, alone: boolean): Finder {
  const basic = new Uint8Array(0x10000);
  for (let i = 0; i < set.length; i += 2) basic.fill(1, set[i], set[i + 1]);
  const beyond = invert(unite([invert(set), fromRanges([[0, 0xffff]])]));
  const inside = (text: string, at: number): boolean => {
    const unit = text.charCodeAt(at);
    if ((unit & 0xfc00) !== 0xd800) return basic[unit] === 1;
    const codePoint = text.codePointAt(at) ?? 0;
    let low = 0;
    let high = beyond.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((beyond[middle] ?? 0) <= codePoint) low = middle + 1;
      else high = middle;
    }
    return (low & 1) === 1;
  };
  return (text, start, end, onMatch) => {
    let from = -1;
    for (let at = start; at < end;) {
      const next = at + ((text.charCodeAt(at) & 0xfc00) === 0xd800 ? 2 : 1);
      if (inside(text, at)) {
        if (alone) onMatch(at, next);
        else if (from < 0) from = at;
      } else if (from >= 0) {
        onMatch(from, at);
        from = -1;
      }
      at = next;
    }
    if (from >= 0) onMatch(from, end);
  };
}

/**
 * A stage that cuts each piece at matches. Isolated: matches and what lies between are pieces. Removed: matches
 * vanish. Contiguous: neighbouring matches are one piece. MergedWithPrevious, MergedWithNext: a match joins its
 * neighbour. `inverted`: what lies between counts as the match.
 */
function cut(find: Finder, behavior: string, inverted: boolean): Stage {
  if (behavior === "Isolated") return cutDirectly(find, behavior);
  if (!inverted && (behavior === "Removed" || behavior === "MergedWithNext")) return cutDirectly(find, behavior);
  const run = (pieces: Pieces): Pieces => {
    const starts: number[] = [];
    const ends: number[] = [];
    for (let i = 0; i < pieces.starts.length; i++) {
      const spans: Span[] = [];
      const end = pieces.ends[i] ?? 0;
      let last = pieces.starts[i] ?? 0;
      find(pieces.text, last, end, (from, to) => {
        if (from > last) spans.push({ from: last, to: from, match: inverted });
        spans.push({ from, to, match: !inverted });
        last = to;
      });
      if (last < end) spans.push({ from: last, to: end, match: inverted });
      for (const span of join(spans, behavior)) {
        starts.push(span.from);
        ends.push(span.to);
      }
    }
    return { text: pieces.text, starts, ends };
  };
  return { run };
}

type DirectBehavior = "Isolated" | "Removed" | "MergedWithNext";

/** The behaviours of nearly all published tokenizers, without a list of spans. */
function cutDirectly(find: Finder, behavior: DirectBehavior): Stage {
  const run = (pieces: Pieces): Pieces => {
    const starts: number[] = [];
    const ends: number[] = [];
    let last = 0;
    const push = (from: number, to: number): void => {
      if (from === to) return;
      starts.push(from);
      ends.push(to);
    };
    const onMatch = (from: number, to: number): void => {
      push(last, from);
      if (behavior === "Isolated") push(from, to);
      last = behavior === "MergedWithNext" ? from : to;
    };
    for (let i = 0; i < pieces.starts.length; i++) {
      const end = pieces.ends[i] ?? 0;
      last = pieces.starts[i] ?? 0;
      find(pieces.text, last, end, onMatch);
      push(last, end);
    }
    return { text: pieces.text, starts, ends };
  };
  return { run };
}

interface Span {
  readonly from: number;
  to: number;
  readonly match: boolean;
}

function join(spans: readonly Span[], behavior: string): readonly Span[] {
  switch (behavior) {
    case "Removed":
      return spans.filter((span) => !span.match);
    case "Contiguous":
      return merge(spans, (previous, span) => previous.match === span.match);
    case "MergedWithPrevious":
      return merge(spans, (previous, span) => span.match && !previous.match);
    case "MergedWithNext":
      return merge(spans, (previous, span) => previous.match && !span.match);
    default:
      throw new UnsupportedError(`the Split behaviour ${JSON.stringify(behavior)} is not supported`);
  }
}

/** Joins a span to the one before it where `joins` says so, judging by the spans as they were found. */
function merge(spans: readonly Span[], joins: (previous: Span, span: Span) => boolean): Span[] {
  const result: Span[] = [];
  let previous: Span | undefined;
  for (const span of spans) {
    const last = result.at(-1);
    if (last !== undefined && previous !== undefined && joins(previous, span)) last.to = span.to;
    else result.push({ ...span });
    previous = span;
  }
  return result;
}
