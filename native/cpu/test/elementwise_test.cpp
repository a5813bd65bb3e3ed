// Elementwise kernels against the C library's double precision, over widths that are no multiple of 16, in place and
// apart, and bit for bit whatever the range of rows.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "kernels.h"
#include "test.h"

using namespace millrace;

namespace {

std::vector<float> randomFloats(size_t n, unsigned seed, float spread = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> x(n);
  for (float& y : x) y = normal(random);
  return x;
}

void forEachIsa(const std::function<void(const Kernels&)>& body) {
  for (const char* const* name = availableKernels(); *name != nullptr; name++) body(*selectKernels(*name));
}

// |a − b| relative to b, with a floor for what underflows.
double relative(double a, double b, double floor = 1e-36) { return std::fabs(a - b) / std::max(std::fabs(b), floor); }

double geluTanhOf(double x) { return 0.5 * x * (1 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x))); }

double worstActivation(const Kernels& k, Activation a, float from, float to, double (*exact)(double)) {
  const int n = 20011;
  std::vector<float> x(n), y(n);
  for (int i = 0; i < n; i++) x[i] = from + (to - from) * static_cast<float>(i) / (n - 1);
  k.activate(x.data(), n, y.data(), n, n, a, 0, 1);
  double worst = 0;
  for (int i = 0; i < n; i++) worst = std::max(worst, relative(y[i], exact(x[i])));
  return worst;
}

}  // namespace

TEST(activationsAgreeWithDouble) {
  forEachIsa([](const Kernels& k) {
    const auto silu = [](double x) { return x / (1 + std::exp(-x)); };
    const auto gelu = [](double x) { return 0.5 * x * std::erfc(-x * 0.70710678118654752440); };
    const auto relu = [](double x) { return std::max(x, 0.0); };
    CHECK_NEAR(worstActivation(k, Activation::Silu, -80, 80, silu), 0, 1e-6);
    CHECK_NEAR(worstActivation(k, Activation::Silu, -1e-3f, 1e-3f, silu), 0, 1e-6);
    CHECK_NEAR(worstActivation(k, Activation::Gelu, -12, 12, gelu), 0, 1e-6);
    CHECK_NEAR(worstActivation(k, Activation::Gelu, -1e-3f, 1e-3f, gelu), 0, 1e-6);
    // The exponent 2u is rounded to a float: its error grows with its size.
    CHECK_NEAR(worstActivation(k, Activation::GeluTanh, -1.5f, 12, geluTanhOf), 0, 1e-6);
    CHECK_NEAR(worstActivation(k, Activation::GeluTanh, -5, -1.5f, geluTanhOf), 0, 1e-5);
    CHECK_NEAR(worstActivation(k, Activation::Relu, -3, 3, relu), 0, 0);
  });
}

TEST(activationsOfExtremeNumbers) {
  forEachIsa([](const Kernels& k) {
    const float x[6] = {INFINITY, -INFINITY, 1e30f, -1e30f, 0, NAN};
    for (const Activation a : {Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu}) {
      float y[6];
      k.activate(x, 6, y, 6, 6, a, 0, 1);
      CHECK_EQ(y[0], INFINITY);
      CHECK_EQ(y[2], 1e30f);
      CHECK_EQ(y[3], 0.0f);
      CHECK_EQ(y[4], 0.0f);
      CHECK(std::isnan(y[5]));
    }
  });
}

TEST(softcapAgreesWithDouble) {
  forEachIsa([](const Kernels& k) {
    for (const float spread : {1e-3f, 1.0f, 30.0f, 1e4f}) {
      const int n = 5003;
      const std::vector<float> x = randomFloats(n, 5, spread);
      std::vector<float> y(n);
      k.softcap(x.data(), n, y.data(), n, n, 30, 0, 1);
      double worst = 0;
      for (int i = 0; i < n; i++) worst = std::max(worst, relative(y[i], 30 * std::tanh(x[i] / 30.0)));
      CHECK_NEAR(worst, 0, 1e-6);
    }
  });
}

