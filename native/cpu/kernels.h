// The function table between the executor and the kernels: one table an ISA, filled by isa/table.cpp, chosen at run
// time (selectKernels). A kernel is a free function over spans; it knows layouts and shapes, never models or
// requests, takes its scratch from the caller, and computes a row from that row's inputs alone: the bits of a row
// don't depend on how many rows or which range a call covers.
#pragma once
#include <cstddef>
#include <cstdint>

#include "formats.h"

namespace millrace {

enum class Activation : int32_t { Silu, Gelu, GeluTanh, Relu, Sigmoid, Softplus, Exp, Identity, ClampedSwiglu };
// What columnScale makes of a weight w: w, −e^w, 1 − w.
enum class ColumnFactor : int32_t { Weight, NegativeExp, OneMinus };
enum class KvType : int32_t { F16, F32, Q8 };

// y[i, n] = Σ_k w[n, k] · x[row(i), k] (+ bias[n]) (+ residual[i, n]), in that order, for the groups of 16 output
// rows g0 … g1 − 1 and all `rows` activation rows. row(i) = rowIndex ? rowIndex[i] : i.
struct LinearArgs {
  const Matrix* w;
  int32_t expert;
  const float* x;  // [*, K], stride ldx; for F32, F16 and BF16 weights
  size_t ldx;
  Rows8 x8;  // for all others, stride K
  const int32_t* rowIndex;
  int32_t rows;
  float* y;  // [rows, N], stride ldy
  size_t ldy;
  const float* bias;      // [N] or null
  const float* residual;  // [rows, N], stride ldr, or null; may be y itself
  size_t ldr;
  // Not 0: calls with the same key and scratch have the same activation rows (and rowIndex) and nothing else used the
  // scratch between, so a layout of them that a call left there may serve the next one.
  uint64_t panelKey = 0;
};

// One layer's slice of a group's pool. Block b of the layer starts at base + b · blockStride and holds 16 positions:
// for each kv head, keys then values; isa/attention.cpp owns the layout inside (see kvStateBytes).
struct KvState {
  uint8_t* base;
  size_t blockStride;
  KvType type;
  int32_t kvHeads, keyDim, valueDim;
  bool latent = false;  // the values are the first valueDim columns of the keys, and are stored there only
};

// The rows of one sequence in a step. Row r sees the slots 0 … seen[r] − 1, then the slots listed[listStarts[r]] …
// listed[listStarts[r + 1] − 1]; slot p lies in entry p / 16 of the block table, and a key's place in all that decides
// tile, lane and window (StepPlan in src/backend/contract.ts). A row sees one place at least; block ids that none of a
// call's rows sees are not looked at.
struct AttendArgs {
  const KvState* kv;
  const int32_t* blockTable;
  const float* q;  // [rows, heads · keyDim], stride ldq
  size_t ldq;
  int32_t heads;  // query heads; heads / kvHeads share a kv head
  float scale;
  float softcap;       // 0: none
  int32_t window;      // 0: none; else a row whose own place is p sees nothing before place p − window + 1
  int32_t chunk = 0;   // 0: none; else nothing before place ⌊p / chunk⌋ · chunk
  int32_t ahead = -1;  // −1: no limit; else nothing behind place p + ahead
  // [heads] each, or null: e^sink is added to the sum of a row's weights; slope · |place − p| is taken from its scores.
  const float *sinks = nullptr, *slopes = nullptr;
  // [heads, 2 · reach + 1] or null: added to the scores where place − p is −reach … reach, or beyond.
  const float* distances = nullptr;
  int32_t reach = 0;
  // [rows] each: the row's slot, and how many leading slots it sees (slot + 1 where nothing is drafted).
  const int32_t *slots, *seen;
  // [rows + 1]; null: no row lists any.
  const int32_t* listStarts;
  const int32_t* listed;
  float* out;  // [rows, heads · valueDim], stride ldo
  size_t ldo;
};

// One head of a scan (linear attention with decay, see `scan` in src/graph/graph.ts). A place of its history is a row
// of k (from keyAt on), u (from valueAt on) and G (at decayAt).
struct ScanArgs {
  int32_t keyDim, valueDim;
  bool delta;
  size_t keyAt, valueAt, decayAt;
  const float* state;          // [keyDim, valueDim] at the border; null: zeros
  const float* const* places;  // since the border, in order
  int32_t count;
};
// The row behind the places: k lies in `own`, which gets u and G.
struct ScanRow {
  const float *q, *v;
  float g, beta;
  float* own;
  float* y;  // [valueDim]
};
constexpr int kMaxTaps = 16, kMaxKeyDim = 1024, kMaxStateDim = 256;

// Recurrences that go through places one by one, for up to 16 columns. A place of a history is a row of floats:
// `first`, `second` and `third` say where it has the columns' dt, x and all of B (selective), or k and v (wkv).
// Constants: A [columns, stateDim] (selective), or decays and bonuses [16] each (wkv). States: [columns, stateDim]; or
// numerators, denominators and exponents [16] each.
struct RecurArgs {
  int32_t columns, stateDim;
  const float *constants, *bonuses;
  size_t first, second, third;
};

// Linear attention whose memory forgets each key column by itself: `columns` ≤ kMatrixRun of a head's value columns. A
// place of a history is a row of floats, which has the head's w, k, a and b [keyDim] and its values from the run's
// first column on. State: [keyDim, columns].
struct MatrixScanArgs {
  int32_t keyDim, columns;
  bool removes;
  size_t wAt, kAt, vAt, aAt, bAt;
  const float* bonus;  // [keyDim] of the head, or null
};
constexpr int kMatrixRun = 32;

// How a token is chosen from a row of logits; see SamplerParams in src/backend/contract.ts.
struct SamplerParams {
  float temperature;
  int32_t topK;
  float topP, minP;
  float repetitionPenalty, presencePenalty, frequencyPenalty;
  uint64_t seed;
  int32_t sampleIndex;
};
// One (id, value) list each: biases, and the tokens seen so far (in the prompt, in the answer).
struct SampleArgs {
  const SamplerParams* params;
  const float* logits;  // [vocab]
  int32_t vocab;
  int32_t position;  // of the token to be chosen
  const int32_t* biasIds;
  const float* biasValues;
  int32_t biasCount;
  const int32_t* bannedIds;  // can't be chosen now (minTokens), unless the mask allows nothing else
  int32_t bannedCount;
  const int32_t* seenIds;     // distinct tokens of prompt and answer
  const int32_t* seenCounts;  // how often the answer has them (0: prompt only)
  int32_t seenCount;
  const uint32_t* mask;  // bit i of word i / 32 allows token i; null: all are
  int32_t top;           // alternatives wanted
  int32_t* topIds;
  float* topLogprobs;
  float* scratch;  // [2 · vocab] floats
  int32_t id;      // out: or kNoSample, kNotFinite
  float logprob;   // out: of the model's own distribution; not a number where there is no id
};
// Every token is forbidden; the logits hold something that is not finite (then there are no alternatives either).
constexpr int32_t kNoSample = -1, kNotFinite = -2;

// The log-probability of one token in a row of logits, and the most likely alternatives; not a number and none where
// the logits aren't finite.
struct LogprobArgs {
  const float* logits;  // [vocab]
  int32_t vocab;
  int32_t id;
  int32_t top;  // alternatives wanted: (−1, −∞) where the row has fewer
  int32_t* topIds;
  float* topLogprobs;
  float logprob;  // out
};

// See the op `route` in src/graph/graph.ts.
struct RouteArgs {
  const float* logits;  // [rows, experts], stride ldl
  size_t ldl;
  float* keys;  // [rows, experts], stride ldk: scratch
  size_t ldk;
  float* routes;  // [rows, 2 · topK], stride ldr
  size_t ldr;
  int32_t experts, topK;
  bool sigmoid = false;
  const float* bias = nullptr;         // [experts] or null
  int32_t groups = 0, keptGroups = 0;  // 0 groups: none
  bool twoLargest = false, normalize = false;
  float factor = 1;
};

struct Kernels {
  const char* name;  // "avx512amx", "avx512vnni", "avxvnni", "avx2", "neon", "scalar"

