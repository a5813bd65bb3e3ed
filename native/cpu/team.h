// A team of threads that run jobs, one after another, each job on all threads at once (SPMD): fork-join without a
// fork. Between the parts of a job stands a barrier: threads spin for some tens of microseconds and then sleep, so
// that a team on a loaded machine gives its core to whoever holds up the others. An idle team sleeps.
#pragma once
#include <atomic>
#include <memory>

#include "os.h"

namespace millrace {

struct Job {
  virtual ~Job() = default;
  // On every thread of the team.
  virtual void run(int thread) = 0;
  // Once, on the thread that ends last; the job may be deleted there.
  virtual void done() = 0;

  std::atomic<int> running{0};
};

class Team {
 public:
  static constexpr int kMaxThreads = 256;

  // Null where the threads can't be started.
  static std::unique_ptr<Team> create(int threads);
  ~Team() { stop(); }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const { return threads_; }
  // Jobs are submitted from one thread at a time, and are run in order. False: too many wait already.
  bool submit(Job* job);
  // Ends the jobs that wait, then the threads.
  void stop();

  // Inside a job: all threads meet; the one that comes last runs `serial` before the others go on.
  template <typename Serial>
  void barrier(Serial&& serial) {
    uint32_t phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
      serial();
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_seq_cst);
      if (sleepers_.load(std::memory_order_seq_cst) != 0) os::wakeAll(phase_);
      return;
    }
    waitWhile(phase_, phase, sleepers_, kBarrierSpins);
  }
  void barrier() {
    barrier([] {});
  }

 private:
  static constexpr uint32_t kQueue = 64;
  // A relax() is 10 to 40 ns: at most some 50 µs, then sleep. Waking takes as long as that on a virtual machine.
  static constexpr int kBarrierSpins = 2000;
  static constexpr int kIdleSpins = 500;

  Team() = default;
  void work(int thread);
  static void waitWhile(std::atomic<uint32_t>& word, uint32_t value, std::atomic<uint32_t>& sleepers, int spins);

  struct Member {
    Team* team;
    int index;
    os::Thread thread;
  };

  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
  alignas(64) std::atomic<uint32_t> sleepers_{0};
  alignas(64) std::atomic<uint32_t> submitted_{0};
  std::atomic<uint32_t> idlers_{0};
  std::atomic<uint32_t> finished_{0};
  std::atomic<Job*> queue_[kQueue] = {};
  int threads_ = 0;
  std::unique_ptr<Member[]> members_;
};

// Hands out the numbers 0 … n − 1, each once, to the threads of a team.
struct alignas(64) Counter {
  std::atomic<int> next{0};
  int take() { return next.fetch_add(1, std::memory_order_relaxed); }
  void reset() { next.store(0, std::memory_order_relaxed); }
};

}  // namespace millrace