TEST(gateAddAndScale) {
  forEachIsa([](const Kernels& k) {
    for (const int cols : {1, 15, 16, 33, 64, 100}) {
      const int rows = 5;
      const size_t ld = cols + 7;
      const std::vector<float> a = randomFloats(rows * ld, 1), b = randomFloats(rows * ld, 2);
      std::vector<float> gated(rows * ld, 9), added(rows * ld, 9), scaled = a;
      k.gate(a.data(), ld, b.data(), ld, gated.data(), ld, cols, Activation::Silu, 1, 4);
      k.add(a.data(), ld, b.data(), ld, added.data(), ld, cols, 1, 4);
      k.scale(scaled.data(), ld, scaled.data(), ld, cols, 0.3f, 1, 4);
      for (int row = 0; row < rows; row++) {
        for (size_t j = 0; j < ld; j++) {
          const size_t at = row * ld + j;
          const double x = a[at];
          if (row >= 1 && row < 4 && j < static_cast<size_t>(cols)) {
            CHECK_NEAR(relative(gated[at], x / (1 + std::exp(-x)) * b[at]), 0, 1e-6);
            CHECK_EQ(added[at], a[at] + b[at]);
            CHECK_EQ(scaled[at], a[at] * 0.3f);
          } else {  // untouched
            CHECK_EQ(gated[at], 9.0f);
            CHECK_EQ(added[at], 9.0f);
            CHECK_EQ(scaled[at], a[at]);
          }
        }
      }
    }
  });
}

TEST(rmsNormAgreesWithDouble) {
  forEachIsa([](const Kernels& k) {
    for (const int group : {1, 16, 24, 64, 100, 576, 2048}) {
      const int groups = 3, rows = 3, cols = group * groups;
      const size_t ld = cols + 5;
      const std::vector<float> x = randomFloats(rows * ld, 7, 3), weight = randomFloats(group, 8);
      std::vector<float> y(rows * ld), inPlace = x;
      k.rmsNorm(x.data(), ld, y.data(), ld, cols, group, weight.data(), 1, 1e-5f, 0, rows);
      for (int row = 0; row < rows; row++) {
        k.rmsNorm(inPlace.data(), ld, inPlace.data(), ld, cols, group, weight.data(), 1, 1e-5f, row, row + 1);
        CHECK(std::memcmp(&inPlace[row * ld], &y[row * ld], cols * sizeof(float)) == 0);
        for (int g = 0; g < groups; g++) {
          const float* in = &x[row * ld + g * group];
          double sum = 0;
          for (int i = 0; i < group; i++) sum += static_cast<double>(in[i]) * in[i];
          const double factor = 1 / std::sqrt(sum / group + 1e-5f);
          for (int i = 0; i < group; i++) {
            CHECK_NEAR(relative(y[row * ld + g * group + i], in[i] * factor * (1.0 + weight[i]), 1e-3), 0, 1e-6);
          }
        }
      }
    }
  });
}

TEST(layerNormAgreesWithDouble) {
  forEachIsa([](const Kernels& k) {
    for (const int cols : {1, 24, 64, 100, 768}) {
      for (const bool biased : {false, true}) {
        std::vector<float> x = randomFloats(cols, 9, 2);
        for (float& v : x) v += 10;
        const std::vector<float> weight = randomFloats(cols, 10), bias = randomFloats(cols, 11);
        std::vector<float> y(cols);
        k.layerNorm(x.data(), cols, y.data(), cols, cols, weight.data(), 0, biased ? bias.data() : nullptr, 1e-5f, 0,
                    1);
        double mean = 0, variance = 0;
        for (const float v : x) mean += v / static_cast<double>(cols);
        for (const float v : x) variance += (v - mean) * (v - mean) / cols;
        for (int i = 0; i < cols; i++) {
          const double exact = (x[i] - mean) / std::sqrt(variance + 1e-5f) * weight[i] + (biased ? bias[i] : 0);
          CHECK_NEAR(y[i], exact, 1e-5 * (1 + std::fabs(weight[i])));
        }
      }
    }
  });
}

