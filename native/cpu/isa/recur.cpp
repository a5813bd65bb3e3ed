// Recurrences (Mamba's selective scan, RWKV-4's average, the matrices of RWKV-6 and 7, GLA and Kimi delta attention): a
// state goes through places one by one, so that it has the same bits wherever it set out. What costs are the
// exponentials: one for each value of a state and place (selective), two for each column and place (wkv); of a matrix
// the multiply-adds, two for each value and place, four where it takes back, on a run of columns that lies in L1.
#include "isa/recur.h"

#include "isa/math.h"

namespace millrace::MILLRACE_ISA {

using namespace lanes;

namespace {

MILLRACE_INLINE F32 loadSome(const float* p, int n) { return n < kLanes ? loadFirst(p, n) : load(p); }
MILLRACE_INLINE void storeSome(float* p, F32 x, int n) {
  if (n < kLanes) storeFirst(p, x, n);
  else store(p, x);
}

// Numerator, denominator and exponent of 16 columns.
struct Average {
  F32 sum, total, most;
};
MILLRACE_INLINE Average loadAverage(const float* p) { return {load(p), load(p + kLanes), load(p + 2 * kLanes)}; }

// One term e^key · value more, what was before times e^shift.
MILLRACE_INLINE Average added(const Average& a, F32 shift, F32 key, F32 value) {
  const F32 before = a.most + shift;
  const F32 most = maximum(before, key);
  const F32 e1 = exp(before - most), e2 = exp(key - most);
  return {fma(e2, value, e1 * a.sum), fma(e1, a.total, e2), most};
}

}  // namespace

void columnFactors(const float* weight, int count, ColumnFactor factor, float* out) {
  for (int i = 0; i < count; i += kLanes) {
    const int n = count - i < kLanes ? count - i : kLanes;
    const F32 w = loadSome(weight + i, n);
    if (factor == ColumnFactor::Weight) storeSome(out + i, w, n);
    else storeSome(out + i, factor == ColumnFactor::OneMinus ? splat(1.0f) - w : -exp(w), n);
  }
}

void selectiveAdvance(const RecurArgs& args, const float* const* places, int count, float* state) {
  for (int column = 0; column < args.columns; column++) {
    const size_t at = static_cast<size_t>(column) * args.stateDim;
    for (int i = 0; i < args.stateDim; i += kLanes) {
      const int n = args.stateDim - i < kLanes ? args.stateDim - i : kLanes;
      const F32 a = loadSome(args.constants + at + i, n);
      F32 h = loadSome(state + at + i, n);
      for (int s = 0; s < count; s++) {
        const float* place = places[s];
        const float dt = place[args.first + column];
        const F32 input = splat(dt * place[args.second + column]) * loadSome(place + args.third + i, n);
        h = fma(exp(splat(dt) * a), h, input);
      }
      storeSome(state + at + i, h, n);
    }
  }
}

void selectiveRead(const RecurArgs& args, const float* state, const float* c, float* y) {
  for (int column = 0; column < args.columns; column++) {
    const float* h = state + static_cast<size_t>(column) * args.stateDim;
    F32 sum = splat(0);
    for (int i = 0; i < args.stateDim; i += kLanes) {
      const int n = args.stateDim - i < kLanes ? args.stateDim - i : kLanes;
      sum = fma(loadSome(h + i, n), loadSome(c + i, n), sum);
    }
    y[column] = sumOf(sum);
  }
}

// An average of nothing: its exponent is as good as −∞, and no difference of two is other than a number.
void wkvBegin(float* state) {
  store(state, splat(0));
  store(state + kLanes, splat(0));
  store(state + 2 * kLanes, splat(-1e37f));
}

void wkvAdvance(const RecurArgs& args, const float* const* places, int count, float* state) {
  Average a = loadAverage(state);
  const F32 decay = load(args.constants);
  for (int s = 0; s < count; s++) {
    const F32 key = loadSome(places[s] + args.first, args.columns);
    a = added(a, decay, key, loadSome(places[s] + args.second, args.columns));
  }
  store(state, a.sum);
  store(state + kLanes, a.total);
  store(state + 2 * kLanes, a.most);
}

void wkvRead(const RecurArgs& args, const float* state, const float* own, float* y) {
  const F32 key = loadSome(own + args.first, args.columns) + load(args.bonuses);
  const Average a = added(loadAverage(state), splat(0), key, loadSome(own + args.second, args.columns));
  storeSome(y, a.sum / a.total, args.columns);
}

namespace {

// Through one place, V vectors of columns, the last of them with `last` lanes.
template <bool removes, int V>
MILLRACE_INLINE void matrixStep(const MatrixScanArgs& args, const float* place, int last, float* state) {
  const float *w = place + args.wAt, *k = place + args.kAt, *a = place + args.aAt, *b = place + args.bAt;
  const auto lanes = [&](int v) { return v + 1 == V ? last : kLanes; };
  F32 held[V], values[V];
  for (int v = 0; v < V; v++) {
    held[v] = splat(0);
    values[v] = loadSome(place + args.vAt + v * kLanes, lanes(v));
  }
  if constexpr (removes) {
    for (int i = 0; i < args.keyDim; i++) {
      const float* row = state + static_cast<size_t>(i) * args.columns;
      for (int v = 0; v < V; v++) held[v] = fma(splat(a[i]), loadSome(row + v * kLanes, lanes(v)), held[v]);
    }
  }
  for (int i = 0; i < args.keyDim; i++) {
    float* row = state + static_cast<size_t>(i) * args.columns;
    for (int v = 0; v < V; v++) {
      F32 added = splat(k[i]) * values[v];
      if constexpr (removes) added = fma(splat(b[i]), held[v], added);
      storeSome(row + v * kLanes, fma(splat(w[i]), loadSome(row + v * kLanes, lanes(v)), added), lanes(v));
    }
  }
}

template <int V>
void matrixSteps(const MatrixScanArgs& args, const float* const* places, int count, int last, float* state) {
  for (int s = 0; s < count; s++) {
    if (args.removes) matrixStep<true, V>(args, places[s], last, state);
    else matrixStep<false, V>(args, places[s], last, state);
  }
}

}  // namespace

void matrixAdvance(const MatrixScanArgs& args, const float* const* places, int count, float* state) {
  static_assert(kMatrixRun == 2 * kLanes);
  if (args.columns > kLanes) matrixSteps<2>(args, places, count, args.columns - kLanes, state);
  else matrixSteps<1>(args, places, count, args.columns, state);
}

void matrixRead(const MatrixScanArgs& args, const float* state, const float* r, const float* own, float* y) {
  float share = 0;
  if (args.bonus != nullptr) {
    F32 sum = splat(0);
    for (int i = 0; i < args.keyDim; i += kLanes) {
      const int n = args.keyDim - i < kLanes ? args.keyDim - i : kLanes;
      sum = fma(loadSome(r + i, n) * loadSome(args.bonus + i, n), loadSome(own + args.kAt + i, n), sum);
    }
    share = sumOf(sum);
  }
  for (int c = 0; c < args.columns; c += kLanes) {
    const int n = args.columns - c < kLanes ? args.columns - c : kLanes;
    F32 sum = splat(0);
    for (int i = 0; i < args.keyDim; i++)
      sum = fma(splat(r[i]), loadSome(state + static_cast<size_t>(i) * args.columns + c, n), sum);
    if (args.bonus != nullptr) sum = fma(splat(share), loadSome(own + args.vAt + c, n), sum);
    storeSome(y + c, sum, n);
  }
}

}  // namespace millrace::MILLRACE_ISA
