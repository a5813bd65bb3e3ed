// The router of experts (the op `route` in src/graph/graph.ts): a few hundred values a row, so that the exp is what
// costs.
#include "isa/route.h"

#include "isa/math.h"
#include "isa/rows.h"

namespace millrace::MILLRACE_ISA {

using namespace lanes;

namespace {

// What is not a number comes last.
MILLRACE_INLINE float ranked(float x) { return x == x ? x : -kInfinity; }

float expOne(float x) {
  float lane[kLanes];
  store(lane, exp(splat(x)));
  return lane[0];
}

float sigmoidOne(float x) {
  float lane[kLanes];
  store(lane, sigmoid(splat(x)));
  return lane[0];
}

// The largest key of the candidates 0 … count − 1 that comes after (last, lastId) in the order (key down, index up).
template <typename Key>
int nextBest(int count, Key key, float last, int lastId) {
  int best = -1;
  for (int e = 0; e < count; e++) {
    const float value = key(e);
    if (!(value < last || (value == last && e > lastId))) continue;
    if (best < 0 || value > key(best)) best = e;
  }
  return best;
}

// The softmax of a row: what its exponentials are taken from, and their sum.
struct Softmax {
  float largest, total;
};
Softmax softmaxOf(const float* x, int count) {
  F32 top = splat(-kInfinity);
  for (int e = 0; e < count; e++) top = maximum(splat(x[e]), top);
  const F32 largest = splat(maxOf(top));
  return {maxOf(top), sumRow(x, count, [largest](F32 v, F32 s) { return s + exp(v - largest); })};
}

// The largest key of a group, or the sum of its two largest.
float groupKey(const float* keys, int size, bool twoLargest) {
  float first = -kInfinity, second = -kInfinity;
  for (int i = 0; i < size; i++) {
    const float value = ranked(keys[i]);
    if (value > first) {
      second = first;
      first = value;
    } else if (value > second) {
      second = value;
    }
  }
  return twoLargest && size > 1 ? first + second : first;
}

// Keys of groups that are not kept become −∞. Kept ones are found one after another, so that no buffer is needed.
template <typename Key>
void dropGroups(const RouteArgs& a, Key groupKeyOf, float* keys) {
  float last = kInfinity;
  int lastId = -1;
  for (int k = 0; k < a.keptGroups; k++) {
    lastId = nextBest(a.groups, groupKeyOf, last, lastId);
    last = groupKeyOf(lastId);
  }
  const int size = a.experts / a.groups;
  for (int g = a.groups - 1; g >= 0; g--) {
    // Behind the last kept one in the order: its own keys are still there.
    const float own = groupKeyOf(g);
    if (own > last || (own == last && g <= lastId)) continue;
    for (int i = 0; i < size; i++) keys[g * size + i] = -kInfinity;
  }
}

}  // namespace

// Where scores needn't be added to anything the logits rank, because softmax and sigmoid keep their order. The topK are
// found in as many passes.
void route(const RouteArgs& a, int rowBegin, int rowEnd) {
  for (int row = rowBegin; row < rowEnd; row++) {
    const float* in = a.logits + row * a.ldl;
    float* keys = a.keys + row * a.ldk;
    float* ids = a.routes + row * a.ldr;
    float* shares = ids + a.topK;
    const Softmax all = softmaxOf(in, a.experts);
    const auto score = [&](int e) { return a.sigmoid ? sigmoidOne(in[e]) : expOne(in[e] - all.largest) / all.total; };
    const bool scored = a.bias != nullptr || (a.groups > 0 && a.twoLargest);
    for (int e = 0; e < a.experts; e++) keys[e] = scored ? score(e) + (a.bias ? a.bias[e] : 0.0f) : in[e];
    if (a.groups > 0) {
      const int size = a.experts / a.groups;
      dropGroups(a, [&](int g) { return groupKey(keys + g * size, size, a.twoLargest); }, keys);
    }

    float last = kInfinity;
    int lastId = -1;
    for (int k = 0; k < a.topK; k++) {
      lastId = nextBest(a.experts, [keys](int e) { return ranked(keys[e]); }, last, lastId);
      last = ranked(keys[lastId]);
      int place = k;
      for (; place > 0 && ids[place - 1] > static_cast<float>(lastId); place--) ids[place] = ids[place - 1];
      ids[place] = static_cast<float>(lastId);
    }
    float sum = 0;
    for (int k = 0; k < a.topK; k++) {
      const float own = in[static_cast<int>(ids[k])];
      shares[k] = a.sigmoid ? sigmoidOne(own) : expOne(own - all.largest);
      sum += shares[k];
    }
    // What the chosen ones' scores are divided by; a sigmoid's stand for themselves.
    if (!a.normalize) sum = a.sigmoid ? 1 : all.total;
    for (int k = 0; k < a.topK; k++) {
      shares[k] /= sum;
      if (a.factor != 1) shares[k] *= a.factor;
    }
  }
}

}  // namespace millrace::MILLRACE_ISA
