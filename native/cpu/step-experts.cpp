// Mixtures of experts: routing, the rows of each expert, their products, and the weighted sum.
#include <algorithm>

#include "step.h"

namespace millrace {

void Step::run(const op::Route& in, int begin, int end) {
  program_.kernels->route({program_.at(in.logits), in.logits.stride, program_.at(in.keys), in.keys.stride,
                           program_.at(in.routes), in.routes.stride, in.experts, in.topK, in.sigmoid, in.bias,
                           in.groups, in.keptGroups, in.twoLargest, in.normalize, in.factor},
                          begin, end);
}

void Step::run(const op::Combine& in, int begin, int end) {
  for (int row = begin; row < end; row++) {
    const int32_t* place = program_.list(in.lists.place) + static_cast<size_t>(row) * in.topK;
    const float* shares = program_.at(in.routes, row) + in.topK;
    float* y = program_.at(in.y, row);
    for (int e = 0; e < in.topK; e++) {
      const float* x = program_.at(in.x, place[e]);
      float share = in.weighs ? shares[e] : 1;
      if (e == 0) {
        for (int c = 0; c < in.cols; c++) y[c] = share * x[c];
      } else {
        for (int c = 0; c < in.cols; c++) y[c] += share * x[c];
      }
    }
  }
}

void Step::run(const op::Weigh& in, int begin, int end) {
  for (int row = begin; row < end; row++) {
    program_.kernels->scale(program_.at(in.x), in.x.stride, program_.at(in.y), in.y.stride, in.cols,
                            *program_.at(in.shares, row), row, row + 1);
  }
}

void Step::groupExperts(const op::GroupExperts& in) {
  int32_t *offsets = program_.list(in.lists.offsets), *active = program_.list(in.lists.active);
  int32_t *rowIndex = program_.list(in.lists.rowIndex), *place = program_.list(in.lists.place);
  int count = rows_ * in.topK;
  // The ids of experts are whole numbers of the router's choice; anything else would be a stray pointer.
  auto idOf = [&](int i) {
    float id = program_.at(in.routes, static_cast<size_t>(i / in.topK))[i % in.topK];
    return id >= 0 && id < static_cast<float>(in.experts) ? static_cast<int32_t>(id) : 0;
  };
  std::fill(offsets, offsets + in.experts + 1, 0);
  for (int i = 0; i < count; i++) offsets[idOf(i) + 1]++;
  int32_t used = 0;
  for (int e = 0; e < in.experts; e++) {
    if (offsets[e + 1] > 0) active[++used] = e;
    offsets[e + 1] += offsets[e];
  }
  active[0] = used;
  for (int i = 0; i < count; i++) {
    place[i] = offsets[idOf(i)]++;
    rowIndex[place[i]] = i / in.topK;
  }
  for (int e = in.experts; e > 0; e--) offsets[e] = offsets[e - 1];
  offsets[0] = 0;
}

void Step::expertLinear(const op::ExpertLinear& in, int item, uint8_t* scratch) {
  const int32_t *offsets = program_.list(in.lists.offsets), *active = program_.list(in.lists.active);
  const int32_t* rowIndex = program_.list(in.lists.rowIndex);
  int expert = active[1 + item / expertChunks_];
  int from = item % expertChunks_ * expertUnits_, to = std::min(in.cut.chunks.back(), from + expertUnits_);
  int last = offsets[expert + 1];
  for (int row = offsets[expert]; row < last; row += in.cut.rowBlock) {
    int begin = from, end = to;
    LinearArgs args = argsOf(in.x, in.gather ? 0 : static_cast<size_t>(row));
    args.expert = expert;
    args.rows = std::min(in.cut.rowBlock, last - row);
    if (in.gather) args.rowIndex = rowIndex + row;
    args.ldy = in.y.stride;
    for (const Part& part : in.parts) {
      if (begin < part.groups && end > 0) {
        args.w = part.w;
        args.y = program_.at(in.y, static_cast<size_t>(row)) + part.first;
        args.bias = in.bias ? in.bias + static_cast<size_t>(expert) * in.cols + part.first : nullptr;
        program_.kernels->linear(args, std::max(begin, 0), std::min(end, part.groups), scratch);
      }
      begin -= part.groups;
      end -= part.groups;
    }
  }
}

}  // namespace millrace
