/**
 * The arguments of a call as they are written → JSON text: JSON passes through piece by piece, as it comes; the other
 * notations are read whole. What is no arguments at all is undefined.
 */
import type { ArgumentNotation } from "./format.ts";
import { readLiteral, readPython } from "./literals.ts";
import type { Reading, Source } from "./reader.ts";

/** A piece of a call's arguments, as JSON text. */
export interface ArgumentsPiece {
  readonly type: "arguments";
  readonly text: string;
}

/** Reads arguments; `stringMembers` are names of those that the notation "tags" writes as they are. False: malformed. */
export function* readArguments(
  source: Source,
  notation: ArgumentNotation,
  stringMembers: ReadonlySet<string>,
): Reading<ArgumentsPiece, boolean> {
  if (notation === "json") return yield* readJson(source);
  const value =
    notation.kind === "tags" ? yield* readTags(source, notation, stringMembers) : yield* readLiteral(source, notation);
  if (value === undefined) return false;
  yield { type: "arguments", text: JSON.stringify(value) };
  return true;
}

/** One object, passed on as it comes. */
function* readJson(source: Source): Reading<ArgumentsPiece, boolean> {
  yield* source.while(/\s/);
  if (!(yield* source.has(1)) || source.text.charAt(0) !== "{") return false;
  let depth = 0;
  let inString = false;
  for (let at = 0; ; at++) {
    if (at === source.text.length) {
      if (at > 0) yield { type: "arguments", text: source.take(at) };
      at = 0;
      if (!(yield* source.has(1))) return false;
    }
    const char = source.text.charAt(at);
    if (inString) {
      if (char === "\\") {
        if (!(yield* source.has(at + 2))) return false;
        at += 1;
      } else if (char === '"') inString = false;
      continue;
    }
    if (char === '"') inString = true;
    else if (char === "{" || char === "[") depth += 1;
    else if ((char === "}" || char === "]") && --depth === 0) {
      yield { type: "arguments", text: source.take(at + 1) };
      return true;
    }
  }
}

function* readTags(
  source: Source,
  { open, beforeText, beforeJson, close }: Extract<ArgumentNotation, { readonly kind: "tags" }>,
  stringMembers: ReadonlySet<string>,
): Reading<never, Readonly<Record<string, unknown>> | undefined> {
  const members: [string, unknown][] = [];
  while (yield* source.literal(open)) {
    // A name ends where what stands between it and the value begins.
    const name = yield* source.upTo(beforeText.charAt(0));
    if (name === undefined) return undefined;
    let isText = stringMembers.has(name);
    if (!(yield* source.exactly(isText ? beforeText : beforeJson))) {
      isText = !isText;
      if (!(yield* source.exactly(isText ? beforeText : beforeJson))) return undefined;
    }
    const raw = yield* source.until(close.trim());
    if (raw === undefined) return undefined;
    // Of white space around the value, what belongs to the tags.
    const value = close.startsWith("\n") && raw.endsWith("\n") ? raw.slice(0, -1) : raw;
    members.push([name, isText ? value : parsed(value)]);
  }
  return Object.fromEntries(members);
}

/** JSON; some templates write nested values in Python's way, and strings plainly where a schema allows other values, too. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return /^[[{]/.test(text) ? (readPython(text) ?? text) : text;
  }
}
