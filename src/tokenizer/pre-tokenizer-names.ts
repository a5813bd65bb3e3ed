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
const cl100k = (digits: string): string => String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|${SPACES}`;
/** GPT-4o's: words fall apart where upper case follows lower case. */
const o200k = (digits: string, contractions: string): string =>
  String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+${contractions}|` +
  String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*${contractions}|` +
  String.raw`${digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${SPACES}`;
const QWEN35 = String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|${SPACES}`;
const SEED_CODER = String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|${SPACES}`;
const BAILING = String.raw`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`;
const CJK = "[一-龥ࠀ-一가-퟿]+";
const DEEPSEEK_LETTERS = String.raw`\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+`;
const DEEPSEEK_PUNCTUATION = String.raw`\s?[!-/:-~！-／：-～‘-‟　-。]+`;
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
      return { preTokenizer: sequence(split("[\r\n]"), split(DEEPSEEK_LETTERS), split(DEEPSEEK_PUNCTUATION), split(String.raw`\s+$`), split(CJK), EACH_DIGIT, BYTES) };
    case "deepseek-coder":
      return { preTokenizer: sequence(split("[\r\n]"), split(String.raw`\s?\p{L}+`), split(String.raw`\s?\p{P}+`), split(CJK), EACH_DIGIT, BYTES) };
    case "deepseek-v3":
    case "hunyuan-dense":
      return { preTokenizer: sequence(split(String.raw`\p{N}{1,3}`), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK_V3), BYTES) };
    case "falcon":
      return {
        preTokenizer: sequence({ type: "Punctuation", behavior: "Contiguous" }, GPT2, { type: "Digits", individual_digits: false }, split("[0-9][0-9][0-9]")),
      };
    case "default":
      return {
        preTokenizer: sequence(split(String.raw`[\p{P}\$\+<=>\^~\|]+`), split(GPT2_PATTERN), split(String.raw`\p{N}+`), split("[0-9][0-9][0-9]"), BYTES),
      };
    default:
      return undefined;
  }
}
