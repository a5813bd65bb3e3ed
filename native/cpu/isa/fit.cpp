// The searches of fit.h: a few candidates for the scale, then least squares and rounding in turns.
#include "../fit.h"

#include <algorithm>
#include <cmath>

#include "vec.h"

namespace millrace::MILLRACE_ISA {

namespace {

using namespace lanes;

// Candidates for a scale: the plain one's inverse times 1 − kSpread … 1 + kSpread.
constexpr int kCandidates = 17;
constexpr float kSpread = 0.25f;
// Least squares and rounding take turns so often.
constexpr int kRefinements = 3;

// (v + kMagic) − kMagic is v rounded to the nearest integer, ties to even, for |v| < 2^22.
constexpr float kMagic = 12582912.0f;

MILLRACE_INLINE F32 clampedCode(F32 v, F32 lo, F32 hi) {
  const F32 magic = splat(kMagic);
  return (minimum(maximum(v, lo), hi) + magic) - magic;
}

float stretchOf(int candidate, float most) {
  return 1 - kSpread + (most - 1 + kSpread) * static_cast<float>(candidate) / (kCandidates - 1);
}

// Weighted sums over codes l.
struct CodeSums {
  double l, l2, xl;
};

// Codes of (x − min) · inverse.
CodeSums codeSums(const float* x, const float* w, int n, float inverse, float min, int lo, int hi) {
  F32 l1 = splat(0), l2 = l1, xl = l1;
  const F32 low = splat(static_cast<float>(lo)), high = splat(static_cast<float>(hi));
  const F32 factor = splat(inverse), from = splat(min);
  for (int i = 0; i < n; i += kLanes) {
    const F32 value = load(x + i), l = clampedCode((value - from) * factor, low, high), wl = load(w + i) * l;
    l1 = l1 + wl;
    l2 = fma(wl, l, l2);
    xl = fma(wl, value, xl);
  }
  return {sumOf(l1), sumOf(l2), sumOf(xl)};
}

// The level nearest to v by its steps: each middle that v passes adds the way from one level to the next.
MILLRACE_INLINE F32 levelOf(F32 v, const int8_t* levels, int count) {
  F32 l = splat(static_cast<float>(levels[0]));
  for (int k = 1; k < count; k++) {
    const F32 middle = splat(0.5f * static_cast<float>(levels[k - 1] + levels[k]));
    l = select(less(middle, v), splat(static_cast<float>(levels[k])), l);
  }
  return l;
}

CodeSums levelSums(const float* x, const float* w, int n, float inverse, const int8_t* levels, int count) {
  F32 l2 = splat(0), xl = l2;
  const F32 factor = splat(inverse);
  for (int i = 0; i < n; i += kLanes) {
    const F32 value = load(x + i), l = levelOf(value * factor, levels, count), wl = load(w + i) * l;
    l2 = fma(wl, l, l2);
    xl = fma(wl, value, xl);
  }
  return {0, sumOf(l2), sumOf(xl)};
}

struct Moments {
  double w, x, x2;
};
Moments moments(const float* x, const float* w, int n) {
  F32 w1 = splat(0), x1 = w1, x2 = w1;
  for (int i = 0; i < n; i += kLanes) {
    const F32 value = load(x + i), weight = load(w + i), wx = weight * value;
    w1 = w1 + weight;
    x1 = x1 + wx;
    x2 = fma(wx, value, x2);
  }
  return {sumOf(w1), sumOf(x1), sumOf(x2)};
}

// The value of largest magnitude, with its sign.
float extremeOf(const float* x, int n) {
  float extreme = 0;
  for (int i = 0; i < n; i++) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  return extreme;
}

// Σ w (x − s l)² is least at s = Σ w x l ÷ Σ w l², where it is Σ w x² − (Σ w x l)² ÷ Σ w l².
struct BestScale {
  double gain = -1;
  float scale = 0;

