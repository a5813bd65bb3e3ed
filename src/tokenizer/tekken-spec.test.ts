import assert from "node:assert/strict";
import { test } from "node:test";
import type { MetaObject } from "../artifact/artifact.ts";
import { ArtifactError } from "../errors.ts";
import { createTokenizer } from "./tokenizer.ts";

const config = { pattern: "\\s+|\\S+", default_vocab_size: 260, default_num_special_tokens: 3 };
const vocab = Array.from({ length: 258 }, (_, rank) => ({
  rank,
  token_bytes: btoa(rank < 256 ? String.fromCharCode(rank) : rank === 256 ? "ab" : "abab"),
}));
const document = { config, vocab };

test("control tokens come first, and tokens beyond the model's vocabulary are left out", () => {
  const tokenizer = createTokenizer({ format: "tekken", tekken: document });
  assert.equal(tokenizer.vocabSize, 260);
  assert.deepEqual([tokenizer.bosId, tokenizer.eosId], [1, 2]);
  assert.deepEqual([...tokenizer.encode("abab")], [1, 3 + 256, 3 + 256]);
  assert.deepEqual([...tokenizer.encode("</s>", { parseSpecial: true, addSpecial: false })], [2]);
  assert.equal(tokenizer.decode(tokenizer.encode("abab €")), "abab €");
});

test("malformed files are named", () => {
  const cases: readonly (readonly [MetaObject, RegExp])[] = [
    [{}, /config/],
    [{ ...document, config: { ...config, default_vocab_size: -1 } }, /default_vocab_size/],
    [{ ...document, config: { ...config, default_num_special_tokens: 300 } }, /300 control tokens/],
    [{ ...document, vocab: [{ rank: 1, token_bytes: "AA==" }] }, /vocab\[0\]/],
    [{ ...document, vocab: [{ rank: 0, token_bytes: "?" }] }, /base64/],
    [{ ...document, special_tokens: ["x"] }, /special_tokens/],
  ];
  for (const [tekken, message] of cases) {
    assert.throws(
      () => createTokenizer({ format: "tekken", tekken }),
      (error) => error instanceof ArtifactError && message.test(error.message),
      JSON.stringify(tekken).slice(0, 80),
    );
  }
});
