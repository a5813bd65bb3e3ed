// Elementwise and sampling kernels alone, one thread, rows in L2: nanoseconds a row, and elements a nanosecond. CPU
// time of the fastest of many short runs, so that neighbours disturb little.
//
//   g++ -std=c++20 -O3 -ffp-contract=off -march=native -DMILLRACE_ISA=native -Inative/cpu bench/kernels/elementwise.cpp
//     native/cpu/isa/elementwise.cpp native/cpu/isa/sample.cpp -o /tmp/elementwise && /tmp/elementwise
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <random>
#include <vector>

#include "isa/elementwise.h"
#include "isa/sample.h"

using namespace millrace;
using namespace millrace::MILLRACE_ISA;

namespace {

double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <typename F>
void report(const char* name, int elements, int inner, F f) {
  double least = 1e9;
  for (int i = 0; i < 60; i++) {
    const double begin = now();
    for (int j = 0; j < inner; j++) f();
    least = std::min(least, (now() - begin) / inner);
  }
  std::printf("%-34s %9.2f us  %6.2f elements/ns\n", name, least * 1e6, elements / least / 1e9);
}

std::vector<float> randomRow(int n, float spread) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

}  // namespace

int main() {
  const int n = 1536 * 16;
  const std::vector<float> a = randomRow(n, 2), b = randomRow(n, 1);
  std::vector<float> y(n);
  report("rmsNorm 16 x 1536", n, 20,
         [&] { rmsNorm(a.data(), 1536, y.data(), 1536, 1536, 1536, b.data(), 0, 1e-5f, 0, 16); });
  report("rmsNorm, heads of 64", n, 20,
         [&] { rmsNorm(a.data(), 1536, y.data(), 1536, 1536, 64, b.data(), 0, 1e-5f, 0, 16); });
  report("add", n, 20, [&] { add(a.data(), 1536, b.data(), 1536, y.data(), 1536, 1536, 0, 16); });
  const char* const names[] = {"gate silu", "gate gelu", "gate geluTanh", "gate relu"};
  for (int i = 0; i < 4; i++) {
    report(names[i], n, 20,
           [&] { gate(a.data(), 1536, b.data(), 1536, y.data(), 1536, 1536, static_cast<Activation>(i), 0, 16); });
  }
  report("softcap", n, 20, [&] { softcap(a.data(), 1536, y.data(), 1536, 1536, 30, 0, 16); });
  for (const bool interleaved : {false, true}) {
    report(interleaved ? "rope interleaved, 16 x 24 x 64" : "rope half, 16 x 24 x 64", n, 20,
           [&] { rope(a.data(), 1536, y.data(), 1536, 24, 64, 32, interleaved, b.data(), b.data(), 0, 16); });
  }
  std::vector<int32_t> positions(16);
  for (int i = 0; i < 16; i++) positions[i] = 1000 + i;
  std::vector<float> frequencies(32, 0.1f);
  report("ropeTable 16 x 32", 512, 100,
         [&] { ropeTable(positions.data(), frequencies.data(), 32, 1, y.data(), y.data() + 512, 0, 16); });

  for (const int vocab : {49152, 262144}) {
    std::vector<float> logits = randomRow(vocab, 2.5f), scratch(2 * vocab);
    logits[777] = 14;
    logits[40000] = 13;
    struct {
      const char* name;
      SamplerParams params;
      int top;
    } const cases[] = {
        {"greedy", {0, 0, 1, 0, 1, 0, 0, 1, 0}, 0},
        {"greedy, 20 alternatives", {0, 0, 1, 0, 1, 0, 0, 1, 0}, 20},
        {"T 1", {1, 0, 1, 0, 1, 0, 0, 1, 0}, 0},
        {"T 5 (flat)", {5, 0, 1, 0, 1, 0, 0, 1, 0}, 0},
        {"T 0.7, top-k 40", {0.7f, 40, 1, 0, 1, 0, 0, 1, 0}, 0},
        {"T 0.7, top-p 0.9", {0.7f, 0, 0.9f, 0, 1, 0, 0, 1, 0}, 0},
        {"T 0.7, top-k 40, top-p 0.9, min-p", {0.7f, 40, 0.9f, 0.05f, 1, 0, 0, 1, 0}, 0},
        {"T 5 (flat), top-p 0.999", {5, 0, 0.999f, 0, 1, 0, 0, 1, 0}, 0},
        {"T 0.7, min-p 0.05", {0.7f, 0, 1, 0.05f, 1, 0, 0, 1, 0}, 0},
    };
    std::printf("vocabulary %d\n", vocab);
    for (const auto& c : cases) {
      int32_t topIds[20];
      float topLogprobs[20];
      SampleArgs args = {};
      args.params = &c.params;
      args.logits = logits.data();
      args.vocab = vocab;
      args.top = c.top;
      args.topIds = topIds;
      args.topLogprobs = topLogprobs;
      args.scratch = scratch.data();
      report(c.name, vocab, 3, [&] {
        args.position++;
        sample(args);
      });
    }
  }
}
