// What the executor's instructions do: row ops over some rows, wide ops by item. The calls of the kernels stand here
// and nowhere else.
#include <algorithm>
#include <cstring>

#include "program.h"

namespace millrace {

namespace {

// Rows up to which a linear counts as flat.
constexpr int kFlatRows = 16;

}  // namespace

void Program::runRow(const Instruction& in, int begin, int end) {
  const Kernels& k = *kernels_;
  switch (in.op) {
    case Op::Embed:  // y = rows of parts[0] that the tokens name · factor
    case Op::PositionEmbed:
      for (int row = begin; row < end; row++) {
        int n = in.op == Op::Embed ? tokens_[row] : positions_[row];
        const LinearPart* part = &in.parts[0];
        while (n >= part->column + part->w->rows) part++;
        k.dequantizeRow(*part->w, 0, n - part->column, in.factor, at(in.y, row));
      }
      return;
    case Op::Rows:  // y[i] = x[outputRow[i]]
      for (int row = begin; row < end; row++) {
        memcpy(at(in.y, row), at(in.x, outputRow_[passBegin_ + row]), sizeof(float) * in.cols);
      }
      return;
    case Op::RmsNorm:
      k.rmsNorm(at(in.x), in.x.stride, at(in.y), in.y.stride, in.cols, in.groupSize, in.weight, in.offset, in.eps,
                begin, end);
      return;
    case Op::LayerNorm:
      k.layerNorm(at(in.x), in.x.stride, at(in.y), in.y.stride, in.cols, in.weight, in.bias, in.eps, begin, end);
      return;
    case Op::RopeTable:  // y, z: cos and sin [rows, n]
      k.ropeTable(positions_.data(), in.frequencies.data(), in.n, in.factor, at(in.y), at(in.z), begin, end);
      return;
    case Op::Rope:  // z, t: cos and sin
      k.rope(at(in.x), in.x.stride, at(in.y), in.y.stride, in.heads, in.headDim, in.n, in.interleaved, at(in.z),
             at(in.t), begin, end);
      return;
    case Op::KvWrite: {  // x: keys, y: values
      const GroupPlan& plan = *groups_[in.group];
      auto after = std::upper_bound(sequences_.begin(), sequences_.end(), begin,
                                    [](int row, const Sequence& s) { return row < s.row; });
      for (auto s = after - 1; s != sequences_.end() && s->row < end; ++s) {
        int from = std::max(begin, s->row) - s->row, to = std::min(end, s->row + s->rows) - s->row;
        const int32_t* table = plan.tables.data() + plan.tableOf[s - sequences_.begin()];
        k.kvWrite(in.kv, table, &positions_[s->row], at(in.x, s->row), in.x.stride, at(in.y, s->row), in.y.stride, from,
                  to);
      }
      return;
    }
    case Op::AttendMerge: {
      const GroupPlan& plan = *groups_[in.group];
      size_t perTile = static_cast<size_t>(in.heads) * (in.kv.valueDim + 2);
      for (const Split& split : plan.splits) {
        const Sequence& sequence = sequences_[split.sequence];
        int row = sequence.row + split.row;
        if (row < begin || row >= end) continue;
        AttendArgs args = attendArgs(in, sequence, split.sequence);
        for (int head = 0; head < in.kv.kvHeads; head++) {
          const float* partials = partials_ + split.partial * perTile + head * (perTile / in.kv.kvHeads);
          k.attendMerge(args, head, split.row, partials, perTile, split.tileBegin, split.tileEnd);
        }
      }
      return;
    }
    case Op::Gate:
      k.gate(at(in.x), in.x.stride, at(in.z), in.z.stride, at(in.y), in.y.stride, in.cols, in.activation, begin, end);
      return;
    case Op::Activate:
      k.activate(at(in.x), in.x.stride, at(in.y), in.y.stride, in.cols, in.activation, begin, end);
      return;
    case Op::Add:
      k.add(at(in.x), in.x.stride, at(in.z), in.z.stride, at(in.y), in.y.stride, in.cols, begin, end);
      return;
    case Op::Scale:
      k.scale(at(in.x), in.x.stride, at(in.y), in.y.stride, in.cols, in.factor, begin, end);
      return;
    case Op::Softcap:
      k.softcap(at(in.x), in.x.stride, at(in.y), in.y.stride, in.cols, in.factor, begin, end);
      return;
    case Op::Quantize:
      k.quantizeRows(at(in.x), in.x.stride, in.q.cols, rows8(in.q), begin, end);
      return;
    case Op::Route:  // x: router logits; y: ids, z: weights
      k.route(at(in.x), in.x.stride, in.cols, in.topK, in.normalize, at<int32_t>(in.y), at(in.z), begin, end);
      return;
    case Op::Combine:  // y[row] = Σ z[row, k] · x[place of (row, k)], in order of the experts' ids
      for (int row = begin; row < end; row++) {
        const int32_t* place = reinterpret_cast<int32_t*>(arena_ + in.experts.place) + size_t(row) * in.topK;
        const float* weights = at(in.z, row);
        float* y = at(in.y, row);
        const float* x = at(in.x, place[0]);
        for (int c = 0; c < in.cols; c++) y[c] = weights[0] * x[c];
        for (int e = 1; e < in.topK; e++) {
          x = at(in.x, place[e]);
          for (int c = 0; c < in.cols; c++) y[c] += weights[e] * x[c];
        }
      }
      return;
    default:
      return;
  }
}

// Sorts the (row, expert) assignments by expert, rows in ascending order. y: ids [rows, topK].
void Program::groupExperts(const Instruction& in) {
  auto list = [&](size_t offset) { return reinterpret_cast<int32_t*>(arena_ + offset); };
  int32_t *offsets = list(in.experts.offsets), *active = list(in.experts.active);
  int32_t *rowIndex = list(in.experts.rowIndex), *place = list(in.experts.place);
  int32_t* ids = at<int32_t>(in.y);
  int count = rows_ * in.topK;
  std::fill(offsets, offsets + in.n + 1, 0);
  for (int i = 0; i < count; i++) {
    if (static_cast<uint32_t>(ids[i]) >= static_cast<uint32_t>(in.n)) ids[i] = 0;  // router logits that are no numbers
    offsets[ids[i] + 1]++;
  }
  int32_t used = 0;
  for (int e = 0; e < in.n; e++) {
    if (offsets[e + 1] > 0) active[++used] = e;
    offsets[e + 1] += offsets[e];
  }
  active[0] = used;
  for (int i = 0; i < count; i++) {
    place[i] = offsets[ids[i]]++;
    rowIndex[place[i]] = i / in.topK;
  }
  for (int e = in.n; e > 0; e--) offsets[e] = offsets[e - 1];
  offsets[0] = 0;
}

void Program::countLinear(const Instruction& in, int rows) {
  int kind = rows == 1 ? 0 : rows <= kFlatRows ? 1 : 2;
  for (const LinearPart& part : in.parts) {
    auto& counter = counters_->linear[kind][static_cast<int>(part.format)];
    counter.fetch_add(static_cast<uint64_t>(rows), std::memory_order_relaxed);
  }
}

int Grid::chunks() const { return falling ? static_cast<int>(falling->size()) - 1 : (units + even - 1) / even; }
int Grid::unitBegin(int item) const { return falling ? (*falling)[item % chunks()] : item % chunks() * even; }
int Grid::unitEnd(int item) const {
  return falling ? (*falling)[item % chunks() + 1] : std::min(units, (item % chunks() + 1) * even);
}
int Grid::rowEnd(int item) const { return std::min(rows, rowBegin(item) + rowBlock); }

// Cuts a wide op into chunks, and counts what the kernels will do.
int Program::openWide(const Instruction& in) {
  int threads = team_->threads();
  switch (in.op) {
    case Op::Attend:
      return static_cast<int>(groups_[in.group]->items.size()) * in.kv.kvHeads;
    case Op::ExpertLinear: {
      auto list = [&](size_t offset) { return reinterpret_cast<int32_t*>(arena_ + offset); };
      const int32_t *offsets = list(in.experts.offsets), *active = list(in.experts.active);
      int units = in.chunks.back();
      int wanted = std::clamp(8 * threads / std::max(1, active[0]), 1, units);
      expertUnits_ = (units + wanted - 1) / wanted;
      expertChunks_ = (units + expertUnits_ - 1) / expertUnits_;
      for (int i = 0; i < active[0]; i++) {
        int rows = offsets[active[1 + i] + 1] - offsets[active[1 + i]];
        for (int row = 0; row < rows; row += in.rowBlock) {
          countLinear(in, std::min(in.rowBlock, rows - row));
        }
      }
      return active[0] * expertChunks_;
    }
    default: {
      grid_.falling = rows_ <= kFlatRows ? &in.chunks : nullptr;
      grid_.units = in.chunks.back();
      grid_.rows = rows_;
      grid_.rowBlock = in.rowBlock;
      grid_.rowBlocks = (rows_ + in.rowBlock - 1) / in.rowBlock;
      grid_.even = std::clamp(grid_.units * grid_.rowBlocks / (8 * threads), 1, in.mostUnits);
      grid_.key = panelKey_ + 1;
      panelKey_ += static_cast<uint64_t>(grid_.rowBlocks);
      for (int row = 0; row < rows_; row += in.rowBlock) countLinear(in, std::min(in.rowBlock, rows_ - row));
      return grid_.items();
    }
  }
}

// y = x Wᵀ (+ bias) (+ residual z)
void Program::linear(const Instruction& in, int item, uint8_t* scratch) {
  int begin = grid_.unitBegin(item), end = grid_.unitEnd(item);
  size_t row = grid_.rowBegin(item);
  LinearArgs args{};
  args.rows = grid_.rowEnd(item) - static_cast<int>(row);
  if (in.int8) {
    args.x8 = rows8(in.q, row);
  } else {
    args.x = at(in.x, row);
    args.ldx = in.x.stride;
  }
  args.ldy = in.y.stride;
  args.ldr = in.z.stride;
  args.panelKey = grid_.keyOf(item);
  for (const LinearPart& part : in.parts) {
    int groups = part.groups;
    if (begin < groups && end > 0) {
      args.w = part.w;
      args.y = at(in.y, row) + part.column;
      args.bias = in.bias ? in.bias + part.column : nullptr;
      args.residual = in.hasResidual ? at(in.z, row) + part.column : nullptr;
      kernels_->linear(args, std::max(begin, 0), std::min(end, groups), scratch);
    }
    begin -= groups;
    end -= groups;
  }
}

// y [rows, 2F] = x Wᵀ (gate columns, then up columns), then y[:F] = act(y[:F]) · y[F:], then those as int8. A unit is
// 32 columns of F, so that a chunk holds whole activation blocks.
void Program::linearGate(const Instruction& in, int item, uint8_t* scratch) {
  const Matrix& w = *in.parts[0].w;
  int half = w.rows / 2;
  int begin = grid_.unitBegin(item), end = grid_.unitEnd(item);
  size_t row = grid_.rowBegin(item);
  LinearArgs args{};
  args.w = &w;
  args.rows = grid_.rowEnd(item) - static_cast<int>(row);
  if (in.int8) {
    args.x8 = rows8(in.q, row);
  } else {
    args.x = at(in.x, row);
    args.ldx = in.x.stride;
  }
  args.y = at(in.y, row);
  args.ldy = in.y.stride;
  args.panelKey = grid_.keyOf(item);
  kernels_->linear(args, 2 * begin, 2 * end, scratch);
  kernels_->linear(args, half / 16 + 2 * begin, half / 16 + 2 * end, scratch);
  float* gate = args.y + 32 * begin;
  int cols = 32 * (end - begin);
  kernels_->gate(gate, args.ldy, gate + half, args.ldy, gate, args.ldy, cols, in.activation, 0, args.rows);
  for (int i = 0; in.emits8 && i < args.rows; i++) {
    Rows8 out = rows8(in.q2, row + i);
    out.codes += 32 * begin;
    out.scales += begin;
    out.sums += 2 * begin;
    kernels_->quantizeRows(gate + i * args.ldy, args.ldy, cols, out, 0, 1);
  }
}

// For each active expert: y[its assignments] = x[their rows] Wᵀ. `gather`: x has the token rows, else the assignments.
void Program::expertLinear(const Instruction& in, int item, uint8_t* scratch) {
  auto list = [&](size_t offset) { return reinterpret_cast<int32_t*>(arena_ + offset); };
  const int32_t *offsets = list(in.experts.offsets), *active = list(in.experts.active);
  const int32_t* rowIndex = list(in.experts.rowIndex);
  int expert = active[1 + item / expertChunks_];
  int from = item % expertChunks_ * expertUnits_, to = std::min(in.chunks.back(), from + expertUnits_);
  int last = offsets[expert + 1];
  for (int row = offsets[expert]; row < last; row += in.rowBlock) {
    int begin = from, end = to;
    LinearArgs args{};
    args.expert = expert;
    args.rows = std::min(in.rowBlock, last - row);
    size_t source = in.gather ? 0 : row;
    if (in.gather) args.rowIndex = rowIndex + row;
    if (in.int8) {
      args.x8 = rows8(in.q, source);
    } else {
      args.x = at(in.x, source);
      args.ldx = in.x.stride;
    }
    args.ldy = in.y.stride;
    for (const LinearPart& part : in.parts) {
      int groups = part.groups;
      if (begin < groups && end > 0) {
        args.w = part.w;
        args.y = at(in.y, row) + part.column;
        kernels_->linear(args, std::max(begin, 0), std::min(end, groups), scratch);
      }
      begin -= groups;
      end -= groups;
    }
  }
}

AttendArgs Program::attendArgs(const Instruction& in, const Sequence& sequence, int index) const {
  const GroupPlan& plan = *groups_[in.group];
  AttendArgs args{};
  args.kv = &in.kv;
  args.blockTable = plan.tables.data() + plan.tableOf[index];
  args.q = at(in.x, sequence.row);
  args.ldq = in.x.stride;
  args.heads = in.heads;
  args.scale = in.factor;
  args.softcap = in.eps;
  args.window = pool_->groups[in.group]->window;
  args.slots = &positions_[sequence.row];
  args.seen = &seen_[sequence.row];
  args.out = at(in.y, sequence.row);
  args.ldo = in.y.stride;
  return args;
}

// x: queries, y: out. factor: scale, eps: softcap (0: none).
void Program::attend(const Instruction& in, int i, uint8_t* scratch) {
  const GroupPlan& plan = *groups_[in.group];
  int kvHeads = in.kv.kvHeads;
  const Item& item = plan.items[i / kvHeads];
  int head = i % kvHeads;
  AttendArgs args = attendArgs(in, sequences_[item.sequence], item.sequence);
  int type = static_cast<int>(in.kv.type);
  if (item.tile < 0) {
    kernels_->attendRows(args, head, item.rowBegin, item.rowEnd, scratch);
    counters_->attend[0][type].fetch_add(item.rowEnd - item.rowBegin, std::memory_order_relaxed);
  } else {
    size_t perTile = static_cast<size_t>(in.heads) * (in.kv.valueDim + 2);
    float* partial = partials_ + item.partial * perTile + head * (perTile / kvHeads);
    kernels_->attendTile(args, head, item.rowBegin, item.rowEnd, item.tile, partial, 0, scratch);
    counters_->attend[1][type].fetch_add(1, std::memory_order_relaxed);
  }
}

// What an output row is wanted for.
void Program::output(const Wanted& wanted, uint8_t* scratch) {
  const float* logits = at(spec_.logits, wanted.outputRow - passBegin_);
  switch (wanted.want) {
    case Want::Sample: {
      SampleArgs args{};
      slots_[sampleSlots_[wanted.index]].fill(args);
      args.logits = logits;
      args.vocab = spec_.vocab;
      args.position = samplePositions_[wanted.index];
      args.top = sampleTop_[wanted.index];
      args.topIds = results_.topIds.data() + static_cast<size_t>(wanted.index) * kMaxTop;
      args.topLogprobs = results_.topLogprobs.data() + static_cast<size_t>(wanted.index) * kMaxTop;
      args.scratch = reinterpret_cast<float*>(scratch);
      kernels_->sample(args);
      results_.sampleIds[wanted.index] = args.id;
      results_.sampleLogprobs[wanted.index] = args.logprob;
      return;
    }
    case Want::Logprob: {
      LogprobArgs args{};
      args.logits = logits;
      args.vocab = spec_.vocab;
      args.id = logprobIds_[wanted.index];
      kernels_->logprob(args);
      results_.logprobs[wanted.index] = args.logprob;
      return;
    }
    case Want::Logits:
      memcpy(results_.logits.data() + static_cast<size_t>(wanted.index) * spec_.vocab * sizeof(float), logits,
             static_cast<size_t>(spec_.vocab) * sizeof(float));
      return;
  }
}

}  // namespace millrace
