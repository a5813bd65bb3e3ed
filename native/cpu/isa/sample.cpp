// Choosing a token from a row of logits, by SamplerParams of src/backend/contract.ts:
//
//   adjusted = logit + bias; −∞ where banned or masked; repetition penalty on seen tokens (positive: / r, else · r),
//   then
//              − presence · [count > 0] − frequency · count
//   T = 0      the largest adjusted logit
//   T > 0      top-k, then top-p and min-p over the softmax of adjusted / T, each a prefix of the order (adjusted
//              down, id up); among what is kept the largest adjusted / T + noise
//   noise      −log(−log u), u = ((x >> 8) + ½) · 2^-24, x the first word of Philox4x32-10 with key = seed and counter
//              (token id, position, sample index, 0) (Salmon et al. 2011; Gumbel's trick: an exact draw of the softmax)
//
// The noise of a token is a function of that token, so tokens that can't win any more are passed over, and the order of
// evaluation can't be seen: those whose logit lies too far behind for any noise before Philox is computed, almost all
// others (on average all but e^(log Σ e^z − best score), a handful) before the logs, by the bound −log(−log u) ≤
// −log(1 − u). Philox and both logs are the same bits on every ISA.
// Microseconds for 49,152 (262,144) tokens, log-probability included, one thread of a Zen 3, AVX2
// (bench/kernels/elementwise.cpp): greedy 30 (180), T = 1 160 (890), T 0.7 and top-k 40 50 (255), top-p 0.9 70 (380).
//
// Ties go to the lowest id. Where every token is at −∞ nothing is chosen (a ban is lifted where a mask allows nothing
// but banned tokens), and neither is from logits that are not all finite: one look at their sum tells.
#include "isa/sample.h"

#include "isa/math.h"

namespace millrace::MILLRACE_ISA {

using namespace lanes;

namespace {

// The noise lies between −log(−log 2^-25) = −2.853 and −log(−log(1 − 2^-25)) = 17.329.
constexpr float kMostNoise = 17.33f;

MILLRACE_INLINE float number(float x) { return x == x ? x : -kInfinity; }

// log x of a normal x > 0, in double: m = √½ … √2, log m = 2 artanh((m − 1) / (m + 1)); error below 1e-13.
double logDouble(double x) {
  const uint64_t root = 0x3fe6a09e667f3bcd;
  const uint64_t distance = __builtin_bit_cast(uint64_t, x) - root;
  const double m = __builtin_bit_cast(double, (distance & 0x000fffffffffffff) + root);
  const double e = static_cast<double>(static_cast<int64_t>(distance) >> 52);
  const double s = (m - 1) / (m + 1), square = s * s;
  double p = 0;
  for (int i = 17; i >= 1; i -= 2) p = p * square + 1.0 / i;
  return e * 0.693147180559945309417 + 2 * s * p;
}

// The largest of x; −∞ where there is none.
float largestOf(const float* x, int count) {
  F32 top[4] = {splat(-kInfinity), splat(-kInfinity), splat(-kInfinity), splat(-kInfinity)};
  int i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    for (int j = 0; j < 4; j++) top[j] = maximum(load(x + i + j * kLanes), top[j]);
  }
  float largest = maxOf(maximum(maximum(top[0], top[1]), maximum(top[2], top[3])));
  for (; i < count; i++) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

// The first place of `value`; 0 where it is nowhere.
int placeOf(float value, const float* x, int count) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const uint32_t found = maskBits(equal(load(x + i), splat(value)));
    if (found != 0) return i + __builtin_ctz(found);
  }
  for (; i < count; i++) {
    if (x[i] == value) return i;
  }
  return 0;
}

// Σ e^((x − top) / T) of all numbers, and of those ≥ `least`. Float lanes over 2,048 numbers, then double.
struct Mass {
  double all, near;
};
Mass massOf(const float* x, int count, float top, float temperature, float least) {
  constexpr int kChunk = 2048;
  const F32 factor = splat(1.0f / temperature), largest = splat(top), bound = splat(least), zero = splat(0);
  Mass mass = {0, 0};
  for (int begin = 0; begin < count; begin += kChunk) {
    const int end = count - begin < kChunk ? count : begin + kChunk;
    F32 all = zero, near = zero;
    const auto count16 = [&](F32 v, F32 e) {
      all = all + e;
      near = near + select(lessEqual(bound, v), e, zero);
    };
    int i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      const F32 v = load(x + i);
      count16(v, exp((v - largest) * factor));
    }
    if (i < end) {
      const F32 v = loadFirst(x + i, end - i);
      count16(v, select(firstLanes(end - i), exp((v - largest) * factor), zero));
    }
    mass.all += static_cast<double>(sumOf(all));
    mass.near += static_cast<double>(sumOf(near));
  }
  return mass;
}