  // --- isa/linear.cpp, isa/quantize.cpp -------------------------------------------------------------------------
  // scratch: linearScratchBytes(), one per thread.
  void (*linear)(const LinearArgs&, int groupBegin, int groupEnd, uint8_t* scratch);
  size_t (*linearScratchBytes)(const Matrix&, int maxRows);
  // Rows that a call does best together: their activations are laid out at once, and the weights read once for all.
  int (*linearRows)(const Matrix&);
  // Rows of x [rows, K], stride ldx → codes, scales, sums of the rows rowBegin … rowEnd − 1. K: a multiple of 32.
  void (*quantizeRows)(const float* x, size_t ldx, int cols, Rows8 out, int rowBegin, int rowEnd);
  // Row n of a packed matrix as floats: out[K] (embedding look-up), times scale.
  void (*dequantizeRow)(const Matrix&, int expert, int n, float scale, float* out);

  // --- isa/elementwise.cpp --------------------------------------------------------------------------------------
  // Over rows rowBegin … rowEnd − 1 of x (stride ldx) into y (stride ldy); x and y may be the same.
  void (*rmsNorm)(const float* x, size_t ldx, float* y, size_t ldy, int cols, int groupSize, const float* weight,
                  float weightOffset, float eps, int rowBegin, int rowEnd);
  void (*layerNorm)(const float* x, size_t ldx, float* y, size_t ldy, int cols, const float* weight, float weightOffset,
                    const float* bias, float eps, int rowBegin, int rowEnd);
  // cos and sin [rows, n] of float(position) · frequency (rounded to f32), times magnitude.
  void (*ropeTable)(const int32_t* positions, const float* frequencies, int n, float magnitude, float* cos, float* sin,
                    int rowBegin, int rowEnd);
  void (*rope)(const float* x, size_t ldx, float* y, size_t ldy, int heads, int headDim, int n, bool interleaved,
               const float* cos, const float* sin, int rowBegin, int rowEnd);
  void (*gate)(const float* g, size_t ldg, const float* u, size_t ldu, float* y, size_t ldy, int cols, Activation,
               int rowBegin, int rowEnd);
  // The same where gate and up columns take turns in x [rows, 2 · cols]; y may be x.
  void (*gatePairs)(const float* x, size_t ldx, float* y, size_t ldy, int cols, Activation, int rowBegin, int rowEnd);
  void (*activate)(const float* x, size_t ldx, float* y, size_t ldy, int cols, Activation, int rowBegin, int rowEnd);
  void (*add)(const float* a, size_t lda, const float* b, size_t ldb, float* y, size_t ldy, int cols, int rowBegin,
              int rowEnd);
  void (*scale)(const float* x, size_t ldx, float* y, size_t ldy, int cols, float factor, int rowBegin, int rowEnd);
  void (*clamp)(const float* x, size_t ldx, float* y, size_t ldy, int cols, float limit, int rowBegin, int rowEnd);
  void (*softcap)(const float* x, size_t ldx, float* y, size_t ldy, int cols, float cap, int rowBegin, int rowEnd);
  // Each column times what `factor` makes of its weight; `weights` of them, for equal runs of columns.
  void (*columnScale)(const float* x, size_t ldx, float* y, size_t ldy, int cols, const float* weight, int weights,
                      ColumnFactor factor, int rowBegin, int rowEnd);
  // Router logits [rows, experts] → routes [rows, 2 · topK]: the ids in ascending order, then their shares.
  void (*route)(const RouteArgs&, int rowBegin, int rowEnd);

