// What steps do to memory, pool reads and pool writes take effect in the order in which they were submitted, over all
// programs of a pool. This queue is that order: it hands the team one effect after another, without a pause between
// them. A step that waits for masks gives the threads back meanwhile: what may overtake it, and what has to wait with
// it, is decided here and nowhere else.
#pragma once
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>

#include "team.h"

namespace millrace {

struct Pool;
class Step;

struct Effect {
  Job* job = nullptr;
  const Pool* pool = nullptr;
  Step* step = nullptr;  // null: a pool read or write
};

class EffectQueue final : Job {
 public:
  // Null where the threads can't be started.
  static std::shared_ptr<EffectQueue> create(int threads);
  ~EffectQueue() override { stop(); }

  Team& team() { return *team_; }
  // False: the team was stopped. Else the job's done() is called once, last of all, on whichever thread.
  bool submit(const Effect& effect);
  // Changes what decides whether steps may go on (a mask arrived, a step was cancelled).
  template <typename F>
  void change(F&& action) {
    std::lock_guard<std::mutex> lock(mutex_);
    action();
    if (!running_ && hasReady()) begin();
  }
  // Cancels what is in flight, and ends the threads.
  void stop();
  // Asked between phases by whatever runs.
  bool stopping() const { return stopping_.load(std::memory_order_relaxed); }
  // Nanoseconds without an effect to run, between the first one and now.
  uint64_t idleNanoseconds() const;

 private:
  // Effects that are run before other jobs of the team (loading weights) get their turn.
  static constexpr int kMostInARow = 8;

  EffectQueue() = default;
  int next() override;
  void work(int chunk, int thread) override { current_.job->work(chunk, thread); }
  void done() override;
  bool take();
  bool hasReady() const;
  bool isReady(size_t index) const;
  void begin();

  mutable std::mutex mutex_;
  std::deque<Effect> effects_;  // those that wait, in order of submission
  bool running_ = false;        // the team has this queue as a job
  std::atomic<bool> stopping_{false};
  uint64_t idle_ = 0, idleSince_ = 0;
  // Of the thread between two phases.
  Effect current_;
  int inARow_ = 0;
  std::unique_ptr<Team> team_;
};

}  // namespace millrace
