/**
 * The IQ formats of 1 to 3 bits: super-blocks of 256 weights, in which 8 (or 4) neighbours are one entry of a code
 * book (`iq-grids.ts`) with signs beside it. Codes are grid values with their signs, so that no minimum is needed;
 * IQ1's shift of ±1/8 is folded in as code = 8 × grid ± 1 under an eighth of the scale.
 */
import { half } from "./blocks-simple.ts";
import type { BlockDecoder } from "./general-layout.ts";
import { halfToNumber } from "./half.ts";
import { evenSigns, IQ1_GRID, IQ2_S_GRID, IQ2_XS_GRID, IQ2_XXS_GRID, IQ3_S_GRID, IQ3_XXS_GRID } from "./iq-grids.ts";

/** `count` weights from grid entry `entry`; bit i of `signs` negates weight i. */
function signed(grid: DataView, entry: number, count: number, signs: number, codes: Int8Array, w: number): void {
  for (let i = 0; i < count; i++) {
    const level = grid.getInt8(entry * count + i);
    codes[w + i] = (signs >> i) & 1 ? -level : level;
  }
}

/** Bytes: d; for each 32 weights four grid bytes and a word of four 7-bit signs and a 4-bit scale. */
export const IQ2_XXS: BlockDecoder = {
  groupSize: 32,
  hasMin: false,
  decode(src, at, out, w) {
    const d = half(src, at);
    for (let s = 0; s < 8; s++) {
      const word = src.getUint32(at + 2 + 8 * s + 4, true);
      out.scales[w / 32 + s] = (d * (2 * (word >>> 28) + 1)) / 8;
      for (let j = 0; j < 4; j++) {
        const entry = src.getUint8(at + 2 + 8 * s + j);
        signed(IQ2_XXS_GRID, entry, 8, evenSigns((word >>> (7 * j)) & 127), out.codes, w + 32 * s + 8 * j);
      }
    }
  },
};

/** Bytes: d; 32 words of a 9-bit entry and 7-bit signs; 16 nibble scales. */
export const IQ2_XS: BlockDecoder = {
  groupSize: 16,
  hasMin: false,
  decode(src, at, out, w) {
    const d = half(src, at);
    for (let s = 0; s < 16; s++) {
      out.scales[w / 16 + s] = (d * (2 * nibble(src, at + 66, s) + 1)) / 8;
    }
    for (let j = 0; j < 32; j++) {
      const word = src.getUint16(at + 2 + 2 * j, true);
      signed(IQ2_XS_GRID, word & 511, 8, evenSigns(word >> 9), out.codes, w + 8 * j);
    }
  },
};

const nibble = (src: DataView, at: number, index: number) =>
  (src.getUint8(at + (index >> 1)) >> ((index & 1) * 4)) & 15;

/** Bytes: d; 32 low entry bytes; 32 sign bytes; 8 bytes of two high entry bits each; 16 nibble scales. */
export const IQ2_S: BlockDecoder = {
  groupSize: 16,
  hasMin: false,
  decode(src, at, out, w) {
    const d = half(src, at);
    for (let s = 0; s < 16; s++) {
      out.scales[w / 16 + s] = (d * (2 * nibble(src, at + 74, s) + 1)) / 8;
    }
    for (let j = 0; j < 32; j++) {
      const high = (src.getUint8(at + 66 + (j >> 2)) >> ((j & 3) * 2)) & 3;
      const entry = src.getUint8(at + 2 + j) | (high << 8);
      signed(IQ2_S_GRID, entry, 8, src.getUint8(at + 34 + j), out.codes, w + 8 * j);
    }
  },
};

/** Bytes: d; 64 grid bytes of four weights; for each 32 weights a word of four 7-bit signs and a 4-bit scale. */
export const IQ3_XXS: BlockDecoder = {
  groupSize: 32,
  hasMin: false,
  decode(src, at, out, w) {
    const d = half(src, at);
    for (let s = 0; s < 8; s++) {
      const word = src.getUint32(at + 66 + 4 * s, true);
      out.scales[w / 32 + s] = (d * (2 * (word >>> 28) + 1)) / 4;
      for (let j = 0; j < 8; j++) {
        const signs = evenSigns((word >>> (7 * (j >> 1))) & 127) >> ((j & 1) * 4);
        signed(IQ3_XXS_GRID, src.getUint8(at + 2 + 8 * s + j), 4, signs, out.codes, w + 32 * s + 4 * j);
      }
    }
  },
};

/** Bytes: d; 64 low entry bytes of four weights; 8 bytes of ninth bits; 32 sign bytes; 8 nibble scales. */
export const IQ3_S: BlockDecoder = {
  groupSize: 32,
  hasMin: false,
  decode(src, at, out, w) {
    const d = half(src, at);
    for (let s = 0; s < 8; s++) out.scales[w / 32 + s] = d * (2 * nibble(src, at + 106, s) + 1);
    for (let j = 0; j < 64; j++) {
      const ninth = (src.getUint8(at + 66 + (j >> 3)) >> (j & 7)) & 1;
      const signs = nibble(src, at + 74, j);
      signed(IQ3_S_GRID, src.getUint8(at + 2 + j) | (ninth << 8), 4, signs, out.codes, w + 4 * j);
    }
  },
};

/** Eight weights of IQ1: 8 × grid + shift, with a shift of 1 or -1. */
function shifted(entry: number, shift: number, codes: Int8Array, w: number): void {
  for (let i = 0; i < 8; i++) codes[w + i] = 8 * IQ1_GRID.getInt8(entry * 8 + i) + shift;
}

/** Bytes: d; 32 low entry bytes; for each 32 weights a word: four times three high bits, a 3-bit scale, the shift. */
export const IQ1_S: BlockDecoder = {
  groupSize: 32,
  hasMin: false,
  decode(src, at, out, w) {
    const d = half(src, at);
    for (let s = 0; s < 8; s++) {
      const word = src.getUint16(at + 34 + 2 * s, true);
      out.scales[w / 32 + s] = (d * (2 * ((word >> 12) & 7) + 1)) / 8;
      for (let j = 0; j < 4; j++) {
        const entry = src.getUint8(at + 2 + 4 * s + j) | (((word >> (3 * j)) & 7) << 8);
        shifted(entry, word & 0x8000 ? -1 : 1, out.codes, w + 32 * s + 8 * j);
      }
    }
  },
};

/**
 * Bytes: 32 low entry bytes; 16 bytes of nibbles (three high bits and the shift, for each 8 weights); four words of
 * four 3-bit scales, whose top nibbles together are the half d.
 */
export const IQ1_M: BlockDecoder = {
  groupSize: 16,
  hasMin: false,
  decode(src, at, out, w) {
    const word = (i: number) => src.getUint16(at + 48 + 2 * i, true);
    const d = halfToNumber((word(0) >> 12) | ((word(1) >> 12) << 4) | ((word(2) >> 12) << 8) | ((word(3) >> 12) << 12));
    for (let s = 0; s < 16; s++) {
      out.scales[w / 16 + s] = (d * (2 * ((word(s >> 2) >> (3 * (s & 3))) & 7) + 1)) / 8;
    }
    for (let j = 0; j < 32; j++) {
      const high = nibble(src, at + 32, j);
      shifted(src.getUint8(at + j) | ((high & 7) << 8), high & 8 ? -1 : 1, out.codes, w + 8 * j);
    }
  },
};