  // --- isa/attention.cpp ----------------------------------------------------------------------------------------
  // Bytes of one layer in one block.
  size_t (*kvStateBytes)(KvType, int kvHeads, int keyDim, int valueDim, bool latent);
  // Rounds and writes k [rows, kvHeads · keyDim], v [rows, kvHeads · valueDim] of one sequence to the slots [rows]; v
  // is not read where the state is latent.
  void (*kvWrite)(const KvState&, const int32_t* blockTable, const int32_t* slots, const float* k, size_t ldk,
                  const float* v, size_t ldv, int rowBegin, int rowEnd);
  // Copies the keys and values of one slot (block, and place within it) of a layer to another.
  void (*kvMove)(const KvState&, int fromBlock, int fromOffset, int toBlock, int toOffset);
  // All tiles for the query rows rowBegin … rowEnd − 1 and the query heads of one kv head, into out.
  void (*attendRows)(const AttendArgs&, int kvHead, int rowBegin, int rowEnd, uint8_t* scratch);
  // The same in two halves, for few rows at long contexts: the partial results of one tile (of 128 places at absolute
  // borders) for the rows rowBegin … rowEnd − 1 and the query heads of one kv head: [heads / kvHeads, valueDim + 2]
  // floats for each row, rowStride floats apart; then, row by row, the merge of the partials of the tiles tileBegin …
  // tileEnd − 1, `stride` floats apart, left to right, into out. Equal bits to attendRows. Tiles that a row doesn't see
  // are neither written nor read.
  void (*attendTile)(const AttendArgs&, int kvHead, int rowBegin, int rowEnd, int tile, float* partials,
                     size_t rowStride, uint8_t* scratch);
  void (*attendMerge)(const AttendArgs&, int kvHead, int row, const float* partials, size_t stride, int tileBegin,
                      int tileEnd);
  // For calls of at most maxRows rows.
  size_t (*attendScratchBytes)(const KvState&, int heads, int maxRows);

