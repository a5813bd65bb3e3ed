// The part of the addon that compiles programs: reads the lowering's stages (src/backend/cpu/native.ts) into the
// executor's own structures. Every number is checked here, against the arena, the weights and the pool: behind this
// file nobody asks again.
#include <algorithm>
#include <type_traits>

#include "addon.h"

namespace millrace {

namespace {

// Of a program, linears that adapters may change.
constexpr int32_t kMostSites = 1 << 20;

class Reader {
 public:
  Reader(Call& call, const std::vector<std::shared_ptr<Weights>>& weights, const Pool& pool, ProgramSpec& spec)
      : call_(call), weights_(weights), pool_(pool), spec_(spec) {}

  // Stages over at most so many rows.
  void stages(napi_value list, int32_t rows, std::vector<Stage>& out) {
    uint32_t count = call_.length(list);
    for (uint32_t i = 0; i < count && !call_.failed; i++) {
      out.emplace_back();
      stage(call_.element(list, i), rows, out.back());
    }
  }

  Span span(napi_value object, const char* name, int64_t rows, int64_t cols) {
    napi_value list = call_.property(object, name);
    Span span{call_.size(call_.element(list, 0)), call_.size(call_.element(list, 1))};
    if (call_.failed) return span;
    size_t stride = span.stride, wanted = static_cast<size_t>(cols);
    require(rows >= 1 && cols >= 1 && (rows == 1 || stride >= wanted), name);
    if (!call_.failed)
      room(span.at, 4 * static_cast<double>(stride) * static_cast<double>(rows - 1) + 4.0 * cols, name);
    return span;
  }

  // The matrices' rows and columns where they are the rows of a table.
  void table(napi_value object, std::vector<Part>& parts, int32_t cols, int32_t least) {
    int64_t rows = readParts(object, parts, cols);
    require(rows >= least, "a table has fewer rows than there are ids");
    for (const Part& part : parts) require(part.w->experts == 1, "a table of experts");
  }

 private:
  void require(bool condition, const char* what) {
    if (!condition) call_.fail(kNativeError, std::string("a stage doesn't fit together: ") + what);
  }
  void room(size_t at, double bytes, const char* what) {
    require(at % 4 == 0 && static_cast<double>(at) + bytes <= static_cast<double>(spec_.arenaBytes), what);
  }
  int32_t int32(napi_value object, const char* name, int64_t least = 1, int64_t most = INT32_MAX) {
    return static_cast<int32_t>(call_.integer(call_.property(object, name), least, most));
  }
  float number(napi_value object, const char* name) {
    return static_cast<float>(call_.number(call_.property(object, name)));
  }
  bool flag(napi_value object, const char* name) { return call_.boolean(call_.property(object, name)); }

