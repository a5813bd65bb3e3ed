// What a step's instructions do: row ops over some rows, wide ops by item. The calls of the kernels stand here (and,
// for what output rows are wanted for, in step-outputs.cpp) and nowhere else.
#include <algorithm>
#include <cstring>

#include "step.h"

namespace millrace {

namespace {

// Rows up to which a linear counts as flat.
constexpr int kFlatRows = 16;

}  // namespace

// --- row ops --------------------------------------------------------------------------------------------------------

void Step::runRows(const Stage& stage, int begin, int end) {
  for (const RowOp& row : stage.rows) {
    std::visit([&](const auto& in) { run(in, begin, end); }, row);
  }
}

void Step::run(const op::Embed& in, int begin, int end) {
  for (int row = begin; row < end; row++) {
    int32_t id = tokens_[row];
    if (in.segment > 0) id = in.bySegment ? id / in.segment : id % in.segment;
    const Part* part = &in.parts[0];
    while (id >= part->first + part->w->rows) part++;
    program_.kernels->dequantizeRow(*part->w, 0, id - part->first, in.factor, program_.at(in.y, row));
  }
}

void Step::run(const op::PositionEmbed& in, int begin, int end) {
  for (int row = begin; row < end; row++) {
    const Part* part = &in.parts[0];
    while (positions_[row] >= part->first + part->w->rows) part++;
    program_.kernels->dequantizeRow(*part->w, 0, positions_[row] - part->first, 1, program_.at(in.y, row));
  }
}

void Step::run(const op::Input& in, int begin, int end) {
  size_t cols = static_cast<size_t>(in.cols);
  for (int row = begin; row < end; row++) {
    int32_t place = in.input < 0 ? -1 : inputs_[in.input].placeOf[row];
    const float* from = place < 0 ? program_.at(in.x, row) : inputs_[in.input].values.data() + place * cols;
    // A row that stays, and lies where it is wanted, is nothing to do.
    if (float* to = program_.at(in.y, row); to != from) memcpy(to, from, sizeof(float) * cols);
  }
}

void Step::run(const op::Rows& in, int begin, int end) {
  const int32_t* rows = sections_[section_].rows.data() + passBegin_;
  for (int row = begin; row < end; row++) {
    memcpy(program_.at(in.y, row), program_.at(in.x, rows[row]), sizeof(float) * static_cast<size_t>(in.cols));
  }
}

void Step::run(const op::RmsNorm& in, int begin, int end) {
  program_.kernels->rmsNorm(program_.at(in.x), in.x.stride, program_.at(in.y), in.y.stride, in.cols, in.groupSize,
                            in.weight, in.weightOffset, in.eps, begin, end);
}

void Step::run(const op::LayerNorm& in, int begin, int end) {
  const auto normalise = [&](const float* x, size_t ldx, float* y, size_t ldy, int from, int to) {
    program_.kernels->layerNorm(x, ldx, y, ldy, in.groupSize, in.weight, in.weightOffset, in.bias, in.eps, from, to);
  };
  if (in.groupSize == in.cols) {
    normalise(program_.at(in.x), in.x.stride, program_.at(in.y), in.y.stride, begin, end);
    return;
  }
  // A row's groups as rows of their own.
  const auto stride = static_cast<size_t>(in.groupSize);
  for (int row = begin; row < end; row++) {
    const auto at = static_cast<size_t>(row);
    normalise(program_.at(in.x, at), stride, program_.at(in.y, at), stride, 0, in.cols / in.groupSize);
  }
}

void Step::run(const op::RopeTable& in, int begin, int end) {
  program_.kernels->ropeTable(positions_.data(), in.frequencies.data(), static_cast<int>(in.frequencies.size()),
                              in.magnitude, program_.at(in.cos), program_.at(in.sin), begin, end);
}

void Step::run(const op::Rope& in, int begin, int end) {
  program_.kernels->rope(program_.at(in.x), in.x.stride, program_.at(in.y), in.y.stride, in.heads, in.headDim, in.pairs,
                         in.interleaved, program_.at(in.cos), program_.at(in.sin), begin, end);
}

void Step::run(const op::KvWrite& in, int begin, int end) {
  const GroupPlan& plan = groups_[in.group];
  auto after = std::upper_bound(sequences_.begin(), sequences_.end(), begin,
                                [](int row, const Sequence& s) { return row < s.row; });
  for (auto s = after - 1; s != sequences_.end() && s->row < end; ++s) {
    int from = std::max(begin, s->row) - s->row, to = std::min(end, s->row + s->rows) - s->row;
    const int32_t* table = plan.tables.data() + plan.tableOf[s - sequences_.begin()];
    program_.kernels->kvWrite(in.kv, table, slots_.data() + s->row, program_.at(in.keys, s->row), in.keys.stride,
                              program_.at(in.values, s->row), in.values.stride, from, to);
  }
}

// Calls `visit` with each of the rows and its sequence's block table in a group.
template <typename F>
void Step::eachRow(int32_t group, int begin, int end, F&& visit) const {
  const GroupPlan& plan = groups_[group];
  const Sequence* s = std::upper_bound(sequences_.begin(), sequences_.end(), begin,
                                       [](int row, const Sequence& sequence) { return row < sequence.row; }) -
                      1;
  for (int row = begin; row < end; row++) {
    while (row >= s->row + s->rows) s++;
    visit(row, plan.tables.data() + plan.tableOf[static_cast<size_t>(s - sequences_.begin())]);
  }
}

void Step::run(const op::WriteRows& in, int begin, int end) {
  eachRow(in.group, begin, end, [&](int row, const int32_t* table) {
    int32_t slot = slots_[row];
    float* to = rowOf(in.kv, table[slot / kBlockTokens], slot % kBlockTokens) + in.column;
    memcpy(to, program_.at(in.x, row), sizeof(float) * static_cast<size_t>(in.cols));
  });
}

void Step::run(const op::ReadRows& in, int begin, int end) {
  eachRow(in.group, begin, end, [&](int row, const int32_t* table) {
    float* y = program_.at(in.y, row);
    size_t bytes = sizeof(float) * static_cast<size_t>(in.cols);
    int32_t place = ownPlace(row) - in.back;
    if (place < 0) {
      memset(y, 0, bytes);
      return;
    }
    int32_t slot = slotAt(row, place);
    memcpy(y, rowOf(in.kv, table[slot / kBlockTokens], slot % kBlockTokens), bytes);
  });
}

void Step::run(const op::Conv& in, int begin, int end) {
  const float* x[kMaxTaps];
  eachRow(in.group, begin, end, [&](int row, const int32_t* table) {
    for (int j = 0; j < in.taps; j++) {
      int32_t place = ownPlace(row) - (in.taps - 1 - j);
      int32_t slot = place < 0 ? 0 : slotAt(row, place);
      x[j] = place < 0 ? nullptr : rowOf(in.kv, table[slot / kBlockTokens], slot % kBlockTokens);
    }
    program_.kernels->conv(x, in.taps, in.weight, in.bias, in.cols, program_.at(in.y, row), in.y.stride, 1);
  });
}

void Step::run(const op::Bias& in, int begin, int end) {
  // The same row again and again.
  program_.kernels->add(program_.at(in.x), in.x.stride, in.weight, 0, program_.at(in.y), in.y.stride, in.cols, begin,
                        end);
}

void Step::run(const op::Pick& in, int begin, int end) {
  for (int row = begin; row < end; row++) {
    const float* x = program_.at(in.x, row);
    float* y = program_.at(in.y, row);
    for (size_t i = 0; i < in.columns.size(); i++) y[i] = x[in.columns[i]];
  }
}

void Step::run(const op::ColumnScale& in, int begin, int end) {
  program_.kernels->columnScale(program_.at(in.x), in.x.stride, program_.at(in.y), in.y.stride, in.cols, in.weight,
                                in.weights, in.factor, begin, end);
}

void Step::run(const op::Gate& in, int begin, int end) {
  const Kernels& k = *program_.kernels;
  const float *gate = program_.at(in.gate), *up = program_.at(in.up);
  float* y = program_.at(in.y);
  if (in.paired) return k.gatePairs(gate, in.gate.stride, y, in.y.stride, in.cols, in.activation, begin, end);
  if (in.gateCols == in.cols)
    return k.gate(gate, in.gate.stride, up, in.up.stride, y, in.y.stride, in.cols, in.activation, begin, end);
  for (int row = begin; row < end; row++) {
    float factor;
    k.activate(program_.at(in.gate, row), 1, &factor, 1, 1, in.activation, 0, 1);
    k.scale(up, in.up.stride, y, in.y.stride, in.cols, factor, row, row + 1);
  }
}

void Step::run(const op::PositionScale& in, int begin, int end) {
  auto last = static_cast<int32_t>(in.factors.size()) - 1;
  for (int row = begin; row < end; row++) {
    float factor = in.factors[std::min((positions_[row] + in.offset) / in.every, last)];
    program_.kernels->scale(program_.at(in.x), in.x.stride, program_.at(in.y), in.y.stride, in.cols, factor, row,
                            row + 1);
  }
}

void Step::run(const op::Activate& in, int begin, int end) {
  program_.kernels->activate(program_.at(in.x), in.x.stride, program_.at(in.y), in.y.stride, in.cols, in.activation,
                             begin, end);
}

void Step::run(const op::Add& in, int begin, int end) {
  program_.kernels->add(program_.at(in.a), in.a.stride, program_.at(in.b), in.b.stride, program_.at(in.y), in.y.stride,
                        in.cols, begin, end);
}

void Step::run(const op::Scale& in, int begin, int end) {
  program_.kernels->scale(program_.at(in.x), in.x.stride, program_.at(in.y), in.y.stride, in.cols, in.factor, begin,
                          end);
}

void Step::run(const op::Clamp& in, int begin, int end) {
  program_.kernels->clamp(program_.at(in.x), in.x.stride, program_.at(in.y), in.y.stride, in.cols, in.limit, begin,
                          end);
}

void Step::run(const op::Concat& in, int begin, int end) {
  size_t a = static_cast<size_t>(in.aCols), b = static_cast<size_t>(in.bCols);
  for (int row = begin; row < end; row++) {
    const float *first = program_.at(in.a, row), *second = program_.at(in.b, row);
    float* y = program_.at(in.y, row);
    for (size_t head = 0; head < static_cast<size_t>(in.heads); head++) {
      memcpy(y + head * (a + b), first + head * a, sizeof(float) * a);
      memcpy(y + head * (a + b) + a, second + head * b, sizeof(float) * b);
    }
  }
}

void Step::run(const op::Softcap& in, int begin, int end) {
  program_.kernels->softcap(program_.at(in.x), in.x.stride, program_.at(in.y), in.y.stride, in.cols, in.cap, begin,
                            end);
}

void Step::run(const op::Quantize& in, int begin, int end) {
  program_.kernels->quantizeRows(program_.at(in.x), in.x.stride, in.q.cols, program_.rows8(in.q), begin, end);
}

// --- wide ops -------------------------------------------------------------------------------------------------------

int Grid::chunks() const { return falling ? static_cast<int>(falling->size()) - 1 : (units + even - 1) / even; }
int Grid::unitBegin(int item) const { return falling ? (*falling)[item % chunks()] : item % chunks() * even; }
int Grid::unitEnd(int item) const {
  return falling ? (*falling)[item % chunks() + 1] : std::min(units, (item % chunks() + 1) * even);
}
int Grid::rowEnd(int item) const { return std::min(rows, rowBegin(item) + rowBlock); }

void Step::countProduct(const std::vector<Part>& parts, int rows) {
  int kind = rows == 1 ? 0 : rows <= kFlatRows ? 1 : 2;
  for (const Part& part : parts) {
    auto& counter = program_.counters->linear[kind][static_cast<int>(part.format)];
    counter.fetch_add(static_cast<uint64_t>(rows), std::memory_order_relaxed);
  }
}

int Step::openProduct(const Cut& cut, const std::vector<Part>& parts) {
  grid_.falling = rows_ <= kFlatRows ? &cut.chunks : nullptr;
  grid_.units = cut.chunks.back();
  grid_.rows = rows_;
  grid_.rowBlock = cut.rowBlock;
  grid_.rowBlocks = (rows_ + cut.rowBlock - 1) / cut.rowBlock;
  grid_.even = std::clamp(grid_.units * grid_.rowBlocks / (8 * program_.threads()), 1, cut.mostUnits);
  grid_.key = program_.panelKey + 1;
  program_.panelKey += static_cast<uint64_t>(grid_.rowBlocks);
  for (int row = 0; row < rows_; row += cut.rowBlock) countProduct(parts, std::min(cut.rowBlock, rows_ - row));
  return grid_.items();
}

// Cuts a wide op into chunks, and counts what the kernels will do.
int Step::openWide(const WideOp& wide) {
  if (auto* in = std::get_if<op::Attend>(&wide)) {
    return static_cast<int>(groups_[in->group].items.size()) * in->kv.kvHeads;
  }
  if (auto* in = std::get_if<op::Scan>(&wide)) return static_cast<int>(sequences_.size()) * in->heads;
  if (auto* in = std::get_if<op::Recur>(&wide)) return static_cast<int>(sequences_.size()) * in->runs();
  if (auto* in = std::get_if<op::MatrixScan>(&wide))
    return static_cast<int>(sequences_.size()) * in->heads * in->runs();
  if (auto* in = std::get_if<op::Linear>(&wide)) return openProduct(in->cut, in->parts);
  if (auto* in = std::get_if<op::LinearGate>(&wide)) return openProduct(in->cut, in->parts);
  if (auto* in = std::get_if<op::LoraDown>(&wide)) return openLora(*in);
  if (auto* in = std::get_if<op::HeadLinear>(&wide)) {
    int units = in->cut.chunks.back(), wanted = std::clamp(8 * program_.threads() / in->heads, 1, units);
    expertUnits_ = (units + wanted - 1) / wanted;
    expertChunks_ = (units + expertUnits_ - 1) / expertUnits_;
    for (int row = 0; row < rows_; row += in->cut.rowBlock) {
      countProduct(in->parts, std::min(in->cut.rowBlock, rows_ - row) * in->heads);
    }
    return in->heads * expertChunks_;
  }
  const auto& in = std::get<op::ExpertLinear>(wide);
  const int32_t *offsets = program_.list(in.lists.offsets), *active = program_.list(in.lists.active);
  int units = in.cut.chunks.back();
  int wanted = std::clamp(8 * program_.threads() / std::max(1, active[0]), 1, units);
  expertUnits_ = (units + wanted - 1) / wanted;
  expertChunks_ = (units + expertUnits_ - 1) / expertUnits_;
  for (int i = 0; i < active[0]; i++) {
    int rows = offsets[active[1 + i] + 1] - offsets[active[1 + i]];
    for (int row = 0; row < rows; row += in.cut.rowBlock) {
      countProduct(in.parts, std::min(in.cut.rowBlock, rows - row));
    }
  }
  return active[0] * expertChunks_;
}

void Step::wide(const WideOp& wide, int item, int thread) {
  if (auto* in = std::get_if<op::Linear>(&wide)) return linear(*in, item, thread);
  if (auto* in = std::get_if<op::LinearGate>(&wide)) return linearGate(*in, item, thread);
  if (auto* in = std::get_if<op::LoraDown>(&wide)) return loraDown(*in, item, program_.loraScratch(thread));
  uint8_t* scratch = program_.scratch(thread);
  if (auto* in = std::get_if<op::HeadLinear>(&wide)) return headLinear(*in, item, scratch);
  if (auto* in = std::get_if<op::Attend>(&wide)) return attend(*in, item, scratch);
  if (auto* in = std::get_if<op::Scan>(&wide)) return scan(*in, item, scratch);
  if (auto* in = std::get_if<op::Recur>(&wide)) return recur(*in, item, scratch);
  if (auto* in = std::get_if<op::MatrixScan>(&wide)) return matrixScan(*in, item, scratch);
  expertLinear(std::get<op::ExpertLinear>(wide), item, scratch);
}

LinearArgs Step::argsOf(const Operand& x, size_t row) const {
  LinearArgs args{};
  if (x.int8) {
    args.x8 = program_.rows8(x.q, row);
  } else {
    args.x = program_.at(x.x, row);
    args.ldx = x.x.stride;
  }
  return args;
}

void Step::linear(const op::Linear& in, int item, int thread) {
  int begin = grid_.unitBegin(item), end = grid_.unitEnd(item);
  auto row = static_cast<size_t>(grid_.rowBegin(item));
  LinearArgs args = argsOf(in.x, row);
  args.rows = grid_.rowEnd(item) - static_cast<int>(row);
  args.ldy = in.y.stride;
  args.ldr = in.residual.stride;
  args.panelKey = grid_.keyOf(item);
  for (const Part& part : in.parts) {
    if (begin < part.groups && end > 0) {
      args.w = part.w;
      args.y = program_.at(in.y, row) + part.first;
      args.bias = in.bias ? in.bias + part.first : nullptr;
      args.residual = in.hasResidual ? program_.at(in.residual, row) + part.first : nullptr;
      int from = std::max(begin, 0), to = std::min(end, part.groups);
      program_.kernels->linear(args, from, to, program_.scratch(thread));
      int32_t last = part.first + std::min(kGroupRows * to, part.w->rows);
      Area area{static_cast<int32_t>(row), static_cast<int32_t>(row) + args.rows, part.first + kGroupRows * from, last};
      addLora(in.lora, in.y, in.bias, area, program_.loraScratch(thread));
    }
    begin -= part.groups;
    end -= part.groups;
  }
}

// An item is some columns of one head, of all rows.
void Step::headLinear(const op::HeadLinear& in, int item, uint8_t* scratch) {
  int head = item / expertChunks_;
  int from = item % expertChunks_ * expertUnits_, to = std::min(in.cut.chunks.back(), from + expertUnits_);
  for (int row = 0; row < rows_; row += in.cut.rowBlock) {
    int begin = from, end = to;
    LinearArgs args = argsOf(in.x, static_cast<size_t>(row));
    args.expert = head;
    args.rows = std::min(in.cut.rowBlock, rows_ - row);
    int first = head * in.inputs;
    if (in.x.int8) {
      args.x8 = {args.x8.codes + first, args.x8.scales + first / kActBlock, args.x8.sums + first / 16};
      args.rowIndex = in.rowIndex.data();
    } else {
      args.x += first;
    }
    args.ldy = in.y.stride;
    for (const Part& part : in.parts) {
      if (begin < part.groups && end > 0) {
        args.w = part.w;
        args.y = program_.at(in.y, static_cast<size_t>(row)) + static_cast<size_t>(head) * in.cols + part.first;
        program_.kernels->linear(args, std::max(begin, 0), std::min(end, part.groups), scratch);
      }
      begin -= part.groups;
      end -= part.groups;
    }
  }
}

// A unit is 32 columns of F, so that a chunk holds whole activation blocks.
void Step::linearGate(const op::LinearGate& in, int item, int thread) {
  uint8_t* scratch = program_.scratch(thread);
  const Kernels& k = *program_.kernels;
  const Matrix& w = *in.parts[0].w;
  int half = w.rows / 2;
  int begin = grid_.unitBegin(item), end = grid_.unitEnd(item);
  auto row = static_cast<size_t>(grid_.rowBegin(item));
  LinearArgs args = argsOf(in.x, row);
  args.w = &w;
  args.rows = grid_.rowEnd(item) - static_cast<int>(row);
  args.y = program_.at(in.y, row);
  args.ldy = in.y.stride;
  args.panelKey = grid_.keyOf(item);
  k.linear(args, 2 * begin, 2 * end, scratch);
  k.linear(args, half / 16 + 2 * begin, half / 16 + 2 * end, scratch);
  for (int32_t first : {0, half}) {
    Area area{static_cast<int32_t>(row), static_cast<int32_t>(row) + args.rows, first + 32 * begin, first + 32 * end};
    addLora(in.lora, in.y, nullptr, area, program_.loraScratch(thread));
  }
  float* gate = args.y + 32 * begin;
  int cols = 32 * (end - begin);
  k.gate(gate, args.ldy, gate + half, args.ldy, gate, args.ldy, cols, in.activation, 0, args.rows);
  for (int i = 0; in.rounds && i < args.rows; i++) {
    Rows8 out = program_.rows8(in.q, row + static_cast<size_t>(i));
    out.codes += 32 * begin;
    out.scales += begin;
    out.sums += 2 * begin;
    k.quantizeRows(gate + static_cast<size_t>(i) * args.ldy, args.ldy, cols, out, 0, 1);
  }
}

}  // namespace millrace