TEST(ropeTableAgreesWithDouble) {
  forEachIsa([](const Kernels& k) {
    const int n = 37, rows = 9;
    const int32_t positions[rows] = {0, 1, 2, 355, 4095, 131071, 1000003, 16777215, 7};
    std::vector<float> frequencies(n), cos(rows * n), sin(rows * n);
    for (int i = 0; i < n; i++) frequencies[i] = static_cast<float>(std::pow(10000.0, -i / 37.0));
    k.ropeTable(positions, frequencies.data(), n, 1.25f, cos.data(), sin.data(), 0, rows);
    for (int row = 0; row < rows; row++) {
      for (int i = 0; i < n; i++) {
        const float angle = static_cast<float>(positions[row]) * frequencies[i];
        CHECK_NEAR(relative(cos[row * n + i], 1.25 * std::cos(static_cast<double>(angle))), 0, 1e-7);
        CHECK_NEAR(relative(sin[row * n + i], 1.25 * std::sin(static_cast<double>(angle))), 0, 1e-7);
      }
    }
  });
}

TEST(ropeRotatesPairs) {
  forEachIsa([](const Kernels& k) {
    for (const bool interleaved : {false, true}) {
      for (const int n : {1, 8, 16, 20, 32}) {
        const int heads = 3, headDim = 2 * n + (n % 3) * 4, rows = 4, width = heads * headDim;
        const std::vector<float> x = randomFloats(rows * width, 12), cos = randomFloats(rows * n, 13),
                                 sin = randomFloats(rows * n, 14);
        std::vector<float> y(rows * width, 77), inPlace = x;
        k.rope(x.data(), width, y.data(), width, heads, headDim, n, interleaved, cos.data(), sin.data(), 0, rows);
        for (int row = 0; row < rows; row++) {
          k.rope(inPlace.data(), width, inPlace.data(), width, heads, headDim, n, interleaved, cos.data(), sin.data(),
                 row, row + 1);
        }
        CHECK(inPlace == y);
        for (int row = 0; row < rows; row++) {
          for (int head = 0; head < heads; head++) {
            const float* in = &x[row * width + head * headDim];
            const float* out = &y[row * width + head * headDim];
            for (int i = 0; i < n; i++) {
              const int a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + n;
              const double c = cos[row * n + i], s = sin[row * n + i];
              CHECK_NEAR(out[a], in[a] * c - in[b] * s, 1e-6);
              CHECK_NEAR(out[b], in[b] * c + in[a] * s, 1e-6);
            }
            for (int i = 2 * n; i < headDim; i++) CHECK_EQ(out[i], in[i]);
          }
        }
      }
    }
  });
}

TEST(routeChoosesTheLargest) {
  forEachIsa([](const Kernels& k) {
    std::mt19937 random(15);
    for (int round = 0; round < 200; round++) {
      const int experts = 1 + static_cast<int>(random() % 130);
      const int topK = 1 + static_cast<int>(random() % std::min(experts, 9));
      const bool normalize = random() % 2 == 0;
      std::vector<float> logits(experts);
      // Few different numbers: ties are frequent.
      for (float& x : logits)
        x = static_cast<float>(random() % 12) - 6 + (round % 2 == 0 ? 0.0f : random() % 97 / 97.0f);
      std::vector<int32_t> order(experts);
      for (int e = 0; e < experts; e++) order[e] = e;
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
      std::sort(order.begin(), order.begin() + topK);
      std::vector<float> routes(2 * topK), keys(experts);
      RouteArgs args{logits.data(), 0, keys.data(), 0, routes.data(), 0, experts, topK};
      args.normalize = normalize;
      k.route(args, 0, 1);
      double sum = 0;
      for (int e = 0; e < experts; e++) sum += std::exp(static_cast<double>(logits[e]));
      if (normalize) sum = 0;
      for (int j = 0; j < topK && normalize; j++) sum += std::exp(static_cast<double>(logits[order[j]]));
      for (int j = 0; j < topK; j++) {
        CHECK_EQ(routes[j], order[j]);
        CHECK_NEAR(relative(routes[topK + j], std::exp(static_cast<double>(logits[order[j]])) / sum), 0, 1e-6);
      }
    }
    // Nothing is a number: still topK different experts.
    const float bad[4] = {NAN, NAN, NAN, NAN};
    float routes[4], keys[4];
    k.route({bad, 0, keys, 0, routes, 0, 4, 2}, 0, 1);
    CHECK_EQ(routes[0], 0);
    CHECK_EQ(routes[1], 1);
  });
}
