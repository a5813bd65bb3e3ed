// The tile registers of AMX, as far as the linear kernels use them: two products of 16 rows of activations with the 4 ·
// Steps columns of a group of weights, signed bytes, summed exactly. Weights lie as they are packed (formats.h): 64
// bytes hold four columns of 16 rows. An object configures the thread's tiles and gives them back: a thread that holds
// none is cheaper to switch. With MILLRACE_EMULATED_TILES the same in plain C++, for tests on every processor.
#pragma once
#include <cstddef>
#include <cstdint>

#include "isa/vec.h"

#if defined(__AMX_INT8__) || defined(MILLRACE_EMULATED_TILES)
#define MILLRACE_TILES 1
#else
#define MILLRACE_TILES 0
#endif

namespace millrace::MILLRACE_ISA {

constexpr int kTileSide = 16;

#if defined(MILLRACE_EMULATED_TILES)

template <int Steps>
class Tiles {
 public:
  // Product T, 0 or 1, of 16 rows at x, `stride` bytes apart.
  template <int T>
  void multiply(const int8_t* x, size_t stride, const int8_t* w) {
    for (int m = 0; m < kTileSide; m++) {
      for (int n = 0; n < kTileSide; n++) {
        int32_t sum = 0;
        for (int k = 0; k < 4 * Steps; k++) {
          sum += x[static_cast<size_t>(m) * stride + static_cast<size_t>(k)] * w[64 * (k / 4) + 4 * n + k % 4];
        }
        sums_[T][m][n] = sum;
      }
    }
  }
  // Product T as [16 rows of activations, 16 rows of weights].
  template <int T>
  void store(int32_t* sums) const {
    std::memcpy(sums, sums_[T], sizeof sums_[T]);
  }

 private:
  int32_t sums_[2][kTileSide][kTileSide];
};

#elif MILLRACE_TILES

template <int Steps>
class Tiles {
 public:
  Tiles() {
    // Tiles 0, 1: sums; 2, 3: activations; 4, 5: weights.
    alignas(64) struct {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t rowBytes[16] = {64, 64, 4 * Steps, 4 * Steps, 64, 64};
      uint8_t rows[16] = {kTileSide, kTileSide, kTileSide, kTileSide, Steps, Steps};
    } shape;
    vec::reload(&shape);
    _tile_loadconfig(&shape);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int T>
  __attribute__((always_inline)) void multiply(const int8_t* x, size_t stride, const int8_t* w) {
    // GCC's tile loads don't say that they read memory.
    vec::reload(x);
    if constexpr (T == 0) {
      _tile_zero(0);
      _tile_loadd(2, x, stride);
      _tile_loadd(4, w, 64);
      _tile_dpbssd(0, 2, 4);
    } else {
      _tile_zero(1);
      _tile_loadd(3, x, stride);
      _tile_loadd(5, w, 64);
      _tile_dpbssd(1, 3, 5);
    }
  }
  template <int T>
  __attribute__((always_inline)) void store(int32_t* sums) const {
    if constexpr (T == 0) _tile_stored(0, sums, 64);
    else _tile_stored(1, sums, 64);
    vec::reload(sums);
  }
};

#endif

}  // namespace millrace::MILLRACE_ISA
