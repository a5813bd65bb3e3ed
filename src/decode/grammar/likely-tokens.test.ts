/** Drafts from a grammar: what is forced and what follows a choice of few, in the tokens that models turned out to write. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { depthsOf, type DraftTree, pathTo } from "../speculative/draft-tree.ts";
import { Choices } from "./choices.ts";
import { compileGrammar } from "./compile.ts";
import { GrammarVocabulary, type TokenGrammar } from "./grammar.ts";
import { likelyTokens, MOST_LIKELY } from "./likely-tokens.ts";
import type { GrammarSpec } from "./spec.ts";
import { allows } from "./vocabulary.ts";

/** All single bytes, then these; the last two are control tokens. */
const PIECES = ['{"', "name", '":"', '":', '"', "na", "me", "customer", "_", "<|call|>", "<|end|>"];
const idOf = (piece: string): number => 256 + PIECES.indexOf(piece);
const CALL = idOf("<|call|>");
const END = idOf("<|end|>");
const encoder = new TextEncoder();
const SIZE = 256 + PIECES.length;
const VOCABULARY = new GrammarVocabulary({
  vocabSize: SIZE,
  stopIds: new Set([END]),
  tokenBytes: (id) => (id < 256 ? Uint8Array.of(id) : encoder.encode(PIECES[id - 256])),
  isSpecial: (id) => id >= CALL,
  tokenText: (id) => PIECES[id - 256] ?? "",
});

const ascending = (a: number, b: number): number => a - b;
const over = (spec: GrammarSpec): TokenGrammar => compileGrammar(spec).over(VOCABULARY);
const shown = (id: number): string => PIECES[id - 256] ?? String.fromCharCode(id);
const draft = (grammar: TokenGrammar, choices = new Choices()): DraftTree =>
  likelyTokens(grammar, grammar.start, [1, 2], choices) ?? { tokens: [], parents: [] };
/** Every path from the root, as text with bars. */
const paths = (tree: DraftTree): string[] =>
  [...tree.tokens.keys()].map((node) =>
    pathTo(tree, node)
      .map((at) => shown(tree.tokens[at] ?? -1))
      .join("|"),
  );

test("forced text is proposed in its likely tokens, the longest at first, and nothing behind what is open", () => {
  const name = over({ schema: { type: "object", properties: { name: { type: "string" } }, required: ["name"] } });
  const tree = draft(name);
  const found = paths(tree);
  assert.equal(found[0], '{"');
  assert.ok(found.includes('{"|name|":"'), found.join(" "));
  assert.ok(found.includes("{"), "the shorter way stands beside it");
  assert.ok(found.every((path) => '{"name":"'.startsWith(path.replaceAll("|", ""))));
  assert.ok(tree.tokens.length <= MOST_LIKELY);
  const chances = tree.chances ?? [];
  for (const parent of [-1, ...tree.tokens.keys()]) {
    const sum = chances.reduce((total, chance, i) => total + (tree.parents[i] === parent ? chance : 0), 0);
    assert.ok(sum <= 1 + 1e-6, `the children of ${parent} have chances of ${sum}`);
  }
  assert.deepEqual(draft(over({ regex: "[a-z]+!" })).tokens, []);
});

test("a choice of few is proposed with what each forces", () => {
  const found = paths(draft(over({ sequence: [{ anyOf: [{ text: "yes" }, { text: "no" }] }, { text: "!" }] })));
  assert.ok(found.includes("y|e|s|!") && found.includes("n|o|!"), found.join(" "));
});

test("what was taken comes to be expected, where it came and elsewhere", () => {
  const grammar = over({ text: "name_" });
  const choices = new Choices();
  const [na, me] = [idOf("na"), idOf("me")];
  const before = draft(grammar, choices);
  assert.equal(before.tokens[0], idOf("name"));
  for (let i = 0; i < 8; i++) {
    let state = grammar.start;
    let [earlier, last] = [1, 2];
    for (const token of [na, me]) {
      const among = grammar.few(state);
      choices.learn(earlier, last, among, among.indexOf(token));
      [earlier, last] = [last, token];
      state = grammar.advance(state, token) ?? state;
    }
  }
  const after = draft(grammar, choices);
  assert.equal(paths(after)[1], "na|me");
  assert.ok((after.chances?.[0] ?? 0) > 0.8);
  const elsewhere = over({ text: "customer_name" });
  const behind = paths(draft(elsewhere, choices)).filter((path) => path.startsWith("customer|_|"));
  assert.equal(behind[0], "customer|_|na");
});

test("few tokens are those of the mask, whichever is asked for first", () => {
  for (const spec of [{ text: "name_" }, { choice: ["na", "name", "customer"] }, { regex: "[a-c]?" }] as const) {
    const [fewFirst, maskFirst] = [over(spec), over(spec)];
    const walk = (grammar: TokenGrammar, isFewFirst: boolean): string[] => {
      const seen: string[] = [];
      for (let state = grammar.start, steps = 0; steps < 5; steps++) {
        if (isFewFirst) grammar.few(state);
        const mask = grammar.mask(state);
        const few = grammar.few(state);
        const allowed = Array.from({ length: SIZE }, (_, id) => id).filter((id) => allows(mask, id));
        assert.deepEqual([...few].sort(ascending), allowed.sort(ascending));
        seen.push(few.join());
        const next = few.find((id) => id !== END);
        const after = next === undefined ? undefined : grammar.advance(state, next);
        if (after === undefined) break;
        state = after;
      }
      return seen;
    };
    assert.deepEqual(walk(fewFirst, true), walk(maskFirst, false));
  }
  const open = over({ json: true });
  assert.deepEqual(open.few(open.start), [], "many");
});

test("a token that ends the answer is not drafted, nor anything behind it", () => {
  const tree = draft(over({ regex: "ab?" }));
  assert.ok(!tree.tokens.includes(END));
  assert.deepEqual(paths(tree), ["a", "a|b"]);
  assert.deepEqual(depthsOf(tree), [1, 2]);
});

test("a control token is matched by its name, never by text, and is forced like text", () => {
  const grammar = over({ sequence: [{ text: "_" }, { special: "<|call|>" }, { regex: "[a-z]*" }] });
  assert.ok(paths(draft(grammar)).includes("_|<|call|>"));
  const state = grammar.advance(grammar.start, idOf("_"));
  assert.ok(state);
  assert.deepEqual(grammar.few(state), [CALL]);
  const after = grammar.advance(state, CALL);
  assert.ok(after?.accepting === true);
  assert.ok(!allows(grammar.mask(after), CALL));
  const anything = over({ regex: "[^]*", flags: "s" });
  assert.ok(!allows(anything.mask(anything.start), CALL), "any text has no control token");
  assert.ok(!allows(anything.mask(anything.start), 0xff), "nor a byte that only they are written with");
});
