// What a compiled program consists of: stages, each a *wide* op, row ops and a serial op, in this order, every one of
// the three optional. src/backend/cpu/stages.ts decides what stands in which stage (and so which buffers may share
// bytes); here is only what each op reads. A wide op (linear, attention) is cut across its output columns or heads. Row
// ops need nothing but their own row: a chunk is all of a stage's row ops for some rows. The serial op is one thread's.
#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "kernels.h"

namespace millrace {

// Rows in the arena: where row 0 begins (bytes), and how many values (of 4 bytes) lie from a row to the next.
struct Span {
  size_t at = 0;
  size_t stride = 0;
};

// Rows of int8 codes, scales and sums in the arena; `cols` codes a row.
struct Span8 {
  size_t codes = 0, scales = 0, sums = 0;
  int32_t cols = 0;
};

// What a product reads: rows of floats, or rounded ones.
struct Operand {
  bool int8 = false;
  Span x;
  Span8 q;
};

// The rows of experts: offsets [experts + 1] into the list of assignments, the active experts' count and ids, the
// token row of each assignment, and for each (row, k) its place in the list.
struct ExpertLists {
  size_t offsets = 0, active = 0, rowIndex = 0, place = 0;
};

// A matrix that fills the output columns (or holds the rows of a table) from `first` on.
struct Part {
  const Matrix* w = nullptr;
  int32_t first = 0;
  // Of the matrix, here so that opening an instruction touches no other memory.
  int32_t groups = 0;
  Format format{};
};

// How a product is cut: the first unit of each chunk and the end of the last, where the weights are read once; the rows
// that are done together; the units that stay in the cache. A unit is 16 rows of weights (64 for LinearGate).
struct Cut {
  std::vector<int32_t> chunks;
  int32_t rowBlock = 0;
  int32_t mostUnits = 1;
};

namespace op {

// --- row ops --------------------------------------------------------------------------------------------------------

// y = rows of a table that the tokens name · factor
struct Embed {
  static constexpr const char* name = "embed";
  std::vector<Part> parts;
  float factor = 1;
  int32_t segment = 0;  // ids of a segment, 0: ids carry none
  bool bySegment = false;
  Span y;
  int32_t cols = 0;
};
// y = rows of a table that the positions name
struct PositionEmbed {
  static constexpr const char* name = "positionEmbed";
  std::vector<Part> parts;
  Span y;
  int32_t cols = 0;
};
// y = x; where the plan gives a row of the input, that. −1: no plan gives any
struct Input {
  static constexpr const char* name = "input";
  Span x, y;
  int32_t cols = 0, input = -1;
};
// y[i] = x[the i-th output row]
struct Rows {
  static constexpr const char* name = "rows";
  Span x, y;
  int32_t cols = 0;
};
struct RmsNorm {
  static constexpr const char* name = "rmsNorm";
  Span x, y;
  int32_t cols = 0, groupSize = 0;
  const float* weight = nullptr;
  float weightOffset = 0, eps = 0;
};
struct LayerNorm {
  static constexpr const char* name = "layerNorm";
  Span x, y;
  int32_t cols = 0, groupSize = 0;
  const float* weight = nullptr;
  const float* bias = nullptr;  // may be null, as may be the weight
  float weightOffset = 0, eps = 0;
};
// cos, sin [rows, pairs] of the rows' positions
struct RopeTable {
  static constexpr const char* name = "ropeTable";
  Span cos, sin;
  std::vector<float> frequencies;
  float magnitude = 1;
};
struct Rope {
  static constexpr const char* name = "rope";
  Span x, y, cos, sin;
  int32_t heads = 0, headDim = 0, pairs = 0;
  bool interleaved = false;
};
// Keys and values; of a latent state there are only keys
struct KvWrite {
  static constexpr const char* name = "kvWrite";
  Span keys, values;
  int32_t group = 0;
  KvState kv{};
};
// The rows into a pool's group of rows, from a column on
struct WriteRows {
  static constexpr const char* name = "writeRows";
  Span x;
  int32_t cols = 0, column = 0, group = 0;
  KvState kv{};
};
// y = what lies `back` places before the row's own, zeros before the first place
struct ReadRows {
  static constexpr const char* name = "readRows";
  Span y;
  int32_t cols = 0, back = 0, group = 0;
  KvState kv{};
};
// y = bias + Σ weight[c, j] · what lies taps − 1 − j places before the row's own
struct Conv {
  static constexpr const char* name = "conv";
  Span y;
  int32_t cols = 0, taps = 0, group = 0;
  KvState kv{};
  const float* weight = nullptr;
  const float* bias = nullptr;  // may be null
};
// y = x + weight
struct Bias {
  static constexpr const char* name = "bias";
  Span x, y;
  int32_t cols = 0;
  const float* weight = nullptr;
};
// y[i] = x[columns[i]]
struct Pick {
  static constexpr const char* name = "pick";
  Span x, y;
  int32_t cols = 0;
  std::vector<int32_t> columns;
};
struct ColumnScale {
  static constexpr const char* name = "columnScale";
  Span x, y;
  int32_t cols = 0, weights = 0;
  const float* weight = nullptr;
  ColumnFactor factor{};
};
// y = act(gate) · up. One gate column multiplies all; `paired`: gate and up columns take turns in `gate`.
struct Gate {
  static constexpr const char* name = "gate";
  Span gate, up, y;
  int32_t cols = 0, gateCols = 0;
  Activation activation{};
  bool paired = false;
};
// y = x · factors[(position + offset) / every], the last one for whatever is beyond
struct PositionScale {
  static constexpr const char* name = "positionScale";
  Span x, y;
  int32_t cols = 0, every = 1, offset = 0;
  std::vector<float> factors;
};
// y[row] = x[row] · shares[row, 0]
struct Weigh {
  static constexpr const char* name = "weigh";
  Span x, shares, y;
  int32_t cols = 0;
};
struct Activate {
  static constexpr const char* name = "activate";
  Span x, y;
  int32_t cols = 0;
  Activation activation{};
};
struct Add {
  static constexpr const char* name = "add";
  Span a, b, y;
  int32_t cols = 0;
};
struct Scale {
  static constexpr const char* name = "scale";
  Span x, y;
  int32_t cols = 0;
  float factor = 1;
};
struct Clamp {
  static constexpr const char* name = "clamp";
  Span x, y;
  int32_t cols = 0;
  float limit = 0;
};
// For each head: a's columns, then b's
struct Concat {
  static constexpr const char* name = "concat";
  Span a, b, y;
  int32_t heads = 0, aCols = 0, bCols = 0, cols = 0;
};
struct Softcap {
  static constexpr const char* name = "softcap";
  Span x, y;
  int32_t cols = 0;
  float cap = 1;
};
struct Quantize {
  static constexpr const char* name = "quantize";
  Span x;
  Span8 q;
};
// Router logits → routes [rows, 2 · topK]: ids, then shares
struct Route {
  static constexpr const char* name = "route";
  Span logits, keys, routes;
  int32_t experts = 0, topK = 0;
  bool sigmoid = false;
  const float* bias = nullptr;
  int32_t groups = 0, keptGroups = 0;
  bool twoLargest = false, normalize = false;
  float factor = 1;
};
// y[row] = Σ x[place of (row, k)] (· share), in order of the experts' ids
struct Combine {
  static constexpr const char* name = "combine";
  Span x, routes, y;
  ExpertLists lists;
  int32_t cols = 0, topK = 0;
  bool weighs = true;
};

// What adapters add to a product: rows of A x, made by a LoraDown before it. −1: nothing is ever added.
struct Lora {
  int32_t site = -1;
  Span t;
};

// --- wide ops -------------------------------------------------------------------------------------------------------

// y = x Wᵀ (+ bias) (+ residual)
struct Linear {
  static constexpr const char* name = "linear";
  Operand x;
  std::vector<Part> parts;
  const float* bias = nullptr;
  bool hasResidual = false;
  Span residual, y;
  int32_t cols = 0;
  Lora lora;
  Cut cut;
};
// y [rows, 2F] = x Wᵀ (gate columns, then up columns), then y[:F] = act(y[:F]) · y[F:], then those as int8.
struct LinearGate {
  static constexpr const char* name = "linearGate";
  Operand x;
  std::vector<Part> parts;  // one
  Span y;
  bool rounds = false;
  Span8 q;
  Activation activation{};
  Lora lora;
  Cut cut;
};
// t = A x · scale for the rows that have an adapter
struct LoraDown {
  static constexpr const char* name = "loraDown";
  Span x, t;
  int32_t inputs = 0, cols = 0, site = -1;
};
// For each active expert: y[its assignments] = x[their rows] Wᵀ. `gather`: x has the token rows, else the assignments.
struct ExpertLinear {
  static constexpr const char* name = "expertLinear";
  Operand x;
  std::vector<Part> parts;
  Span y;
  ExpertLists lists;
  int32_t cols = 0;
  bool gather = false;
  const float* bias = nullptr;  // [experts, cols] or null
  Cut cut;
};
// y[head h] = x[head h] W_hᵀ: each head's columns by a matrix of their own
struct HeadLinear {
  static constexpr const char* name = "headLinear";
  Operand x;
  std::vector<Part> parts;
  Span y;
  int32_t heads = 0, inputs = 0, cols = 0;
  std::vector<int32_t> rowIndex;  // a row's heads lie one after another: row i of a head is entry i · heads
  Cut cut;
};
struct Attend {
  static constexpr const char* name = "attend";
  Span q, y;
  int32_t heads = 0;
  float scale = 1, softcap = 0;   // softcap 0: none
  int32_t chunk = 0, ahead = -1;  // none
  const float* sinks = nullptr;   // [heads] or null
  std::vector<float> slopes;      // [heads] or none
  std::vector<float> distances;   // [heads, 2 · reach + 1] or none
  int32_t group = 0;
  KvState kv{};
};

// Linear attention with decay; k lies in the history already.
struct Scan {
  static constexpr const char* name = "scan";
  Span q, v, g, beta, y;
  int32_t heads = 0, keyHeads = 0, keyDim = 0, valueDim = 0;
  bool delta = false;
  int32_t history = 0, states = 0;  // groups
  KvState places{}, granules{};
};

// A recurrence through places, 16 columns at a time; what comes in lies in the history already. `read`: C of a
// selective scan. `decay`: A, or wkv's decays.
struct Recur {
  static constexpr const char* name = "recur";
  static constexpr int kRun = 16;
  bool isSelective = false;
  Span read, y;
  int32_t cols = 0, stateDim = 0;
  const float* decay = nullptr;
  const float* bonus = nullptr;
  ColumnFactor factor{};
  int32_t history = 0, states = 0;  // groups
  KvState places{}, granules{};

