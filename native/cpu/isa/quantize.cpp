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
#include "isa/vec.h"

namespace millrace::MILLRACE_ISA {

namespace {

// Byte `c` of `row`, column 0 … 31, in codes of 8 bits; see formats.h.
int byteAt(const uint8_t* codes, int row, int c) { return static_cast<int8_t>(codes[64 * (c / 4) + 4 * row + c % 4]); }
int nibbleAt(const uint8_t* codes, int row, int c) {
  const uint8_t both = codes[64 * (c % 16 / 4) + 4 * row + c % 4];
  return c < 16 ? both & 15 : both >> 4;
}

// Columns of one row: out = scale · code (+ min), rounded once, as scale · code is exact. Nothing is added where a
// format has no minimum: −0 stays −0.
template <typename Code>
void widen(float scale, int begin, int end, float* out, Code code) {
  for (int c = begin; c < end; c++) out[c] = scale * static_cast<float>(code(c));
}
template <typename Code>
void widen(float scale, float min, int begin, int end, float* out, Code code) {
  for (int c = begin; c < end; c++) out[c] = scale * static_cast<float>(code(c)) + min;
}

template <typename Block>
void widenGeneral(const Block& block, int scales, bool hasMin, int row, float* out) {
  const float* scale = reinterpret_cast<const float*>(&block);
  for (int h = 0; h < scales; h++) {
    const int width = 32 / scales;
    const auto code = [&](int c) { return byteAt(block.codes, row, c); };
    if (hasMin) widen(scale[16 * h + row], scale[16 * (scales + h) + row], width * h, width * (h + 1), out, code);
    else widen(scale[16 * h + row], width * h, width * (h + 1), out, code);
  }
}

// Block b (32 columns) of one row of a group.
void widenBlock(Format format, const uint8_t* group, int b, int row, float* out) {
  const auto block = [&]<typename B>(const B*) -> const B& { return reinterpret_cast<const B*>(group)[b]; };
  const auto super = [&]<typename B>(const B*) -> const B& { return reinterpret_cast<const B*>(group)[b / 8]; };
  switch (format) {
    case Format::Q4_0: {
      const BlockQ4_0& q = block(static_cast<BlockQ4_0*>(nullptr));
      return widen(halfToFloat(q.scale[row]), 0, 32, out, [&](int c) { return nibbleAt(q.codes, row, c) - 8; });
    }
    case Format::Q4_1: {
      const BlockQ4_1& q = block(static_cast<BlockQ4_1*>(nullptr));
      return widen(halfToFloat(q.scale[row]), halfToFloat(q.min[row]), 0, 32, out,
                   [&](int c) { return nibbleAt(q.codes, row, c); });
    }
    case Format::Q8_0: {
      const BlockQ8_0& q = block(static_cast<BlockQ8_0*>(nullptr));
      return widen(halfToFloat(q.scale[row]), 0, 32, out, [&](int c) { return byteAt(q.codes, row, c); });
    }
    case Format::Q4_K: {
      const BlockQ4_K& q = super(static_cast<BlockQ4_K*>(nullptr));
      const BlockQ4_K::Sub& sub = q.sub[b % 8];
      return widen(halfToFloat(q.d[row]) * sub.scale[row],
                   -(halfToFloat(q.dmin[row]) * static_cast<float>(-sub.min[row])), 0, 32, out,
                   [&](int c) { return nibbleAt(sub.codes, row, c); });
    }
    case Format::Q5_K: {
      const BlockQ5_K& q = super(static_cast<BlockQ5_K*>(nullptr));
      const BlockQ5_K::Sub& sub = q.sub[b % 8];
      return widen(halfToFloat(q.d[row]) * sub.scale[row],
                   -(halfToFloat(q.dmin[row]) * static_cast<float>(-sub.min[row])), 0, 32, out, [&](int c) {
                     return nibbleAt(sub.codes, row, c) | (((sub.high[4 * row + c % 4] >> (c / 4)) & 1) << 4);
                   });
    }
    case Format::Q6_K: {
      const BlockQ6_K& q = super(static_cast<BlockQ6_K*>(nullptr));
      const BlockQ6_K::Sub& sub = q.sub[b % 8];
      for (int h = 0; h < 2; h++) {
        widen(halfToFloat(q.d[row]) * sub.scale[h][row], 16 * h, 16 * (h + 1), out, [&](int c) {
          const int high = (sub.high[64 * h + 4 * row + c % 4] >> (c % 16 / 4 * 2)) & 3;
          return (nibbleAt(sub.codes, row, c) | (high << 4)) - 32;
        });
      }
      return;
    }
    case Format::General16:
      return widenGeneral(block(static_cast<BlockGeneral16*>(nullptr)), 2, false, row, out);
    case Format::General16Min:
      return widenGeneral(block(static_cast<BlockGeneral16Min*>(nullptr)), 2, true, row, out);
    case Format::General32:
      return widenGeneral(block(static_cast<BlockGeneral32*>(nullptr)), 1, false, row, out);
    case Format::General32Min:
      return widenGeneral(block(static_cast<BlockGeneral32Min*>(nullptr)), 1, true, row, out);
    case Format::F32:
    case Format::F16:
    case Format::BF16:
    case Format::Count:
      break;
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
    for (int b = 0; b < w.cols / kActBlock; b++) widenBlock(w.format, group, b, row, out + kActBlock * b);
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
