// What recurrent layers are made of: short convolutions, and linear attention with decay, whose rows are one sum over
// the state at their border and the places since. So a row reads a state once and writes none: keyDim · valueDim + n
// (keyDim + valueDim) multiply-adds for n ≤ 64 places (twice that with `delta`, on the same reads), where a recurrence
// would do 3 · keyDim · valueDim and write the state back. Every 64 rows a state is advanced: 64 · keyDim · valueDim.
// All sums run in one order, lanes over the columns of values.
#include "isa/scan.h"

#include "isa/math.h"

namespace millrace::MILLRACE_ISA {

using namespace lanes;

namespace {

constexpr int kPlaces = 64;

MILLRACE_INLINE F32 loadSome(const float* p, int n) { return n < kLanes ? loadFirst(p, n) : load(p); }
MILLRACE_INLINE void storeSome(float* p, F32 x, int n) {
  if (n < kLanes) storeFirst(p, x, n);
  else store(p, x);
}

MILLRACE_INLINE float expOne(float x) {
  float all[kLanes];
  store(all, exp(splat(x)));
  return all[0];
}

// e^(total − G) of each place.
MILLRACE_INLINE void decays(const ScanArgs& args, float total, float* out) {
  for (int s = 0; s < args.count; s++) out[s] = total - args.places[s][args.decayAt];
  for (int s = args.count; s % kLanes != 0; s++) out[s] = 0;
  for (int s = 0; s < args.count; s += kLanes) store(out + s, exp(load(out + s)));
}

MILLRACE_INLINE float dot(const float* a, const float* b, int n) {
  F32 sums[2] = {splat(0), splat(0)};
  int i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    sums[0] = fma(load(a + i), load(b + i), sums[0]);
    sums[1] = fma(load(a + i + kLanes), load(b + i + kLanes), sums[1]);
  }
  for (; i < n; i += kLanes) {
    const int rest = n - i < kLanes ? n - i : kLanes;
    sums[0] = fma(loadSome(a + i, rest), loadSome(b + i, rest), sums[0]);
  }
  return sumOf(sums[0] + sums[1]);
}

// out = Σ factors[i] · x_i in order, R sums over the same rows x_i, of V vectors of columns; `last` lanes in the last
// one.
template <int R, int V, typename X>
MILLRACE_INLINE void addRows(F32 (&sums)[R][V], const float* const (&factors)[R], int count, int last, X x) {
  for (int i = 0; i < count; i++) {
    const float* from = x(i);
    for (int v = 0; v < V; v++) {
      const F32 values = v + 1 == V ? loadSome(from + v * kLanes, last) : load(from + v * kLanes);
      for (int r = 0; r < R; r++) sums[r][v] = fma(splat(factors[r][i]), values, sums[r][v]);
    }
  }
}

// Columns from `column` on of a row: V vectors, the last of them with `last` lanes. `q` and `k`: what multiplies the
// state's rows and the places' values.
template <bool delta, int V>
MILLRACE_INLINE void columns(const ScanArgs& args, const ScanRow& row, const float* qState, const float* qPlaces,
                             const float* kState, const float* kPlaces, float own, int column, int last) {
  constexpr int R = delta ? 2 : 1;
  F32 sums[R][V];
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < V; v++) sums[r][v] = splat(0);
  }
  const auto stateRow = [&](int i) { return args.state + static_cast<size_t>(i) * args.valueDim + column; };
  const auto placeRow = [&](int i) { return args.places[i] + args.valueAt + column; };
  const int inState = args.state == nullptr ? 0 : args.keyDim;
  if constexpr (delta) {
    addRows<R, V>(sums, {qState, kState}, inState, last, stateRow);
    addRows<R, V>(sums, {qPlaces, kPlaces}, args.count, last, placeRow);
  } else {
    addRows<R, V>(sums, {qState}, inState, last, stateRow);
    addRows<R, V>(sums, {qPlaces}, args.count, last, placeRow);
  }
  for (int v = 0; v < V; v++) {
    const int at = column + v * kLanes, n = v + 1 == V ? last : kLanes;
    F32 value = loadSome(row.v + at, n);
    if constexpr (delta) value = value - sums[R - 1][v];
    const F32 u = splat(row.beta) * value;
    storeSome(row.own + args.valueAt + at, u, n);
    storeSome(row.y + at, fma(splat(own), u, sums[0][v]), n);
  }
}

