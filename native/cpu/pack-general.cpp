#include "pack-general.h"

#include <cmath>
#include <cstring>

#include "half.h"
#include "iq-grids.h"

namespace millrace {

constexpr int8_t kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// E2M1 values, doubled to be integers (the scale is halved for it).
constexpr int8_t kFp4Levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static uint32_t read16(const uint8_t* p) { return static_cast<uint32_t>(p[0] | (p[1] << 8)); }
static uint32_t read32(const uint8_t* p) { return read16(p) | (read16(p + 2) << 16); }
static float half(const uint8_t* p) { return halfToFloat(static_cast<uint16_t>(read16(p))); }
static int nibble(const uint8_t* p, int i) { return (p[i / 2] >> (i % 2 * 4)) & 15; }

// 2 · bytes weights: weight i is the low half of byte i, weight i + bytes the high half.
static void levels(const uint8_t* p, int bytes, const int8_t* table, int8_t* codes) {
  for (int i = 0; i < bytes; i++) {
    codes[i] = table[p[i] & 15];
    codes[bytes + i] = table[p[i] >> 4];
  }
}

// 32 weights: nibbles as above, the fifth bits in a 32-bit word.
static void fiveBits(const uint8_t* high, const uint8_t* low, int offset, int8_t* codes) {
  const uint32_t fifth = read32(high);
  for (int i = 0; i < 16; i++) {
    codes[i] = static_cast<int8_t>(((low[i] & 15) | ((fifth >> i & 1) << 4)) - static_cast<uint32_t>(offset));
    codes[16 + i] =
        static_cast<int8_t>(((low[i] >> 4) | ((fifth >> (16 + i) & 1) << 4)) - static_cast<uint32_t>(offset));
  }
}

// Weight i of 256 from 64 bytes: two halves of 32 bytes, four weights a byte, 32 apart.
static int twoBits(const uint8_t* p, int i) { return (p[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2)) & 3; }

void decodeQ5_0(const uint8_t* p, GeneralBlock& out) {
  out.scales[0] = half(p);
  fiveBits(p + 2, p + 6, 16, out.codes);
}

void decodeQ5_1(const uint8_t* p, GeneralBlock& out) {
  out.scales[0] = half(p);
  out.mins[0] = half(p + 2);
  fiveBits(p + 4, p + 8, 0, out.codes);
}

void decodeIQ4_NL(const uint8_t* p, GeneralBlock& out) {
  out.scales[0] = half(p);
  levels(p + 2, 16, kIq4Levels, out.codes);
}

void decodeMXFP4(const uint8_t* p, GeneralBlock& out) {
  // E8M0: a power of two, 2^(e − 127), halved for the doubled levels.
  out.scales[0] = std::ldexp(1.0f, p[0] - 128);
  levels(p + 1, 16, kFp4Levels, out.codes);
}

// An 8-bit float without a sign: 4 bits of exponent (bias 7), 3 of fraction; 0x7f (not a number) counts as 0.
static float unsignedE4m3(uint8_t byte) {
  const int exponent = (byte >> 3) & 15, fraction = byte & 7;
  if (byte == 0x7f) return 0;
  return exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                       : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
}

void decodeNVFP4(const uint8_t* p, GeneralBlock& out) {
  for (int s = 0; s < 4; s++) {
    out.scales[s] = unsignedE4m3(p[s]) / 2;
    levels(p + 4 + 8 * s, 8, kFp4Levels, out.codes + 16 * s);
  }
}

static void setScales(GeneralBlock& out, float scale) {
  for (int s = 0; s < 8; s++) out.scales[s] = scale;
}

// Digits of base 3, five (or four) to a byte, kept as the fraction digits / 243 · 256 rounded up: a multiplication by 3
// pushes the next digit out at the top.
static void digits(const uint8_t* p, int bytes, int count, int8_t* codes) {
  for (int i = 0; i < bytes; i++) {
    int fraction = p[i];
    for (int digit = 0; digit < count; digit++) {
      fraction *= 3;
      codes[digit * bytes + i] = static_cast<int8_t>((fraction >> 8) - 1);
      fraction &= 255;
    }
  }
}

void decodeTQ1_0(const uint8_t* p, GeneralBlock& out) {
  setScales(out, half(p + 52));
  digits(p, 32, 5, out.codes);
  digits(p + 32, 16, 5, out.codes + 160);
  digits(p + 48, 4, 4, out.codes + 240);
}

void decodeTQ2_0(const uint8_t* p, GeneralBlock& out) {
  setScales(out, half(p + 64));
  for (int i = 0; i < 256; i++) out.codes[i] = static_cast<int8_t>(twoBits(p, i) - 1);
}

// 16 scale/minimum nibbles, 64 bytes of 2-bit codes, d, dmin.
void decodeQ2_K(const uint8_t* p, GeneralBlock& out) {
  const float d = half(p + 80), dmin = half(p + 82);
  for (int s = 0; s < 16; s++) {
    out.scales[s] = d * static_cast<float>(p[s] & 15);
    out.mins[s] = -(dmin * static_cast<float>(p[s] >> 4));
  }
  for (int i = 0; i < 256; i++) out.codes[i] = static_cast<int8_t>(twoBits(p + 16, i));
}

// 32 bytes of third bits, 64 of 2-bit codes, 12 of sixteen 6-bit scales, d.
void decodeQ3_K(const uint8_t* p, GeneralBlock& out) {
  const float d = half(p + 108);
  for (int s = 0; s < 16; s++) {
    const int low = (p[96 + s % 8] >> (s / 8 * 4)) & 15, high = (p[104 + s % 4] >> (s / 4 * 2)) & 3;
    out.scales[s] = d * static_cast<float>((low | (high << 4)) - 32);
  }
  for (int i = 0; i < 256; i++) {
    const int third = (p[i % 32] >> (i / 32)) & 1;
    out.codes[i] = static_cast<int8_t>(twoBits(p + 32, i) - (third == 1 ? 0 : 4));
  }
}

// d, 2 bytes of high scale bits, 4 of low scale nibbles, 128 of nibbles that index the IQ4 levels.
void decodeIQ4_XS(const uint8_t* p, GeneralBlock& out) {
  const float d = half(p);
  const uint32_t high = read16(p + 2);
  for (int s = 0; s < 8; s++) {
    const int scale = nibble(p + 4, s) | static_cast<int>((high >> (2 * s) & 3) << 4);
    out.scales[s] = d * static_cast<float>(scale - 32);
    levels(p + 8 + 16 * s, 16, kIq4Levels, out.codes + 32 * s);
  }
}

// Signs of eight weights from a 7-bit index; the eighth makes the number of negative ones even.
static uint32_t evenSigns(uint32_t index) { return index | static_cast<uint32_t>(__builtin_parity(index)) << 7; }

// A grid entry; bit i of `signs` negates weight i.
template <int Count>
static void negated(const int8_t (&entry)[Count], uint32_t signs, int8_t* codes) {
  for (int i = 0; i < Count; i++) codes[i] = static_cast<int8_t>(signs >> i & 1 ? -entry[i] : entry[i]);
}

static float oddScale(float d, uint32_t n) { return d * static_cast<float>(2 * n + 1); }

// d; for each 32 weights four grid bytes and a word of four 7-bit signs and a 4-bit scale.
void decodeIQ2_XXS(const uint8_t* p, GeneralBlock& out) {
  const IqGrids& grids = iqGrids();
  const float d = half(p);
  for (int s = 0; s < 8; s++) {
    const uint8_t* q = p + 2 + 8 * s;
    const uint32_t word = read32(q + 4);
    out.scales[s] = oddScale(d, word >> 28) / 8;
    for (int j = 0; j < 4; j++) {
      negated(grids.iq2Xxs[q[j]], evenSigns(word >> (7 * j) & 127), out.codes + 32 * s + 8 * j);
    }
  }
}

// d; 32 words of a 9-bit entry and 7-bit signs; 16 nibble scales.
void decodeIQ2_XS(const uint8_t* p, GeneralBlock& out) {
  const IqGrids& grids = iqGrids();
  const float d = half(p);
  for (int s = 0; s < 16; s++) out.scales[s] = oddScale(d, static_cast<uint32_t>(nibble(p + 66, s))) / 8;
  for (int j = 0; j < 32; j++) {
    const uint32_t word = read16(p + 2 + 2 * j);
    negated(grids.iq2Xs[word & 511], evenSigns(word >> 9), out.codes + 8 * j);
  }
}

// d; 32 low entry bytes; 32 sign bytes; 8 bytes of two high entry bits each; 16 nibble scales.
void decodeIQ2_S(const uint8_t* p, GeneralBlock& out) {
  const IqGrids& grids = iqGrids();
  const float d = half(p);
  for (int s = 0; s < 16; s++) out.scales[s] = oddScale(d, static_cast<uint32_t>(nibble(p + 74, s))) / 8;
  for (int j = 0; j < 32; j++) {
    const int high = (p[66 + j / 4] >> (j % 4 * 2)) & 3;
    negated(grids.iq2S[p[2 + j] | (high << 8)], p[34 + j], out.codes + 8 * j);
  }
}

// d; 64 grid bytes of four weights; for each 32 weights a word of four 7-bit signs and a 4-bit scale.
void decodeIQ3_XXS(const uint8_t* p, GeneralBlock& out) {
  const IqGrids& grids = iqGrids();
  const float d = half(p);
  for (int s = 0; s < 8; s++) {
    const uint32_t word = read32(p + 66 + 4 * s);
    out.scales[s] = oddScale(d, word >> 28) / 4;
    for (int j = 0; j < 8; j++) {
      const uint32_t signs = evenSigns(word >> (7 * (j / 2)) & 127) >> (j % 2 * 4);
      negated(grids.iq3Xxs[p[2 + 8 * s + j]], signs, out.codes + 32 * s + 4 * j);
    }
  }
}

// d; 64 low entry bytes of four weights; 8 bytes of ninth bits; 32 sign bytes; 8 nibble scales.
void decodeIQ3_S(const uint8_t* p, GeneralBlock& out) {
  const IqGrids& grids = iqGrids();
  const float d = half(p);
  for (int s = 0; s < 8; s++) out.scales[s] = oddScale(d, static_cast<uint32_t>(nibble(p + 106, s)));
  for (int j = 0; j < 64; j++) {
    const int ninth = (p[66 + j / 8] >> (j % 8)) & 1;
    negated(grids.iq3S[p[2 + j] | (ninth << 8)], static_cast<uint32_t>(nibble(p + 74, j)), out.codes + 4 * j);
  }
}

// Eight weights of IQ1, grid + shift / 8 with a shift of 1 or −1, as code = 8 · grid + shift under an eighth of the
// scale.
static void shifted(const int8_t (&entry)[8], int shift, int8_t* codes) {
  for (int i = 0; i < 8; i++) codes[i] = static_cast<int8_t>(8 * entry[i] + shift);
}

// d; 32 low entry bytes; for each 32 weights a word: four times three high bits, a 3-bit scale, the shift.
void decodeIQ1_S(const uint8_t* p, GeneralBlock& out) {
  const IqGrids& grids = iqGrids();
  const float d = half(p);
  for (int s = 0; s < 8; s++) {
    const uint32_t word = read16(p + 34 + 2 * s);
    out.scales[s] = oddScale(d, word >> 12 & 7) / 8;
    for (int j = 0; j < 4; j++) {
      const uint32_t entry = p[2 + 4 * s + j] | ((word >> (3 * j) & 7) << 8);
      shifted(grids.iq1[entry], word & 0x8000 ? -1 : 1, out.codes + 32 * s + 8 * j);
    }
  }
}

// 32 low entry bytes; 16 bytes of nibbles (three high bits and the shift, for each 8 weights); four words of four 3-bit
// scales, whose top nibbles together are the half d.
void decodeIQ1_M(const uint8_t* p, GeneralBlock& out) {
  const IqGrids& grids = iqGrids();
  uint32_t bits = 0;
  for (int i = 0; i < 4; i++) bits |= (read16(p + 48 + 2 * i) >> 12) << (4 * i);
  const float d = halfToFloat(static_cast<uint16_t>(bits));
  for (int s = 0; s < 16; s++) out.scales[s] = oddScale(d, read16(p + 48 + 2 * (s / 4)) >> (3 * (s % 4)) & 7) / 8;
  for (int j = 0; j < 32; j++) {
    const int high = nibble(p + 32, j);
    shifted(grids.iq1[p[j] | ((high & 7) << 8)], high & 8 ? -1 : 1, out.codes + 8 * j);
  }
}

}  // namespace millrace
