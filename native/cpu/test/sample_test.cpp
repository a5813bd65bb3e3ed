// The sampler against a plain implementation of its definition (a full sort, doubles, a Philox checked against
// Random123's known answers), and its draws against the distribution that they come from.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "kernels.h"
#include "test.h"

using namespace millrace;

namespace {

using Words = std::array<uint32_t, 4>;

Words philox(Words c, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    const uint64_t a = static_cast<uint64_t>(0xd2511f53u) * c[0], b = static_cast<uint64_t>(0xcd9e8d57u) * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(a)};
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return c;
}

double noiseOf(const SamplerParams& p, int32_t id, int32_t position) {
  const Words x =
      philox({static_cast<uint32_t>(id), static_cast<uint32_t>(position), static_cast<uint32_t>(p.sampleIndex), 0},
             static_cast<uint32_t>(p.seed), static_cast<uint32_t>(p.seed >> 32));
  const double u = ((x[0] >> 8) + 0.5) / 16777216.0;
  return -std::log(-std::log(u));
}

constexpr SamplerParams kPlain = {1, 0, 1, 0, 1, 0, 0, 1, 0};

// A row and all that may act on it.
struct Row {
  std::vector<float> logits;
  SamplerParams params = kPlain;
  int32_t position = 0;
  std::vector<int32_t> biasIds, bannedIds, seenIds, seenCounts;
  std::vector<float> biasValues;
  std::vector<uint32_t> mask;  // empty: none
  int top = 0;
};

struct Choice {
  int32_t id;
  float logprob;
  std::vector<int32_t> topIds;
  std::vector<float> topLogprobs;
};

Choice sampleRow(const Kernels& k, const Row& r) {
  const int vocab = static_cast<int>(r.logits.size());
  std::vector<float> scratch(2 * vocab, NAN);
  Choice c = {-7, 0, std::vector<int32_t>(r.top), std::vector<float>(r.top)};
  SampleArgs a = {};
  a.params = &r.params;
  a.logits = r.logits.data();
  a.vocab = vocab;
  a.position = r.position;
  a.biasIds = r.biasIds.data();
  a.biasValues = r.biasValues.data();
  a.biasCount = static_cast<int>(r.biasIds.size());
  a.bannedIds = r.bannedIds.data();
  a.bannedCount = static_cast<int>(r.bannedIds.size());
  a.seenIds = r.seenIds.data();
  a.seenCounts = r.seenCounts.data();
  a.seenCount = static_cast<int>(r.seenIds.size());
  a.mask = r.mask.empty() ? nullptr : r.mask.data();
  a.top = r.top;
  a.topIds = c.topIds.data();
  a.topLogprobs = c.topLogprobs.data();
  a.scratch = scratch.data();
  k.sample(a);
  c.id = a.id;
  c.logprob = a.logprob;
  return c;
}

