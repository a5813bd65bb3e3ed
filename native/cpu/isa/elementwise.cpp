// Norms, rotary embedding, activations: ops that are bound by the bytes of their rows (a few
// hundred KB that lie in L2), so that their exp and tanh are what costs. A row's result depends on that row alone: sums
// run in 64 lanes, one fixed tree at the end.
//
// Elements a nanosecond, rows in L2, one thread of a Zen 3 at 3.3 GHz, AVX2 (bench/kernels/elementwise.cpp): add 5.8,
// rmsNorm 4.8, rope 4.7 (half) and 2.3 (interleaved), gate with silu 1.3, geluTanh 1.1, gelu 0.6.
#include "isa/elementwise.h"

#include "isa/math.h"
#include "isa/rows.h"

namespace millrace::MILLRACE_ISA {

using namespace lanes;

namespace {

MILLRACE_INLINE F32 silu(F32 x) { return x * sigmoid(x); }
MILLRACE_INLINE F32 gelu(F32 x) { return x * normalCdf(x); }
// ½ x (1 + tanh u) = x / (1 + e^−2u), u = √(2/π) (x + 0.044715 x³).
MILLRACE_INLINE F32 geluTanh(F32 x) {
  const F32 cubic = fma(x * x, splat(0.044715f) * x, x);
  return x * sigmoid(splat(1.59576912f) * cubic);
}
MILLRACE_INLINE F32 relu(F32 x) { return maximum(splat(0), x); }
// log(1 + e^x) = max(x, 0) + log(1 + e), e = e^−|x|; what rounding 1 + e loses is put right (Kahan).
MILLRACE_INLINE F32 softplus(F32 x) {
  const F32 one = splat(1.0f), e = expBelow(-absolute(x));
  const F32 u = one + e;
  const F32 logarithm = select(equal(u, one), e, log(u) * (e / (u - one)));
  return maximum(splat(0), x) + logarithm;
}

// Calls f with the function that `activation` names, so that it is inlined into f's loop.
template <typename F>
MILLRACE_INLINE void withActivation(Activation activation, F f) {
  switch (activation) {
    case Activation::Silu:
      return f([](F32 x) { return silu(x); });
    case Activation::Gelu:
      return f([](F32 x) { return gelu(x); });
    case Activation::GeluTanh:
      return f([](F32 x) { return geluTanh(x); });
    case Activation::Relu:
      return f([](F32 x) { return relu(x); });
    case Activation::Softplus:
      return f([](F32 x) { return softplus(x); });
    case Activation::Exp:
      return f([](F32 x) { return exp(x); });
    case Activation::Identity:
      return f([](F32 x) { return x; });
    case Activation::Sigmoid:
      return f([](F32 x) { return sigmoid(x); });
    case Activation::ClampedSwiglu:
      return;  // gates, and is no function of one value
  }
}

// The same for a function of gate and up.
template <typename F>
MILLRACE_INLINE void withGate(Activation activation, F f) {
  if (activation == Activation::ClampedSwiglu) {
    f([](F32 g, F32 u) {
      const F32 limit = splat(7.0f), low = minimum(limit, g);
      const F32 up = minimum(limit, maximum(-limit, u)) + splat(1.0f);
      return low * sigmoid(splat(1.702f) * low) * up;
    });
    return;
  }
  withActivation(activation, [&](auto act) { f([act](F32 g, F32 u) { return act(g) * u; }); });
}

// Gate and up columns j … j + count − 1, where they take turns.
MILLRACE_INLINE void loadPairs(const float* x, int count, F32& even, F32& odd) {
  float a[kLanes] = {}, b[kLanes] = {};
  for (int i = 0; i < count; i++) {
    a[i] = x[2 * i];
    b[i] = x[2 * i + 1];
  }
  even = load(a);
  odd = load(b);
}

}  // namespace

void rmsNorm(const float* x, size_t ldx, float* y, size_t ldy, int cols, int groupSize, const float* weight,
             float weightOffset, float eps, int rowBegin, int rowEnd) {
  const F32 offset = splat(weightOffset);
  for (int row = rowBegin; row < rowEnd; row++) {
    for (int group = 0; group < cols; group += groupSize) {
      const float* in = x + row * ldx + group;
      const float sum = sumRow(in, groupSize, [](F32 v, F32 s) { return fma(v, v, s); });
      const F32 factor = splat(1.0f / std::sqrt(sum / static_cast<float>(groupSize) + eps));
      mapRow(y + row * ldy + group, groupSize, [&](auto at) {
        const F32 scaled = at(in) * factor;
        return weight != nullptr ? scaled * (at(weight) + offset) : scaled;
      });
    }
  }
}

void layerNorm(const float* x, size_t ldx, float* y, size_t ldy, int cols, const float* weight, float weightOffset,
               const float* bias, float eps, int rowBegin, int rowEnd) {
  const float count = static_cast<float>(cols);
  for (int row = rowBegin; row < rowEnd; row++) {
    const float* in = x + row * ldx;
    const F32 mean = splat(sumRow(in, cols, [](F32 v, F32 s) { return s + v; }) / count);
    const float variance = sumRow(in, cols, [mean](F32 v, F32 s) { return fma(v - mean, v - mean, s); }) / count;
    const F32 factor = splat(1.0f / std::sqrt(variance + eps));
    mapRow(y + row * ldy, cols, [&](auto at) {
      const F32 normal = (at(in) - mean) * factor;
      const F32 scaled = weight != nullptr ? normal * (at(weight) + splat(weightOffset)) : normal;
      return bias != nullptr ? scaled + at(bias) : scaled;
    });
  }
}

void ropeTable(const int32_t* positions, const float* frequencies, int n, float magnitude, float* cos, float* sin,
               int rowBegin, int rowEnd) {
  for (int row = rowBegin; row < rowEnd; row++) {
    const float position = static_cast<float>(positions[row]);
    for (int i = 0; i < n; i++) {
      const SinCos of = sinCos(position * frequencies[i]);
      cos[static_cast<size_t>(row) * n + i] = static_cast<float>(of.cos * static_cast<double>(magnitude));
      sin[static_cast<size_t>(row) * n + i] = static_cast<float>(of.sin * static_cast<double>(magnitude));
    }
  }
}

namespace {

// One head: columns i and i + n. x and y may be the same.
void rotateHalves(const float* x, float* y, int n, const float* cos, const float* sin) {
  int i = 0;
  const auto rotate = [&](auto at, auto put) {
    const F32 a = at(x + i), b = at(x + n + i), c = at(cos + i), s = at(sin + i);
    put(y + i, a * c - b * s);
    put(y + n + i, b * c + a * s);
  };
  for (; i + kLanes <= n; i += kLanes)
    rotate([](const float* p) { return load(p); }, [](float* p, F32 v) { store(p, v); });
  const int rest = n - i;
  if (rest > 0) {
    rotate([rest](const float* p) { return loadFirst(p, rest); }, [rest](float* p, F32 v) { storeFirst(p, v, rest); });
  }
}

// One head: columns 2i and 2i + 1.
void rotatePairs(const float* x, float* y, int n, const float* cos, const float* sin) {
  for (int i = 0; i < n; i++) {
    const float a = x[2 * i], b = x[2 * i + 1];
    y[2 * i] = a * cos[i] - b * sin[i];
    y[2 * i + 1] = b * cos[i] + a * sin[i];
  }
}

}  // namespace

void rope(const float* x, size_t ldx, float* y, size_t ldy, int heads, int headDim, int n, bool interleaved,
          const float* cos, const float* sin, int rowBegin, int rowEnd) {
  for (int row = rowBegin; row < rowEnd; row++) {
    const float* c = cos + static_cast<size_t>(row) * n;
    const float* s = sin + static_cast<size_t>(row) * n;
    for (int head = 0; head < heads; head++) {
      const float* in = x + row * ldx + static_cast<size_t>(head) * headDim;
      float* out = y + row * ldy + static_cast<size_t>(head) * headDim;
      (interleaved ? rotatePairs : rotateHalves)(in, out, n, c, s);
      if (in != out && 2 * n < headDim) std::memcpy(out + 2 * n, in + 2 * n, (headDim - 2 * n) * sizeof(float));
    }
  }
}

void gate(const float* g, size_t ldg, const float* u, size_t ldu, float* y, size_t ldy, int cols, Activation activation,
          int rowBegin, int rowEnd) {
  withGate(activation, [&](auto join) {
    for (int row = rowBegin; row < rowEnd; row++) {
      mapRow(y + row * ldy, cols, [&](auto at) { return join(at(g + row * ldg), at(u + row * ldu)); });
    }
  });
}

void gatePairs(const float* x, size_t ldx, float* y, size_t ldy, int cols, Activation activation, int rowBegin,
               int rowEnd) {
  withGate(activation, [&](auto join) {
    for (int row = rowBegin; row < rowEnd; row++) {
      // What is written lies behind what is read, never before it.
      for (int c = 0; c < cols; c += kLanes) {
        const int count = cols - c < kLanes ? cols - c : kLanes;
        F32 gate, up;
        loadPairs(x + row * ldx + 2 * c, count, gate, up);
        storeFirst(y + row * ldy + c, join(gate, up), count);
      }
    }
  });
}

void activate(const float* x, size_t ldx, float* y, size_t ldy, int cols, Activation activation, int rowBegin,
              int rowEnd) {
  withActivation(activation, [&](auto act) {
    for (int row = rowBegin; row < rowEnd; row++) {
      mapRow(y + row * ldy, cols, [&](auto at) { return act(at(x + row * ldx)); });
    }
  });
}

void add(const float* a, size_t lda, const float* b, size_t ldb, float* y, size_t ldy, int cols, int rowBegin,
         int rowEnd) {
  for (int row = rowBegin; row < rowEnd; row++) {
    mapRow(y + row * ldy, cols, [&](auto at) { return at(a + row * lda) + at(b + row * ldb); });
  }
}

void scale(const float* x, size_t ldx, float* y, size_t ldy, int cols, float factor, int rowBegin, int rowEnd) {
  for (int row = rowBegin; row < rowEnd; row++) {
    mapRow(y + row * ldy, cols, [&](auto at) { return at(x + row * ldx) * splat(factor); });
  }
}

void columnScale(const float* x, size_t ldx, float* y, size_t ldy, int cols, const float* weight, int weights,
                 ColumnFactor factor, int rowBegin, int rowEnd) {
  const int run = cols / weights;
  const auto factorOf = [factor](F32 w) {
    if (factor == ColumnFactor::Weight) return w;
    return factor == ColumnFactor::OneMinus ? splat(1.0f) - w : -exp(w);
  };
  for (int row = rowBegin; row < rowEnd; row++) {
    const float* in = x + row * ldx;
    float* out = y + row * ldy;
    if (run == 1) {
      mapRow(out, cols, [&](auto at) { return at(in) * factorOf(at(weight)); });
      continue;
    }
    for (int i = 0; i < weights; i++) {
      const F32 one = factorOf(splat(weight[i]));
      mapRow(out + static_cast<size_t>(i) * run, run,
             [&](auto at) { return at(in + static_cast<size_t>(i) * run) * one; });
    }
  }
}

void clamp(const float* x, size_t ldx, float* y, size_t ldy, int cols, float limit, int rowBegin, int rowEnd) {
  for (int row = rowBegin; row < rowEnd; row++) {
    mapRow(y + row * ldy, cols,
           [&](auto at) { return minimum(splat(limit), maximum(splat(-limit), at(x + row * ldx))); });
  }
}

void softcap(const float* x, size_t ldx, float* y, size_t ldy, int cols, float cap, int rowBegin, int rowEnd) {
  for (int row = rowBegin; row < rowEnd; row++) {
    mapRow(y + row * ldy, cols, [&](auto at) { return splat(cap) * tanh(at(x + row * ldx) / splat(cap)); });
  }
}

}  // namespace millrace::MILLRACE_ISA
