// The team: every chunk of every phase is done once, phases don't overlap, jobs come in order, and a team may be
// stopped while jobs wait; its threads compute alike in any process.
#include "../team.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels.h"
#include "test.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

using namespace millrace;

namespace {

// Phases of 1 … 40 chunks; each chunk adds to a number that only the next phase may read.
struct Counting final : Job {
  int phases, phase = 0, chunks = 0;
  std::vector<int> hits;  // written by one thread each, read between phases: a race would show here
  long total = 0, expected = 0;
  bool wrong = false;
  std::atomic<int>* order;
  int place = -1;
  std::atomic<uint32_t> ended{0};

  Counting(int phases, std::atomic<int>* order) : phases(phases), hits(40), order(order) {}
  int next() override {
    for (int i = 0; i < chunks; i++) {
      if (hits[i] != phase) wrong = true;
      total += hits[i];
    }
    if (phase == phases) return 0;
    phase++;
    chunks = 1 + phase * 7 % 40;
    expected += static_cast<long>(chunks) * phase;
    for (int& hit : hits) hit = 0;
    return chunks;
  }
  void work(int chunk, int) override { hits[chunk] += phase; }
  void done() override {
    place = order->fetch_add(1);
    ended.store(1);
    os::wakeAll(ended);
  }
  void wait() {
    while (ended.load() == 0) os::wait(ended, 0);
  }
};

}  // namespace

TEST(teamDoesEveryChunkOnce) {
  for (int threads : {1, 2, 5}) {
    auto team = Team::create(threads);
    CHECK(team != nullptr);
    std::atomic<int> order{0};
    for (int round = 0; round < 20; round++) {
      Counting a(round * 10, &order), b(30, &order), c(1, &order);
      CHECK(team->submit(&a));
      CHECK(team->submit(&b));
      CHECK(team->submit(&c));
      c.wait();
      for (Counting* job : {&a, &b, &c}) {
        CHECK(!job->wrong);
        CHECK_EQ(job->total, job->expected);
      }
      CHECK_EQ(a.place, 3 * round);
      CHECK_EQ(b.place, 3 * round + 1);
      CHECK_EQ(c.place, 3 * round + 2);
      // Long enough that the threads fall asleep now and then.
      uint64_t until = os::nanoseconds() + 20000 * static_cast<uint64_t>(round % 10);
      while (os::nanoseconds() < until) os::relax();
    }
  }
}

TEST(teamEndsWhatWaitsWhenItStops) {
  std::atomic<int> order{0};
  std::vector<std::unique_ptr<Counting>> jobs;
  auto team = Team::create(3);
  for (int i = 0; i < 100; i++) {
    jobs.push_back(std::make_unique<Counting>(5, &order));
    CHECK(team->submit(jobs.back().get()));
  }
  team->stop();
  for (int i = 0; i < 100; i++) {
    CHECK_EQ(jobs[i]->place, i);
    CHECK_EQ(jobs[i]->total, jobs[i]->expected);
  }
  Counting late(1, &order);
  CHECK(!team->submit(&late));
}

// A thread may come to life only when the team is stopped already.
TEST(teamThatIsStoppedAtOnceEnds) {
  for (int i = 0; i < 200; i++) {
    auto team = Team::create(8);
    CHECK(team != nullptr);
    team->stop();
  }
}

#if defined(__x86_64__) || defined(__aarch64__)

namespace {

// Results that depend on the mode: a denormal product, a denormal operand, a rounded quotient, of plain floats and of a
// kernel.
struct Computing final : Job {
  const Kernels& kernels;
  std::vector<float> results;
  bool open = false;
  std::atomic<uint32_t> ended{0};

  explicit Computing(const Kernels& kernels) : kernels(kernels) {}
  int next() override {
    open = !open;
    return open ? 1 : 0;
  }
  void work(int, int) override {
    volatile float small = 1e-30f, denormal = 1e-40f, one = 1, three = 3;
    results = {small * 1e-10f, denormal * 1e10f, one / three, -one / three};
    std::vector<float> x(32, 1e-39f), y(32);
    kernels.scale(x.data(), 32, y.data(), 32, 32, 0.5f, 0, 1);
    results.insert(results.end(), y.begin(), y.end());
  }
  void done() override {
    ended.store(1);
    os::wakeAll(ended);
  }
};

std::vector<float> computeInTeam(const Kernels& kernels) {
  auto team = Team::create(1);
  Computing job(kernels);
  CHECK(team->submit(&job));
  while (job.ended.load() == 0) os::wait(job.ended, 0);
  return job.results;
}

#if defined(__x86_64__)
uint64_t floatMode() { return _mm_getcsr(); }
void setFloatMode(uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
constexpr uint64_t kForeignMode = 0x8040 | 0x4000;  // flush to zero, denormals are zero, round up
#else
uint64_t floatMode() {
  uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
void setFloatMode(uint64_t mode) { asm volatile("msr fpcr, %0" ::"r"(mode)); }
constexpr uint64_t kForeignMode = uint64_t{1} << 24 | uint64_t{1} << 22;  // flush to zero, round up
#endif

}  // namespace

TEST(teamComputesAlikeWhateverFloatModeItsCreatorIsIn) {
  for (const char* const* name = availableKernels(); *name != nullptr; name++) {
    const Kernels& kernels = *selectKernels(*name);
    const std::vector<float> expected = computeInTeam(kernels);
    CHECK(expected[0] != 0 && expected[1] != 0 && expected[2] == -expected[3] && expected[4] == 0.5e-39f);
    const uint64_t before = floatMode();
    setFloatMode(before | kForeignMode);
    const std::vector<float> got = computeInTeam(kernels);
    setFloatMode(before);
    CHECK(std::memcmp(got.data(), expected.data(), expected.size() * sizeof(float)) == 0);
  }
}

#endif
