// Making a file format's blocks of floats: the other way round than pack.cpp. A format is a fit (the scales and
// minimums of a block, searched so that the weighted square of the error is least), a rounding, and a packing of codes;
// GPTQ and its kin put a rounding of their own between the other two. What the bytes of a block mean stands in
// src/artifact/blocks-*.ts; how scales are found, in isa/fit.cpp.
#pragma once
#include <cstddef>
#include <cstdint>

#include "fit.h"

namespace millrace {

constexpr int kMaxBlock = 256;
// Groups of a block: of 16 weights at least.
constexpr int kMaxGroups = kMaxBlock / 16;

struct BlockFormat {
  int type;   // ggml's number
  int cols;   // weights in a block
  int bytes;  // of a block
  int group;  // weights that share a scale and a minimum
  // Codes lo … hi, or where there are levels, the index of one: a weight is scale · code + min, or scale ·
  // levels[code]. Levels ascend.
  int lo, hi;
  const int8_t* levels;
  // From x and weights w of `cols` values each: writes scales and minimums into the block, and as the floats that a
  // reader of the block will see.
  void (*fit)(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float* min);
  void (*pack)(const int8_t* codes, uint8_t* block);
};

// Null where blocks of the type can't be made.
const BlockFormat* blockFormat(int type);

// Makes one block; the sum of the squares of its errors.
double quantizeBlock(const Fits& fits, const BlockFormat& format, const float* x, const float* importance,
                     uint8_t* block);

extern const BlockFormat kSimpleFormats[];
extern const int kSimpleFormatCount;
extern const BlockFormat kSuperFormats[];
extern const int kSuperFormatCount;

}  // namespace millrace
