import assert from "node:assert/strict";
import { test } from "node:test";
import { randomText, seededRandom } from "../../test/random-text.ts";
import type { MetaObject, MetaValue } from "../artifact/artifact.ts";
import { ArtifactError, type MillraceError, UnsupportedError } from "../errors.ts";
import { byteAlphabet } from "./byte-alphabet.ts";
import { createTokenizer, type Tokenizer } from "./tokenizer.ts";

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const BYTE = 6;

/** A byte-level vocabulary: the 256 bytes, some merges, control tokens. */
function byteLevel(pre: string, more: MetaObject = {}): { [key: string]: MetaValue | undefined } {
  const merges = [
    "h e",
    "l l",
    "he ll",
    "hell o",
    "Ġ w",
    "o r",
    "Ġw or",
    "l d",
    "Ġwor ld",
    "Ġ Ġ",
    "ĠĠ ĠĠ",
    "a a",
    "aa aa",
    "aaaa aaaa",
    "1 2",
    "12 3",
    "Ã ©",
    "ä ¸",
    "ä¸ Ń",
    "ð Ł",
  ];
  const tokens = [
    ...byteAlphabet().chars,
    ...merges.map((merge) => merge.replace(" ", "")),
    "<|bos|>",
    "<|im_end|>",
    "<tag>",
  ];
  const types = tokens.map((_, id) =>
    id === tokens.length - 1 ? USER_DEFINED : id >= tokens.length - 3 ? CONTROL : NORMAL,
  );
  return {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": pre,
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.token_type": Int32Array.from(types),
    "tokenizer.ggml.merges": merges,
    "tokenizer.ggml.bos_token_id": tokens.length - 3,
    "tokenizer.ggml.eos_token_id": tokens.length - 2,
    ...more,
  };
}

/** A SentencePiece vocabulary: <unk>, <s>, </s>, the byte tokens, characters and some words. */
function sentencePiece(more: MetaObject = {}): { [key: string]: MetaValue | undefined } {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const words = [
    "▁",
    "h",
    "e",
    "l",
    "o",
    "w",
    "r",
    "d",
    "a",
    "é",
    "s",
    "<",
    ">",
    "ll",
    "he",
    "▁w",
    "or",
    "hell",
    "ld",
    "▁wor",
    "hello",
    "▁world",
    "▁hello",
    "▁▁",
    "aa",
    "aaaa",
    "<s",
    "xy",
    "ac",
  ];
  const tokens = ["<unk>", "<s>", "</s>", ...bytes, ...words];
  const scores = tokens.map((_, id) => (id < 3 + bytes.length ? 0 : -(id - bytes.length)));
  const types = tokens.map((_, id) => (id === 0 ? UNKNOWN : id < 3 ? CONTROL : id < 259 ? BYTE : NORMAL));
  return {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.scores": Float32Array.from(scores),
    "tokenizer.ggml.token_type": Int32Array.from(types),
    ...more,
  };
}

function gguf(metadata: MetaObject): Tokenizer {
  return createTokenizer({ format: "gguf", metadata });
}

function pieces(tokenizer: Tokenizer, text: string, parseSpecial = false): string[] {
  return Array.from(tokenizer.encode(text, { addSpecial: false, parseSpecial }), (id) => tokenizer.tokenText(id));
}

test("where other tokens end an answer, <|end|> ends one of its messages only", () => {
  const harmony = ["<|end|>", "<|return|>", "<|call|>"];
  for (const specials of [harmony, harmony.slice(0, 1)]) {
    const tokens = ["a", "b", ...specials];
    const tokenizer = gguf({
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.pre": "gpt-2",
      "tokenizer.ggml.tokens": tokens,
      "tokenizer.ggml.merges": [],
      "tokenizer.ggml.token_type": Int32Array.from(tokens, (_, id) => (id < 2 ? NORMAL : CONTROL)),
    });
    const stops = [...tokenizer.stopIds].map((id) => tokenizer.tokenText(id));
    assert.deepEqual(stops, specials.length === 3 ? ["<|return|>", "<|call|>"] : ["<|end|>"]);
  }
});

