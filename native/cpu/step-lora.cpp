// What adapters add to linears: y += B (A x · scale) for the rows of sequences that have one, by the kernels of float
// formats, so that a row's bits depend on that row alone. A x is a wide op of its own, which has no items where no
// sequence has an adapter; B follows each chunk of the linear's columns while they lie in the cache. Work: r · (K + N)
// multiply-accumulates a row beside the linear's N · K.
#include <algorithm>

#include "sabotage.h"
#include "step.h"

namespace millrace {

namespace {

// Rows of one adapter that are multiplied with its A together.
constexpr int32_t kBlockRows = 32;

}  // namespace

// The runs of rows that have one adapter: of the step's tokens, or of a pass over output rows.
void Step::planLora() {
  loraRuns_.clear();
  loraBlocks_.clear();
  if (!hasAdapters_) return;
  const int32_t* outputRows = section_ < 0 ? nullptr : sections_[section_].rows.data() + passBegin_;
  const Sequence* s = sequences_.begin();
  const Adapter* any = nullptr;
  for (int32_t row = 0; row < rows_; row++) {
    int32_t token = outputRows ? outputRows[row] : row;
    // Output rows may come in any order.
    if (token < s->row) s = sequences_.begin();
    while (token >= s->row + s->rows) s++;
    const Adapter* adapter = adapters_[s - sequences_.begin()].get();
    if (!any) any = adapter;
    if (sabotaged(Fault::Adapters) && adapter) adapter = any;
    if (!adapter) continue;
    bool joins = !loraRuns_.empty() && loraRuns_[loraRuns_.size() - 1].adapter == adapter &&
                 loraRuns_[loraRuns_.size() - 1].end == row;
    if (joins) loraRuns_[loraRuns_.size() - 1].end++;
    else loraRuns_.push({adapter, row, row + 1});
  }
  for (const LoraRun& run : loraRuns_) {
    for (int32_t row = run.begin; row < run.end; row += kBlockRows) {
      loraBlocks_.push({run.adapter, row, std::min(row + kBlockRows, run.end)});
    }
  }
}

int Step::openLora(const op::LoraDown& in) {
  int groups = 0, rows = 0;
  for (const LoraRun& block : loraBlocks_) {
    const Adapter::Site* site = block.adapter->site(in.site);
    if (!site) continue;
    groups = std::max(groups, groupsOf(*site->a));
    rows += block.end - block.begin;
  }
  if (rows == 0) return 0;
  program_.counters->lora.fetch_add(static_cast<uint64_t>(rows), std::memory_order_relaxed);
  auto blocks = static_cast<int>(loraBlocks_.size());
  loraChunks_ = blocks >= 2 * program_.threads() ? 1 : groups;
  return blocks * loraChunks_;
}

void Step::loraDown(const op::LoraDown& in, int item, uint8_t* scratch) {
  const LoraRun& block = loraBlocks_[static_cast<size_t>(item / loraChunks_)];
  const Adapter::Site* site = block.adapter->site(in.site);
  if (!site) return;
  int groups = groupsOf(*site->a), chunk = item % loraChunks_;
  int begin = loraChunks_ == 1 ? 0 : chunk, end = loraChunks_ == 1 ? groups : std::min(groups, chunk + 1);
  if (begin >= end) return;
  LinearArgs args{};
  args.w = site->a;
  args.x = program_.at(in.x, static_cast<size_t>(block.begin));
  args.ldx = in.x.stride;
  args.rows = block.end - block.begin;
  args.y = program_.at(in.t, static_cast<size_t>(block.begin));
  args.ldy = in.t.stride;
  program_.kernels->linear(args, begin, end, scratch);
  for (const Adapter::Scale& scale : site->scales) {
    int from = std::max(scale.begin, begin * kGroupRows), to = std::min(scale.end, end * kGroupRows);
    for (int row = 0; row < args.rows; row++) {
      float* t = args.y + static_cast<size_t>(row) * args.ldy;
      for (int i = from; i < to; i++) t[i] *= scale.factor;
    }
  }
}

// To the rows and columns of a linear's output that are there.
void Step::addLora(const op::Lora& in, const Span& y, const float* bias, Area area, uint8_t* scratch) {
  if (in.site < 0) return;
  for (const LoraRun& run : loraRuns_) {
    int32_t row = std::max(area.rowBegin, run.begin), rows = std::min(area.rowEnd, run.end) - row;
    const Adapter::Site* site = rows > 0 ? run.adapter->site(in.site) : nullptr;
    if (!site) continue;
    for (const Adapter::Run& part : site->runs) {
      int32_t begin = std::max(area.colBegin, part.first) - part.first;
      int32_t end = std::min(area.colEnd, part.first + part.b->rows) - part.first;
      if (begin >= end) continue;
      LinearArgs args{};
      args.w = part.b;
      args.x = program_.at(in.t, static_cast<size_t>(row)) + part.inner;
      args.ldx = in.t.stride;
      args.rows = rows;
      args.y = program_.at(y, static_cast<size_t>(row)) + part.first;
      args.ldy = y.stride;
      args.residual = args.y;
      args.ldr = args.ldy;
      program_.kernels->linear(args, begin / kGroupRows, (end + kGroupRows - 1) / kGroupRows, scratch);
      for (int32_t i = 0; part.gain && i < rows; i++) {
        float* out = args.y + static_cast<size_t>(i) * args.ldy;
        for (int32_t c = begin; c < end; c++) {
          float fixed = bias ? bias[part.first + c] : 0;
          out[c] = (out[c] - fixed) * part.gain[c] + fixed;
        }
      }
    }
  }
}

}  // namespace millrace
