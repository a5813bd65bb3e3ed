// The team once more, under another name, with the moment made long in which whoever opens a phase has handed out its
// chunks but not yet told the waiting threads: there a thread may lose its core for any time, while others complete the
// phase and open the next ones. Every job must come to its end all the same. MILLRACE_TEAM_JOBS=100000 runs it for
// longer.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "os.h"
#include "test.h"

namespace {

std::atomic<uint32_t> windows{1};
// One in eight stands still, for up to 200 µs: a phase, or a whole job, fits in there.
void standStill() {
  const uint32_t random = windows.fetch_add(1, std::memory_order_relaxed) * 2654435761u >> 8;
  if (random % 8 != 0) return;
  const uint64_t until = millrace::os::nanoseconds() + (random >> 3) % 200'000;
  while (millrace::os::nanoseconds() < until) std::this_thread::yield();
}

}  // namespace

#define Team PreemptedTeam
#define MILLRACE_TEAM_WINDOW() standStill()
#include "../team.cpp"
#undef Team

using namespace millrace;

namespace {

constexpr int kPhases = 3, kChunks = 4;

// Each chunk adds one to a number that only `next` reads, which a phase that overlaps another would spoil.
struct Small final : Job {
  int phase = 0;
  int hits[kChunks] = {};
  bool wrong = false;
  std::atomic<uint32_t> ended{0};

  int next() override {
    for (int hit : hits) wrong |= hit != phase;
    return phase++ < kPhases ? kChunks : 0;
  }
  void work(int chunk, int) override { hits[chunk]++; }
  void done() override { ended.store(1, std::memory_order_release); }
  // False where the job hangs.
  bool wait() const {
    for (uint64_t until = os::nanoseconds() + 20'000'000'000u; ended.load(std::memory_order_acquire) == 0;
         std::this_thread::yield()) {
      if (os::nanoseconds() > until) return false;
    }
    return true;
  }
};

}  // namespace

TEST(teamOutlivesPreemptedPublishers) {
  const char* wanted = std::getenv("MILLRACE_TEAM_JOBS");
  const int jobs = wanted != nullptr ? std::atoi(wanted) : 6'000;
  for (const int threads : {2, 3, 4}) {
    auto team = PreemptedTeam::create(threads);
    CHECK(team != nullptr);
    // One at a time and in pairs, so that jobs are begun by `submit` and by the team.
    for (int i = 0; i < jobs; i += 3) {
      Small alone, first, second;
      CHECK(team->submit(&alone));
      bool ended = alone.wait();
      CHECK(ended && team->submit(&first) && team->submit(&second));
      ended = ended && first.wait() && second.wait();
      if (!ended) {
        // The threads sleep for ever: neither the team nor the process can be ended in order.
        std::printf("  FAILED: %d threads, job %d hangs\n", threads, i);
        std::fflush(stdout);
        std::_Exit(1);
      }
      CHECK(!alone.wrong && !first.wrong && !second.wrong);
    }
  }
}
