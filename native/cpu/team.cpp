#include "team.h"

#include <new>

namespace millrace {

std::unique_ptr<Team> Team::create(int threads) {
  std::unique_ptr<Team> team(new (std::nothrow) Team());
  if (!team) return nullptr;
  team->members_.reset(new (std::nothrow) Member[static_cast<size_t>(threads)]);
  if (!team->members_) return nullptr;
  for (int i = 0; i < threads; i++) {
    Member& member = team->members_[i];
    member.team = team.get();
    member.index = i;
    team->threads_ = threads;
    auto body = [](void* self) {
      auto* me = static_cast<Member*>(self);
      me->team->work(me->index);
    };
    if (!member.thread.start(body, &member)) {
      team->threads_ = i;
      return nullptr;
    }
  }
  return team;
}

bool Team::submit(Job* job) {
  uint32_t sequence = submitted_.load(std::memory_order_relaxed);
  // A slot is free again when its job has been finished by all.
  if (sequence - finished_.load(std::memory_order_acquire) >= kQueue) return false;
  if (job) job->running.store(threads_, std::memory_order_relaxed);
  queue_[sequence % kQueue].store(job, std::memory_order_relaxed);
  submitted_.store(sequence + 1, std::memory_order_seq_cst);
  if (idlers_.load(std::memory_order_seq_cst) != 0) os::wakeAll(submitted_);
  return true;
}

void Team::stop() {
  if (!members_) return;
  // A null job ends the threads. The queue empties by itself.
  while (!submit(nullptr)) os::relax();
  for (int i = 0; i < threads_; i++) members_[i].thread.join();
  members_.reset();
}

void Team::work(int thread) {
  for (uint32_t sequence = 0;; sequence++) {
    while (submitted_.load(std::memory_order_acquire) == sequence) {
      waitWhile(submitted_, sequence, idlers_, kIdleSpins);
    }
    Job* job = queue_[sequence % kQueue].load(std::memory_order_relaxed);
    if (!job) return;
    job->run(thread);
    if (job->running.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      finished_.store(sequence + 1, std::memory_order_release);
      job->done();
    }
  }
}

void Team::waitWhile(std::atomic<uint32_t>& word, uint32_t value, std::atomic<uint32_t>& sleepers, int spins) {
  for (int i = 0; i < spins; i++) {
    if (word.load(std::memory_order_acquire) != value) return;
    os::relax();
  }
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  while (word.load(std::memory_order_seq_cst) == value) os::wait(word, value);
  sleepers.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace millrace
