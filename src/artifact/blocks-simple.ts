/**
 * The formats with one scale a block: Q4_0 … Q8_0, IQ4_NL, the ternary TQ1_0 and TQ2_0, and the 4-bit floats MXFP4
 * (OCP Microscaling 1.0) and NVFP4. A nibble format keeps weight i in the low half of byte i and weight i + n/2 in the
 * high half.
 */
import type { BlockDecoder, GeneralLayout } from "./general-layout.ts";
import { halfToNumber } from "./half.ts";

const int8View = (values: readonly number[]) => new DataView(Int8Array.from(values).buffer);

/** The levels of IQ4_NL and IQ4_XS. */
export const IQ4_LEVELS = int8View([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]);
/** E2M1 values, doubled to be integers (the scale is halved for it). */
const FP4_LEVELS = int8View([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]);

export const half = (src: DataView, at: number): number => halfToNumber(src.getUint16(at, true));

/** 2 × `bytes` weights from nibbles; `level` maps a nibble to its code. */
export function nibbles(
  src: DataView,
  at: number,
  bytes: number,
  codes: Int8Array,
  w: number,
  level: (nibble: number) => number,
): void {
  for (let i = 0; i < bytes; i++) {
    const byte = src.getUint8(at + i);
    codes[w + i] = level(byte & 15);
    codes[w + bytes + i] = level(byte >> 4);
  }
}

/** 32 weights of 5 bits: nibbles as above, the fifth bits in a 32-bit word. */
function fiveBits(src: DataView, high: number, low: number, codes: Int8Array, w: number, offset: number): void {
  const bits = src.getUint32(high, true);
  for (let i = 0; i < 16; i++) {
    const byte = src.getUint8(low + i);
    codes[w + i] = ((byte & 15) | (((bits >>> i) & 1) << 4)) - offset;
    codes[w + 16 + i] = ((byte >> 4) | (((bits >>> (i + 16)) & 1) << 4)) - offset;
  }
}

export const Q4_0: BlockDecoder = {
  groupSize: 32,
  hasMin: false,
  decode(src, at, out, w) {
    out.scales[w / 32] = half(src, at);
    nibbles(src, at + 2, 16, out.codes, w, (n) => n - 8);
  },
};

export const Q4_1: BlockDecoder = {
  groupSize: 32,
  hasMin: true,
  decode(src, at, out, w) {
    out.scales[w / 32] = half(src, at);
    out.mins[w / 32] = half(src, at + 2);
    nibbles(src, at + 4, 16, out.codes, w, (n) => n);
  },
};

export const Q5_0: BlockDecoder = {
  groupSize: 32,
  hasMin: false,
  decode(src, at, out, w) {
    out.scales[w / 32] = half(src, at);
    fiveBits(src, at + 2, at + 6, out.codes, w, 16);
  },
};

export const Q5_1: BlockDecoder = {
  groupSize: 32,
  hasMin: true,
  decode(src, at, out, w) {
    out.scales[w / 32] = half(src, at);
    out.mins[w / 32] = half(src, at + 2);
    fiveBits(src, at + 4, at + 8, out.codes, w, 0);
  },
};

export const Q8_0: BlockDecoder = {
  groupSize: 32,
  hasMin: false,
  decode(src, at, out, w) {
    out.scales[w / 32] = half(src, at);
    for (let i = 0; i < 32; i++) out.codes[w + i] = src.getInt8(at + 2 + i);
  },
};

export const IQ4_NL: BlockDecoder = {
  groupSize: 32,
  hasMin: false,
  decode(src, at, out, w) {
    out.scales[w / 32] = half(src, at);
    nibbles(src, at + 2, 16, out.codes, w, (n) => IQ4_LEVELS.getInt8(n));
  },
};

export const MXFP4: BlockDecoder = {
  groupSize: 32,
  hasMin: false,
  decode(src, at, out, w) {
    // E8M0: a power of two, 2^(e-127), halved for the doubled levels.
    out.scales[w / 32] = 2 ** (src.getUint8(at) - 128);
    nibbles(src, at + 1, 16, out.codes, w, (n) => FP4_LEVELS.getInt8(n));
  },
};

export const NVFP4: BlockDecoder = {
  groupSize: 16,
  hasMin: false,
  decode(src, at, out, w) {
    for (let s = 0; s < 4; s++) {
      out.scales[w / 16 + s] = unsignedE4m3(src.getUint8(at + s)) / 2;
      nibbles(src, at + 4 + 8 * s, 8, out.codes, w + 16 * s, (n) => FP4_LEVELS.getInt8(n));
    }
  },
};

/** An 8-bit float without a sign: 4 bits of exponent (bias 7), 3 of fraction; 0x7f (not a number) counts as 0. */
function unsignedE4m3(byte: number): number {
  const exponent = (byte >> 3) & 15;
  const fraction = byte & 7;
  if (byte === 0x7f) return 0;
  return exponent === 0 ? fraction * 2 ** -9 : (8 + fraction) * 2 ** (exponent - 10);
}

/** One scale for all 256 weights, given to each group of 32. */
function setScales(out: GeneralLayout, w: number, scale: number): void {
  out.scales.fill(scale, w / 32, w / 32 + 8);
}

/**
 * Digits of base 3, five (or four) to a byte, kept as the fraction digits / 243 × 256 rounded up: a multiplication by
 * 3 pushes the next digit out at the top.
 */
export const TQ1_0: BlockDecoder = {
  groupSize: 32,
  hasMin: false,
  decode(src, at, out, w) {
    setScales(out, w, half(src, at + 52));
    for (const [first, bytes, digits] of [
      [0, 32, 5],
      [32, 16, 5],
      [48, 4, 4],
    ] as const) {
      for (let i = 0; i < bytes; i++) {
        let fraction = src.getUint8(at + first + i);
        for (let digit = 0; digit < digits; digit++) {
          fraction *= 3;
          out.codes[w + first * 5 + digit * bytes + i] = (fraction >> 8) - 1;
          fraction &= 255;
        }
      }
    }
  },
};

export const TQ2_0: BlockDecoder = {
  groupSize: 32,
  hasMin: false,
  decode(src, at, out, w) {
    setScales(out, w, half(src, at + 64));
    for (let i = 0; i < 256; i++) {
      // Two halves of 128 weights; in each, 32 bytes with the weights i, i + 32, i + 64, i + 96 two bits each.
      const byte = src.getUint8(at + (i >> 7) * 32 + (i & 31));
      out.codes[w + i] = ((byte >> (((i >> 5) & 3) * 2)) & 3) - 1;
    }
  },
};
