/**
 * GGUF files name their pre-tokenizer ("llama-bpe"); this table says what each name stands for, in the terms of the
 * tokenizer.json that the model's makers published. Where llama.cpp approximates one (no Unicode normalisation,
 * Falcon's digits), the makers' own definition counts.
 */
import type { MetaObject } from "../artifact/artifact.ts";
import { GPT2_PATTERN } from "./pre-tokenizer.ts";

export interface NamedPreTokenizer {
  readonly normalizer?: MetaObject;
  readonly preTokenizer: MetaObject;
  /** Pieces that are tokens stay whole. */
  readonly ignoreMerges?: boolean;
  readonly addBos?: boolean;
}

const NFC: MetaObject = { type: "NFC" };
const BYTES: MetaObject = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
const GPT2: MetaObject = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
const EACH_DIGIT: MetaObject = { type: "Digits", individual_digits: true };

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const SPACES = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;
/** GPT-4's pattern with its count of digits, as Llama 3 and Qwen 2 use it. */
const cl100k = (digits: string): string =>
  String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|${SPACES}`;
/** GPT-4o's: words fall apart where upper case follows lower case. */
const o200k = (digits: string, contractions: string): string =>
  String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+${contractions}|` +
  String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*${contractions}|` +
  String.raw`${digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${SPACES}`;
const QWEN35 = String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|${SPACES}`;
const SEED_CODER = String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|${SPACES}`;
const BAILING = String.raw`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`;
const CJK = String.raw`[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+`;
/** Latin, Greek, Cyrillic, Armenian, Georgian, Cherokee … letters, as DeepSeek lists them. */
const DEEPSEEK_LETTERS = String.raw`\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+`;
const DEEPSEEK_PUNCTUATION = String.raw`\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+`;
const DEEPSEEK_V3 = String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${"`"}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|${SPACES}`;

function split(pattern: string): MetaObject {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
}

function sequence(...pretokenizers: readonly MetaObject[]): MetaObject {
  return { type: "Sequence", pretokenizers };
}

/** Undefined where the name is not known. "default" is llama.cpp's guess for files from before names. */
export function namedPreTokenizer(name: string): NamedPreTokenizer | undefined {
  switch (name) {
    case "gpt-2":
    case "phi-2":
    case "gigachat":
    case "jais":
    case "exaone4":
    case "a.x-4.0":
    case "mellum":
    case "trillion":
    case "granite-docling":
      return { preTokenizer: GPT2 };
    case "mpt":
    case "olmo":
      return { normalizer: NFC, preTokenizer: GPT2 };
    case "starcoder":
    case "refact":
    case "smollm":
    case "codeshell":
    case "minerva-7b":
    case "mellum2":
      return { preTokenizer: sequence(EACH_DIGIT, GPT2) };
    case "command-r":
    case "exaone":
      return { normalizer: NFC, preTokenizer: sequence(EACH_DIGIT, GPT2) };
    case "llama3":
    case "llama-v3":
    case "llama-bpe":
    case "falcon3":
    case "falcon-h1":
    case "pixtral":
    case "lfm2":
      return { preTokenizer: sequence(split(cl100k(String.raw`\p{N}{1,3}`)), BYTES), ignoreMerges: true, addBos: true };
    case "dbrx":
    case "smaug-bpe":
    case "glm4":
    case "chatglm-bpe":
      return { preTokenizer: sequence(split(cl100k(String.raw`\p{N}{1,3}`)), BYTES) };
    case "qwen2":
    case "deepseek-r1-qwen":
    case "stablelm2":
    case "megrez":
    case "hunyuan":
      return { normalizer: NFC, preTokenizer: sequence(split(cl100k(String.raw`\p{N}`)), BYTES) };
    case "grok-2":
    case "solar-open":
      return { preTokenizer: sequence(split(cl100k(String.raw`\p{N}`)), BYTES) };
    case "qwen35":
      return { normalizer: NFC, preTokenizer: sequence(split(QWEN35), BYTES) };
    case "seed-coder":
      return { preTokenizer: sequence(split(SEED_CODER), BYTES) };
    case "bailingmoe":
    case "bailingmoe2":
    case "llada-moe":
      return { preTokenizer: sequence(split(BAILING), BYTES) };
    case "gpt-4o":
    case "llama4":
    case "kanana2":
    case "minimax-m2":
      return { preTokenizer: sequence(split(o200k(String.raw`\p{N}{1,3}`, `${CONTRACTIONS}?`)), BYTES) };
    case "tekken":
      return { preTokenizer: sequence(split(o200k(String.raw`\p{N}`, "")), BYTES), ignoreMerges: true, addBos: true };
    case "deepseek-llm":
      return {
        preTokenizer: sequence(
          split("[\r\n]"),
          split(DEEPSEEK_LETTERS),
          split(DEEPSEEK_PUNCTUATION),
          split(String.raw`\s+$`),
          split(CJK),
          EACH_DIGIT,
          BYTES,
        ),
      };
    case "deepseek-coder":
      return {
        preTokenizer: sequence(
          split("[\r\n]"),
          split(String.raw`\s?\p{L}+`),
          split(String.raw`\s?\p{P}+`),
          split(CJK),
          EACH_DIGIT,
          BYTES,
        ),
      };
    case "deepseek-v3":
    case "hunyuan-dense":
      return {
        preTokenizer: sequence(
          split(String.raw`\p{N}{1,3}`),
          split(String.raw`[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+`),
          split(DEEPSEEK_V3),
          BYTES,
        ),
      };
    case "falcon":
      return {
        preTokenizer: sequence(
          { type: "Punctuation", behavior: "Contiguous" },
          GPT2,
          { type: "Digits", individual_digits: false },
          split("[0-9][0-9][0-9]"),
        ),
      };
    case "default":
      return {
        preTokenizer: sequence(
          split(String.raw`[\p{P}\$\+<=>\^~\|]+`),
          split(GPT2_PATTERN),
          split(String.raw`\p{N}+`),
          split("[0-9][0-9][0-9]"),
          BYTES,
        ),
      };
    default:
      return undefined;
  }
}
