// How every integer format is unpacked to vectors of codes: what a block is and means stands in formats.h. The kernels
// that multiply (linear-int.cpp) and the one that widens to floats (quantize.cpp) are written on these.
#pragma once
#include "formats.h"
#include "isa/vec.h"
#include "levels.h"

namespace millrace::MILLRACE_ISA {

using namespace vec;

// 32 columns of so many parts (of kLanes rows), unpacked.
template <int Scales, int Parts>
struct Weights {
  Bytes codes[8][Parts];
  F32 scale[Scales][Parts];
  F32 min[Scales][Parts];
};

// --- Formats: what a block is and how it is unpacked --------------------------------------------------------------
// kBits: of a code (8: signed). kOffset: taken off a code. kScales: 1, or 2 for a scale per 16 columns. unpack: block b
// of `part` into slot p.

template <int Parts>
MILLRACE_INLINE void unpackNibbles(const uint8_t* codes, int p, Bytes (*out)[Parts]) {
  MILLRACE_UNROLL
  for (int j = 0; j < 4; j++) {
    const Bytes both = loadBytes(codes + 64 * j);
    out[j][p] = bits<0, 15>(both);
    out[4 + j][p] = bits<4, 15>(both);
  }
}
// Pairs of bits, of this part of a block's 128 bytes.
template <int Parts>
MILLRACE_INLINE void unpackPairs(const uint8_t* codes, int p, Bytes (*out)[Parts]) {
  MILLRACE_UNROLL
  for (int h = 0; h < 2; h++) {
    const Bytes pairs = loadBytes(codes + 64 * h);
    out[4 * h][p] = bits<0, 3>(pairs);
    out[4 * h + 1][p] = bits<2, 3>(pairs);
    out[4 * h + 2][p] = bits<4, 3>(pairs);
    out[4 * h + 3][p] = bits<6, 3>(pairs);
  }
}
// Bit `Bit` of every code, from the one that each has in 64 bytes of a block.
template <int Bit, int Parts>
MILLRACE_INLINE void joinBits(const uint8_t* high, int p, Bytes (*out)[Parts]) {
  const Bytes all = loadBytes(high);
  out[0][p] = join(out[0][p], bits<0 - Bit, 1 << Bit>(all));
  out[1][p] = join(out[1][p], bits<1 - Bit, 1 << Bit>(all));
  out[2][p] = join(out[2][p], bits<2 - Bit, 1 << Bit>(all));
  out[3][p] = join(out[3][p], bits<3 - Bit, 1 << Bit>(all));
  out[4][p] = join(out[4][p], bits<4 - Bit, 1 << Bit>(all));
  out[5][p] = join(out[5][p], bits<5 - Bit, 1 << Bit>(all));
  out[6][p] = join(out[6][p], bits<6 - Bit, 1 << Bit>(all));
  out[7][p] = join(out[7][p], bits<7 - Bit, 1 << Bit>(all));
}

// Sixteen levels as a kernel wants them: plus Offset, without a sign.
template <int Offset>
struct Levels {
  alignas(16) uint8_t value[16];