  Span8 span8(napi_value object, const char* name, int64_t rows, int32_t cols) {
    napi_value list = call_.property(object, name);
    Span8 q{call_.size(call_.element(list, 0)), call_.size(call_.element(list, 1)), call_.size(call_.element(list, 2)),
            call_.int32(call_.element(list, 3))};
    if (call_.failed) return q;
    require(q.cols == cols && cols % kActBlock == 0, name);
    double codes = static_cast<double>(rows) * cols;
    room(q.codes, codes, name);
    room(q.scales, codes / kActBlock * 4, name);
    room(q.sums, codes / 16 * 4, name);
    return q;
  }
  Operand operand(napi_value object, int64_t rows, int32_t cols, const std::vector<Part>& parts) {
    Operand x;
    x.int8 = call_.has(object, "q");
    if (x.int8) x.q = span8(object, "q", rows, cols);
    else x.x = span(object, "x", rows, cols);
    for (const Part& part : parts) require(readsInt8(part.format) == x.int8, "a product reads rows of another kind");
    return x;
  }
  ExpertLists lists(napi_value object, int64_t experts, int64_t assignments) {
    napi_value list = call_.property(object, "lists");
    ExpertLists lists{call_.size(call_.element(list, 0)), call_.size(call_.element(list, 1)),
                      call_.size(call_.element(list, 2)), call_.size(call_.element(list, 3))};
    if (call_.failed) return lists;
    room(lists.offsets, 4.0 * (experts + 1), "lists");
    room(lists.active, 4.0 * (experts + 1), "lists");
    room(lists.rowIndex, 4.0 * assignments, "lists");
    room(lists.place, 4.0 * assignments, "lists");
    return lists;
  }
  std::shared_ptr<Weights> holder(napi_value index) {
    auto i = static_cast<size_t>(call_.integer(index, 0, static_cast<int64_t>(weights_.size()) - 1));
    return call_.failed ? nullptr : weights_[i];
  }
  const float* vector(napi_value object, const char* name, int32_t length) {
    napi_value pair = call_.property(object, name);
    auto weights = holder(call_.element(pair, 0));
    int32_t index = call_.int32(call_.element(pair, 1));
    if (call_.failed) return nullptr;
    const float* data = weights->vector(index, static_cast<size_t>(length));
    require(data != nullptr, name);
    return data;
  }
  // Triples (weights, matrix, first row), one after another from row 0 on, all `cols` wide. Returns the rows together.
  int64_t readParts(napi_value object, std::vector<Part>& parts, int32_t cols) {
    napi_value list = call_.property(object, "parts");
    uint32_t count = call_.length(list);
    int64_t rows = 0;
    for (uint32_t i = 0; i < count && !call_.failed; i++) {
      napi_value triple = call_.element(list, i);
      auto weights = holder(call_.element(triple, 0));
      int32_t index = call_.int32(call_.element(triple, 1)), first = call_.int32(call_.element(triple, 2));
      if (call_.failed) break;
      const Matrix* w = weights->matrix(index);
      require(w && w->cols == cols && first == rows, "a matrix has another shape");
      if (call_.failed) break;
      parts.push_back({w, first, groupsOf(*w), w->format});
      rows += w->rows;
    }
    require(!parts.empty() && rows <= INT32_MAX, "matrices");
    return rows;
  }
  // What an adapter adds to a product, after the LoraDown of the same site.
  op::Lora lora(napi_value object, int64_t rows, int32_t inputs, int32_t cols, const std::vector<Part>& parts) {
    op::Lora lora;
    if (!call_.has(object, "site")) return lora;
    lora.site = int32(object, "site", 0, static_cast<int64_t>(spec_.loraSites.size()) - 1);
    if (call_.failed) return lora;
    LoraSite& site = spec_.loraSites[static_cast<size_t>(lora.site)];
    require(site.inputs == inputs && site.cols == 0, "what an adapter adds");
    lora.t = span(object, "inner", rows, std::max(1, site.inner));
    site.cols = cols;
    for (const Part& part : parts) site.starts.push_back(part.first);
    return lora;
  }
  Activation activation(napi_value object) {
    std::string name = call_.string(call_.property(object, "activation"));
    if (name == "silu") return Activation::Silu;
    if (name == "gelu") return Activation::Gelu;
    if (name == "geluTanh") return Activation::GeluTanh;
    if (name == "relu") return Activation::Relu;
    if (name == "softplus") return Activation::Softplus;
    if (name == "exp") return Activation::Exp;
    if (name == "identity") return Activation::Identity;
    if (name == "sigmoid") return Activation::Sigmoid;
    if (name == "clampedSwiglu") return Activation::ClampedSwiglu;
    call_.fail(kNativeError, "unknown activation " + name);
    return Activation::Silu;
  }
  ColumnFactor columnFactor(napi_value object) {
    std::string name = call_.string(call_.property(object, "factor"));
    if (name == "weight") return ColumnFactor::Weight;
    if (name == "negativeExp") return ColumnFactor::NegativeExp;
    if (name == "oneMinus") return ColumnFactor::OneMinus;
    call_.fail(kNativeError, "unknown factor " + name);
    return ColumnFactor::Weight;
  }
  // A group of rows, which hold `back` places at least.
  KvState pagedRows(napi_value object, int32_t& group, int32_t cols, int64_t rows, int32_t back) {
    KvState state = layer(object, group);
    if (call_.failed) return state;
    const PoolGroup& of = *pool_.groups[group];
    require(of.isRows() && !of.isGranules && state.keyDim == cols, "a state of rows");
    require(of.window == 0 || of.window >= back, "the places of a state of rows");
    require(rows == spec_.stepTokens, "a state of other rows than the step's");
    return state;
  }
  KvState state(napi_value object, int32_t& group) {
    KvState state = layer(object, group);
    require(call_.failed || !pool_.groups[group]->isRows(), "a state of keys and values");
    return state;
  }
  KvState layer(napi_value object, int32_t& group) {
    group = int32(object, "group", 0, static_cast<int64_t>(pool_.groups.size()) - 1);
    if (call_.failed) return {};
    int32_t layer = int32(object, "layer", 0, pool_.groups[group]->layers - 1);
    return call_.failed ? KvState{} : pool_.layer(group, layer);
  }

