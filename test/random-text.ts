/**
 * Random Unicode text from a seed, for comparing tokenizers: words, digits, white space of every kind, combining
 * marks, emoji sequences, scripts, unassigned code points, control characters and the texts of special tokens.
 * Integer arithmetic and fixed code point ranges only, so that the strings are the same on every platform: recorded
 * results refer to them by their number.
 */

export interface Random {
  /** A whole number from 0 up to before `limit`. */
  below(limit: number): number;
}

/** Mulberry32. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  return { below: (limit) => next() % limit };
}

const WORDS =
  "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which " +
  "Hello World HTML camelCase XMLHttpRequest naïve café Straße ΑΒΓ привет мир שלום مرحبا नमस्ते สวัสดี 你好世界 こんにちは 안녕하세요 " +
  "I'm don't we'll THEY'RE it'S you'Ve o'clock 'tis rock'n'roll x86_64 C++ f(x) a[i] == != /* */ // #define \\n \\t 3.14 1,000,000 0x1F 2024-01-01 " +
  "_underscore_ --flag http://example.com/a?b=c&d=e#f user@example.org $100 50% ½ ² ³ ⅷ ١٢٣ Ⅳ ﬁ ſ K Å é e\u0301 ǆ İ ı";

const PIECES: readonly string[] = WORDS.split(" ");
const SPACES = [
  " ",
  " ",
  " ",
  "  ",
  "   ",
  "\n",
  "\n\n",
  "\r\n",
  "\t",
  "\u00a0",
  "\u0085",
  "\u2003",
  "\u200b",
  "\u3000",
  "\ufeff",
  "\u1680",
  "\u2028",
  "\v",
  "\f",
  "▁",
  "▁▁",
  " ▁",
];
const SPECIALS = [
  "<|endoftext|>",
  "<|im_start|>",
  "<|im_end|>",
  "<s>",
  "</s>",
  "<unk>",
  "<0x0A>",
  "<0xE4>",
  "<|User|>",
  "<fim_prefix>",
  "<|padding|>",
  ">>TITLE<<",
  "<｜begin▁of▁sentence｜>",
  "<|EOT|>",
  "<pad>",
  "<|im_end",
  "<",
  "|>",
];
const EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🦙", "☕️", "❤️‍🔥", "1️⃣", "🧑🏿‍🚀"];
/** First and last code point. */
const RANGES: readonly (readonly [number, number])[] = [
  [0x20, 0x7e],
  [0x20, 0x7e],
  [0x30, 0x39],
  [0x00, 0x1f],
  [0x7f, 0xff],
  [0x100, 0x24f],
  [0x250, 0x36f],
  [0x370, 0x58f],
  [0x590, 0x7ff],
  [0x800, 0xdff],
  [0xe00, 0x12ff],
  [0x1300, 0x1fff],
  [0x2000, 0x2bff],
  [0x2c00, 0x2fff],
  [0x3000, 0x33ff],
  [0x3400, 0x9fff],
  [0xa000, 0xabff],
  [0xac00, 0xd7ff],
  [0xe000, 0xf8ff],
  [0xf900, 0xffff],
  [0x10000, 0x1ffff],
  [0x1f300, 0x1faff],
  [0x20000, 0x3ffff],
  [0xe0000, 0x10ffff],
];

function pick<T>(random: Random, list: readonly T[]): T {
  const item = list[random.below(list.length)];
  if (item === undefined) throw new Error("empty list");
  return item;
}

/** String number `index` of the sequence that `seed` begins: 1 to about 40 pieces. */
export function randomText(seed: number, index: number): string {
  const random = seededRandom((Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0);
  const count = 1 + random.below(index % 10 === 9 ? 40 : 12);
  let text = "";
  for (let i = 0; i < count; i++) {
    switch (random.below(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        text += pick(random, PIECES);
        break;
      case 4:
      case 5:
        text += pick(random, SPACES);
        break;
      case 6:
        text += pick(random, SPACES).repeat(1 + random.below(8));
        break;
      case 7:
        text += String(random.below(10 ** (1 + random.below(9))));
        break;
      case 8:
        text += pick(random, random.below(4) === 0 ? SPECIALS : EMOJI);
        break;
      case 9: {
        const [from, to] = pick(random, RANGES);
        const char = String.fromCodePoint(from + random.below(to - from + 1));
        text += char.repeat(1 + random.below(5));
        break;
      }
      default: {
        const [from, to] = pick(random, RANGES);
        for (let k = random.below(6); k >= 0; k--) text += String.fromCodePoint(from + random.below(to - from + 1));
      }
    }
    if (random.below(3) === 0) text += " ";
  }
  return text;
}

/** FNV-1a over the little-endian bytes of ids. */
export function hashIds(ids: ArrayLike<number>): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] ?? 0;
    for (let shift = 0; shift < 32; shift += 8) hash = Math.imul(hash ^ ((id >>> shift) & 255), 0x01000193);
  }
  return hash >>> 0;
}
