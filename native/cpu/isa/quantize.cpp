// Activations to int8, and packed weights back to floats: the same bits on every ISA.
//
// quantizeRows, for each 32 columns: amax = max |x|, scale = amax / 127, code = x · (127 / amax) rounded half to even,
// all in f32 (so code ∈ −127 … 127). A block whose amax is below 1e-30 becomes zeros under a scale of 0. A block that
// holds an infinity or not-a-number becomes zeros under a scale of not-a-number: every output of that row then is
// not-a-number, where a saturated code would hide the fault.
#include <cstring>
#include <limits>

#include "half.h"
#include "isa/linear.h"
#include "isa/unpack.h"

namespace millrace::MILLRACE_ISA {

namespace {

// Row `row` of a group of `blocks` blocks: out = scale · code (+ min), rounded once, as scale · code is exact. Nothing
// is added where a format has no minimum: −0 stays −0.
template <typename L>
void widenRow(const uint8_t* group, int blocks, int row, float* out) {
  constexpr int scales = L::kScales, width = kActBlock / scales;
  const int part = row / kLanes, lane = row % kLanes;
  for (int b = 0; b < blocks; b++, out += kActBlock) {
    Weights<scales, 1> w;
    L::unpack(group, b, part, 0, w);
    uint8_t codes[8][4 * kLanes];
    float scale[scales][kLanes], min[scales][kLanes];
    for (int j = 0; j < 8; j++) storeBytes(codes[j], w.codes[j][0]);
    for (int h = 0; h < scales; h++) {
      store(scale[h], w.scale[h][0]);
      if constexpr (L::kMin) store(min[h], w.min[h][0]);
    }
    for (int c = 0; c < kActBlock; c++) {
      const int byte = codes[c / 4][4 * lane + c % 4];
      const int code = L::kBits == 8 ? static_cast<int8_t>(byte - kSignedOffset) : byte - L::kOffset;
      out[c] = scale[c / width][lane] * static_cast<float>(code);
      if constexpr (L::kMin) out[c] += min[c / width][lane];
    }
  }
}

void quantizeBlock(const float* x, int8_t* codes, float* scale, int32_t* sums) {
  const uint32_t top = vec::largestBits32(x);
  const float amax = floatFromBits(top);
  if (!(amax >= 1e-30f) || top >= 0x7f800000) {
    std::memset(codes, 0, kActBlock);
    *scale = top >= 0x7f800000 ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
    sums[0] = sums[1] = 0;
    return;
  }
  *scale = amax / 127.0f;
  vec::round32(x, 127.0f / amax, codes, sums);
}

}  // namespace

void quantizeRows(const float* x, size_t ldx, int cols, Rows8 out, int rowBegin, int rowEnd) {
  const size_t blocks = static_cast<size_t>(cols / kActBlock);
  for (size_t row = static_cast<size_t>(rowBegin); row < static_cast<size_t>(rowEnd); row++) {
    for (size_t b = 0; b < blocks; b++) {
      quantizeBlock(x + row * ldx + b * kActBlock, out.codes + (row * blocks + b) * kActBlock,
                    out.scales + row * blocks + b, out.sums + 2 * (row * blocks + b));
    }
  }
}

void dequantizeRow(const Matrix& w, int expert, int n, float scale, float* out) {
  const uint8_t* group =
      w.data + static_cast<size_t>(expert) * w.expertBytes + static_cast<size_t>(n / kGroupRows) * w.groupBytes;
  const int row = n % kGroupRows;
  if (readsInt8(w.format)) {
    withFormat(w.format, [&](auto format) { widenRow<decltype(format)>(group, w.cols / kActBlock, row, out); });
  } else if (w.format == Format::F32) {
    const float* values = reinterpret_cast<const float*>(group) + row;
    for (int k = 0; k < w.cols; k++) out[k] = values[kGroupRows * k];
  } else {
    const uint16_t* values = reinterpret_cast<const uint16_t*>(group) + row;
    const bool half = w.format == Format::F16;
    for (int k = 0; k < w.cols; k++) {
      out[k] = half ? halfToFloat(values[kGroupRows * k]) : brainToFloat(values[kGroupRows * k]);
    }
  }
  if (scale != 1.0f) {
    for (int k = 0; k < w.cols; k++) out[k] *= scale;
  }
}

}  // namespace millrace::MILLRACE_ISA
