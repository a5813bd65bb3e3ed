#include "team.h"

#include <new>

namespace millrace {

std::unique_ptr<Team> Team::create(int threads) {
  std::unique_ptr<Team> team(new (std::nothrow) Team());
  if (!team) return nullptr;
  team->members_.reset(new (std::nothrow) Member[static_cast<size_t>(threads)]);
  if (!team->members_) return nullptr;
  team->coresLeft_ = threads < os::availableCores();
  auto body = [](void* self) {
    auto* me = static_cast<Member*>(self);
    me->team->work(me->index);
  };
  for (int i = 0; i < threads; i++) {
    Member& member = team->members_[i];
    member.team = team.get();
    member.index = i;
    if (!member.thread.start(body, &member)) return nullptr;
    team->threads_ = i + 1;
  }
  return team;
}

bool Team::submit(Job* job) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (stopped_) return false;
  stopped_ = job == nullptr;
  if (!idle_) {
    waiting_.push_back(job);
    return true;
  }
  idle_ = false;
  betweenJobs_.store(false, std::memory_order_relaxed);
  job_ = job;
  opening_ = true;
  publish(1, true);
  return true;
}

void Team::stop() {
  if (!members_) return;
  submit(nullptr);
  for (int i = 0; i < threads_; i++) members_[i].thread.join();
  members_.reset();
}

void Team::work(int thread) {
  while (true) {
    auto take = [&](uint32_t& phase) {
      uint64_t ticket = ticket_.fetch_sub(1, std::memory_order_acq_rel);
      phase = static_cast<uint32_t>(ticket >> 32);
      return static_cast<int>(ticket & 0xffffffff) - kBias;
    };
    uint32_t phase;
    int left = take(phase);
    int mine = 0, chunks = 0;
    // While chunks of ours aren't counted as completed, the phase stays open; afterwards nothing of it may be read.
    for (; left > 0; left = take(phase)) {
      chunks = chunks_;
      if (!opening_) job_->work(chunks - left, thread);
      mine++;
    }
    if (mine > 0 && completed_.fetch_add(mine, std::memory_order_acq_rel) + mine == chunks) {
      advance();
      if (stopping_.load(std::memory_order_acquire)) return;
    } else if (!waitBeyond(phase)) {
      return;
    }
  }
}

// Only the thread that completed the phase is here: the job is its alone until it publishes.
void Team::advance() {
  opening_ = false;
  while (true) {
    if (!job_) {
      stopping_.store(true, std::memory_order_release);
      publish(0, true);
      return;
    }
    if (int chunks = job_->next(); chunks > 0) {
      publish(chunks, chunks > 1);
      return;
    }
    Job* finished = job_;
    bool more;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      more = !waiting_.empty();
      idle_ = !more;
      if (!more) betweenJobs_.store(true, std::memory_order_relaxed);
      if (more) {
        job_ = waiting_.front();
        waiting_.pop_front();
      }
    }
    finished->done();
    // From here on a new phase, if any, is opened by submit().
    if (!more) return;
  }
}

void Team::publish(int chunks, bool wake) {
  uint32_t phase = phase_.load(std::memory_order_relaxed) + 1;
  chunks_ = chunks;
  completed_.store(0, std::memory_order_relaxed);
  ticket_.store(static_cast<uint64_t>(phase) << 32 | static_cast<uint32_t>(chunks + kBias), std::memory_order_release);
  phase_.store(phase, std::memory_order_seq_cst);
  if (wake && sleepers_.load(std::memory_order_seq_cst) != 0) {
    sleepers_.store(0, std::memory_order_relaxed);
    os::wakeAll(phase_);
  }
}

// Waits for a later phase than this one; false where the team is stopped.
bool Team::waitBeyond(uint32_t phase) {
  // A thread that comes late finds the last phase open; no later one will come.
  if (stopping_.load(std::memory_order_acquire)) return false;
  auto later = [&](uint32_t seen) { return static_cast<int32_t>(seen - phase) > 0; };
  for (int i = 0; i < kSpins; i++) {
    if (later(phase_.load(std::memory_order_acquire))) return !stopping_.load(std::memory_order_acquire);
    if (!coresLeft_ && betweenJobs_.load(std::memory_order_relaxed)) break;
    os::relax();
  }
  while (true) {
    // Announced before looking: who publishes a phase afterwards wakes us. Too many announcements do no harm.
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    uint32_t seen = phase_.load(std::memory_order_seq_cst);
    if (later(seen)) return !stopping_.load(std::memory_order_acquire);
    os::wait(phase_, seen);
  }
}

}  // namespace millrace
