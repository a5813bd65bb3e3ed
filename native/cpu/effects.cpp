#include "effects.h"

#include <new>

#include "sabotage.h"
#include "step.h"

namespace millrace {

std::shared_ptr<EffectQueue> EffectQueue::create(int threads) {
  std::shared_ptr<EffectQueue> queue(new (std::nothrow) EffectQueue());
  if (queue) queue->team_ = Team::create(threads);
  return queue && queue->team_ ? queue : nullptr;
}

bool EffectQueue::submit(const Effect& effect) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (stopping()) return false;
  effects_.push_back(effect);
  if (!running_ && hasReady()) begin();
  return true;
}

void EffectQueue::begin() {
  running_ = true;
  if (idleSince_ != 0) idle_ += os::nanoseconds() - idleSince_;
  // Only stop() ends the team, and then drains the queue.
  if (!team_->submit(this)) running_ = false;
}

uint64_t EffectQueue::idleNanoseconds() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return idle_ + (!running_ && idleSince_ != 0 ? os::nanoseconds() - idleSince_ : 0);
}

// May the effect begin, or go on? Of one pool: an effect waits for all before it to have begun, and a step for the
// steps before it that wait for masks where they are its program's or it names one of their samples.
bool EffectQueue::isReady(size_t index) const {
  const Effect& effect = effects_[index];
  if (effect.step && effect.step->isWaiting()) return effect.step->canGoOn();
  for (size_t i = 0; i < index; i++) {
    const Effect& before = effects_[i];
    if (sabotaged(Fault::Order)) continue;
    if (before.pool != effect.pool) continue;
    if (!before.step || !before.step->isWaiting()) return false;
    if (effect.step && effect.step->mustFollow(*before.step)) return false;
  }
  return true;
}

bool EffectQueue::hasReady() const {
  for (size_t i = 0; i < effects_.size(); i++) {
    if (isReady(i)) return true;
  }
  return false;
}

bool EffectQueue::take() {
  std::lock_guard<std::mutex> lock(mutex_);
  for (size_t n = 0; n < effects_.size(); n++) {
    size_t i = sabotaged(Fault::Order) ? effects_.size() - 1 - n : n;
    if (!isReady(i)) continue;
    current_ = effects_[i];
    effects_.erase(effects_.begin() + static_cast<std::ptrdiff_t>(i));
    return true;
  }
  return false;
}

int EffectQueue::next() {
  while (true) {
    if (!current_.job && (inARow_ == kMostInARow || !take())) return 0;
    if (int chunks = current_.job->next(); chunks > 0) return chunks;
    Effect finished = current_;
    current_ = {};
    inARow_++;
    if (finished.step && finished.step->isWaiting()) {
      std::lock_guard<std::mutex> lock(mutex_);
      effects_.push_front(finished);
    } else {
      finished.job->done();
    }
  }
}

void EffectQueue::done() {
  inARow_ = 0;
  std::lock_guard<std::mutex> lock(mutex_);
  running_ = false;
  idleSince_ = os::nanoseconds();
  if (hasReady()) begin();
}

void EffectQueue::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_.store(true, std::memory_order_relaxed);
  }
  team_->stop();
  // The threads are gone: what still waits is cancelled here.
  while (!effects_.empty()) {
    current_ = effects_.front();
    effects_.pop_front();
    while (current_.job->next() > 0) {
    }
    current_.job->done();
  }
}

}  // namespace millrace
