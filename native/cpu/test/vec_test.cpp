// The scalar ISA's vector has one arithmetic, whatever this is compiled for: its fma is fused, its mulAdd is not.
#define MILLRACE_ISA scalar
#include "isa/vec.h"

#include <cmath>
#include <limits>
#include <random>

#include "test.h"

using namespace millrace;
namespace lanes = millrace::scalar::lanes;

namespace {

uint32_t patternOf(float x) {
  uint32_t pattern;
  std::memcpy(&pattern, &x, sizeof pattern);
  return pattern;
}
bool same(float a, float b) { return patternOf(a) == patternOf(b) || (std::isnan(a) && std::isnan(b)); }

// The products and sums of sixteen triples at once, against one at a time.
void checkSixteen(const float* a, const float* b, const float* c) {
  float fused[16], plain[16];
  lanes::store(fused, lanes::fma(lanes::load(a), lanes::load(b), lanes::load(c)));
  lanes::store(plain, lanes::mulAdd(lanes::load(a), lanes::load(b), lanes::load(c)));
  for (int i = 0; i < 16; i++) {
    volatile float product = a[i] * b[i];  // rounded before the sum, and no compiler fuses the two
    CHECK(same(fused[i], std::fma(a[i], b[i], c[i])));
    CHECK(same(plain[i], product + c[i]));
  }
}

}  // namespace

TEST(scalarFmaIsFusedAndMulAddIsNot) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 1);
  float a[16], b[16], c[16];
  for (int round = 0; round < 4000; round++) {
    for (int i = 0; i < 16; i++) {
      a[i] = normal(random);
      b[i] = normal(random);
      // Sums of all sizes, and those that cancel.
      c[i] = round % 3 == 0 ? -a[i] * b[i] : std::ldexp(normal(random), static_cast<int>(random() % 60) - 30);
    }
    checkSixteen(a, b, c);
  }
}

// Sums that rounding to double and then to float may get wrong; extremes.
TEST(scalarFmaRoundsOnce) {
  const float infinity = std::numeric_limits<float>::infinity(), tiny = std::numeric_limits<float>::denorm_min();
  const float cases[][3] = {
      {0x1.000002p0f, 0x1.000002p0f, 0x1p-60f},
      {0x1.000002p0f, 0x1.fffffep-1f, 0x1p24f},
      {0x1p-80f, 0x1p-80f, 0x1.8p-24f},
      {0x1.000001p-24f, 0x1p0f, 0x1.000002p0f},
      {tiny, 0.5f, tiny},
      {tiny, 0.5f, -tiny},
      {0x1.8p-100f, 0x1p-40f, 0x1.8p-127f},
      {infinity, 0, 1},
      {infinity, 1, -infinity},
      {3e38f, 2, -3e38f},
      {0x1.fffffep127f, 2, 1},
      {-0.0f, 1, -0.0f},
      {0x1.000002p-63f, 0x1.000002p-63f, -0.0f},
      {1, 0x1p-25f, 0x1.000002p0f},
      {1, 0x1.000002p-25f, 1},
      {0x1p-12f, 0x1p-13f, 1},
  };
  float a[16], b[16], c[16];
  for (int i = 0; i < 16; i++) {
    a[i] = cases[i][0];
    b[i] = cases[i][1];
    c[i] = cases[i][2];
  }
  checkSixteen(a, b, c);
  // 1 + 2^-23 + 2^-24 − 2^-64: in double half-way, from where it would go up.
  const float x = 0x1.00001p-12f, y = 0x1.ffffep-13f, z = 0x1.000002p0f;
  const double twice = static_cast<double>(x) * static_cast<double>(y) + static_cast<double>(z);
  CHECK(static_cast<float>(twice) != std::fma(x, y, z));
  for (int i = 0; i < 16; i++) {
    a[i] = i % 2 == 0 ? x : -x;
    b[i] = y;
    c[i] = i % 2 == 0 ? z : -z;
  }
  checkSixteen(a, b, c);
}
