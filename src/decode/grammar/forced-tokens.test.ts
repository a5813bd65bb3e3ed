/** Tokens proposed for forced text: a tokenizer's own, withheld where they could merge, and what came before. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { compileGrammar } from "./compile.ts";
import { GrammarVocabulary, type TokenGrammar } from "./grammar.ts";
import type { GrammarSpec } from "./spec.ts";
import { allows } from "./vocabulary.ts";

/** Longest match first, over these pieces and all single bytes; the last two are control tokens. */
const PIECES = ['{"', "name", '":"', '":', '"', "na", "me", "customer", "_", "<|call|>", "<|end|>"];
const CALL = 256 + PIECES.indexOf("<|call|>");
const END = CALL + 1;
const encoder = new TextEncoder();
const VOCABULARY = new GrammarVocabulary({
  vocabSize: 256 + PIECES.length,
  stopIds: new Set([END]),
  tokenBytes: (id) => (id < 256 ? Uint8Array.of(id) : encoder.encode(PIECES[id - 256])),
  isSpecial: (id) => id >= CALL,
  tokenText: (id) => PIECES[id - 256] ?? "",
  encode: (text) => {
    const ids: number[] = [];
    for (let at = 0; at < text.length;) {
      const fit = PIECES.filter((piece, i) => i + 256 < CALL && text.startsWith(piece, at));
      const longest = fit.sort((a, b) => b.length - a.length)[0];
      if (longest === undefined) ids.push(...encoder.encode(String.fromCodePoint(text.codePointAt(at) ?? 0)));
      else ids.push(256 + PIECES.indexOf(longest));
      at += longest?.length ?? String.fromCodePoint(text.codePointAt(at) ?? 0).length;
    }
    return Int32Array.from(ids);
  },
});

const over = (spec: GrammarSpec): TokenGrammar => compileGrammar(spec).over(VOCABULARY);
const shown = (ids: readonly number[]): string[] => ids.map((id) => PIECES[id - 256] ?? String.fromCharCode(id));

test("forced text is cut as the tokenizer cuts it, up to where the next bytes could merge", () => {
  const name = over({ schema: { type: "object", properties: { name: { type: "string" } }, required: ["name"] } });
  // A string follows, and nothing begins with `":"`.
  assert.deepEqual(shown(name.forcedRun(name.start, [], 9).tokens), ['{"', "name", '":"']);
  assert.deepEqual(shown(name.forcedRun(name.start, [], 2).tokens), ['{"', "name"]);
  // `":` may go on as `":"`.
  const value = over({
    schema: { type: "object", properties: { name: { type: ["string", "null"] } }, required: ["name"] },
  });
  assert.deepEqual(shown(value.forcedRun(value.start, [], 9).tokens), ['{"', "name"]);
  const end = over({ text: 'name":' });
  assert.deepEqual(shown(end.forcedRun(end.start, [], 9).tokens), ["name", '":'], "nothing can follow");
  assert.deepEqual(over({ regex: "[ab]c" }).forcedRun(over({ regex: "[ab]c" }).start, [], 9).tokens, []);
});

test("a character that is not all there, or a token across the beginning, is left to the model", () => {
  const half = over({ sequence: [{ text: "a\u{1f600}" }] });
  assert.equal(half.forcedRun(half.start, [], 9).tokens.length, 5);
  const tail = over({ regex: "_(é|è)" });
  assert.deepEqual(shown(tail.forcedRun(tail.start, [], 9).tokens), ["_"]);
  const me = over({ text: "me_" });
  // After "na" the tokenizer would have written "name".
  assert.deepEqual(shown(me.forcedRun(me.start, [256 + PIECES.indexOf("na")], 9).tokens), []);
  assert.deepEqual(shown(me.forcedRun(me.start, [END], 9).tokens), ["me", "_"]);
});

test("what the model wrote before is guessed, and doubted once it was wrong", () => {
  const grammar = over({ text: "name_" });
  const [na, me, name] = ["na", "me", "name"].map((piece) => 256 + PIECES.indexOf(piece));
  const before = [7];
  const run = (): string[] => shown(grammar.forcedRun(grammar.start, before, 9).tokens);
  const note = (tokens: readonly (number | undefined)[]): void => {
    let { bytes } = grammar.forcedRun(grammar.start, before, 9);
    tokens.forEach((token, i) => {
      bytes = grammar.noteForced(bytes, [...before, ...tokens.slice(0, i)] as number[], token ?? -1);
    });
  };
  assert.deepEqual(run(), ["name", "_"]);
  note([na, me]);
  assert.deepEqual(run(), ["na", "me", "_"]);
  note([name]);
  assert.deepEqual(run(), []);
  note([name]);
  assert.deepEqual(run(), ["name", "_"]);
});

test("a control token is matched by its name, never by text, and is forced like text", () => {
  const grammar = over({ sequence: [{ text: "_" }, { special: "<|call|>" }, { regex: "[a-z]*" }] });
  assert.deepEqual(shown(grammar.forcedRun(grammar.start, [], 9).tokens), ["_", "<|call|>"]);
  const state = grammar.advance(grammar.start, 256 + PIECES.indexOf("_"));
  assert.ok(state);
  const allowed = Array.from({ length: 256 + PIECES.length }, (_, id) => id).filter((id) =>
    allows(grammar.mask(state), id),
  );
  assert.deepEqual(allowed, [CALL]);
  const after = grammar.advance(state, CALL);
  assert.ok(after?.accepting === true);
  assert.ok(!allows(grammar.mask(after), CALL));
  const anything = over({ regex: "[^]*", flags: "s" });
  assert.ok(!allows(anything.mask(anything.start), CALL), "any text has no control token");
  assert.ok(!allows(anything.mask(anything.start), 0xff), "nor a byte that only they are written with");
});