test("byte-level: merges, control tokens, BOS", () => {
  const tokenizer = gguf(byteLevel("gpt-2", { "tokenizer.ggml.add_bos_token": true }));
  assert.deepEqual(pieces(tokenizer, "hello world"), ["hello", " world"]);
  assert.deepEqual(pieces(tokenizer, "a<|im_end|>b", true), ["a", "<|im_end|>", "b"]);
  assert.equal(pieces(tokenizer, "<|im_end|>").length, 10);
  assert.deepEqual(pieces(tokenizer, "a<tag>b"), ["a", "<tag>", "b"]);
  assert.deepEqual([...tokenizer.encode("")], [tokenizer.bosId]);
  assert.deepEqual([...tokenizer.encode("", { addSpecial: false })], []);
  assert.ok(tokenizer.addBos && !tokenizer.addEos);
  const stop = tokenizer.tokenId("<|im_end|>") ?? -1;
  assert.deepEqual([...tokenizer.stopIds], [stop]);
  assert.ok(tokenizer.isSpecial(stop) && !tokenizer.isSpecial(0));
  assert.equal(tokenizer.tokenBytes(stop).length, 0);
  assert.equal(tokenizer.tokenBytes(stop, true).length, 10);
  assert.equal(tokenizer.decode([stop, 72]), String.fromCharCode(72));
  assert.equal(tokenizer.decode([stop, 72], { skipSpecial: false }), "<|im_end|>H");
});

test("SentencePiece: dummy prefix, byte fallback, no forged control tokens", () => {
  const tokenizer = gguf(sentencePiece());
  assert.deepEqual(pieces(tokenizer, "hello world"), [" hello", " world"]);
  assert.equal(tokenizer.encode("hello")[0], 1);
  assert.equal(tokenizer.decode(tokenizer.encode("hello world")), "hello world");
  assert.equal(tokenizer.decode(tokenizer.encode(" hello")), " hello");
  assert.equal(tokenizer.decode(tokenizer.encode("hello", { addSpecial: false }), { continues: true }), " hello");
  assert.equal(tokenizer.decode(tokenizer.encode("中é😀")), "中é😀");
  assert.deepEqual(
    Array.from(tokenizer.encode("é中", { addSpecial: false }).subarray(1), (id) => tokenizer.tokenBytes(id).length),
    [2, 1, 1, 1],
  );
  assert.ok(!tokenizer.encode("<s>", { addSpecial: false }).includes(1));
  assert.deepEqual(
    [...tokenizer.encode("a<s>a", { addSpecial: false, parseSpecial: true })].filter((id) => id === 1),
    [1],
  );
  // "c" is no token, but "ac" is.
  assert.deepEqual(pieces(tokenizer, "ac").slice(1), ["ac"]);
  assert.equal(tokenizer.decode(tokenizer.encode("c ac cc")), "c ac cc");
});

test("SentencePiece without a dummy prefix (Gemma)", () => {
  const tokenizer = gguf(
    sentencePiece({
      "tokenizer.ggml.add_space_prefix": false,
      "tokenizer.ggml.add_bos_token": false,
      "tokenizer.ggml.add_eos_token": true,
    }),
  );
  assert.deepEqual([...tokenizer.encode("hello")], [tokenizer.tokenId("hello"), 2]);
  assert.equal(tokenizer.decode(tokenizer.encode(" hello  world")), " hello  world");
});

test("every pre-tokenizer gives any text back", () => {
  const names = [
    "gpt-2",
    "mpt",
    "olmo",
    "starcoder",
    "refact",
    "smollm",
    "command-r",
    "llama-bpe",
    "dbrx",
    "chatglm-bpe",
    "qwen2",
    "qwen35",
    "stablelm2",
    "seed-coder",
    "bailingmoe",
    "gpt-4o",
    "llama4",
    "tekken",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "falcon",
    "default",
    "phi-2",
  ];
  for (const name of names) {
    const tokenizer = gguf(byteLevel(name));
    const normalized = ["mpt", "olmo", "command-r", "qwen2", "qwen35", "stablelm2"].includes(name);
    for (let i = 0; i < 60; i++) {
      const text = normalized ? randomText(5, i).normalize("NFC") : randomText(5, i);
      if (normalized && text.normalize("NFC") !== text) continue;
      const ids = tokenizer.encode(text, { addSpecial: false });
      assert.equal(tokenizer.decode(ids), text, `${name}: ${JSON.stringify(text)}`);
      assert.deepEqual(tokenizer.encode(text, { addSpecial: false }), ids, "the second time, from the cache");
    }
  }
});