  // --- ops; `rows`: the most that the op has ---

  void read(napi_value o, int64_t rows, op::Embed& in) {
    in.cols = int32(o, "cols");
    in.factor = number(o, "factor");
    in.segment = int32(o, "segment", 0);
    in.bySegment = flag(o, "bySegment");
    int32_t ids = spec_.tokenIds;
    if (in.segment > 0) ids = in.bySegment ? (ids - 1) / in.segment + 1 : std::min(ids, in.segment);
    table(o, in.parts, in.cols, ids);
    in.y = span(o, "y", rows, in.cols);
  }
  void read(napi_value o, int64_t rows, op::PositionEmbed& in) {
    in.cols = int32(o, "cols");
    table(o, in.parts, in.cols, spec_.tableRows);
    require(spec_.tableRows > 0, "learned positions without a limit");
    in.y = span(o, "y", rows, in.cols);
  }
  void read(napi_value o, int64_t rows, op::Input& in) {
    in.cols = int32(o, "cols");
    in.input = int32(o, "input", -1, static_cast<int64_t>(spec_.inputs.size()) - 1);
    require(call_.failed || in.input < 0 || spec_.inputs[in.input] == in.cols, "columns of an input");
    require(rows == spec_.stepTokens, "an input of other rows than the step's");
    in.x = span(o, "x", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
  }
  void read(napi_value o, int64_t rows, op::Rows& in) {
    in.cols = int32(o, "cols");
    in.x = span(o, "x", spec_.stepTokens, in.cols);
    in.y = span(o, "y", rows, in.cols);
  }
  void read(napi_value o, int64_t rows, op::RmsNorm& in) {
    in.cols = int32(o, "cols");
    in.groupSize = int32(o, "groupSize");
    require(call_.failed || in.cols % in.groupSize == 0, "groups of a norm");
    in.x = span(o, "x", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
    if (call_.has(o, "weight")) in.weight = vector(o, "weight", in.groupSize);
    in.weightOffset = number(o, "weightOffset");
    in.eps = number(o, "eps");
  }
  void read(napi_value o, int64_t rows, op::LayerNorm& in) {
    in.cols = int32(o, "cols");
    in.groupSize = int32(o, "groupSize", 1, in.cols);
    require(call_.failed || in.cols % in.groupSize == 0, "groups of a layer norm");
    in.x = span(o, "x", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
    if (call_.has(o, "weight")) in.weight = vector(o, "weight", in.groupSize);
    if (call_.has(o, "bias")) in.bias = vector(o, "bias", in.groupSize);
    in.weightOffset = number(o, "weightOffset");
    in.eps = number(o, "eps");
  }
  void read(napi_value o, int64_t rows, op::RopeTable& in) {
    auto list = call_.floats(call_.property(o, "frequencies"));
    if (call_.failed) return;
    in.frequencies.assign(list.data, list.data + list.size);
    in.magnitude = number(o, "magnitude");
    in.cos = span(o, "cos", rows, static_cast<int64_t>(list.size));
    in.sin = span(o, "sin", rows, static_cast<int64_t>(list.size));
  }
  void read(napi_value o, int64_t rows, op::Rope& in) {
    in.heads = int32(o, "heads");
    in.headDim = int32(o, "headDim");
    in.pairs = int32(o, "pairs", 1, in.headDim / 2);
    in.interleaved = flag(o, "interleaved");
    int64_t cols = static_cast<int64_t>(in.heads) * in.headDim;
    in.x = span(o, "x", rows, cols);
    in.y = span(o, "y", rows, cols);
    in.cos = span(o, "cos", rows, in.pairs);
    in.sin = span(o, "sin", rows, in.pairs);
  }
  void read(napi_value o, int64_t rows, op::KvWrite& in) {
    in.kv = state(o, in.group);
    in.keys = span(o, "keys", rows, static_cast<int64_t>(in.kv.kvHeads) * in.kv.keyDim);
    if (in.kv.latent) return;
    in.values = span(o, "values", rows, static_cast<int64_t>(in.kv.kvHeads) * in.kv.valueDim);
  }
  void read(napi_value o, int64_t rows, op::Attend& in) {
    in.kv = state(o, in.group);
    in.heads = int32(o, "heads");
    require(call_.failed || in.heads % in.kv.kvHeads == 0, "query heads");
    in.q = span(o, "q", rows, static_cast<int64_t>(in.heads) * in.kv.keyDim);
    in.y = span(o, "y", rows, static_cast<int64_t>(in.heads) * in.kv.valueDim);
    in.scale = number(o, "scale");
    in.softcap = number(o, "softcap");
    in.chunk = int32(o, "chunk", 0);
    in.ahead = int32(o, "ahead", -1);
    if (call_.has(o, "sinks")) in.sinks = vector(o, "sinks", in.heads);
    const auto perHead = [&](const char* key, std::vector<float>& out) {
      if (!call_.has(o, key)) return size_t{1};
      auto list = call_.floats(call_.property(o, key));
      if (call_.failed) return size_t{1};
      require(list.size > 0 && list.size % static_cast<size_t>(in.heads) == 0, "what positions add to heads");
      out.assign(list.data, list.data + list.size);
      return list.size / static_cast<size_t>(in.heads);
    };
    require(perHead("slopes", in.slopes) == 1, "slopes of heads");
    require(perHead("distances", in.distances) % 2 == 1, "distances of heads");
  }
  void read(napi_value o, int64_t rows, op::WriteRows& in) {
    in.cols = int32(o, "cols");
    in.column = int32(o, "column", 0);
    in.kv = pagedRows(o, in.group, int32(o, "width"), rows, 1);
    require(call_.failed || in.column + in.cols <= in.kv.keyDim, "columns of a state");
    in.x = span(o, "x", rows, in.cols);
  }
  void read(napi_value o, int64_t rows, op::ReadRows& in) {
    in.cols = int32(o, "cols");
    in.back = int32(o, "back", 0);
    in.kv = pagedRows(o, in.group, in.cols, rows, in.back < INT32_MAX ? in.back + 1 : in.back);
    in.y = span(o, "y", rows, in.cols);
  }
  void read(napi_value o, int64_t rows, op::Conv& in) {
    in.cols = int32(o, "cols");
    in.taps = int32(o, "taps", 1, kMaxTaps);
    in.kv = pagedRows(o, in.group, in.cols, rows, in.taps);
    in.y = span(o, "y", rows, in.cols);
    if (call_.failed) return;
    require(in.cols <= INT32_MAX / kMaxTaps, "columns of a convolution");
    in.weight = vector(o, "weight", in.cols * in.taps);
    if (call_.has(o, "bias")) in.bias = vector(o, "bias", in.cols);
  }
  void read(napi_value o, int64_t rows, op::Bias& in) {
    in.cols = int32(o, "cols");
    in.x = span(o, "x", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
    in.weight = vector(o, "weight", in.cols);
  }
  void read(napi_value o, int64_t rows, op::Pick& in) {
    in.cols = int32(o, "cols");
    int32_t width = int32(o, "width");
    auto columns = call_.ints(call_.property(o, "columns"));
    if (call_.failed) return;
    require(columns.size == static_cast<size_t>(in.cols), "columns that are picked");
    for (size_t i = 0; i < columns.size; i++) {
      require(columns.data[i] >= 0 && columns.data[i] < width, "a column that is picked");
      in.columns.push_back(columns.data[i]);
    }
    in.x = span(o, "x", rows, width);
    in.y = span(o, "y", rows, in.cols);
  }
  void read(napi_value o, int64_t rows, op::Recur& in) {
    in.isSelective = flag(o, "isSelective");
    in.cols = int32(o, "cols", 1, 1 << 24);
    in.stateDim = int32(o, "stateDim", in.isSelective ? 1 : 3, in.isSelective ? kMaxStateDim : 3);
    in.factor = columnFactor(o);
    if (call_.failed) return;
    int32_t width = 2 * in.cols + (in.isSelective ? in.stateDim : 0);
    in.places = pagedRows(call_.property(o, "history"), in.history, width, rows, kHistoryTokens);
    in.granules = layer(call_.property(o, "state"), in.states);
    if (call_.failed) return;
    require(pool_.groups[in.states]->isGranules, "the state of a recurrence");
    int64_t values = in.isSelective ? int64_t{in.cols} * in.stateDim : static_cast<int64_t>(in.runs() * in.runValues());
    require(int64_t{kBlockTokens} * in.granules.keyDim >= values, "the size of a recurrence's state");
    in.decay = vector(o, "decay", in.isSelective ? in.cols * in.stateDim : in.cols);
    if (in.isSelective) in.read = span(o, "read", rows, in.stateDim);
    else in.bonus = vector(o, "bonus", in.cols);
    in.y = span(o, "y", rows, in.cols);
  }
  void read(napi_value o, int64_t rows, op::MatrixScan& in) {
    in.heads = int32(o, "heads", 1, 1 << 16);
    in.keyDim = int32(o, "keyDim", 1, kMaxKeyDim);
    in.valueDim = int32(o, "valueDim", 1, 1 << 20);
    in.removes = flag(o, "removes");
    int64_t keys = int64_t{in.heads} * in.keyDim, values = int64_t{in.heads} * in.valueDim;
    int64_t width = (in.removes ? 4 : 2) * keys + values;
    require(call_.failed || width <= INT32_MAX, "the width of a scan's history");
    if (call_.failed) return;
    in.places = pagedRows(call_.property(o, "history"), in.history, static_cast<int32_t>(width), rows, kHistoryTokens);
    in.granules = layer(call_.property(o, "state"), in.states);
    if (call_.failed) return;
    require(pool_.groups[in.states]->isGranules, "the state of a scan");
    require(int64_t{kBlockTokens} * in.granules.keyDim >= values * in.keyDim, "the size of a scan's state");
    in.r = span(o, "r", rows, keys);
    if (call_.has(o, "bonus")) in.bonus = vector(o, "bonus", static_cast<int32_t>(keys));
    in.y = span(o, "y", rows, values);
  }
  void read(napi_value o, int64_t rows, op::ColumnScale& in) {
    in.cols = int32(o, "cols");
    in.weights = int32(o, "weights", 1, in.cols);
    require(call_.failed || in.cols % in.weights == 0, "weights of columns");
    in.x = span(o, "x", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
    in.weight = vector(o, "weight", in.weights);
    in.factor = columnFactor(o);
  }
  void read(napi_value o, int64_t rows, op::Scan& in) {
    in.heads = int32(o, "heads");
    in.keyHeads = int32(o, "keyHeads", 1, in.heads);
    in.keyDim = int32(o, "keyDim", 1, kMaxKeyDim);
    in.valueDim = int32(o, "valueDim", 1, 1 << 20);
    in.delta = flag(o, "delta");
    int64_t keys = int64_t{in.keyHeads} * in.keyDim, values = int64_t{in.heads} * in.valueDim;
    require(call_.failed || (in.heads % in.keyHeads == 0 && keys + values + in.heads <= INT32_MAX), "heads of a scan");
    if (call_.failed) return;
    in.places = pagedRows(call_.property(o, "history"), in.history, static_cast<int32_t>(keys + values + in.heads),
                          rows, kHistoryTokens);
    in.granules = layer(call_.property(o, "state"), in.states);
    if (call_.failed) return;
    require(pool_.groups[in.states]->isGranules, "the state of a scan");
    require(int64_t{kBlockTokens} * in.granules.keyDim >= values * in.keyDim, "the size of a scan's state");
    in.q = span(o, "q", rows, keys);
    in.v = span(o, "v", rows, values);
    in.g = span(o, "g", rows, in.heads);
    in.beta = span(o, "beta", rows, in.heads);
    in.y = span(o, "y", rows, values);
  }
  void read(napi_value o, int64_t rows, op::Gate& in) {
    in.cols = int32(o, "cols");
    in.gateCols = int32(o, "gateCols");
    in.paired = flag(o, "paired");
    in.activation = activation(o);
    bool broadcasts = in.gateCols != in.cols, clamps = in.activation == Activation::ClampedSwiglu;
    require(!broadcasts || (in.gateCols == 1 && !in.paired && !clamps), "columns of a gate");
    in.gate = span(o, "gate", rows, in.paired ? int64_t{2} * in.cols : in.gateCols);
    in.up = span(o, "up", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
  }
  void read(napi_value o, int64_t rows, op::PositionScale& in) {
    in.cols = int32(o, "cols");
    in.x = span(o, "x", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
    in.every = int32(o, "every");
    in.offset = int32(o, "offset", 0, 1);
    auto list = call_.floats(call_.property(o, "factors"));
    if (call_.failed) return;
    require(list.size > 0 && rows == spec_.stepTokens, "factors of positions");
    in.factors.assign(list.data, list.data + list.size);
  }
  void read(napi_value o, int64_t rows, op::Weigh& in) {
    in.cols = int32(o, "cols");
    in.x = span(o, "x", rows, in.cols);
    in.shares = span(o, "shares", rows, 1);
    in.y = span(o, "y", rows, in.cols);
  }
  void read(napi_value o, int64_t rows, op::Activate& in) {
    in.cols = int32(o, "cols");
    in.x = span(o, "x", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
    in.activation = activation(o);
  }
  void read(napi_value o, int64_t rows, op::Add& in) {
    in.cols = int32(o, "cols");
    in.a = span(o, "a", rows, in.cols);
    in.b = span(o, "b", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
  }
  void read(napi_value o, int64_t rows, op::Scale& in) {
    in.cols = int32(o, "cols");
    in.x = span(o, "x", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
    in.factor = number(o, "factor");
  }
  void read(napi_value o, int64_t rows, op::Clamp& in) {
    in.cols = int32(o, "cols");
    in.x = span(o, "x", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
    in.limit = number(o, "limit");
  }
  void read(napi_value o, int64_t rows, op::Concat& in) {
    in.heads = int32(o, "heads", 1, 1 << 16);
    in.aCols = int32(o, "aCols", 1, 1 << 16);
    in.bCols = int32(o, "bCols", 1, 1 << 16);
    int64_t cols = int64_t{in.heads} * (in.aCols + in.bCols);
    require(cols <= INT32_MAX, "columns of heads");
    in.cols = static_cast<int32_t>(cols);
    in.a = span(o, "a", rows, int64_t{in.heads} * in.aCols);
    in.b = span(o, "b", rows, int64_t{in.heads} * in.bCols);
    in.y = span(o, "y", rows, cols);
  }
  void read(napi_value o, int64_t rows, op::Softcap& in) {
    in.cols = int32(o, "cols");
    in.x = span(o, "x", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
    in.cap = number(o, "cap");
  }
  void read(napi_value o, int64_t rows, op::Quantize& in) {
    int32_t cols = int32(o, "cols");
    in.x = span(o, "x", rows, cols);
    in.q = span8(o, "q", rows, cols);
  }
  void read(napi_value o, int64_t rows, op::Route& in) {
    in.experts = int32(o, "experts");
    in.topK = int32(o, "topK", 1, in.experts);
    in.sigmoid = flag(o, "sigmoid");
    if (call_.has(o, "bias")) in.bias = vector(o, "bias", in.experts);
    in.groups = int32(o, "groups", 0, in.experts);
    in.keptGroups = int32(o, "keptGroups", 0, in.groups);
    bool fits =
        in.groups == 0 || (in.experts % in.groups == 0 && in.topK <= int64_t{in.experts} / in.groups * in.keptGroups);
    require(call_.failed || fits, "groups of experts");
    in.twoLargest = flag(o, "twoLargest");
    in.normalize = flag(o, "normalize");
    in.factor = number(o, "factor");
    in.logits = span(o, "logits", rows, in.experts);
    in.keys = span(o, "keys", rows, in.experts);
    in.routes = span(o, "routes", rows, int64_t{2} * in.topK);
  }
  void read(napi_value o, int64_t rows, op::Combine& in) {
    in.cols = int32(o, "cols");
    in.topK = int32(o, "topK");
    in.x = span(o, "x", rows * in.topK, in.cols);
    in.routes = span(o, "routes", rows, int64_t{2} * in.topK);
    in.weighs = flag(o, "weighs");
    in.y = span(o, "y", rows, in.cols);
    in.lists = lists(o, int32(o, "experts"), rows * in.topK);
  }
  void read(napi_value o, int64_t rows, op::Linear& in) {
    int32_t inputs = int32(o, "inputs");
    in.cols = int32(o, "cols");
    require(readParts(o, in.parts, inputs) == in.cols || call_.failed, "columns of a linear");
    in.x = operand(o, rows, inputs, in.parts);
    if (call_.has(o, "bias")) in.bias = vector(o, "bias", in.cols);
    in.hasResidual = call_.has(o, "residual");
    if (in.hasResidual) in.residual = span(o, "residual", rows, in.cols);
    in.y = span(o, "y", rows, in.cols);
    in.lora = lora(o, rows, inputs, in.cols, in.parts);
  }
  void read(napi_value o, int64_t rows, op::LinearGate& in) {
    int32_t inputs = int32(o, "inputs"), cols = int32(o, "cols", 1, INT32_MAX / 2);
    require(readParts(o, in.parts, inputs) == int64_t{2} * cols || call_.failed, "columns of a gated linear");
    require(in.parts.size() == 1 && cols % 32 == 0, "a gated linear");
    in.x = operand(o, rows, inputs, in.parts);
    in.y = span(o, "y", rows, int64_t{2} * cols);
    in.rounds = call_.has(o, "rounded");
    if (in.rounds) in.q = span8(o, "rounded", rows, cols);
    in.activation = activation(o);
    in.lora = lora(o, rows, inputs, 2 * cols, in.parts);
  }
  void read(napi_value o, int64_t rows, op::LoraDown& in) {
    in.inputs = int32(o, "inputs");
    in.cols = int32(o, "cols");
    in.site = int32(o, "site", 0, kMostSites - 1);
    in.x = span(o, "x", rows, in.inputs);
    in.t = span(o, "inner", rows, in.cols);
    if (call_.failed) return;
    auto index = static_cast<size_t>(in.site);
    if (spec_.loraSites.size() <= index) spec_.loraSites.resize(index + 1);
    require(spec_.loraSites[index].inputs == 0, "two places for what one adapter adds");
    spec_.loraSites[index] = {in.inputs, 0, in.cols, {}};
  }
  void read(napi_value o, int64_t rows, op::HeadLinear& in) {
    in.heads = int32(o, "heads", 1, 1 << 16);
    in.inputs = int32(o, "inputs", 1, 1 << 16);
    in.cols = int32(o, "cols", 1, 1 << 16);
    require(readParts(o, in.parts, in.inputs) == in.cols || call_.failed, "columns of heads");
    for (const Part& part : in.parts) require(part.w->experts == in.heads, "the number of heads");
    int64_t inputs = int64_t{in.heads} * in.inputs;
    require(inputs <= INT32_MAX && rows * in.heads <= INT32_MAX, "columns of all heads");
    if (call_.failed) return;
    in.x = operand(o, rows, static_cast<int32_t>(inputs), in.parts);
    require(!in.x.int8 || in.inputs % kActBlock == 0, "rounded columns of a head");
    for (int32_t row = 0; row < rows; row++) in.rowIndex.push_back(row * in.heads);
    in.y = span(o, "y", rows, int64_t{in.heads} * in.cols);
  }
  void read(napi_value o, int64_t rows, op::ExpertLinear& in) {
    int32_t inputs = int32(o, "inputs"), experts = int32(o, "experts"), topK = int32(o, "topK", 1, experts);
    in.cols = int32(o, "cols");
    in.gather = flag(o, "gather");
    require(readParts(o, in.parts, inputs) == in.cols || call_.failed, "columns of experts");
    for (const Part& part : in.parts) require(part.w->experts == experts, "the number of experts");
    int64_t biases = int64_t{experts} * in.cols;
    require(biases <= INT32_MAX, "biases of experts");
    if (call_.has(o, "bias")) in.bias = vector(o, "bias", static_cast<int32_t>(biases));
    in.x = operand(o, in.gather ? rows : rows * topK, inputs, in.parts);
    in.y = span(o, "y", rows * topK, in.cols);
    in.lists = lists(o, experts, rows * topK);
  }
  void read(napi_value o, int64_t rows, op::GroupExperts& in) {
    in.experts = int32(o, "experts");
    in.topK = int32(o, "topK", 1, in.experts);
    in.routes = span(o, "routes", rows, int64_t{2} * in.topK);
    in.lists = lists(o, in.experts, rows * in.topK);
  }
  void read(napi_value, int64_t, std::monostate&) {}

  // The alternative of the variant that has this name; an unknown one fails.
  template <typename Op, typename... Ops>
  bool tryOp(const std::string& name, napi_value object, int64_t rows, std::variant<Ops...>& out) {
    if constexpr (!std::is_same_v<Op, std::monostate>) {
      if (name != Op::name) return false;
      read(object, rows, out.template emplace<Op>());
      return true;
    }
    return false;
  }
  template <typename... Ops>
  void anyOp(napi_value object, int64_t rows, std::variant<Ops...>& out) {
    std::string name = call_.string(call_.property(object, "op"));
    if (call_.failed) return;
    bool found = (tryOp<Ops>(name, object, rows, out) || ...);
    if (!found) call_.fail(kNativeError, "there is no such instruction here: " + name);
  }

  void stage(napi_value object, int32_t rows, Stage& out) {
    out.perRow = int32(object, "perRow", 1, 1 << 16);
    if (call_.has(object, "wide")) anyOp(call_.property(object, "wide"), rows, out.wide);
    napi_value list = call_.property(object, "rows");
    uint32_t count = call_.length(list);
    for (uint32_t i = 0; i < count && !call_.failed; i++) {
      out.rows.emplace_back();
      anyOp(call_.element(list, i), int64_t{rows} * out.perRow, out.rows.back());
    }
    out.hasSerial = call_.has(object, "serial");
    if (!out.hasSerial) return;
    std::variant<op::GroupExperts> serial;
    anyOp(call_.property(object, "serial"), rows, serial);
    out.serial = std::get<op::GroupExperts>(serial);
  }

  Call& call_;
  const std::vector<std::shared_ptr<Weights>>& weights_;
  const Pool& pool_;
  ProgramSpec& spec_;
};

}  // namespace

// (team, [weights], pool, { tokens, sections, … }, timings) → handle
napi_value compileProgram(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  std::vector<std::shared_ptr<Weights>> weights;
  uint32_t holders = call.length(call.at(1));
  for (uint32_t i = 0; i < holders && !call.failed; i++) {
    weights.push_back(handle<Weights>(call, call.element(call.at(1), i), Kind::Weights));
  }
  auto pool = handle<Pool>(call, call.at(2), Kind::Pool);
  napi_value object = call.at(3);
  if (call.failed) return nullptr;
  if (pool->queue != computer->queue) {
    call.fail(kNativeError, "the pool is another backend's");
    return nullptr;
  }
  ProgramSpec spec;
  spec.arenaBytes = call.size(call.property(object, "arenaBytes"));
  auto count = [&](const char* name, int64_t least) {
    return static_cast<int32_t>(call.integer(call.property(object, name), least, INT32_MAX));
  };
  spec.stepTokens = count("stepTokens", 1);
  spec.maxSequences = count("maxSequences", 1);
  spec.maxOutputs = count("maxOutputs", 1);
  spec.samplerSlots = count("samplerSlots", 0);
  spec.maxListed = count("maxListed", 0);
  spec.maxMoves = count("maxMoves", 0);
  spec.maxCopies = count("maxCopies", 0);
  spec.vocab = count("vocab", 0);
  spec.tokenIds = count("tokenIds", 1);
  spec.tableRows = count("tableRows", 0);
  spec.outputs = count("outputs", 0);
  spec.maxAdapters = static_cast<int32_t>(call.integer(call.property(object, "maxAdapters"), 0, 1 << 16));
  spec.logits = count("logits", -1);
  spec.maxInputRows = count("maxInputRows", 0);
  napi_value inputs = call.property(object, "inputs");
  uint32_t inputCount = call.length(inputs);
  for (uint32_t i = 0; i < inputCount && !call.failed; i++) {
    spec.inputs.push_back(static_cast<int32_t>(call.integer(call.element(inputs, i), 1, INT32_MAX)));
  }
  Reader read(call, weights, *pool, spec);
  read.stages(call.property(object, "tokens"), spec.stepTokens, spec.tokens);
  napi_value sections = call.property(object, "sections");
  uint32_t length = call.length(sections);
  for (uint32_t i = 0; i < length && !call.failed; i++) {
    napi_value one = call.element(sections, i);
    Section& section = spec.sections.emplace_back();
    section.rows = static_cast<int32_t>(call.integer(call.property(one, "rows"), 1, spec.maxOutputs));
    section.width = static_cast<int32_t>(call.integer(call.property(one, "width"), 1, INT32_MAX));
    section.output = static_cast<int32_t>(call.integer(call.property(one, "output"), -1, spec.outputs - 1));
    if (call.failed) return nullptr;
    section.place = read.span(one, "place", section.rows, section.width);
    read.stages(call.property(one, "stages"), section.rows, section.stages);
  }
  bool timings = call.boolean(call.at(4));
  bool hasLogits = spec.logits >= 0 && spec.logits < static_cast<int32_t>(spec.sections.size());
  if (!call.failed && (hasLogits ? spec.sections[spec.logits].width != spec.vocab : spec.logits >= 0)) {
    call.fail(kNativeError, "the logits are no section, or not as wide as the vocabulary");
  }
  if (call.failed) return nullptr;
  std::string error;
  auto program = Program::create(computer->queue, *computer->kernels, std::move(weights), pool, computer->counters,
                                 std::move(spec), timings, error);
  if (!program) {
    call.fail(kMemoryError, error);
    return nullptr;
  }
  return makeHandle(call, Kind::Program, program);
}

// (program) → where the time went
napi_value programTimings(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto program = handle<Program>(call, call.at(0), Kind::Program);
  return program ? call.make(program->timings().c_str()) : nullptr;
}

}  // namespace millrace
