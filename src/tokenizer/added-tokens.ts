/**
 * Added tokens: texts that are one token wherever they stand, such as "<|im_end|>". A trie finds them, leftmost
 * first and longest among those that begin at one place; the text between them goes on to the model.
 */
import { ArtifactError } from "../errors.ts";
import { has, type UnicodeClasses, WHITE_SPACE } from "./code-points.ts";

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** A control token: matched only where the caller wants special tokens parsed, left out of decoded text. */
  readonly special: boolean;
  /** Take the white space before, or behind, along. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Only where no letter, digit or underscore touches it. */
  readonly singleWord: boolean;
  /** Matched against normalised text, else against the text as it came. */
  readonly normalized: boolean;
}

/** `id` < 0: text between tokens. */
export type OnSegment = (from: number, to: number, id: number) => void;

export interface AddedTokenMatcher {
  /** `allows`: the tokens that count at all, where that depends on the place. */
  split(
    text: string,
    parseSpecial: boolean,
    onSegment: OnSegment,
    allows?: (token: AddedToken, from: number, to: number) => boolean,
  ): void;
}

interface TrieNode {
  readonly children: Map<number, TrieNode>;
  token: AddedToken | undefined;
}

const MAX_LENGTH = 4096;
/** So few different first characters are looked for by `indexOf`, which outruns a loop by far. */
const FEW_STARTERS = 4;

/** `patternOf` gives the text to look for (the content, or the content normalised). */
export function createAddedTokenMatcher(
  tokens: readonly AddedToken[],
  patternOf: (content: string) => string,
  classes: UnicodeClasses,
): AddedTokenMatcher {
  const root: TrieNode = { children: new Map(), token: undefined };
  const firsts = new Uint8Array(tokens.length > 0 ? 0x10000 : 0);
  const starters: string[] = [];
  for (const token of tokens) {
    const pattern = patternOf(token.content);
    if (pattern === "") continue;
    if (pattern.length > MAX_LENGTH)
      throw new ArtifactError(`added token ${token.id} is ${pattern.length} characters long, more than ${MAX_LENGTH}`);
    let node = root;
    for (let i = 0; i < pattern.length; i++) {
      const unit = pattern.charCodeAt(i);
      let child = node.children.get(unit);
      if (child === undefined) node.children.set(unit, (child = { children: new Map(), token: undefined }));
      node = child;
    }
    node.token ??= token;
    const starter = pattern.charAt(0);
    if (!starters.includes(starter)) starters.push(starter);
    firsts[pattern.charCodeAt(0)] = 1;
  }

  const isWord = (codePoint: number | undefined): boolean =>
    codePoint !== undefined && has(classes.rustWord, codePoint);
  const touchesWord = (text: string, from: number, to: number): boolean => {
    const before =
      from === 0
        ? undefined
        : text.codePointAt(from >= 2 && (text.charCodeAt(from - 1) & 0xfc00) === 0xdc00 ? from - 2 : from - 1);
    return isWord(before) || (to < text.length && isWord(text.codePointAt(to)));
  };
  const isSpace = (text: string, at: number): boolean => has(WHITE_SPACE, text.charCodeAt(at));

  return {
    split(text, parseSpecial, onSegment, allows) {
      let done = 0;
      let at = 0;
      const upcoming = starters.map(() => -1);
      while (at < text.length) {
        if (starters.length <= FEW_STARTERS) {
          at = nextOf(text, at, starters, upcoming);
          if (at >= text.length) break;
        } else if (firsts[text.charCodeAt(at)] !== 1) {
          at++;
          continue;
        }
        let token: AddedToken | undefined;
        let end = at;
        let node = root.children.get(text.charCodeAt(at));
        for (let next = at + 1; node !== undefined; next++) {
          if (node.token !== undefined && (allows === undefined || allows(node.token, at, next))) {
            token = node.token;
            end = next;
          }
          node = next < text.length ? node.children.get(text.charCodeAt(next)) : undefined;
        }
        if (token === undefined) {
          at++;
          continue;
        }
        let from = at;
        let to = end;
        at = end;
        if ((token.special && !parseSpecial) || (token.singleWord && touchesWord(text, from, to))) continue;
        if (token.lstrip) while (from > done && isSpace(text, from - 1)) from--;
        if (token.rstrip) while (to < text.length && isSpace(text, to)) to++;
        if (from > done) onSegment(done, from, -1);
        onSegment(from, to, token.id);
        done = to;
        at = Math.max(at, to);
      }
      if (done < text.length) onSegment(done, text.length, -1);
    },
  };
}

/** The first place from `at` on where one of `starters` stands; `upcoming` keeps where each was seen last. */
function nextOf(text: string, at: number, starters: readonly string[], upcoming: number[]): number {
  let nearest = text.length;
  for (let k = 0; k < starters.length; k++) {
    let place = upcoming[k] ?? -1;
    if (place < at) {
      const found = text.indexOf(starters[k] ?? "", at);
      place = found < 0 ? text.length : found;
      upcoming[k] = place;
    }
    if (place < nearest) nearest = place;
  }
  return nearest;
}