test("a stream emits whole characters only, and all of decode()", () => {
  for (const metadata of [
    byteLevel("gpt-2"),
    sentencePiece(),
    sentencePiece({ "tokenizer.ggml.add_space_prefix": false }),
  ]) {
    const tokenizer = gguf(metadata);
    for (let i = 0; i < 200; i++) {
      const text = randomText(6, i);
      const ids = tokenizer.encode(text);
      const stream = tokenizer.stream();
      let streamed = "";
      for (const id of ids) {
        const part = stream.push(id);
        assert.ok(part.isWellFormed() && (text.includes("�") || !part.includes("�")));
        streamed += part;
      }
      assert.equal(stream.end(), "");
      assert.equal(streamed, tokenizer.decode(ids));
    }
  }
});

test("a stream's invalid bytes become U+FFFD, at the latest at its end", () => {
  const tokenizer = gguf(byteLevel("gpt-2"));
  const id = (byte: number): number => tokenizer.tokenId(byteAlphabet().chars[byte] ?? "") ?? -1;
  const stream = tokenizer.stream();
  assert.equal(stream.push(id(0xf0)) + stream.push(id(0x9f)), "");
  assert.equal(stream.push(id(0x41)), "\ufffdA");
  assert.equal(stream.push(id(0xe4)), "");
  assert.equal(stream.end(), "\ufffd");
  assert.equal(tokenizer.decode([id(0xff), 99_999, -1]), "\ufffd");
});

test("lone surrogates become U+FFFD", () => {
  const tokenizer = gguf(byteLevel("gpt-2"));
  assert.equal(tokenizer.decode(tokenizer.encode("a\ud800b\udc00")), "a\ufffdb\ufffd");
});

test("a million characters of one kind don't stall", { timeout: 120_000 }, () => {
  const size = 1_000_000;
  const cases: readonly (readonly [MetaObject, readonly string[]])[] = [
    [byteLevel("smollm"), ["a", " ", "7", "😀"]],
    [byteLevel("deepseek-coder"), ["\n", "!"]],
    [byteLevel("falcon"), ["7", "!"]],
    [byteLevel("gpt-4o"), ["A", "中"]],
    [sentencePiece(), ["a", " ", "中"]],
  ];
  for (const [metadata, units] of cases) {
    const tokenizer = gguf(metadata);
    for (const unit of units) {
      const text = unit.repeat(size / Buffer.byteLength(unit));
      const ids = tokenizer.encode(text, { addSpecial: false });
      assert.ok(ids.length > 0 && ids.length <= size + 1);
      assert.equal(tokenizer.decode(ids), text, unit);
    }
  }
});

