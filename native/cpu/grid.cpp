#include "grid.h"

#include <algorithm>
#include <cmath>

#include "half.h"

namespace millrace {

namespace {

float asHalf(float v) { return halfToFloat(floatToHalf(v)); }

}  // namespace

Grid gridOf(const BlockFormat& format) {
  Grid grid;
  grid.format = &format;
  grid.cols = format.cols;
  grid.group = format.group;
  grid.lo = format.lo;
  grid.hi = format.hi;
  grid.levels = format.levels;
  return grid;
}

Grid plainGrid(int bits, int group, bool symmetric) {
  Grid grid;
  grid.bits = bits;
  grid.symmetric = symmetric;
  grid.cols = grid.group = group;
  grid.lo = symmetric ? -(1 << (bits - 1)) : 0;
  grid.hi = symmetric ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
  return grid;
}

void Grid::fit(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float* min) const {
  if (format) return format->fit(fits, x, w, block, scale, min);
  *min = 0;
  if (symmetric) {
    *scale = asHalf(fits.scale(x, w, group, lo, hi));
    return;
  }
  // min = −scale · zero with a whole zero point: the ones next to the fitted minimum are tried, and the scales that
  // reach as far as it did from there.
  const Affine fitted = fits.affine(x, w, group, hi, true);
  float best = -1;
  const float plain = fitted.scale > 0 ? fitted.scale : std::fabs(fitted.min) / static_cast<float>(std::max(1, hi));
  *scale = asHalf(plain);
  if (!(*scale > 0)) return;
  const int zero = std::clamp(static_cast<int>(std::lround(-fitted.min / plain)), 0, hi);
  for (int z = std::max(0, zero - 1); z <= std::min(hi, zero + 1); z++) {
    for (const float stretch : {0.96f, 0.98f, 1.0f, 1.02f, 1.04f}) {
      const float s = asHalf(plain * stretch);
      if (!(s > 0)) continue;
      const auto error = static_cast<float>(fits.affineError(x, w, group, s, -s * static_cast<float>(z), lo, hi));
      if (best >= 0 && error >= best) continue;
      best = error;
      *scale = s;
      *min = -s * static_cast<float>(z);
    }
  }
}

int8_t Grid::nearest(float v, float scale, float min, float& value) const {
  const float inverse = scale == 0 ? 0 : 1 / scale;
  if (levels) {
    const float l = v * inverse;
    int index = 0;
    for (int k = 1; k <= hi; k++) index += l > 0.5f * static_cast<float>(levels[k - 1] + levels[k]) ? 1 : 0;
    value = scale * static_cast<float>(levels[index]);
    return static_cast<int8_t>(index);
  }
  const float l = std::clamp((v - min) * inverse, static_cast<float>(lo), static_cast<float>(hi));
  const int code = nearestInt(l);
  value = scale * static_cast<float>(code) + min;
  return static_cast<int8_t>(code);
}

}  // namespace millrace
