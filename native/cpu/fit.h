// The searches behind the fits of quantizers-*.cpp: one group of weights, at most 256 and a multiple of 16. One table
// an ISA (isa/fit.cpp); all give the same bits, so that a file's bytes don't depend on the machine that makes it.
#pragma once
#include <cstdint>

#include "kernels.h"

namespace millrace {

struct Affine {
  float scale = 0, min = 0;
  double error = 0;  // weighted
};

struct Fits {
  // The scale for codes lo … hi with the least weighted error; it may be negative, so that the largest weight may take
  // the side with one code more.
  float (*scale)(const float* x, const float* w, int n, int lo, int hi);
  // Scale ≥ 0 and minimum for codes 0 … hi. With `floor`, the minimum is at most 0.
  Affine (*affine)(const float* x, const float* w, int n, int hi, bool floor);
  // The scale for a table of ascending levels.
  float (*levels)(const float* x, const float* w, int n, const int8_t* levels, int count);
  // Weighted error of x under a scale and a minimum that are given.
  double (*affineError)(const float* x, const float* w, int n, float scale, float min, int lo, int hi);
  double (*levelError)(const float* x, const float* w, int n, float scale, const int8_t* levels, int count);
  // How much an error in each of n weights counts. Without importance large weights count more (as their signal does);
  // with it, the mean square of the activations that they meet, times what the weight itself adds.
  void (*weigh)(const float* x, const float* importance, int n, float* w);
  // The code nearest to each of n values; the sum of the squares of the errors.
  double (*round)(const float* x, int n, float scale, float min, int lo, int hi, int8_t* codes);
  double (*roundLevels)(const float* x, int n, float scale, const int8_t* levels, int count, int8_t* codes);
};

// Those of the ISA of these kernels.
const Fits& fitsOf(const Kernels& kernels);

// To the nearest integer, ties to even, for |v| < 2^22.
inline int nearestInt(float v) {
  union {
    float f;
    int32_t i;
  } bits;
  bits.f = v + 12582912.0f;
  return (bits.i & 0x007fffff) - 0x00400000;
}

}  // namespace millrace