template <bool delta>
void scanOne(const ScanArgs& args, const ScanRow& row) {
  // As many sums as hide the latency of an fma, in the registers of AVX2.
  constexpr int V = delta ? 2 : 4;
  float weights[kPlaces], qPlaces[kPlaces], kPlacesOf[kPlaces], qState[kMaxKeyDim], kState[kMaxKeyDim];
  const float* k = row.own + args.keyAt;
  const float before = args.count == 0 ? 0.0f : args.places[args.count - 1][args.decayAt];
  const float total = before + row.g;
  row.own[args.decayAt] = total;
  decays(args, total, weights);
  for (int s = 0; s < args.count; s++) {
    const float* key = args.places[s] + args.keyAt;
    qPlaces[s] = weights[s] * dot(row.q, key, args.keyDim);
    if constexpr (delta) kPlacesOf[s] = weights[s] * dot(k, key, args.keyDim);
  }
  if (args.state != nullptr) {
    const float decay = expOne(total);
    for (int i = 0; i < args.keyDim; i++) {
      qState[i] = decay * row.q[i];
      if constexpr (delta) kState[i] = decay * k[i];
    }
  }
  const float own = dot(row.q, k, args.keyDim);
  int column = 0;
  for (; column + V * kLanes <= args.valueDim; column += V * kLanes) {
    columns<delta, V>(args, row, qState, qPlaces, kState, kPlacesOf, own, column, kLanes);
  }
  for (; column < args.valueDim; column += kLanes) {
    const int rest = args.valueDim - column < kLanes ? args.valueDim - column : kLanes;
    columns<delta, 1>(args, row, qState, qPlaces, kState, kPlacesOf, own, column, rest);
  }
}

// R rows of the state from `key` on, V vectors of columns from `column` on.
template <int R, int V>
MILLRACE_INLINE void advanceTile(const ScanArgs& args, float decay, const float (*factors)[kPlaces], int key,
                                 int column, int last, float* next) {
  F32 sums[R][V];
  const float* of[R];
  for (int r = 0; r < R; r++) {
    of[r] = factors[r];
    const size_t at = static_cast<size_t>(key + r) * args.valueDim + column;
    for (int v = 0; v < V; v++) {
      const int n = v + 1 == V ? last : kLanes;
      sums[r][v] = args.state == nullptr ? splat(0) : splat(decay) * loadSome(args.state + at + v * kLanes, n);
    }
  }
  const auto placeRow = [&](int i) { return args.places[i] + args.valueAt + column; };
  for (int i = 0; i < args.count; i++) {
    const float* from = placeRow(i);
    for (int v = 0; v < V; v++) {
      const F32 values = v + 1 == V ? loadSome(from + v * kLanes, last) : load(from + v * kLanes);
      for (int r = 0; r < R; r++) sums[r][v] = fma(splat(of[r][i]), values, sums[r][v]);
    }
  }
  for (int r = 0; r < R; r++) {
    float* to = next + static_cast<size_t>(key + r) * args.valueDim + column;
    for (int v = 0; v < V; v++) storeSome(to + v * kLanes, sums[r][v], v + 1 == V ? last : kLanes);
  }
}

template <int R>
MILLRACE_INLINE void advanceRows(const ScanArgs& args, float decay, const float* weights, int key, float* next) {
  float factors[R][kPlaces];
  for (int s = 0; s < args.count; s++) {
    for (int r = 0; r < R; r++) factors[r][s] = weights[s] * args.places[s][args.keyAt + key + r];
  }
  int column = 0;
  for (; column + 2 * kLanes <= args.valueDim; column += 2 * kLanes) {
    advanceTile<R, 2>(args, decay, factors, key, column, kLanes, next);
  }
  for (; column < args.valueDim; column += kLanes) {
    const int rest = args.valueDim - column < kLanes ? args.valueDim - column : kLanes;
    advanceTile<R, 1>(args, decay, factors, key, column, rest, next);
  }
}

}  // namespace

void conv(const float* const* x, int taps, const float* weight, const float* bias, int cols, float* y, size_t ldy,
          int rows) {
  for (int c = 0; c < cols; c += kLanes) {
    const int n = cols - c < kLanes ? cols - c : kLanes;
    // A column's weights lie side by side: turned round for the rows of this call.
    float turned[kMaxTaps][kLanes] = {};
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < taps; j++) turned[j][i] = weight[static_cast<size_t>(c + i) * taps + j];
    }
    const F32 start = bias == nullptr ? splat(0) : loadSome(bias + c, n);
    for (int row = 0; row < rows; row++) {
      F32 sum = start;
      for (int j = 0; j < taps; j++) {
        const float* from = x[row * taps + j];
        if (from != nullptr) sum = fma(load(turned[j]), loadSome(from + c, n), sum);
      }
      storeSome(y + row * ldy + c, sum, n);
    }
  }
}

void scanRow(const ScanArgs& args, const ScanRow& row) {
  if (args.delta) scanOne<true>(args, row);
  else scanOne<false>(args, row);
}

void scanAdvance(const ScanArgs& args, float* next) {
  float weights[kPlaces];
  const float total = args.places[args.count - 1][args.decayAt];
  decays(args, total, weights);
  const float decay = expOne(total);
  int key = 0;
  for (; key + 2 <= args.keyDim; key += 2) advanceRows<2>(args, decay, weights, key, next);
  if (key < args.keyDim) advanceRows<1>(args, decay, weights, key, next);
}

}  // namespace millrace::MILLRACE_ISA
