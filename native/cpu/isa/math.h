// Our own exp, log, sin, cos, tanh and normal distribution, on sixteen lanes (sin and cos on doubles), so that a result
// depends on no C library. Polynomials are minimax fits (Remez) of our own; the errors in the comments are measured
// against double precision by test/elementwise_test.cpp, in units of 2^-23 relative.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "vec.h"

namespace millrace::MILLRACE_ISA::lanes {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Horner's rule, highest coefficient last; `step(p, x, c)` is p·x + c.
template <int N, typename Step>
MILLRACE_INLINE F32 polynomial(F32 x, const float (&c)[N], Step step) {
  F32 p = splat(c[N - 1]);
  for (int i = N - 2; i >= 0; i--) p = step(p, x, splat(c[i]));
  return p;
}
template <int N>
MILLRACE_INLINE F32 polynomial(F32 x, const float (&c)[N]) {
  return polynomial(x, c, [](F32 p, F32 y, F32 a) { return fma(p, y, a); });
}

// e^x for x ≤ 88.72 (or not a number): 2^n · e^r with |r| ≤ ln 2 / 2. Zero below −87.33 (no subnormal results); 1 unit.
MILLRACE_INLINE F32 expBelow(F32 x) {
  constexpr float kLow = -87.336544f;
  constexpr float c[] = {0.49999994f, 0.1666652f, 0.041668393f, 0.008368781f, 0.0013814467f};
  const F32 magic = splat(12582912.0f);         // 1.5 · 2^23: what is added to it is rounded to an integer
  const F32 bounded = maximum(splat(kLow), x);  // keeps what is not a number
  const F32 shifted = fma(bounded, splat(1.44269504f), magic);
  const F32 n = shifted - magic;
  const F32 r = fma(n, splat(-1.42860677e-6f), fma(n, splat(-0.693145752f), bounded));
  const F32 p = fma(polynomial(r, c), r * r, r) + splat(1.0f);
  const F32 scaled = fromBits(bitsOf(p) + shiftLeft<23>(bitsOf(shifted)));
  return select(less(x, splat(kLow)), splat(0.0f), scaled);
}
// e^x for all x; infinity above 88.72.
MILLRACE_INLINE F32 exp(F32 x) {
  const F32 high = splat(88.722839f);
  return select(less(high, x), splat(kInfinity), expBelow(minimum(high, x)));
}

// log(1 + f) + e · ln 2 for f in √½ − 1 … √2 − 1. No fused operation: the same bits on every ISA, as the noise of
// sampling wants it.
MILLRACE_INLINE F32 logOf(F32 f, F32 e) {
  constexpr float c[] = {0.33333313f,   -0.2500001f, 0.20002119f,  -0.16667996f, 0.14219552f,
                         -0.124055885f, 0.11888159f, -0.11675654f, 0.06746651f};
  const F32 p = polynomial(f, c, [](F32 q, F32 y, F32 a) { return q * y + a; });
  const F32 square = f * f;
  const F32 tail = square * f * p + e * splat(-2.12194442e-4f) - square * splat(0.5f);
  return e * splat(0.693359375f) + (f + tail);
}
// x = 2^e (1 + f), f as logOf wants it, of a normal x > 0.
MILLRACE_INLINE void split(F32 x, F32& f, F32& e) {
  const I32 root = splatInt(0x3f3504f3);  // √½
  const I32 distance = bitsOf(x) - root;
  f = fromBits((distance & splatInt(0x007fffff)) + root) - splat(1.0f);
  e = toFloat(shiftRightSigned<23>(distance));
}
// log x of a normal x > 0; 2 units, also near 1.
MILLRACE_INLINE F32 log(F32 x) {
  F32 f = splat(0), e = f;
  split(x, f, e);
  return logOf(f, e);
}

// 3 units.
MILLRACE_INLINE F32 tanh(F32 x) {
  constexpr float c[] = {-0.33333293f, 0.13331777f, -0.053770017f, 0.020745449f, -0.0058321976f};
  const F32 a = absolute(x);
  const F32 square = x * x;
  const F32 small = fma(polynomial(square, c) * square, x, x);
  const F32 large = withSign(splat(1.0f) - splat(2.0f) / (exp(a + a) + splat(1.0f)), x);
  return select(less(splat(0.6f), a), large, small);
}

// 1 / (1 + e^−x), without overflow.
MILLRACE_INLINE F32 sigmoid(F32 x) {
  const F32 e = expBelow(-absolute(x));
  const F32 one = splat(1.0f);
  return select(less(x, splat(0.0f)), e, one) / (one + e);
}

// Φ(x) = ½ erfc(−x / √2): the normal distribution, with small relative error far to the left, too (e^−x²/2 with the
// rounding error of x², times a polynomial for e^z² erfc z). 6 units down to −13; −∞ … ∞.
MILLRACE_INLINE F32 normalCdf(F32 x) {
  constexpr float c[] = {1.253008f,     -0.13562115f,  -0.04756239f,  0.12964639f,    -0.11927115f,  0.0682958f,
                         -0.023796516f, 0.0025681644f, 0.0020002238f, -0.0007800751f, -0.0002690805f};
  const F32 a = minimum(splat(14.0f), absolute(x));
  const F32 z = a * splat(0.707106781f);
  const F32 half = a * splat(0.5f);
  const F32 square = half * a;
  const F32 rounding = fma(half, a, -square);
  const F32 e = expBelow(-square);
  const F32 gauss = fma(-rounding, e, e);
  const F32 y = (z - splat(3.0f)) / (z + splat(3.0f));
  const F32 left = splat(0.5f) * gauss * polynomial(y, c) / fma(splat(2.0f), z, splat(1.0f));
  const F32 result = select(less(x, splat(0.0f)), left, splat(1.0f) - left);
  return select(equal(x, x), result, x);
}

// Sine and cosine of a float angle, |angle| < 2^30, in double: reduced by multiples of π/2 in three parts, then Taylor
// polynomials on |r| ≤ π/4 (error below 1e-12).
struct SinCos {
  double sin, cos;
};
MILLRACE_INLINE SinCos sinCos(float angle) {
  const double x = angle;
  const double shifted = x * 0.63661977236758134308 + 0x1.8p52;
  const double n = shifted - 0x1.8p52;
  // π/2: 30 bits, 30 bits, the rest; the first two products are exact for n < 2^23.
  const double r = ((x - n * 0x1.921fb54p0) - n * 0x1.10b46118p-30) - n * 0x1.313198a2e037p-61;
  const double s = r * r;
  const double sine =
      r + r * s *
              (-1.0 / 6 +
               s * (1.0 / 120 + s * (-1.0 / 5040 + s * (1.0 / 362880 + s * (-1.0 / 39916800 + s / 6227020800.0)))));
  const double cosine =
      1.0 + s * (-0.5 + s * (1.0 / 24 + s * (-1.0 / 720 + s * (1.0 / 40320 + s * (-1.0 / 3628800 + s / 479001600.0)))));
  const int64_t quadrant = static_cast<int64_t>(n) & 3;
  const double a = quadrant & 1 ? cosine : sine;
  const double b = quadrant & 1 ? sine : cosine;
  return {quadrant & 2 ? -a : a, (quadrant + 1) & 2 ? -b : b};
}

}  // namespace millrace::MILLRACE_ISA::lanes
