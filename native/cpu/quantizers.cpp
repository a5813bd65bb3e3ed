#include "quantizers.h"

namespace millrace {

const BlockFormat* blockFormat(int type) {
  for (int i = 0; i < kSimpleFormatCount; i++) {
    if (kSimpleFormats[i].type == type) return &kSimpleFormats[i];
  }
  for (int i = 0; i < kSuperFormatCount; i++) {
    if (kSuperFormats[i].type == type) return &kSuperFormats[i];
  }
  return nullptr;
}

double quantizeBlock(const Fits& fits, const BlockFormat& format, const float* x, const float* importance,
                     uint8_t* block) {
  float w[kMaxBlock], scale[kMaxGroups], min[kMaxGroups] = {};
  int8_t codes[kMaxBlock];
  fits.weigh(x, importance, format.cols, w);
  format.fit(fits, x, w, block, scale, min);
  double error = 0;
  const int n = format.group;
  for (int g = 0; g < format.cols / n; g++) {
    const float* part = x + n * g;
    error += format.levels ? fits.roundLevels(part, n, scale[g], format.levels, format.hi + 1, codes + n * g)
                           : fits.round(part, n, scale[g], min[g], format.lo, format.hi, codes + n * g);
  }
  format.pack(codes, block);
  return error;
}

}  // namespace millrace
