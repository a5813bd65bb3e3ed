// A row at a time: mapping it lane by lane, and summing it in 64 lanes with one fixed tree at the end.
#pragma once
#include "isa/math.h"

namespace millrace::MILLRACE_ISA::lanes {

// y[j] = f(j, first 16 or fewer lanes of x + j …) over `cols` columns; `f(load)` gets a loader for rows of that place.
template <typename F>
MILLRACE_INLINE void mapRow(float* y, int cols, F f) {
  int j = 0;
  for (; j + kLanes <= cols; j += kLanes) store(y + j, f([j](const float* p) { return load(p + j); }));
  const int rest = cols - j;
  if (rest > 0) storeFirst(y + j, f([j, rest](const float* p) { return loadFirst(p + j, rest); }), rest);
}

// Σ f(x[j]) in 64 lanes; f(0) need not be 0: the lanes beyond `cols` are masked.
template <typename F>
MILLRACE_INLINE float sumRow(const float* x, int cols, F f) {
  F32 sums[4] = {splat(0), splat(0), splat(0), splat(0)};
  int j = 0;
  for (; j + 4 * kLanes <= cols; j += 4 * kLanes) {
    for (int i = 0; i < 4; i++) sums[i] = f(load(x + j + i * kLanes), sums[i]);
  }
  for (; j + kLanes <= cols; j += kLanes) sums[0] = f(load(x + j), sums[0]);
  const int rest = cols - j;
  if (rest > 0) sums[1] = select(firstLanes(rest), f(loadFirst(x + j, rest), sums[1]), sums[1]);
  return sumOf((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace millrace::MILLRACE_ISA::lanes