// The definition, word by word. `margin`: how far the runner-up is behind; what is closer than rounding is open.
int32_t naive(const Row& r, double* margin) {
  const SamplerParams& p = r.params;
  const int vocab = static_cast<int>(r.logits.size());
  std::vector<float> l = r.logits;
  for (int i = 0; i < vocab && !r.mask.empty(); i++) {
    if ((r.mask[i / 32] >> (i % 32) & 1) == 0) l[i] = -INFINITY;
  }
  for (size_t i = 0; i < r.biasIds.size(); i++) l[r.biasIds[i]] += r.biasValues[i];
  const std::vector<float> unbanned = l;
  for (const int32_t id : r.bannedIds) l[id] = -INFINITY;
  const auto isForbidden = [](float x) { return x == -INFINITY; };
  if (!r.mask.empty() && std::all_of(l.begin(), l.end(), isForbidden)) l = unbanned;
  for (size_t i = 0; i < r.seenIds.size(); i++) {
    float& x = l[r.seenIds[i]];
    x = x > 0 ? x / p.repetitionPenalty : x * p.repetitionPenalty;
    if (r.seenCounts[i] > 0) x = x - p.presencePenalty - p.frequencyPenalty * static_cast<float>(r.seenCounts[i]);
  }
  std::vector<int32_t> order(vocab);
  for (int i = 0; i < vocab; i++) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return l[a] > l[b]; });
  *margin = INFINITY;
  if (l[order[0]] == -INFINITY) return kNoSample;
  if (p.temperature == 0) return order[0];
  size_t kept = vocab;
  if (p.topK > 0) kept = std::min(kept, static_cast<size_t>(p.topK));
  const double top = l[order[0]], t = p.temperature;
  const auto mass = [&](size_t i) { return std::exp((l[order[i]] - top) / t); };
  if (p.topP < 1) {
    double all = 0, sum = 0;
    for (size_t i = 0; i < kept; i++) all += mass(i);
    size_t n = 0;
    while (n < kept && (n == 0 || sum < p.topP * all)) sum += mass(n++);
    // Where the last one is in or out by a rounding, nothing can be said.
    if (std::fabs(sum - p.topP * all) < 1e-5 * all || std::fabs(sum - mass(n - 1) - p.topP * all) < 1e-5 * all)
      *margin = 0;
    kept = n;
  }
  if (p.minP > 0) {
    size_t n = 0;
    while (n < kept && mass(n) >= p.minP) n++;
    const auto isOpen = [&](size_t i) { return i < kept && std::fabs(mass(i) - p.minP) < 1e-5 * p.minP; };
    if (isOpen(n) || (n > 1 && isOpen(n - 1))) *margin = 0;
    kept = std::max<size_t>(n, 1);
  }
  double best = -INFINITY, second = -INFINITY;
  int32_t bestId = -1;
  std::sort(order.begin(), order.begin() + kept);
  for (size_t i = 0; i < kept; i++) {
    const double score = (l[order[i]] - top) / t + noiseOf(p, order[i], r.position);
    if (score > best) {
      second = best;
      best = score;
      bestId = order[i];
    } else {
      second = std::max(second, score);
    }
  }
  *margin = std::min(*margin, best - second);
  return bestId;
}

void forEachIsa(const std::function<void(const Kernels&)>& body) {
  for (const char* const* name = availableKernels(); *name != nullptr; name++) body(*selectKernels(*name));
}

}  // namespace

