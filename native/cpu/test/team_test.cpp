// The team: every chunk of every phase is done once, phases don't overlap, jobs come in order, and a team may be
// stopped while jobs wait.
#include "../team.h"

#include <atomic>
#include <memory>
#include <vector>

#include "test.h"

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
