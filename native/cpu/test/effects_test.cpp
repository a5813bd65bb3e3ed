// The queue of effects: in order and one at a time, other jobs of the team between them, and every job is ended once,
// those too that wait when the queue is stopped. Steps that wait for masks are tested through the backend.
#include "effects.h"

#include <atomic>
#include <memory>
#include <vector>

#include "pool.h"
#include "test.h"

using namespace millrace;

namespace {

struct Record {
  std::vector<int> order;  // of the queue's jobs alone: they run one at a time
  std::atomic<int> ended{0};
  std::atomic<int> running{0};
  std::atomic<bool> overlapped{false};
};

struct Marked final : Job {
  Record& record;
  EffectQueue& queue;
  int number, phases;
  bool begun = false;
  int ends = 0;

  Marked(Record& record, EffectQueue& queue, int number)
      : record(record), queue(queue), number(number), phases(number % 4) {}
  int next() override {
    if (!begun) {
      begun = true;
      if (record.running.fetch_add(1) != 0) record.overlapped = true;
      record.order.push_back(number);
    }
    if (phases == 0 || queue.stopping()) return 0;
    return phases-- + number % 7;
  }
  void work(int, int) override {}
  void done() override {
    record.running.fetch_sub(1);
    ends++;
    record.ended.fetch_add(1);
  }
};

struct Foreign final : Job {
  std::atomic<bool> ended{false};
  int next() override { return 0; }
  void work(int, int) override {}
  void done() override { ended = true; }
};

}  // namespace

TEST(effectsComeInOrder) {
  for (int threads : {1, 2, 3}) {
    auto queue = EffectQueue::create(threads);
    Record record;
    Pool pools[2];
    std::vector<std::unique_ptr<Marked>> jobs;
    Foreign foreign;
    for (int i = 0; i < 2000; i++) {
      jobs.push_back(std::make_unique<Marked>(record, *queue, i));
      CHECK(queue->submit({jobs.back().get(), &pools[i % 3 == 0], nullptr}));
      if (i == 1000) CHECK(queue->team().submit(&foreign));
      // Now and then the queue runs dry.
      if (i % 97 == 0) {
        while (record.ended.load() <= i) os::relax();
      }
    }
    while (record.ended.load() < 2000) os::relax();
    while (!foreign.ended) os::relax();
    queue->stop();
    CHECK(!record.overlapped);
    CHECK_EQ(record.order.size(), size_t{2000});
    bool rises = true;
    for (size_t i = 0; i < record.order.size(); i++) rises = rises && record.order[i] == static_cast<int>(i);
    CHECK(rises);
    for (const auto& job : jobs) CHECK_EQ(job->ends, 1);
  }
}

TEST(effectsEndOnceWhereTheQueueIsStopped) {
  for (int round = 0; round < 50; round++) {
    auto queue = EffectQueue::create(2);
    Record record;
    Pool pool;
    std::vector<std::unique_ptr<Marked>> jobs;
    for (int i = 0; i < 40; i++) {
      jobs.push_back(std::make_unique<Marked>(record, *queue, i));
      CHECK(queue->submit({jobs.back().get(), &pool, nullptr}));
    }
    queue->stop();
    CHECK(!queue->submit({jobs[0].get(), &pool, nullptr}));
    queue->stop();
    for (const auto& job : jobs) CHECK_EQ(job->ends, 1);
  }
}
