/**
 * The K formats (Q2_K … Q6_K) and IQ4_XS: super-blocks of 256 weights whose sub-blocks of 16 or 32 have a small
 * integer scale (and minimum) under one or two halves. scale = d × integer and min = -dmin × integer are exact.
 */
import { half, IQ4_LEVELS, nibbles } from "./blocks-simple.ts";
import type { BlockDecoder, GeneralLayout } from "./general-layout.ts";

/** Bytes: 16 scale/minimum nibbles, 64 of 2-bit codes, d, dmin. */
export const Q2_K: BlockDecoder = {
  groupSize: 16,
  hasMin: true,
  decode(src, at, out, w) {
    const d = half(src, at + 80);
    const dmin = half(src, at + 82);
    for (let s = 0; s < 16; s++) {
      const packed = src.getUint8(at + s);
      out.scales[w / 16 + s] = d * (packed & 15);
      out.mins[w / 16 + s] = -(dmin * (packed >> 4));
    }
    for (let i = 0; i < 256; i++) out.codes[w + i] = twoBits(src, at + 16, i);
  },
};

/** Weight i of 256 from 64 bytes: two halves of 32 bytes, four weights a byte, 32 apart. */
function twoBits(src: DataView, at: number, i: number): number {
  return (src.getUint8(at + (i >> 7) * 32 + (i & 31)) >> (((i >> 5) & 3) * 2)) & 3;
}

/** Bytes: 32 of third bits, 64 of 2-bit codes, 12 of sixteen 6-bit scales, d. */
export const Q3_K: BlockDecoder = {
  groupSize: 16,
  hasMin: false,
  decode(src, at, out, w) {
    const d = half(src, at + 108);
    for (let s = 0; s < 16; s++) {
      const low = (src.getUint8(at + 96 + (s & 7)) >> (s >= 8 ? 4 : 0)) & 15;
      const high = (src.getUint8(at + 104 + (s & 3)) >> ((s >> 2) * 2)) & 3;
      out.scales[w / 16 + s] = d * ((low | (high << 4)) - 32);
    }
    for (let i = 0; i < 256; i++) {
      const third = (src.getUint8(at + (i & 31)) >> (i >> 5)) & 1;
      out.codes[w + i] = twoBits(src, at + 32, i) - (third === 1 ? 0 : 4);
    }
  },
};

/**
 * Eight 6-bit scales and minimums in 12 bytes at `at + 4`, under the halves d and dmin at `at`: the low six bits of
 * scales and minimums 0..3 in bytes 0..3 and 4..7; 4..7's low nibbles in bytes 8..11, their high bits at the top of
 * bytes 0..7.
 */
function scalesAndMins(src: DataView, at: number, out: GeneralLayout, w: number): void {
  const d = half(src, at);
  const dmin = half(src, at + 2);
  for (let s = 0; s < 4; s++) {
    const a = src.getUint8(at + 4 + s);
    const b = src.getUint8(at + 8 + s);
    const c = src.getUint8(at + 12 + s);
    const group = w / 32 + s;
    out.scales[group] = d * (a & 63);
    out.mins[group] = -(dmin * (b & 63));
    out.scales[group + 4] = d * ((c & 15) | ((a >> 6) << 4));
    out.mins[group + 4] = -(dmin * ((c >> 4) | ((b >> 6) << 4)));
  }
}

/** Bytes: d, dmin, 12 of scales and minimums, 128 of nibbles (32 bytes hold 64 weights). */
export const Q4_K: BlockDecoder = {
  groupSize: 32,
  hasMin: true,
  decode(src, at, out, w) {
    scalesAndMins(src, at, out, w);
    for (let s = 0; s < 4; s++) nibbles(src, at + 16 + 32 * s, 32, out.codes, w + 64 * s, (n) => n);
  },
};

/** As Q4_K, with 32 bytes of fifth bits before the nibbles. */
export const Q5_K: BlockDecoder = {
  groupSize: 32,
  hasMin: true,
  decode(src, at, out, w) {
    scalesAndMins(src, at, out, w);
    for (let i = 0; i < 256; i++) {
      const low = (src.getUint8(at + 48 + (i >> 6) * 32 + (i & 31)) >> (((i >> 5) & 1) * 4)) & 15;
      const high = (src.getUint8(at + 16 + (i & 31)) >> (i >> 5)) & 1;
      out.codes[w + i] = low | (high << 4);
    }
  },
};

/** Bytes: 128 of low nibbles, 64 of high bit pairs, 16 int8 scales, d. */
export const Q6_K: BlockDecoder = {
  groupSize: 16,
  hasMin: false,
  decode(src, at, out, w) {
    const d = half(src, at + 208);
    for (let s = 0; s < 16; s++) out.scales[w / 16 + s] = d * src.getInt8(at + 192 + s);
    for (let i = 0; i < 256; i++) {
      // Two halves of 128 weights; in each, 64 bytes with weight i in the low and i + 64 in the high nibble.
      const low = (src.getUint8(at + (i >> 7) * 64 + (i & 63)) >> (((i >> 6) & 1) * 4)) & 15;
      out.codes[w + i] = (low | (twoBits(src, at + 128, i) << 4)) - 32;
    }
  },
};

/** Bytes: d, 2 of high scale bits, 4 of low scale nibbles, 128 of nibbles that index the IQ4 levels. */
export const IQ4_XS: BlockDecoder = {
  groupSize: 32,
  hasMin: false,
  decode(src, at, out, w) {
    const d = half(src, at);
    const high = src.getUint16(at + 2, true);
    for (let s = 0; s < 8; s++) {
      const low = (src.getUint8(at + 4 + (s >> 1)) >> ((s & 1) * 4)) & 15;
      out.scales[w / 32 + s] = d * ((low | (((high >> (2 * s)) & 3) << 4)) - 32);
      nibbles(src, at + 8 + 16 * s, 16, out.codes, w + 32 * s, (n) => IQ4_LEVELS.getInt8(n));
    }
  },
};
