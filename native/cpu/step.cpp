#include "step.h"

#include <algorithm>

#include "sabotage.h"

namespace millrace {

namespace {

// Up to here row ops are done by one thread: about a microsecond of work, what a phase costs.
constexpr int64_t kSerialCost = 4096;
constexpr int kRowChunk = 8;
// Of a block that is copied, so much at a time.
constexpr size_t kCopyBytes = size_t{128} << 10;

void prefetch(const Stage& stage) {
  auto* from = reinterpret_cast<const char*>(&stage);
  for (size_t i = 0; i < sizeof stage; i += 64) __builtin_prefetch(from + i);
}

}  // namespace

// --- on the JavaScript thread ---------------------------------------------------------------------------------------

bool Step::deliver(int32_t sample, bool drop, const uint32_t* words, size_t count, std::string& error) {
  size_t needed = (static_cast<size_t>(program_.spec.vocab) + 31) / 32;
  int32_t mask = sample >= 0 && sample < static_cast<int32_t>(samples_.size()) ? samples_[sample].mask : -1;
  if (mask < 0) {
    error = "sample " + std::to_string(sample) + " was not declared as masked";
  } else if (maskStates_[mask].load(std::memory_order_relaxed) != Missing) {
    error = "sample " + std::to_string(sample) + " has its mask already";
  } else if (!drop && count < needed) {
    error = "a mask has " + std::to_string(needed) + " words, not " + std::to_string(count);
  } else {
    if (!drop) std::copy(words, words + needed, maskWords_.data() + needed * static_cast<size_t>(mask));
    if (sabotaged(Fault::Masks)) maskWords_[needed * static_cast<size_t>(mask)] = UINT32_MAX;
    maskStates_[mask].store(drop ? Dropped : Given, std::memory_order_release);
    return true;
  }
  return false;
}

bool Step::cancel() {
  cancelled_.store(true, std::memory_order_relaxed);
  State submitted = State::Submitted;
  return state_.compare_exchange_strong(submitted, State::Cancelled);
}

void Step::forget() {
  auto close = [&](int32_t slot) { program_.openSlots[slot] = 0; };
  for (int32_t slot : closes_) close(slot);
  for (const auto& [slot, opening] : opens_) close(slot);
  for (size_t i = 0; i < commits_.size(); i += 2) close(commits_[i]);
  for (const Sample& sample : samples_) close(sample.slot);
}

void Step::release() {
  ids_->inFlight = false;
  for (size_t s = 0; hasAdapters_ && s < sequences_.size(); s++) adapters_[s].reset();
  hasAdapters_ = false;
  ids_ = nullptr;
  references_.clear();
  opens_.clear();
  state_.store(State::Free, std::memory_order_relaxed);
}

// --- under the queue's lock -----------------------------------------------------------------------------------------

bool Step::mustFollow(const Step& before) const {
  if (&before.program_ == &program_) return true;
  return std::any_of(references_.begin(), references_.end(),
                     [&](const auto& reference) { return reference.first == before.ids_; });
}

// --- on the team's threads ------------------------------------------------------------------------------------------

// Of the masks that the pass needs, is none missing?
bool Step::masksAreThere() const {
  const auto& wanted = sections_[section_].wanted;
  for (size_t i = wantedMasked_; i < wantedEnd_; i++) {
    int32_t mask = samples_[wanted[i].index].mask;
    if (maskStates_[mask].load(std::memory_order_acquire) == Missing) return false;
  }
  return true;
}

int32_t Step::resolve(int32_t id) const {
  if (id >= 0) return id;
  const auto& [samples, index] = references_[static_cast<size_t>(-1 - id)];
  // Where there is no sample, the caller drops the row's results: any token will do.
  int32_t found = samples->ids[sabotaged(Fault::References) ? 0 : static_cast<size_t>(index)];
  return found >= 0 && found < program_.spec.tokenIds ? found : 0;
}

void Step::fail(State why) {
  auto close = [&](int32_t slot) { program_.slots[slot].close(); };
  for (int32_t slot : closes_) close(slot);
  for (const auto& [slot, opening] : opens_) close(slot);
  for (size_t i = 0; i < commits_.size(); i += 2) close(commits_[i]);
  for (const Sample& sample : samples_) close(sample.slot);
  program_.failedEra = std::max(program_.failedEra, era_);
  ids_->failed = true;
  state_.store(why, std::memory_order_relaxed);
}

// What happens before the copies and the rows.
void Step::begin() {
  for (int32_t& token : tokens_) token = resolve(token);
  for (int32_t slot : closes_) program_.slots[slot].close();
  for (auto& [slot, opening] : opens_) program_.slots[slot] = std::move(opening);
  if (sabotaged(Fault::Commits) && !commits_.empty()) commits_.pop(2);
  if (sabotaged(Fault::Moves) && !moves_.empty()) moves_.pop(5);
  for (size_t i = 0; i < commits_.size(); i += 2) program_.slots[commits_[i]].add(resolve(commits_[i + 1]));
  const Pool& pool = *program_.pool;
  for (size_t i = 0; i < moves_.size(); i += 5) {
    const int32_t* move = moves_.data() + i;
    pool.moveSlot(*program_.kernels, move[0], move[1], move[2], move[3], move[4]);
  }
  planLora();
  if (program_.timing) lastTime_ = os::nanoseconds();
  program_.steps++;
}

// Copies blocks here where they are small; else the number of chunks, each a part of a block.
int Step::openCopies() {
  const Pool& pool = *program_.pool;
  size_t most = 0;
  for (size_t i = 0; i < copies_.size(); i += 3) most = std::max(most, pool.groups[copies_[i]]->blockBytes);
  copyParts_ = static_cast<int>((most + kCopyBytes - 1) / kCopyBytes);
  int chunks = static_cast<int>(copies_.size() / 3) * copyParts_;
  if (chunks > 1) return chunks;
  for (int i = 0; i < chunks; i++) copyPart(i);
  return 0;
}

void Step::copyPart(int chunk) {
  const int32_t* copy = copies_.data() + 3 * (chunk / copyParts_);
  program_.pool->copyBlock(copy[0], copy[1], copy[2], chunk % copyParts_, copyParts_);
}

// Goes to the next section that has rows; false where there is none.
bool Step::openSection() {
  const auto& sections = program_.spec.sections;
  while (true) {
    timed_ += stages().size();
    if (++section_ == static_cast<int>(sections.size())) return false;
    if (sections_[section_].rows.empty()) continue;
    startPass(0);
    return true;
  }
}

void Step::startPass(int32_t begin) {
  const auto& [rows, wanted] = sections_[section_];
  passBegin_ = begin;
  rows_ = std::min(program_.spec.sections[section_].rows, static_cast<int32_t>(rows.size()) - begin);
  stage_ = 0;
  wantedBegin_ = begin == 0 ? 0 : wantedEnd_;
  wantedMasked_ = wantedBegin_;
  auto inPass = [&](size_t i) { return i < wanted.size() && wanted[i].outputRow < begin + rows_; };
  auto hasMask = [&](size_t i) { return wanted[i].want == Want::Sample && samples_[wanted[i].index].mask >= 0; };
  while (inPass(wantedMasked_) && !hasMask(wantedMasked_)) wantedMasked_++;
  wantedEnd_ = wantedMasked_;
  while (inPass(wantedEnd_)) wantedEnd_++;
  planLora();
}

// Opens phases until one has work for several threads; what a single thread should do, it does here.
int Step::next() {
  if (isCancelled()) {
    fail(State::Cancelled);
    return 0;
  }
  while (true) {
    switch (phase_) {
      case Phase::Begin: {
        State submitted = State::Submitted;
        // After a failure of the program, or where a step whose sample it names has failed.
        bool orphaned = std::any_of(references_.begin(), references_.end(),
                                    [](const auto& reference) { return reference.first->failed; });
        if (era_ <= program_.failedEra || orphaned) {
          fail(State::Unrun);
          return 0;
        }
        if (!state_.compare_exchange_strong(submitted, State::Running)) {
          fail(State::Cancelled);
          return 0;
        }
        begin();
        phase_ = Phase::Copies;
        break;
      }
      case Phase::Copies:
        phase_ = Phase::Wide;
        if (int chunks = openCopies(); chunks > 0) return chunks;
        break;
      case Phase::Wide: {
        if (tokens_.empty()) {
          state_.store(State::Done, std::memory_order_relaxed);
          return 0;
        }
        if (stage_ == stages().size()) {
          // The end of the tokens, or of a pass over output rows.
          if (section_ >= 0) {
            phase_ = Phase::Outputs;
          } else if (!openSection()) {
            state_.store(State::Done, std::memory_order_relaxed);
            return 0;
          }
          break;
        }
        phase_ = Phase::Rows;
        const Stage& stage = stages()[stage_];
        if (stage.hasWide()) {
          // The weights that stream through drive all else out of the caches: ask for the next stage in time.
          if (stage_ + 1 < stages().size()) prefetch(stages()[stage_ + 1]);
          if (int items = openWide(stage.wide); items > 0) return items;
        }
        break;
      }
      case Phase::Rows:
        phase_ = Phase::End;
        if (int chunks = openRows(stages()[stage_]); chunks > 0) return chunks;
        break;
      case Phase::End: {
        const Stage& stage = stages()[stage_];
        if (stage.hasSerial) groupExperts(stage.serial);
        if (program_.timing) lap(program_.stageTimes[timed_ + stage_]);
        stage_++;
        phase_ = Phase::Wide;
        break;
      }
      case Phase::Outputs:
        phase_ = Phase::Masks;
        if (wantedMasked_ > wantedBegin_) return static_cast<int>(wantedMasked_ - wantedBegin_);
        break;
      case Phase::Masks:
        if (wantedEnd_ > wantedMasked_) {
          if (!masksAreThere()) {
            // The threads go to others meanwhile; the logits stay where they are, for no step of this program begins.
            state_.store(State::Waiting, std::memory_order_relaxed);
            return 0;
          }
          state_.store(State::Running, std::memory_order_relaxed);
          phase_ = Phase::PassEnd;
          return static_cast<int>(wantedEnd_ - wantedMasked_);
        }
        phase_ = Phase::PassEnd;
        break;
      case Phase::PassEnd:
        if (program_.timing) lap(program_.outputTime);
        phase_ = Phase::Wide;
        if (passBegin_ + rows_ < static_cast<int32_t>(sections_[section_].rows.size())) {
          startPass(passBegin_ + rows_);
        } else if (!openSection()) {
          state_.store(State::Done, std::memory_order_relaxed);
          return 0;
        }
        break;
    }
  }
}

void Step::work(int chunk, int thread) {
  // The part that was opened is the one before `phase_`.
  switch (phase_) {
    case Phase::Wide:
      copyPart(chunk);
      return;
    case Phase::Masks:
      output(sections_[section_].wanted[wantedBegin_ + static_cast<size_t>(chunk)], program_.scratch(thread));
      return;
    case Phase::PassEnd:
      output(sections_[section_].wanted[wantedMasked_ + static_cast<size_t>(chunk)], program_.scratch(thread));
      return;
    case Phase::End: {
      const Stage& stage = stages()[stage_];
      runRows(stage, chunk * rowChunk_, std::min(rows_ * stage.perRow, (chunk + 1) * rowChunk_));
      return;
    }
    default:
      wide(stages()[stage_].wide, chunk, thread);
  }
}

// Runs the row ops here where they are few; else the number of chunks.
int Step::openRows(const Stage& stage) {
  if (stage.rows.empty()) return 0;
  int rows = rows_ * stage.perRow;
  int threads = program_.threads();
  if (rows > 1 && threads > 1 && stage.rowCost * rows > kSerialCost) {
    rowChunk_ = std::clamp(rows / (4 * threads), 1, kRowChunk);
    return (rows + rowChunk_ - 1) / rowChunk_;
  }
  // In pieces, so that what one op wrote is in the cache when the next reads it.
  for (int begin = 0; begin < rows; begin += kRowChunk) runRows(stage, begin, std::min(rows, begin + kRowChunk));
  return 0;
}

void Step::lap(uint64_t& sum) {
  uint64_t now = os::nanoseconds();
  sum += now - lastTime_;
  lastTime_ = now;
}

}  // namespace millrace