  constexpr explicit Levels(const int8_t (&levels)[16]) : value{} {
    for (int i = 0; i < 16; i++) value[i] = static_cast<uint8_t>(levels[i] + Offset);
  }
};
template <int Parts>
MILLRACE_INLINE void unpackLevels(const uint8_t* codes, const uint8_t* table, int p, Bytes (*out)[Parts]) {
  unpackNibbles(codes, p, out);
  MILLRACE_UNROLL
  for (int j = 0; j < 8; j++) out[j][p] = lookup(table, out[j][p]);
}
// The form that signedCodes gives.
inline constexpr Levels<kSignedOffset> kIq4Codes{kIq4Levels};
constexpr int kFp4Offset = 12;
inline constexpr Levels<kFp4Offset> kFp4Codes{kFp4Levels};

template <int Parts>
MILLRACE_INLINE void unpackBytes(const uint8_t* codes, int p, Bytes (*out)[Parts]) {
  MILLRACE_UNROLL
  for (int j = 0; j < 8; j++) out[j][p] = signedCodes(loadBytes(codes + 64 * j));
}

struct Q4_0 {
  using Block = BlockQ4_0;
  static constexpr int kBits = 4, kOffset = 8, kScales = 1;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackNibbles(block.codes + 4 * kLanes * part, p, w.codes);
    w.scale[0][p] = loadHalf(block.scale + kLanes * part);
  }
};
struct Q4_1 {
  using Block = BlockQ4_1;
  static constexpr int kBits = 4, kOffset = 0, kScales = 1;
  static constexpr bool kMin = true;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackNibbles(block.codes + 4 * kLanes * part, p, w.codes);
    w.scale[0][p] = loadHalf(block.scale + kLanes * part);
    w.min[0][p] = loadHalf(block.min + kLanes * part);
  }
};
struct Q5_0 {
  using Block = BlockQ5_0;
  static constexpr int kBits = 5, kOffset = 16, kScales = 1;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackNibbles(block.codes + 4 * kLanes * part, p, w.codes);
    joinBits<4>(block.high + 4 * kLanes * part, p, w.codes);
    w.scale[0][p] = loadHalf(block.scale + kLanes * part);
  }
};
struct Q5_1 {
  using Block = BlockQ5_1;
  static constexpr int kBits = 5, kOffset = 0, kScales = 1;
  static constexpr bool kMin = true;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackNibbles(block.codes + 4 * kLanes * part, p, w.codes);
    joinBits<4>(block.high + 4 * kLanes * part, p, w.codes);
    w.scale[0][p] = loadHalf(block.scale + kLanes * part);
    w.min[0][p] = loadHalf(block.min + kLanes * part);
  }
};
struct Q8_0 {
  using Block = BlockQ8_0;
  static constexpr int kBits = 8, kOffset = 0, kScales = 1;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackBytes(block.codes + 4 * kLanes * part, p, w.codes);
    w.scale[0][p] = loadHalf(block.scale + kLanes * part);
  }
};
struct Q2_K {
  using Block = BlockQ2_K;
  static constexpr int kBits = 4, kOffset = 0, kScales = 2;
  static constexpr bool kMin = true;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<2, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    const Block::Sub& sub = block.sub[b % 8];
    unpackPairs(sub.codes + 4 * kLanes * part, p, w.codes);
    MILLRACE_UNROLL
    for (int h = 0; h < 2; h++) {
      w.scale[h][p] = mul(loadHalf(block.d + kLanes * part), loadInt8(sub.scale[h] + kLanes * part));
      w.min[h][p] = mul(loadHalf(block.minusDmin + kLanes * part), loadInt8(sub.min[h] + kLanes * part));
    }
  }
};
struct Q3_K {
  using Block = BlockQ3_K;
  static constexpr int kBits = 4, kOffset = 4, kScales = 2;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<2, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    const Block::Sub& sub = block.sub[b % 8];
    unpackPairs(sub.codes + 4 * kLanes * part, p, w.codes);
    joinBits<2>(sub.high + 4 * kLanes * part, p, w.codes);
    MILLRACE_UNROLL
    for (int h = 0; h < 2; h++) {
      w.scale[h][p] = mul(loadHalf(block.d + kLanes * part), loadInt8(sub.scale[h] + kLanes * part));
    }
  }
};
struct Q4_K {
  using Block = BlockQ4_K;
  static constexpr int kBits = 4, kOffset = 0, kScales = 1;
  static constexpr bool kMin = true;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    const Block::Sub& sub = block.sub[b % 8];
    unpackNibbles(sub.codes + 4 * kLanes * part, p, w.codes);
    w.scale[0][p] = mul(loadHalf(block.d + kLanes * part), loadInt8(sub.scale + kLanes * part));
    w.min[0][p] = mul(loadHalf(block.minusDmin + kLanes * part), loadInt8(sub.min + kLanes * part));
  }
};
struct Q5_K {
  using Block = BlockQ5_K;
  static constexpr int kBits = 5, kOffset = 0, kScales = 1;
  static constexpr bool kMin = true;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    const Block::Sub& sub = block.sub[b % 8];
    unpackNibbles(sub.codes + 4 * kLanes * part, p, w.codes);
    joinBits<4>(sub.high + 4 * kLanes * part, p, w.codes);
    w.scale[0][p] = mul(loadHalf(block.d + kLanes * part), loadInt8(sub.scale + kLanes * part));
    w.min[0][p] = mul(loadHalf(block.minusDmin + kLanes * part), loadInt8(sub.min + kLanes * part));
  }
};
struct Q6_K {
  using Block = BlockQ6_K;
  static constexpr int kBits = 6, kOffset = 32, kScales = 2;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<2, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    const Block::Sub& sub = block.sub[b % 8];
    unpackNibbles(sub.codes + 4 * kLanes * part, p, w.codes);
    MILLRACE_UNROLL
    for (int h = 0; h < 2; h++) {
      const Bytes high = loadBytes(sub.high + 64 * h + 4 * kLanes * part);
      Bytes(*codes)[Parts] = w.codes + 4 * h;
      codes[0][p] = join(codes[0][p], bits<-4, 48>(high));
      codes[1][p] = join(codes[1][p], bits<-2, 48>(high));
      codes[2][p] = join(codes[2][p], bits<0, 48>(high));
      codes[3][p] = join(codes[3][p], bits<2, 48>(high));
      w.scale[h][p] = mul(loadHalf(block.d + kLanes * part), loadInt8(sub.scale[h] + kLanes * part));
    }
  }
};
struct IQ4_NL {
  using Block = BlockIQ4_NL;
  static constexpr int kBits = 8, kOffset = 0, kScales = 1;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackLevels(block.codes + 4 * kLanes * part, kIq4Codes.value, p, w.codes);
    w.scale[0][p] = loadHalf(block.scale + kLanes * part);
  }
};
struct IQ4_XS {
  using Block = BlockIQ4_XS;
  static constexpr int kBits = 8, kOffset = 0, kScales = 1;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    const Block::Sub& sub = block.sub[b % 8];
    unpackLevels(sub.codes + 4 * kLanes * part, kIq4Codes.value, p, w.codes);
    w.scale[0][p] = mul(loadHalf(block.d + kLanes * part), loadInt8(sub.scale + kLanes * part));
  }
};
struct MXFP4 {
  using Block = BlockMXFP4;
  static constexpr int kBits = 5, kOffset = kFp4Offset, kScales = 1;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackLevels(block.codes + 4 * kLanes * part, kFp4Codes.value, p, w.codes);
    w.scale[0][p] = loadBrain(block.scale + kLanes * part);
  }
};
struct NVFP4 {
  using Block = BlockNVFP4;
  static constexpr int kBits = 5, kOffset = kFp4Offset, kScales = 2;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<2, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackLevels(block.codes + 4 * kLanes * part, kFp4Codes.value, p, w.codes);
    MILLRACE_UNROLL
    for (int h = 0; h < 2; h++) w.scale[h][p] = loadHalf(block.scale[h] + kLanes * part);
  }
};
struct Ternary {
  using Block = BlockTernary;
  static constexpr int kBits = 4, kOffset = 1, kScales = 1;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    unpackPairs(block.sub[b % 8].codes + 4 * kLanes * part, p, w.codes);
    w.scale[0][p] = loadHalf(block.d + kLanes * part);
  }
};
template <typename B, int Scales>
struct General {
  using Block = B;
  static constexpr int kBits = 8, kOffset = 0, kScales = Scales;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<Scales, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackBytes(block.codes + 4 * kLanes * part, p, w.codes);
    const float* scale = reinterpret_cast<const float*>(&block);
    MILLRACE_UNROLL
    for (int h = 0; h < Scales; h++) w.scale[h][p] = load(scale + 16 * h + kLanes * part);
  }
};

using General16 = General<BlockGeneral16, 2>;
using General32 = General<BlockGeneral32, 1>;

// f(format), with the one of the structs above that bears the format's name; plain formats have none.
template <typename F>
void withFormat(Format format, F f) {
  switch (format) {
#define MILLRACE_CASE(name, cols) \
  case Format::name:              \
    return f(name{});
    MILLRACE_PACKED_FORMATS(MILLRACE_CASE)
#undef MILLRACE_CASE
    default:
      break;
  }
}

}  // namespace millrace::MILLRACE_ISA