// --- Noise ----------------------------------------------------------------------------------------------------------

// The first word of Philox4x32-10 for the counters (id, position, index, 0).
MILLRACE_INLINE I32 philox(I32 ids, int32_t position, int32_t index, uint64_t seed) {
  I32 c0 = ids, c1 = splatInt(position), c2 = splatInt(index), c3 = splatInt(0);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; round++) {
    I32 high0, low0, high2, low2;
    mulWide(c0, 0xd2511f53u, high0, low0);
    mulWide(c2, 0xcd9e8d57u, high2, low2);
    c0 = high2 ^ c1 ^ splatInt(static_cast<int32_t>(k0));
    c1 = low2;
    c2 = high0 ^ c3 ^ splatInt(static_cast<int32_t>(k1));
    c3 = low0;
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return c0;
}

// v = 1 − u; exact for u ≥ ½.
MILLRACE_INLINE F32 complementOf(I32 words) {
  return (toFloat(splatInt((1 << 24) - 1) - shiftRight<8>(words)) + splat(0.5f)) * splat(0x1p-24f);
}
// −log(−log u). u has 25 bits, a float 24: for u ≥ ½ the first log is taken of 1 − v.
MILLRACE_INLINE F32 gumbel(I32 words) {
  const I32 n = shiftRight<8>(words);
  const Mask isLow = lessInt(n, splatInt(1 << 23));
  const F32 one = splat(1.0f), v = complementOf(words);
  const Mask isNear = less(v, splat(0.29289322f));  // 1 − √½
  F32 f = one, e = one;
  split((toFloat(n) + splat(0.5f)) * splat(0x1p-24f), f, e);
  f = select(isLow, f, select(isNear, -v, one - (v + v)));
  e = select(isLow, e, select(isNear, splat(0.0f), splat(-1.0f)));
  return -log(-logOf(f, e));
}

struct Noise {
  int32_t position, index;
  uint64_t seed;
};
MILLRACE_INLINE I32 wordsOf(const Noise& noise, I32 ids) {
  return philox(ids, noise.position, noise.index, noise.seed);
}

// --- The prefix that top-k, top-p and min-p keep --------------------------------------------------------------------