test("malformed GGUF vocabularies are ArtifactErrors that name the field", () => {
  const cases: readonly (readonly [MetaObject, RegExp])[] = [
    [{}, /tokenizer\.ggml\.model/],
    [byteLevel("gpt-2", { "tokenizer.ggml.tokens": undefined }), /tokenizer\.ggml\.tokens/],
    [byteLevel("gpt-2", { "tokenizer.ggml.tokens": [] }), /tokenizer\.ggml\.tokens/],
    [byteLevel("gpt-2", { "tokenizer.ggml.tokens": ["a", 1] }), /tokenizer\.ggml\.tokens\[1\]/],
    [byteLevel("gpt-2", { "tokenizer.ggml.tokens": "abc" }), /tokenizer\.ggml\.tokens/],
    [byteLevel("gpt-2", { "tokenizer.ggml.token_type": Int32Array.of(1, 2) }), /tokenizer\.ggml\.token_type/],
    [byteLevel("gpt-2", { "tokenizer.ggml.merges": undefined }), /tokenizer\.ggml\.merges/],
    [byteLevel("gpt-2", { "tokenizer.ggml.merges": ["h e", "no such"] }), /tokenizer\.ggml\.merges\[1\].*"no"/],
    [byteLevel("gpt-2", { "tokenizer.ggml.merges": ["h"] }), /tokenizer\.ggml\.merges\[0\]/],
    [byteLevel("gpt-2", { "tokenizer.ggml.merges": [7] }), /tokenizer\.ggml\.merges\[0\]/],
    [byteLevel("gpt-2", { "tokenizer.ggml.bos_token_id": 1_000_000 }), /bos_token_id/],
    [byteLevel("gpt-2", { "tokenizer.ggml.eos_token_id": -2 }), /eos_token_id/],
    [byteLevel("gpt-2", { "tokenizer.ggml.eos_token_id": "x" }), /eos_token_id/],
    [byteLevel("gpt-2", { "tokenizer.ggml.add_bos_token": 1 }), /add_bos_token/],
    [sentencePiece({ "tokenizer.ggml.scores": undefined }), /tokenizer\.ggml\.scores/],
    [sentencePiece({ "tokenizer.ggml.scores": Float32Array.of(1) }), /tokenizer\.ggml\.scores/],
  ];
  for (const [metadata, expected] of cases)
    assert.throws(
      () => gguf(metadata),
      (error) => error instanceof ArtifactError && expected.test(error.message),
    );
  assert.throws(
    () => gguf(byteLevel("unheard-of")),
    (error) => error instanceof UnsupportedError && error.message.includes("unheard-of"),
  );
  assert.throws(
    () => gguf(byteLevel("gpt-2", { "tokenizer.ggml.model": "plamo2" })),
    (error) => error instanceof UnsupportedError && error.message.includes("plamo2"),
  );
});

const HF: MetaObject = {
  added_tokens: [{ id: 5, content: "</s>", special: true }],
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
  post_processor: {
    type: "TemplateProcessing",
    single: [{ Sequence: { id: "A" } }, { SpecialToken: { id: "</s>" } }],
    special_tokens: { "</s>": { id: "</s>", ids: [5] } },
  },
  decoder: { type: "ByteLevel" },
  model: { type: "BPE", vocab: { a: 0, b: 1, c: 2, ab: 3, abc: 4 }, merges: ["a b", ["ab", "c"]] },
};

test("tokenizer.json: merges in both writings, template, names from the config", () => {
  const tokenizer = createTokenizer({ format: "hf", tokenizer: HF, config: { eos_token: { content: "</s>" } } });
  assert.deepEqual([...tokenizer.encode("abcab")], [4, 3, 5]);
  assert.equal(tokenizer.eosId, 5);
  assert.ok(tokenizer.addEos && !tokenizer.addBos);
  assert.deepEqual([...tokenizer.stopIds], [5]);
});

