// A low-rank adapter as the executor sees it: for each adapted linear of a program one matrix A, the pairs' stacked,
// and for each run of output columns a matrix B. Made on the JavaScript thread, never changed; a step that uses one
// holds a share of it. The arithmetic stands in step-lora.cpp.
#pragma once
#include <memory>
#include <vector>

#include "weights.h"

namespace millrace {

struct Adapter {
  // The values begin … end − 1 of a row of A x, times this.
  struct Scale {
    int32_t begin, end;
    float factor;
  };
  // The output columns from `first` on: += B t, t beginning at `inner` in the row of A x; then, where there are gains,
  // less the bias, times the gain, and the bias again.
  struct Run {
    int32_t first, inner;
    const Matrix* b;
    const float* gain;
  };
  struct Site {
    const Matrix* a = nullptr;  // null: the linear stays as it is
    std::vector<Scale> scales;
    std::vector<Run> runs;
  };

  std::shared_ptr<Weights> weights;
  std::vector<Site> sites;  // by the program's numbers of its sites

  const Site* site(int32_t index) const {
    bool has = index >= 0 && static_cast<size_t>(index) < sites.size() && sites[static_cast<size_t>(index)].a;
    return has ? &sites[static_cast<size_t>(index)] : nullptr;
  }
};

}  // namespace millrace
