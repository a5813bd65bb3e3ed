// What the linear kernels of integer and of float formats share: their outputs, their streams, the size of a panel.
#pragma once
#include <algorithm>
#include <type_traits>

#include "isa/linear.h"
#include "isa/vec.h"

namespace millrace::MILLRACE_ISA {

using namespace vec;

// Output row i, group g from the accumulators.
MILLRACE_INLINE void finish(const LinearArgs& a, int i, int g, const float* acc) {
  const int n = g * kGroupRows;
  float* y = a.y + static_cast<size_t>(i) * a.ldy + n;
  const float* bias = a.bias ? a.bias + n : nullptr;
  const float* residual = a.residual ? a.residual + static_cast<size_t>(i) * a.ldr + n : nullptr;
  if (n + kGroupRows <= a.w->rows) {
    MILLRACE_UNROLL
    for (int part = 0; part < kParts; part++) {
      F32 v = load(acc + kLanes * part);
      if (bias) v = add(v, load(bias + kLanes * part));
      if (residual) v = add(v, load(residual + kLanes * part));
      store(y + kLanes * part, v);
    }
    return;
  }
  for (int r = 0; n + r < a.w->rows; r++) {
    float v = acc[r];
    if (bias) v += bias[r];
    if (residual) v += residual[r];
    y[r] = v;
  }
}

MILLRACE_INLINE const uint8_t* groupOf(const LinearArgs& a, int g) {
  return a.w->data + static_cast<size_t>(a.expert) * a.w->expertBytes + static_cast<size_t>(g) * a.w->groupBytes;
}

// Streams of weights that are read at a time (several get more out of the memory than one), and bytes that prefetches
// run ahead of each. A stream is a run of groups, so that the prefetches at the end of one group serve the next.
constexpr int kStreams = 4;
constexpr int kAhead = 1024;
MILLRACE_INLINE void prefetch(const uint8_t* p, size_t bytes) {
  MILLRACE_UNROLL
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + kAhead + i);
}
constexpr int kFewRows = 16;          // at most: a panel of its own, as the weights come from memory
constexpr int kMostRows = 128;        // of a panel
constexpr int kPanelBytes = 1 << 18;  // a panel stays in L2

MILLRACE_INLINE int panelRows(int cols, int rows, int bytesPerCol) {
  const int fit = kPanelBytes / (std::max(cols, 1) * bytesPerCol) / 8 * 8;
  return std::min(rows, std::clamp(fit, kFewRows, kMostRows));
}

// Rows are cut into tiles of at most `most` rows and nearly the same size: a small tile leaves units waiting.
struct Tiling {
  int rows, most;

  int count() const { return (rows + most - 1) / most; }
  int begin(int tile) const { return rows * tile / count(); }
};

// f(std::integral_constant<int, rows>) for a number of rows from Least to Most.
template <int Least, int Most, typename F>
MILLRACE_INLINE void withRows(int rows, F f) {
  if constexpr (Most > Least) {
    if (rows < Most) return withRows<Least, Most - 1>(rows, f);
  }
  f(std::integral_constant<int, Most>{});
}

// What the panel in a scratch was made from; at the scratch's begin.
struct PanelKey {
  uint64_t key = 0;
  Format format = Format::Count;
};
constexpr size_t kPanelHeadBytes = 64;
static_assert(sizeof(PanelKey) <= kPanelHeadBytes);

// Whether the scratch holds this call's panel of at most `most` rows already (LinearArgs::panelKey); notes that it
// will. Equal keys mean equal rows, so that a kernel finds no panel of another's.
inline bool keepPanel(const LinearArgs& a, int most, uint8_t* scratch) {
  PanelKey& kept = *reinterpret_cast<PanelKey*>(scratch);
  const bool fits = a.panelKey != 0 && a.rows <= most;
  const bool filled = fits && kept.key == a.panelKey && kept.format == a.w->format;
  kept = fits ? PanelKey{a.panelKey, a.w->format} : PanelKey{};
  return filled;
}

}  // namespace millrace::MILLRACE_ISA