  void consider(const CodeSums& sums) {
    if (!(sums.l2 > 0)) return;
    const double found = sums.xl * sums.xl / sums.l2;
    if (!(found > gain)) return;
    gain = found;
    scale = static_cast<float>(sums.xl / sums.l2);
  }
};

float fitScale(const float* x, const float* w, int n, int lo, int hi) {
  const float extreme = extremeOf(x, n);
  if (extreme == 0) return 0;
  BestScale best;
  const float plain = static_cast<float>(lo) / extreme;
  // Of three codes the outer ones serve most weights, not the largest alone.
  const float most = lo >= -1 ? 4 : 1 + kSpread;
  for (int i = 0; i < kCandidates; i++) best.consider(codeSums(x, w, n, plain * stretchOf(i, most), 0, lo, hi));
  for (int i = 0; i < kRefinements && best.scale != 0; i++) {
    const float before = best.scale;
    best.consider(codeSums(x, w, n, 1 / before, 0, lo, hi));
    if (best.scale == before) break;
  }
  return best.scale;
}

Affine fitAffine(const float* x, const float* w, int n, int hi, bool floor) {
  float low = x[0], high = x[0];
  for (int i = 1; i < n; i++) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  if (floor) low = std::min(low, 0.0f);
  const Moments m = moments(x, w, n);
  Affine best{0, low, m.x2 - 2 * low * m.x + low * static_cast<double>(low) * m.w};
  if (!(high > low)) return best;
  const auto consider = [&](float inverse, float min) {
    const CodeSums s = codeSums(x, w, n, inverse, min, 0, hi);
    const double det = m.w * s.l2 - s.l * s.l;
    if (!(det > 0)) return false;
    double a = (m.w * s.xl - m.x * s.l) / det, b = (s.l2 * m.x - s.l * s.xl) / det;
    if (floor && b > 0) {
      b = 0;
      a = s.xl / s.l2;
    }
    if (!(a > 0)) return false;
    const double error = m.x2 - 2 * a * s.xl - 2 * b * m.x + a * a * s.l2 + 2 * a * b * s.l + b * b * m.w;
    if (!(error < best.error)) return false;
    best = {static_cast<float>(a), static_cast<float>(b), error};
    return true;
  };
  const float plain = static_cast<float>(hi) / (high - low);
  for (int i = 0; i < kCandidates; i++) consider(plain * stretchOf(i, 1 + kSpread), low);
  for (int i = 0; i < kRefinements && best.scale > 0; i++) {
    if (!consider(1 / best.scale, best.min)) break;
  }
  return best;
}

float fitLevels(const float* x, const float* w, int n, const int8_t* levels, int count) {
  const float extreme = extremeOf(x, n);
  if (extreme == 0) return 0;
  BestScale best;
  // The largest weight at either end of the table.
  for (const float end : {static_cast<float>(levels[0]), static_cast<float>(levels[count - 1])}) {
    for (int i = 0; i < kCandidates; i += 2) {
      best.consider(levelSums(x, w, n, end / extreme * stretchOf(i, 1 + kSpread), levels, count));
    }
  }
  for (int i = 0; i < kRefinements && best.scale != 0; i++) {
    const float before = best.scale;
    best.consider(levelSums(x, w, n, 1 / before, levels, count));
    if (best.scale == before) break;
  }
  return best.scale;
}

double affineError(const float* x, const float* w, int n, float scale, float min, int lo, int hi) {
  F32 sum = splat(0);
  const F32 factor = splat(scale == 0 ? 0 : 1 / scale), s = splat(scale), m = splat(min);
  const F32 low = splat(static_cast<float>(lo)), high = splat(static_cast<float>(hi));
  for (int i = 0; i < n; i += kLanes) {
    const F32 value = load(x + i), l = clampedCode((value - m) * factor, low, high);
    const F32 error = value - (s * l + m);
    sum = fma(load(w + i) * error, error, sum);
  }
  return sumOf(sum);
}

double levelError(const float* x, const float* w, int n, float scale, const int8_t* levels, int count) {
  const CodeSums s = levelSums(x, w, n, scale == 0 ? 0 : 1 / scale, levels, count);
  return moments(x, w, n).x2 - 2 * scale * s.xl + static_cast<double>(scale) * scale * s.l2;
}

void weigh(const float* x, const float* importance, int n, float* w) {
  F32 squares = splat(0);
  for (int i = 0; i < n; i += kLanes) {
    const F32 value = load(x + i);
    squares = fma(value, value, squares);
  }
  const float mean = sumOf(squares) / static_cast<float>(n);
  const F32 rms = splat(std::sqrt(mean)), twice = splat(2 * mean);
  float most = 0;
  for (int i = 0; i < n; i += kLanes) {
    const F32 value = load(x + i);
    store(w + i, importance ? load(importance + i) * squareRoot(fma(value, value, twice)) : rms + absolute(value));
    for (int j = 0; j < kLanes; j++) most = std::max(most, w[i + j]);
  }
  // Nothing counts: all count the same, or a fit would have nothing to go by.
  if (!(most > 0)) std::fill_n(w, n, 1.0f);
}

double roundCodes(const float* x, int n, float scale, float min, int lo, int hi, int8_t* codes) {
  F32 sum = splat(0);
  const F32 factor = splat(scale == 0 ? 0 : 1 / scale), s = splat(scale), m = splat(min);
  const F32 low = splat(static_cast<float>(lo)), high = splat(static_cast<float>(hi));
  for (int i = 0; i < n; i += kLanes) {
    const F32 value = load(x + i), l = clampedCode((value - m) * factor, low, high);
    const F32 error = value - (s * l + m);
    sum = fma(error, error, sum);
    float code[kLanes];
    store(code, l);
    for (int j = 0; j < kLanes; j++) codes[i + j] = static_cast<int8_t>(code[j]);
  }
  return sumOf(sum);
}

double roundLevels(const float* x, int n, float scale, const int8_t* levels, int count, int8_t* codes) {
  double sum = 0;
  const float inverse = scale == 0 ? 0 : 1 / scale;
  for (int i = 0; i < n; i++) {
    int index = 0;
    for (int k = 1; k < count; k++) {
      index += x[i] * inverse > 0.5f * static_cast<float>(levels[k - 1] + levels[k]) ? 1 : 0;
    }
    codes[i] = static_cast<int8_t>(index);
    const float error = x[i] - scale * static_cast<float>(levels[index]);
    sum += error * error;
  }
  return sum;
}

}  // namespace

extern const Fits fits;
const Fits fits = {
    .scale = fitScale,
    .affine = fitAffine,
    .levels = fitLevels,
    .affineError = affineError,
    .levelError = levelError,
    .weigh = weigh,
    .round = roundCodes,
    .roundLevels = roundLevels,
};

}  // namespace millrace::MILLRACE_ISA
