// A grid that rounding goes to: a file format's blocks, or plain groups of integers under one scale (and an integer
// zero point) as GPTQ, AWQ and compressed-tensors keep them.
#pragma once
#include "quantizers.h"

namespace millrace {

struct Grid {
  const BlockFormat* format = nullptr;  // else plain:
  int bits = 4;
  bool symmetric = false;

  int cols = 0;   // weights that are fitted together
  int group = 0;  // weights that share a scale
  int lo = 0, hi = 0;
  const int8_t* levels = nullptr;

  // Scales (halves, in files) and minimums of cols / group groups; `block` is the format's, or null.
  void fit(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float* min) const;
  // The code nearest to v, and the value that it stands for.
  int8_t nearest(float v, float scale, float min, float& value) const;
};

Grid gridOf(const BlockFormat& format);
// `group`: a multiple of 16, at most 256.
Grid plainGrid(int bits, int group, bool symmetric);

}  // namespace millrace