  // --- isa/scan.cpp ---------------------------------------------------------------------------------------------
  // y[row, c] = bias[c] + Σ_j weight[c, j] · x[row][j][c] over `taps` rows in order; x: [rows, taps], null: zeros.
  void (*conv)(const float* const* x, int taps, const float* weight, const float* bias, int cols, float* y, size_t ldy,
               int rows);
  void (*scanRow)(const ScanArgs&, const ScanRow&);
  // The state behind the places, [keyDim, valueDim]; may be where the old one is.
  void (*scanAdvance)(const ScanArgs&, float* next);

  // --- isa/recur.cpp --------------------------------------------------------------------------------------------
  // What ColumnFactor makes of `count` weights.
  void (*columnFactors)(const float* weight, int count, ColumnFactor factor, float* out);
  void (*selectiveAdvance)(const RecurArgs&, const float* const* places, int count, float* state);
  // y [columns] = Σ state · c.
  void (*selectiveRead)(const RecurArgs&, const float* state, const float* c, float* y);
  void (*wkvBegin)(float* state);
  void (*wkvAdvance)(const RecurArgs&, const float* const* places, int count, float* state);
  // Of a row whose k and v lie in `own`, behind the state.
  void (*wkvRead)(const RecurArgs&, const float* state, const float* own, float* y);

  void (*matrixAdvance)(const MatrixScanArgs&, const float* const* places, int count, float* state);
  // y [columns] = stateᵀ r, and with a bonus what the row whose place is `own` adds to it.
  void (*matrixRead)(const MatrixScanArgs&, const float* state, const float* r, const float* own, float* y);

  // --- isa/sample.cpp -------------------------------------------------------------------------------------------
  void (*sample)(SampleArgs&);
  void (*logprob)(LogprobArgs&);
};

// The tables that this build has, best first, of those that this processor runs; `name` picks one (null: the best).
const Kernels* selectKernels(const char* name);
// Names of all tables that this processor runs, best first, null-terminated.
const char* const* availableKernels();

}  // namespace millrace
