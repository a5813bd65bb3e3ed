// A team of threads that compute jobs, one after another. A job is a sequence of phases; a phase is a number of chunks,
// which the threads take one by one. Whoever completes a phase's last chunk does what stands between two phases alone,
// and opens the next one. So a phase waits for its chunks, never for a thread: on a loaded machine a thread that got no
// core holds nobody up (unless it lost it within a chunk), and a sleeping one joins when it is awake.
//
// A thread without work spins for some tens of microseconds and then sleeps. Between two jobs it spins only where cores
// are left over: whoever submits the next one needs a core, too.
#pragma once
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>

#include "os.h"

namespace millrace {

struct Job {
  virtual ~Job() = default;
  // Between two phases, on one thread: the chunks of the next phase (at least 1), or 0 where the job is done.
  virtual int next() = 0;
  // Chunk 0 … n − 1 of the open phase, on the given thread of the team.
  virtual void work(int chunk, int thread) = 0;
  // Last of all; the job may be deleted there.
  virtual void done() = 0;
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
  // Jobs are run in the order in which they come. False: the team was stopped.
  bool submit(Job* job);
  // Ends the jobs that wait, then the threads.
  void stop();

 private:
  // The ticket: the phase's number above, chunks left + kBias below. Each thread takes one too many at a phase's end,
  // and once more where it ended a job there.
  static constexpr int kBias = 4 * kMaxThreads;
  // A relax() is 10 to 40 ns: at most some 50 µs, then sleep. Waking takes as long as that on a virtual machine.
  static constexpr int kSpins = 2000;

  struct Member {
    Team* team;
    int index;
    os::Thread thread;
  };

  Team() = default;
  void work(int thread);
  void advance();
  void publish(int chunks, bool wake);
  void raise(uint32_t phase);
  bool waitBeyond(uint32_t phase);

  alignas(64) std::atomic<uint64_t> ticket_{kBias};
  alignas(64) std::atomic<int> completed_{0};
  // The phase as waiting threads look at it: it follows the ticket's and never falls. A phase may begin and end, and
  // others after it, before the thread that opened it comes to write it here.
  alignas(64) std::atomic<uint32_t> phase_{0};
  // Threads that said so before they fell asleep, since somebody last woke them; and how often they were woken.
  alignas(64) std::atomic<uint32_t> sleepers_{0};
  std::atomic<uint32_t> wakes_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> betweenJobs_{true};
  // Of the open phase; written before the ticket, read after it was taken.
  Job* job_ = nullptr;
  int chunks_ = 0;
  bool opening_ = false;  // the phase that only starts a job

  std::mutex mutex_;
  std::deque<Job*> waiting_;  // null: stop
  bool idle_ = true, stopped_ = false;

  int threads_ = 0;
  bool coresLeft_ = false;
  std::unique_ptr<Member[]> members_;
};

}  // namespace millrace
