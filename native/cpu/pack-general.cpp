#include "pack-general.h"

#include <cmath>
#include <cstring>

#include "half.h"
#include "iq-grids.h"

namespace millrace {

static uint32_t read16(const uint8_t* p) { return static_cast<uint32_t>(p[0] | (p[1] << 8)); }
static uint32_t read32(const uint8_t* p) { return read16(p) | (read16(p + 2) << 16); }
static float half(const uint8_t* p) { return halfToFloat(static_cast<uint16_t>(read16(p))); }
static int nibble(const uint8_t* p, int i) { return (p[i / 2] >> (i % 2 * 4)) & 15; }

// Weight i of 256 from 64 bytes: two halves of 32 bytes, four weights a byte, 32 apart.
static int twoBits(const uint8_t* p, int i) { return (p[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2)) & 3; }

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