  int runs() const { return (cols + kRun - 1) / kRun; }
  // Values of a run's state.
  size_t runValues() const { return static_cast<size_t>(kRun) * static_cast<size_t>(stateDim); }
};

// Linear attention whose memory forgets each key column by itself, kMatrixRun of a head's value columns at a time; what
// comes in lies in the history already.
struct MatrixScan {
  static constexpr const char* name = "matrixScan";
  Span r, y;
  int32_t heads = 0, keyDim = 0, valueDim = 0;
  bool removes = false;
  const float* bonus = nullptr;
  int32_t history = 0, states = 0;  // groups
  KvState places{}, granules{};

  int runs() const { return (valueDim + kMatrixRun - 1) / kMatrixRun; }
  // Values of a run's state.
  size_t runValues() const { return static_cast<size_t>(keyDim) * kMatrixRun; }
};

// --- serial ---------------------------------------------------------------------------------------------------------

// Sorts the (row, expert) assignments by expert, rows in ascending order.
struct GroupExperts {
  static constexpr const char* name = "groupExperts";
  Span routes;
  ExpertLists lists;
  int32_t experts = 0, topK = 0;
};

}  // namespace op

using RowOp = std::variant<op::Embed, op::PositionEmbed, op::Input, op::Rows, op::RmsNorm, op::LayerNorm, op::RopeTable,
                           op::Rope, op::KvWrite, op::WriteRows, op::ReadRows, op::Conv, op::Bias, op::Pick,
                           op::ColumnScale, op::Gate, op::Activate, op::Add, op::Scale, op::Clamp, op::Concat,
                           op::Softcap, op::PositionScale, op::Weigh, op::Quantize, op::Route, op::Combine>;
using WideOp = std::variant<std::monostate, op::Linear, op::LinearGate, op::ExpertLinear, op::HeadLinear, op::Attend,
                            op::Scan, op::Recur, op::MatrixScan, op::LoraDown>;

struct Stage {
  WideOp wide;
  bool hasWide() const { return wide.index() != 0; }
  std::vector<RowOp> rows;
  int32_t perRow = 1;  // rows of the row ops for each row of the step (experts)
  bool hasSerial = false;
  op::GroupExperts serial;
  int64_t rowCost = 0;  // about the values that the row ops touch for one row
};

}  // namespace millrace
