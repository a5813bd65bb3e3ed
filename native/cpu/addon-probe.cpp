// (team, bytes, out) → a promise: what the team's threads together can do, probed as the kernels are measured. out[0]:
// bytes read per second, out[1]: multiply-accumulates per second with codes of 4 bits, out[2]: with codes of 8 bits.
// Each is the best of some rounds, so that a busy machine doesn't decide it.
#include <algorithm>
#include <atomic>
#include <new>

#include "addon.h"
#include "probes.h"

namespace millrace {

namespace {

constexpr int kRounds = 5;
constexpr int kProductRounds = 2000000;

struct ProbeJob : AsyncJob {
  const Probes* probes = nullptr;
  os::Pages memory;
  float* out = nullptr;
  int threads = 1;

  // First the memory is written: pages that nobody wrote are one page of zeros.
  enum Stage { Write, Read, Products4, Products8, End };
  Stage stage = Write;
  int round = -1;
  uint64_t begun = 0;
  std::atomic<double> macs{0};
  std::atomic<float> sink{0};

  int next() override {
    uint64_t now = os::nanoseconds();
    if (round >= 0) finishRound(static_cast<double>(now - begun) * 1e-9);
    round++;
    if (round == (stage == Write ? 1 : kRounds)) {
      stage = static_cast<Stage>(stage + 1);
      round = 0;
    }
    if (stage == End) return 0;
    macs.store(0, std::memory_order_relaxed);
    begun = os::nanoseconds();
    return threads;
  }

  void work(int chunk, int) override {
    size_t part = memory.bytes() / static_cast<size_t>(threads) / 4096 * 4096;
    uint8_t* mine = memory.data() + part * static_cast<size_t>(chunk);
    if (stage == Write) {
      std::fill_n(mine, part, uint8_t{1});
    } else if (stage == Read) {
      sink.store(probes->read(mine, part), std::memory_order_relaxed);
    } else {
      // All threads do as much.
      macs.store(probes->products(stage == Products4 ? 4 : 8, kProductRounds), std::memory_order_relaxed);
    }
  }

 private:
  void finishRound(double seconds) {
    if (stage == Write) return;
    double done = stage == Read ? static_cast<double>(memory.bytes()) : macs.load(std::memory_order_relaxed) * threads;
    float& best = out[stage - Read];
    best = std::max(best, static_cast<float>(done / seconds));
  }
};

}  // namespace

napi_value probe(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  size_t bytes = call.size(call.at(1));
  auto out = call.floats(call.at(2));
  if (!call.failed && (out.size != 3 || bytes < size_t{1} << 20)) call.fail(kNativeError, "three floats, and memory");
  if (call.failed) return nullptr;
  std::unique_ptr<ProbeJob> job(new (std::nothrow) ProbeJob());
  if (!job || !job->memory.allocate(bytes)) {
    call.fail(kMemoryError, "no memory to measure its bandwidth with");
    return nullptr;
  }
  job->probes = &probesOf(*computer->kernels);
  job->threads = computer->team()->threads();
  job->out = out.data;
  std::fill_n(out.data, 3, 0.0f);
  return start(call, std::move(job), computer->team());
}

// () → names of the packed formats, in the order in which counters have them
napi_value formats(napi_env env, napi_callback_info info) {
  Call call(env, info);
  napi_value names = call.makeArray(std::size(kFormats));
  uint32_t i = 0;
  for (const FormatInfo& format : kFormats) call.set(names, i++, call.make(format.name));
  return names;
}

}  // namespace millrace
