// How every integer format is unpacked to vectors of codes: what a block is and means stands in formats.h. The kernels
// that multiply (linear-int.cpp) and the one that widens to floats (quantize.cpp) are written on these.
#pragma once
#include "formats.h"
#include "isa/vec.h"

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
    const Bytes high = loadBytes(sub.high + 4 * kLanes * part);
    w.codes[0][p] = join(w.codes[0][p], bits<-4, 16>(high));
    w.codes[1][p] = join(w.codes[1][p], bits<-3, 16>(high));
    w.codes[2][p] = join(w.codes[2][p], bits<-2, 16>(high));
    w.codes[3][p] = join(w.codes[3][p], bits<-1, 16>(high));
    w.codes[4][p] = join(w.codes[4][p], bits<0, 16>(high));
    w.codes[5][p] = join(w.codes[5][p], bits<1, 16>(high));
    w.codes[6][p] = join(w.codes[6][p], bits<2, 16>(high));
    w.codes[7][p] = join(w.codes[7][p], bits<3, 16>(high));
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
template <typename B, int Scales, bool Min>
struct General {
  using Block = B;
  static constexpr int kBits = 8, kOffset = 0, kScales = Scales;
  static constexpr bool kMin = Min;
  template <int Parts>
  MILLRACE_INLINE void unpack(const uint8_t* group, int b, int part, int p, Weights<Scales, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackBytes(block.codes + 4 * kLanes * part, p, w.codes);
    const float* scale = reinterpret_cast<const float*>(&block);  // then, where there is one, the minimum
    MILLRACE_UNROLL
    for (int h = 0; h < Scales; h++) {
      w.scale[h][p] = load(scale + 16 * h + kLanes * part);
      if constexpr (Min) w.min[h][p] = load(scale + 16 * (Scales + h) + kLanes * part);
    }
  }
};

using General16 = General<BlockGeneral16, 2, false>;
using General16Min = General<BlockGeneral16Min, 2, true>;
using General32 = General<BlockGeneral32, 1, false>;
using General32Min = General<BlockGeneral32Min, 1, true>;

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