// Floats as integers in the same order (none is not a number; −0 is 0), and back.
MILLRACE_INLINE uint32_t keyOf(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
MILLRACE_INLINE float valueOf(uint32_t key) {
  return __builtin_bit_cast(float, key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

// What a token counts for in a selection: 1, or its mass. each: f(i, weight) for i = 0 … count − 1.
struct Counted {
  template <typename F>
  void each(const float*, int count, F f) const {
    for (int i = 0; i < count; i++) f(i, 1.0);
  }
};
struct Weighed {
  float top, temperature;
  template <typename F>
  void each(const float* values, int count, F f) const {
    const F32 factor = splat(1.0f / temperature);
    for (int i = 0; i < count; i += kLanes) {
      const int n = count - i < kLanes ? count - i : kLanes;
      float mass[kLanes];
      store(mass, exp((loadFirst(values + i, n) - splat(top)) * factor));
      for (int j = 0; j < n; j++) f(i + j, static_cast<double>(mass[j]));
    }
  }
};

// The smallest prefix of the order (value down, place up) whose weights reach `goal`: all values whose key is larger
// than `key`, with the weight `above` together, and those that equal it until the goal is reached. Key 0: all of them,
// which don't reach it. A radix selection by 11, 11 and 10 bits of the key; nothing is sorted.
struct Cut {
  uint32_t key;
  double above;
};
template <typename Weight>
Cut cutAt(const float* values, int count, double goal, Weight weight) {
  constexpr int kBits[3] = {11, 11, 10};
  double masses[1 << 11];
  Cut cut = {0, 0};
  uint32_t known = 0;
  int shift = 32;
  for (const int bits : kBits) {
    shift -= bits;
    const uint32_t buckets = 1u << bits;
    for (uint32_t j = 0; j < buckets; j++) masses[j] = 0;
    weight.each(values, count, [&](int i, double w) {
      const uint32_t key = keyOf(values[i]);
      if ((key & known) == cut.key) masses[key >> shift & (buckets - 1)] += w;
    });
    // From the top to the bucket in which the goal is reached. Below the first level the bucket before has reached it,
    // but perhaps by a rounding: then it is the last bucket that holds anything.
    uint32_t found = buckets;
    double above = cut.above;
    for (uint32_t j = buckets; j-- > 0;) {
      if (masses[j] == 0) continue;
      found = j;
      cut.above = above;
      above += masses[j];
      if (above >= goal) break;
    }
    if (found == buckets || (known == 0 && above < goal)) return {0, 0};
    cut.key |= found << shift;
    known |= (buckets - 1) << shift;
  }
  return cut;
}

// Candidates: values and ids, in the order of ids.
struct Candidates {
  float* values;
  int32_t* ids;
  int count;
};

template <typename Weight>
void keepPrefix(Candidates& c, double goal, Weight weight) {
  if (!(goal > 0)) goal = 1e-300;  // at least one is kept
  const Cut cut = cutAt(c.values, c.count, goal, weight);
  double reached = cut.above;
  int kept = 0;
  // Weights are read ahead of where the kept ones are written.
  weight.each(c.values, c.count, [&](int i, double w) {
    const uint32_t key = keyOf(c.values[i]);
    if (key < cut.key || (key == cut.key && reached >= goal)) return;
    if (key == cut.key) reached += w;
    c.ids[kept] = c.ids[i];
    c.values[kept++] = c.values[i];
  });
  c.count = kept;
}

void keepAtLeast(Candidates& c, float least) {
  int kept = 0;
  for (int i = 0; i < c.count; i++) {
    if (!(c.values[i] >= least)) continue;
    c.ids[kept] = c.ids[i];
    c.values[kept++] = c.values[i];
  }
  c.count = kept;
}

// All tokens whose value is ≥ least, of a whole row; in place.
Candidates candidatesOf(float* values, int32_t* ids, int count, float least) {
  int kept = 0, i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (uint32_t found = maskBits(lessEqual(splat(least), load(values + i))); found != 0; found &= found - 1) {
      const int at = i + __builtin_ctz(found);
      ids[kept] = at;
      values[kept++] = values[at];
    }
  }
  for (; i < count; i++) {
    if (!(values[i] >= least)) continue;
    ids[kept] = i;
    values[kept++] = values[i];
  }
  return {values, ids, kept};
}

// A bound that at least k of the values reach: the k-th largest of the maxima of runs of 64. `maxima`: count / 64.
float boundOfTop(const float* values, int count, int k, float* maxima) {
  constexpr int kRun = 64;
  const int runs = count / kRun;
  if (runs < k) return -kInfinity;
  for (int i = 0; i < runs; i++) maxima[i] = largestOf(values + static_cast<size_t>(i) * kRun, kRun);
  return valueOf(cutAt(maxima, runs, k, Counted{}).key);
}

// A row of adjusted logits, the largest of them finite → the tokens that may be chosen.
Candidates keptOf(const SamplerParams& params, float top, float* values, int32_t* ids, int count) {
  const float t = params.temperature;
  const Weighed mass = {top, t};
  const bool byMass = params.topP < 1;
  float least = -kInfinity;
  if (params.minP > 0) least = top + t * static_cast<float>(logDouble(params.minP < 1 ? params.minP : 1.0));
  if (params.topK > 0 && params.topK < count) {
    const float bound = boundOfTop(values, count, params.topK, reinterpret_cast<float*>(ids));
    Candidates c = candidatesOf(values, ids, count, bound);
    keepPrefix(c, params.topK, Counted{});
    if (byMass) keepPrefix(c, params.topP * massOf(c.values, c.count, top, t, top).all, mass);
    keepAtLeast(c, least);
    return c;
  }
  if (!byMass) return candidatesOf(values, ids, count, least);
  // Only where the tokens near the top don't reach the goal, all are looked at.
  const float near = top - 10 * t, probe = near > least ? near : least;
  const Mass m = massOf(values, count, top, t, probe);
  const double goal = params.topP * m.all;
  Candidates c = candidatesOf(values, ids, count, m.near >= goal ? probe : least);
  keepPrefix(c, goal, mass);
  return c;
}

// --- The choice -----------------------------------------------------------------------------------------------------

// argmax of (value − top) / T + noise; `topId` is one that has the value `top`. ids null: 0 … count − 1.
int32_t chooseNoisy(const float* values, const int32_t* ids, int count, float top, int32_t topId, float temperature,
                    const Noise& noise) {
  const F32 t = splat(temperature), largest = splat(top);
  float lane[kLanes];
  store(lane, gumbel(wordsOf(noise, splatInt(topId))));
  // Whoever wins has at least the score of topId.
  float bar = lane[0], best = -kInfinity;
  int32_t bestId = topId;
  for (int i = 0; i < count; i += kLanes) {
    const int n = count - i < kLanes ? count - i : kLanes;
    int32_t last[kLanes] = {};
    if (n < kLanes) {
      for (int j = 0; j < n; j++) last[j] = ids != nullptr ? ids[i + j] : i + j;
    }
    const F32 value = n == kLanes ? load(values + i) : loadFirst(values + i, n);
    const F32 z = select(firstLanes(n), (value - largest) / t, splat(-kInfinity));
    if (maskBits(less(z, splat(bar - kMostNoise))) == 0xffff) continue;
    const I32 id = n < kLanes ? loadInt(last) : ids != nullptr ? loadInt(ids + i) : splatInt(i) + iota();
    const I32 words = wordsOf(noise, id);
    // A thousandth is far more than all rounding.
    if (maskBits(lessEqual(complementOf(words), exp(z - splat(bar - 1e-3f)))) == 0) continue;
    const F32 score = z + gumbel(words);
    const float most = maxOf(score);
    if (!(most > best)) continue;
    best = most;
    bar = best > bar ? best : bar;
    storeInt(last, id);
    bestId = last[__builtin_ctz(maskBits(equal(score, splat(most))))];
  }
  return bestId;
}

bool isPenalized(const SampleArgs& a) {
  const SamplerParams& p = *a.params;
  return a.seenCount > 0 && (p.repetitionPenalty != 1 || p.presencePenalty != 0 || p.frequencyPenalty != 0);
}

// Logits where the mask allows the token, −∞ elsewhere. Two groups of lanes share a word of the mask.
void applyMask(const SampleArgs& a, float* values) {
  if (a.mask == nullptr) {
    std::memcpy(values, a.logits, a.vocab * sizeof(float));
    return;
  }
  constexpr int32_t kBits[kLanes] = {1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                                     1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
  const I32 ofLane = loadInt(kBits);
  const auto keep = [ofLane](uint32_t bits, F32 x) {
    return select(lessInt(splatInt(0), splatInt(static_cast<int32_t>(bits & 0xffff)) & ofLane), x, splat(-kInfinity));
  };
  int i = 0;
  for (; i + kLanes <= a.vocab; i += kLanes) {
    store(values + i, keep(a.mask[i / 32] >> (i % 32), load(a.logits + i)));
  }
  if (i < a.vocab) {
    const int rest = a.vocab - i;
    storeFirst(values + i, keep(a.mask[i / 32] >> (i % 32), loadFirst(a.logits + i, rest)), rest);
  }
}

// logits → adjusted logits, all of them numbers.
void adjust(const SampleArgs& a, bool withBans, float* values) {
  const SamplerParams& p = *a.params;
  applyMask(a, values);
  const auto exists = [&a](int32_t id) { return id >= 0 && id < a.vocab; };
  for (int j = 0; j < a.biasCount; j++) {
    const int32_t id = a.biasIds[j];
    if (exists(id)) values[id] = number(values[id] + a.biasValues[j]);
  }
  for (int j = 0; withBans && j < a.bannedCount; j++) {
    if (exists(a.bannedIds[j])) values[a.bannedIds[j]] = -kInfinity;
  }
  if (!isPenalized(a)) return;
  for (int j = 0; j < a.seenCount; j++) {
    const int32_t id = a.seenIds[j];
    if (!exists(id)) continue;
    float v = values[id];
    v = v > 0 ? v / p.repetitionPenalty : v * p.repetitionPenalty;
    if (a.seenCounts[j] > 0) v = v - p.presencePenalty - p.frequencyPenalty * static_cast<float>(a.seenCounts[j]);
    values[id] = number(v);
  }
}

int32_t choose(const SampleArgs& a) {
  const SamplerParams& p = *a.params;
  const bool isGreedy = !(p.temperature > 0);
  const float* row = a.logits;
  float* values = a.scratch;
  int32_t* ids = reinterpret_cast<int32_t*>(a.scratch + a.vocab);
  if (!isGreedy || a.mask != nullptr || a.biasCount > 0 || a.bannedCount > 0 || isPenalized(a)) {
    adjust(a, true, values);
    row = values;
  }
  float top = largestOf(row, a.vocab);
  if (top == -kInfinity && a.mask != nullptr && a.bannedCount > 0) {
    adjust(a, false, values);
    top = largestOf(row, a.vocab);
  }
  if (top == -kInfinity) return kNoSample;
  const int32_t topId = placeOf(top, row, a.vocab);
  if (isGreedy || top == kInfinity) return topId;
  const Noise noise = {a.position, p.sampleIndex, p.seed};
  const bool isCut = (p.topK > 0 && p.topK < a.vocab) || p.topP < 1 || p.minP > 0;
  if (!isCut) return chooseNoisy(values, nullptr, a.vocab, top, topId, p.temperature, noise);
  const Candidates c = keptOf(p, top, values, ids, a.vocab);
  return chooseNoisy(c.values, c.ids, c.count, top, topId, p.temperature, noise);
}

// The `top` largest logits, the lower id first among equals, by insertion: few of a row's numbers ever enter the list.
void alternatives(const float* logits, int vocab, float normalizer, int top, int32_t* ids, float* logprobs) {
  int count = 0;
  const auto offer = [&](int32_t id) {
    const float value = number(logits[id]);
    if (count == top && !(value > number(logits[ids[count - 1]]))) return;
    int place = count < top ? count++ : count - 1;
    for (; place > 0 && value > number(logits[ids[place - 1]]); place--) ids[place] = ids[place - 1];
    ids[place] = id;
  };
  int i = 0;
  for (; i < vocab && count < top; i++) offer(i);
  for (; i + kLanes <= vocab; i += kLanes) {
    const F32 last = splat(number(logits[ids[count - 1]]));
    for (uint32_t found = maskBits(less(last, load(logits + i))); found != 0; found &= found - 1) {
      offer(i + __builtin_ctz(found));
    }
  }
  for (; i < vocab; i++) offer(i);
  for (int j = 0; j < count; j++) logprobs[j] = logits[ids[j]] - normalizer;
  for (int j = count; j < top; j++) {
    ids[j] = -1;
    logprobs[j] = -kInfinity;
  }
}

// log Σ exp(logits).
float logSumExp(const float* logits, int vocab) {
  const float top = largestOf(logits, vocab);
  if (top == kInfinity || top == -kInfinity) return top;
  return static_cast<float>(top + logDouble(massOf(logits, vocab, top, 1.0f, kInfinity).all));
}

// x · 0 is a zero for all that is finite, else not a number, and so is the sum.
bool isFinite(const float* x, int count) {
  F32 sums[4] = {splat(0), splat(0), splat(0), splat(0)};
  int i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    for (int j = 0; j < 4; j++) sums[j] = sums[j] + load(x + i + j * kLanes) * splat(0);
  }
  float sum = sumOf((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < count; i++) sum += x[i] * 0.0f;
  return sum == 0;
}

// Not a number where there is no such token; no alternatives where the logits aren't finite.
void report(LogprobArgs& a, bool areFinite) {
  const float normalizer = areFinite ? logSumExp(a.logits, a.vocab) : 0;
  a.logprob = areFinite && a.id >= 0 ? a.logits[a.id] - normalizer : std::numeric_limits<float>::quiet_NaN();
  if (a.top > 0) alternatives(a.logits, areFinite ? a.vocab : 0, normalizer, a.top, a.topIds, a.topLogprobs);
}

}  // namespace

void sample(SampleArgs& a) {
  const bool areFinite = isFinite(a.logits, a.vocab);
  a.id = areFinite ? choose(a) : kNotFinite;
  LogprobArgs chosen = {a.logits, a.vocab, a.id, a.top, a.topIds, a.topLogprobs, 0};
  report(chosen, areFinite);
  a.logprob = chosen.logprob;
}

void logprob(LogprobArgs& a) { report(a, isFinite(a.logits, a.vocab)); }

}  // namespace millrace::MILLRACE_ISA
