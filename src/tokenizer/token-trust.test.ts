import assert from "node:assert/strict";
import { test } from "node:test";
import type { MetaObject } from "../artifact/artifact.ts";
import { Random } from "../../test/support/random.ts";
import { MarkedText, type Origin } from "./marked-text.ts";
import { isMarker } from "./token-trust.ts";
import { createTokenizer, type Tokenizer } from "./tokenizer.ts";

const CONTROL = ["<|im_start|>", "<|im_end|>", "<a>", "<a>b"];
const MARKERS = ["<think>", "</think>", "<tool_call>"];
const WORDS = ["  ", "\n\n", "ö", "<<"];

/** Single characters and some merges, one of which spells a marker and one a control token. */
function tokenizerOf(normalized: boolean, normalizer: MetaObject | null): Tokenizer {
  const characters = Array.from("abcdefghijklmnopqrstuvwxyz_|<>/▁ é\n");
  const merges = ["< a", "<a >", "t h", "< th", "<th i", "<thi n", "<thin k", "<think >"];
  const vocab = Object.fromEntries(
    [...characters, ...merges.map((merge) => merge.replace(" ", ""))].map((text, id) => [text, id] as const),
  );
  let next = Object.keys(vocab).length;
  const added = [...CONTROL, ...MARKERS, ...WORDS].map((content) => {
    return { id: vocab[content] ?? next++, content, special: CONTROL.includes(content), normalized };
  });
  const tokenizer = { added_tokens: added, normalizer, model: { type: "BPE", vocab, merges } };
  return createTokenizer({ format: "hf", tokenizer, config: {} });
}

const NORMALIZERS: readonly (MetaObject | null)[] = [
  null,
  { type: "NFC" },
  { type: "Lowercase" },
  { type: "Strip", strip_left: true, strip_right: true },
  {
    type: "Sequence",
    normalizers: [
      { type: "Prepend", prepend: "▁" },
      { type: "Replace", pattern: { String: " " }, content: "▁" },
    ],
  },
  { type: "Replace", pattern: { Regex: "x+" }, content: "a" },
];

const idsOf = (tokenizer: Tokenizer, texts: readonly string[]): number[] =>
  texts.map((text) => tokenizer.tokenId(text) ?? -1);

function marked(...parts: readonly (readonly [string, Origin])[]): MarkedText {
  return MarkedText.join(parts.map(([text, origin]) => MarkedText.of(text, origin)));
}

test("a message names no control token, and no marker unless it is an assistant's", () => {
  for (const normalized of [false, true]) {
    for (const normalizer of NORMALIZERS) {
      const tokenizer = tokenizerOf(normalized, normalizer);
      const named = (text: string, origin: Origin): string[] =>
        [...tokenizer.encodeMarked(marked(["q", "template"], [text, origin], ["q", "template"]))]
          .map((id) => tokenizer.tokenText(id))
          .filter((name) => isMarker({ content: name }) && name.includes(">"));
      for (const text of [...CONTROL, ...MARKERS]) {
        // A token that is itself normalised may differ ("▁<think>"); it is then found nowhere, by others neither.
        const found = named(text, "template");
        assert.ok(found.length === 0 ? normalized && normalizer !== null : found.includes(text), text);
        assert.deepEqual(named(text, "assistant"), MARKERS.includes(text) ? found : [], text);
        assert.deepEqual(named(text, "content"), [], text);
      }
    }
  }
});

test("no part of a control token may come from a message, and none of the template's is lost beside one", () => {
  const tokenizer = tokenizerOf(false, null);
  const [start = -1, end = -1, short = -1] = idsOf(tokenizer, CONTROL);
  for (let cut = 1; cut < "<|im_end|>".length; cut++) {
    const [left, right] = ["<|im_end|>".slice(0, cut), "<|im_end|>".slice(cut)];
    assert.ok(!tokenizer.encodeMarked(marked([left, "template"], [right, "content"])).includes(end));
    assert.ok(!tokenizer.encodeMarked(marked([left, "content"], [right, "template"])).includes(end));
    assert.ok(!tokenizer.encodeMarked(marked([left, "assistant"], [right, "template"])).includes(end));
  }
  for (const before of ["<", "<|im_", "<<", "\n\n", "<|im_start|"])
    assert.equal(
      tokenizer.encodeMarked(marked([before, "content"], ["<|im_start|>", "template"])).at(-1),
      start,
      before,
    );
  // The longer token would end in the message.
  assert.equal(tokenizer.encodeMarked(marked(["<a>", "template"], ["b", "content"]))[0], short);
});

test("random texts have the ids of the plain text, where nothing is forged", () => {
  const pieces = [...CONTROL, ...MARKERS, ...WORDS, "<", "a", "b", "th", " ", "\n", "é", "e\u0301", "x", "Q"];
  let compared = 0;
  for (const normalized of [false, true]) {
    for (const normalizer of NORMALIZERS) {
      const tokenizer = tokenizerOf(normalized, normalizer);
      for (let seed = 1; seed <= 300; seed++) {
        const random = new Random(seed);
        const parts = Array.from({ length: 1 + random.below(8) }, () => {
          const text = pieces[random.below(pieces.length)] ?? "";
          const origin = (["template", "assistant", "content"] as const)[random.below(3)] ?? "content";
          return [text, origin] as const;
        });
        const text = marked(...parts);
        const plain = tokenizer.encode(text.value, { addSpecial: false, parseSpecial: true });
        // What the template alone says is parsed in full; a harmless text has no mark that could be refused.
        const allTrusted = MarkedText.of(text.value, "template");
        assert.deepEqual(tokenizer.encodeMarked(allTrusted), plain, `seed ${seed}`);
        // Where "<<" itself is normalised it is "▁<<", whose first character may be a message's.
        if (normalized && text.value.includes(" <<")) continue;
        if (
          /[<>]/.test(
            text
              .segments()
              .map((part) => (part.origin === "template" ? "" : part.text))
              .join(""),
          )
        )
          continue;
        assert.deepEqual(tokenizer.encodeMarked(text), plain, `seed ${seed}: ${JSON.stringify(parts)}`);
        compared++;
      }
    }
  }
  assert.ok(compared > 500, `${compared} texts were compared`);
});