test("tokenizer.json: what is unknown or malformed is named", () => {
  const model = { type: "BPE", vocab: { a: 0, b: 1 }, merges: [] };
  const cases: readonly (readonly [MetaObject, new (...args: never[]) => MillraceError, RegExp])[] = [
    [{ model: null }, ArtifactError, /model/],
    [{ model: { ...model, type: "WordLevel" } }, UnsupportedError, /WordLevel/],
    [{ model: { ...model, type: "Unigram" } }, ArtifactError, /vocab should be a list/],
    [{ model: { type: "Unigram", vocab: [] } }, ArtifactError, /vocab is empty/],
    [{ model: { type: "Unigram", vocab: [["a", "0"]] } }, ArtifactError, /vocab\[0\]/],
    [{ model: { type: "Unigram", vocab: [["a", 0]], unk_id: 1 } }, ArtifactError, /unk_id 1/],
    [{ model: { ...model, type: "WordPiece", max_input_chars_per_word: "x" } }, ArtifactError, /max_input_chars/],
    [{ model: { ...model, vocab: {} } }, ArtifactError, /vocab/],
    [{ model: { ...model, vocab: { a: -1 } } }, ArtifactError, /id/],
    [{ model: { ...model, vocab: { a: 1e9 } } }, ArtifactError, /id/],
    [{ model: { ...model, vocab: { a: "0" } } }, ArtifactError, /id/],
    [{ model: { ...model, merges: ["a c"] } }, ArtifactError, /"c"/],
    [{ model: { ...model, merges: ["a b"] } }, ArtifactError, /"ab"/],
    [{ model: { ...model, merges: "a b" } }, ArtifactError, /merges/],
    [{ model: { ...model, end_of_word_suffix: "</w>" } }, UnsupportedError, /end_of_word_suffix/],
    [{ normalizer: { type: "Nmt" } }, UnsupportedError, /Nmt/],
    [{ normalizer: { type: "Precompiled", precompiled_charsmap: "?" } }, ArtifactError, /base64/],
    [{ normalizer: { type: "Precompiled", precompiled_charsmap: "AAAA" } }, ArtifactError, /shorter than its header/],
    [{ normalizer: { type: "Precompiled", precompiled_charsmap: "/wAAAAAA" } }, ArtifactError, /trie of 255 bytes/],
    [{ pre_tokenizer: { type: "UnicodeScripts" } }, UnsupportedError, /UnicodeScripts/],
    [
      { pre_tokenizer: { type: "Split", pattern: { Regex: "(?<=x)y" }, behavior: "Isolated" } },
      UnsupportedError,
      /\(\?<=/,
    ],
    [
      { pre_tokenizer: { type: "Split", pattern: { String: "x" }, behavior: "Sideways" } },
      UnsupportedError,
      /Sideways/,
    ],
    [{ decoder: { type: "CTC" } }, UnsupportedError, /CTC/],
    [{ post_processor: { type: "RobertaProcessing" } }, ArtifactError, /cls should be a list/],
    [{ added_tokens: [{ id: 0.5, content: "x" }] }, ArtifactError, /added_tokens/],
    [{ added_tokens: [{ id: 7, content: "x".repeat(100_000) }] }, ArtifactError, /long/],
  ];
  for (const [change, kind, expected] of cases) {
    assert.throws(
      () => createTokenizer({ format: "hf", tokenizer: { ...HF, ...change }, config: {} }).encode("axy"),
      (error) => error instanceof kind && expected.test(error.message),
      JSON.stringify(change),
    );
  }
});

test("random damage to a vocabulary gives errors of ours, or a tokenizer that works", { timeout: 60_000 }, () => {
  const random = seededRandom(11);
  const junk: readonly MetaValue[] = [
    "",
    "x",
    0,
    -1,
    1e12,
    Number.NaN,
    null,
    true,
    [],
    [1],
    ["a b c"],
    {},
    { type: "x" },
    new Float32Array(3),
    12n,
  ];
  const damage = (value: MetaValue, depth: number): MetaValue => {
    if (
      random.below(depth === 0 ? 100 : 4) === 0 ||
      typeof value !== "object" ||
      value === null ||
      ArrayBuffer.isView(value)
    )
      return junk[random.below(junk.length)] ?? null;
    if (Array.isArray(value))
      return value.map((item, i) => (i === random.below(value.length) || i === 0 ? damage(item, depth + 1) : item));
    const keys = Object.keys(value);
    const chosen = keys[random.below(keys.length)];
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        key,
        key === chosen ? damage(item ?? null, depth + 1) : (item ?? null),
      ]),
    );
  };
  let errors = 0;
  for (let round = 0; round < 600; round++) {
    const source = [byteLevel("llama-bpe"), sentencePiece(), HF][round % 3] ?? HF;
    const damaged = damage(source, 0);
    const metadata =
      typeof damaged === "object" && damaged !== null && !Array.isArray(damaged) && !ArrayBuffer.isView(damaged)
        ? (damaged as MetaObject)
        : {};
    try {
      const tokenizer =
        round % 3 === 2 ? createTokenizer({ format: "hf", tokenizer: metadata, config: {} }) : gguf(metadata);
      tokenizer.decode(tokenizer.encode("hello abc <s> 中", { parseSpecial: true }));
    } catch (error) {
      assert.ok(
        error instanceof ArtifactError || error instanceof UnsupportedError,
        `round ${round}: ${String(error)} ${error instanceof Error ? error.stack : ""}`,
      );
      errors++;
    }
  }
  assert.ok(errors > 200 && errors < 600);
});
