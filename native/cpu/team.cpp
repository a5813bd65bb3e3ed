#include "team.h"

#include <new>

// What a test build does where it matters that a thread may be preempted.
#ifndef MILLRACE_TEAM_WINDOW
#define MILLRACE_TEAM_WINDOW()
#endif

namespace millrace {

namespace {

// Numbers of phases wrap.
bool isLater(uint32_t phase, uint32_t than) { return static_cast<int32_t>(phase - than) > 0; }

}  // namespace

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

// The phase is numbered from the ticket, which only the one who publishes may raise; phase_ may be behind.
void Team::publish(int chunks, bool wake) {
  auto phase = static_cast<uint32_t>(ticket_.load(std::memory_order_relaxed) >> 32) + 1;
  chunks_ = chunks;
  completed_.store(0, std::memory_order_relaxed);
  ticket_.store(static_cast<uint64_t>(phase) << 32 | static_cast<uint32_t>(chunks + kBias), std::memory_order_release);
  // From here on the phase, and any later one, may be done by others.
  MILLRACE_TEAM_WINDOW();
  raise(phase);
  if (wake && sleepers_.load(std::memory_order_seq_cst) != 0 && sleepers_.exchange(0, std::memory_order_seq_cst) != 0) {
    wakes_.fetch_add(1, std::memory_order_seq_cst);
    os::wakeAll(wakes_);
  }
}

void Team::raise(uint32_t phase) {
  uint32_t seen = phase_.load(std::memory_order_seq_cst);
  while (isLater(phase, seen) && !phase_.compare_exchange_weak(seen, phase, std::memory_order_seq_cst)) {
  }
}

// Waits for a later phase than this one; false where the team is stopped.
bool Team::waitBeyond(uint32_t phase) {
  // A thread that comes late finds the last phase open; no later one will come.
  if (stopping_.load(std::memory_order_acquire)) return false;
  for (int i = 0; i < kSpins; i++) {
    if (isLater(phase_.load(std::memory_order_acquire), phase)) return !stopping_.load(std::memory_order_acquire);
    if (!coresLeft_ && betweenJobs_.load(std::memory_order_relaxed)) break;
    os::relax();
  }
  while (true) {
    // Announced before looking: who publishes a phase afterwards wakes us. Whoever takes the announcement down counts a
    // wake-up before it wakes, so that it is not slept through by one who is only about to fall asleep.
    uint32_t wakes = wakes_.load(std::memory_order_seq_cst);
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    if (isLater(phase_.load(std::memory_order_seq_cst), phase)) return !stopping_.load(std::memory_order_acquire);
    MILLRACE_TEAM_WINDOW();
    os::wait(wakes_, wakes);
  }
}

}  // namespace millrace