TEST(philoxGivesTheKnownAnswers) {
  // Random123 1.14, examples/kat_vectors: philox4x32 10.
  CHECK((philox({0, 0, 0, 0}, 0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t f = 0xffffffff;
  CHECK((philox({f, f, f, f}, f, f) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  CHECK((philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0) ==
         Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(samplingFollowsItsDefinition) {
  std::mt19937 random(21);
  int open = 0, done = 0, none = 0;
  for (int round = 0; round < 1500; round++) {
    const auto pick = [&random](std::initializer_list<float> list) { return list.begin()[random() % list.size()]; };
    const auto below = [&random](int n) { return static_cast<int32_t>(random() % n); };
    Row r;
    const int vocab = below(10) == 0 ? 20000 + below(3000) : 1 + below(700);
    std::normal_distribution<float> normal(0, pick({0.01f, 1, 3, 8}));
    r.logits.resize(vocab);
    for (float& x : r.logits) x = normal(random);
    if (below(3) == 0) {
      for (float& x : r.logits) x = std::round(x * 2) / 2;  // ties
    }
    // Masks that allow few tokens, or none, among all that they don't.
    if (below(2) == 0) {
      const uint32_t density = below(4);
      r.mask.resize((vocab + 31) / 32);
      for (uint32_t& word : r.mask) {
        word = density == 3 ? 0 : random() & (density < 1 ? ~0u : random()) & (density < 2 ? ~0u : random());
      }
      for (int i = below(3); i > 0; i--) {
        const int32_t id = below(vocab);
        r.mask[id / 32] |= 1u << (id % 32);
        if (below(3) == 0) r.bannedIds.push_back(id);
      }
    }
    r.logits[below(vocab)] = 1;
    r.position = below(5000);
    r.params.temperature = pick({0, 0.3f, 0.7f, 1, 1, 2, 50});
    r.params.topK = below(2) * below(below(2) * 1000 + 60);
    r.params.topP = pick({1, 1, 0.01f, 0.5f, 0.9f, 0.999f});
    r.params.minP = pick({0, 0, 0, 0.02f, 0.5f, 1});
    r.params.seed = static_cast<uint64_t>(random()) << 32 | random();
    r.params.sampleIndex = below(4);
    if (below(2) == 0) {
      r.params.repetitionPenalty = pick({1, 1.3f, 0.8f});
      r.params.presencePenalty = pick({0, 0.5f, -1});
      r.params.frequencyPenalty = pick({0, 0.25f});
      for (int i = 0; i < std::min(vocab, 30); i++) {
        r.seenIds.push_back(i * (vocab / 30 > 0 ? vocab / 30 : 1));
        r.seenCounts.push_back(below(3));
      }
    }
    for (int i = 0; i < below(2) * 9; i++) {
      r.biasIds.push_back(below(vocab));
      r.biasValues.push_back(i % 3 == 0 ? -INFINITY : normal(random));
    }
    if (below(3) == 0 && vocab > 1) r.bannedIds.push_back(below(vocab));
    double margin;
    const int32_t expected = naive(r, &margin);
    if (margin < 1e-5) {
      open++;
      continue;
    }
    done++;
    none += expected == kNoSample ? 1 : 0;
    forEachIsa([&](const Kernels& k) { CHECK_EQ(sampleRow(k, r).id, expected); });
  }
  CHECK(done > 900);
  CHECK(none > 20);
}

TEST(allIsasChooseTheSame) {
  const Kernels& first = *selectKernels("scalar");
  std::mt19937 random(22);
  std::normal_distribution<float> normal(0, 3);
  Row r;
  r.logits.resize(5003);
  for (float& x : r.logits) x = normal(random);
  for (int i = 0; i < 300; i++) {
    r.params.seed = i;
    r.position = i * 7;
    const int32_t id = sampleRow(first, r).id;
    forEachIsa([&](const Kernels& k) { CHECK_EQ(sampleRow(k, r).id, id); });
  }
}

// Chi-square with 19 degrees of freedom: above 43.8 once in a thousand; the draws are fixed.
TEST(drawsHaveTheSoftmaxDistribution) {
  forEachIsa([](const Kernels& k) {
    for (const bool cut : {false, true}) {
      Row r;
      const int vocab = 40, kept = 20, draws = 20000;
      for (int i = 0; i < vocab; i++) r.logits.push_back(std::sin(static_cast<float>(i)) - (i >= kept ? 90.0f : 0.0f));
      r.params.temperature = 0.8f;
      if (cut) r.params.topK = kept;
      double all = 0, chi = 0;
      for (int i = 0; i < kept; i++) all += std::exp(r.logits[i] / 0.8);
      std::vector<int> counts(vocab);
      for (int i = 0; i < draws; i++) {
        r.position = i;
        r.params.seed = 0x123456789abcdefull + (cut ? 1 : 0);
        counts[sampleRow(k, r).id]++;
      }
      for (int i = 0; i < kept; i++) {
        const double expected = std::exp(r.logits[i] / 0.8) / all * draws;
        chi += (counts[i] - expected) * (counts[i] - expected) / expected;
      }
      CHECK(chi < 43.8);
      for (int i = kept; i < vocab; i++) CHECK_EQ(counts[i], 0);
    }
  });
}

TEST(logProbabilitiesAndAlternatives) {
  forEachIsa([](const Kernels& k) {
    for (const int vocab : {1, 5, 16, 100, 4099, 49152}) {
      Row r;
      std::mt19937 random(vocab);
      std::normal_distribution<float> normal(-3, 4);
      r.logits.resize(vocab);
      for (float& x : r.logits) x = vocab == 100 ? std::round(normal(random)) : normal(random);
      double sum = 0;
      for (const float x : r.logits) sum += std::exp(static_cast<double>(x));
      // The answer's log-probability is the model's own, whatever the parameters.
      r.params.temperature = 0.5f;
      r.params.topK = 3;
      r.biasIds = {0};
      r.biasValues = {2};
      r.top = 20;
      const Choice c = sampleRow(k, r);
      CHECK_NEAR(c.logprob, r.logits[c.id] - std::log(sum), 4e-6);
      std::vector<int32_t> order(vocab);
      for (int i = 0; i < vocab; i++) order[i] = i;
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return r.logits[a] > r.logits[b]; });
      for (int i = 0; i < r.top; i++) {
        CHECK_EQ(c.topIds[i], i < vocab ? order[i] : -1);
        if (i < vocab) CHECK_NEAR(c.topLogprobs[i], r.logits[order[i]] - std::log(sum), 4e-6);
      }
      // Of any token, with the same alternatives.
      std::vector<int32_t> ids(r.top);
      std::vector<float> logprobs(r.top);
      LogprobArgs a = {r.logits.data(), vocab, vocab / 2, r.top, ids.data(), logprobs.data(), 0};
      k.logprob(a);
      CHECK_NEAR(a.logprob, r.logits[vocab / 2] - std::log(sum), 4e-6);
      CHECK(ids == c.topIds && logprobs == c.topLogprobs);
    }
  });
}

TEST(nothingIsSampledFromLogitsThatAreNotFinite) {
  forEachIsa([](const Kernels& k) {
    for (const float bad : {INFINITY, -INFINITY, NAN}) {
      for (const int vocab : {1, 15, 64, 1000}) {
        for (const int at : {0, vocab / 2, vocab - 1}) {
          Row r;
          r.logits.assign(vocab, 1e30f);
          r.top = 3;
          r.params.temperature = static_cast<float>(at % 2);
          CHECK(sampleRow(k, r).id >= 0);
          r.logits[at] = bad;
          const Choice c = sampleRow(k, r);
          CHECK_EQ(c.id, kNotFinite);
          CHECK(std::isnan(c.logprob));
          CHECK(c.topIds == std::vector<int32_t>(3, -1));
          LogprobArgs a = {r.logits.data(), vocab, 0, 0, nullptr, nullptr, 0};
          k.logprob(a);
          CHECK(std::isnan(a.logprob));
        }
      }
    }
  });
}

TEST(nothingIsSampledWhereNothingIsAllowed) {
  forEachIsa([](const Kernels& k) {
    for (const float temperature : {0.0f, 1.0f}) {
      Row r;
      r.params.temperature = temperature;
      r.params.topK = 5;
      r.logits.assign(70, 0.5f);
      r.top = 2;
      r.mask.assign(3, 0);
      Choice c = sampleRow(k, r);
      CHECK_EQ(c.id, kNoSample);
      CHECK(std::isnan(c.logprob));
      CHECK_EQ(c.topIds[1], 1);  // of the model's own distribution
      // Bits behind the vocabulary allow nothing.
      r.mask[2] = ~0u << 6;
      CHECK_EQ(sampleRow(k, r).id, kNoSample);
      r.mask[2] |= 1u << 5;
      CHECK_EQ(sampleRow(k, r).id, 69);
      // A ban holds as long as the mask allows another token.
      r.bannedIds = {69};
      CHECK_EQ(sampleRow(k, r).id, 69);
      r.mask[0] = 1u << 3;
      CHECK_EQ(sampleRow(k, r).id, 3);
      // A bias that forbids isn't lifted, and no ban where there is no mask.
      r.biasIds = {3, 69};
      r.biasValues = {-INFINITY, -INFINITY};
      CHECK_EQ(sampleRow(k, r).id, kNoSample);
      Row banned;
      banned.params.temperature = temperature;
      banned.logits = {1, 2};
      banned.bannedIds = {0, 1};
      CHECK_EQ(sampleRow(k, banned).id, kNoSample);
    }
  });
}

TEST(samplingSurvivesTiesAndTinyTemperatures) {
  forEachIsa([](const Kernels& k) {
    for (const float temperature : {0.0f, 1.0f}) {
      for (const int topK : {0, 5}) {
        for (const float topP : {1.0f, 0.5f, 0.0f}) {
          Row r;
          r.params.temperature = temperature;
          r.params.topK = topK;
          r.params.topP = topP;
          r.params.minP = topP < 1 ? 0.1f : 0;
          r.logits.assign(1000, 2);  // all equal
          const int32_t id = sampleRow(k, r).id;
          CHECK(id >= 0 && id < 1000);
          if (topK > 0) CHECK(id < 5);
          if (temperature == 0) CHECK_EQ(id, 0);
          r.params.temperature = 1e-38f;
          r.logits[3] = 2.5f;
          CHECK_EQ(sampleRow(k, r).id, 3);
          r.biasIds = {77, 78};
          r.biasValues = {INFINITY, INFINITY};
          CHECK_EQ(sampleRow(k, r).id, 77);
        }
      }
    }
  });
}
