// The linear kernels alone, beside what this processor can do: read bandwidth of memory (or of the last-level cache),
// and the peak of the instructions that the kernels are made of. Every figure is the best of several interleaved
// rounds, so that a busy machine or a moved virtual processor doesn't decide it; ratios are what counts.
//
//   bench/kernels/run.sh [format …] [--threads N] [--cols K] [--rows N] [--megabytes M] [--seconds S]
//
// `of bw`: packed bytes read per second over the bandwidth probed; `of peak`: multiply-accumulates per second over the
// probed peak (u8 × s8 products for int8 formats, FMA for floats); `× one row`: time over that of one row.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <sys/mman.h>

#include "isa/linear.h"
#include "os.h"
#include "pack.h"
#include "probes.h"

using namespace millrace;
namespace isa = millrace::MILLRACE_ISA;
namespace millrace::MILLRACE_ISA {
extern const Probes probes;
}

namespace {

double wall() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
// The thread's own processor time: what other programs take of a core doesn't count.
double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// Threads that wait for work: body(thread) on all at once; the longest time that one of them took.
class Team {
 public:
  explicit Team(int size) : size_(size) {
    for (int i = 1; i < size; i++) threads_.emplace_back([this, i] { work(i); });
  }
  ~Team() {
    stop_ = true;
    round_++;
    for (std::thread& thread : threads_) thread.join();
  }
  double run(const std::function<void(int)>& body) {
    body_ = &body;
    left_ = size_ - 1;
    times_.assign(static_cast<size_t>(size_), 0);
    round_++;
    timed(0);
    while (left_.load() > 0) std::this_thread::yield();
    return *std::max_element(times_.begin(), times_.end());
  }
  int size() const { return size_; }

 private:
  void work(int index) {
    for (int seen = 0;;) {
      while (round_.load() == seen) std::this_thread::yield();
      seen = round_.load();
      if (stop_) return;
      timed(index);
      left_--;
    }
  }
  void timed(int index) {
    const double start = now();
    (*body_)(index);
    times_[static_cast<size_t>(index)] = now() - start;
  }
  int size_;
  std::vector<std::thread> threads_;
  std::vector<double> times_;
  std::atomic<int> round_{0}, left_{0};
  std::atomic<bool> stop_{false};
  const std::function<void(int)>* body_ = nullptr;
};

uint8_t* allocate(size_t bytes) {
  const size_t huge = size_t{2} << 20;
  bytes = (bytes + 2 * huge) / huge * huge;
  uint8_t* p = static_cast<uint8_t*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (p == MAP_FAILED) std::abort();
  p += (huge - reinterpret_cast<uintptr_t>(p) % huge) % huge;
  madvise(p, bytes - huge, MADV_HUGEPAGE);
  return p;
}

volatile float sink;

struct Options {
  std::vector<std::string> formats;
  int threads = 1, cols = 0, rows = 0;
  double megabytes = 256, seconds = 1.5;
};

struct Type {
  const char* name;
  int id;
};
constexpr Type kTypes[] = {{"q4_0", 2},    {"q4_1", 3},  {"q8_0", 8}, {"q4_k", 12}, {"q5_k", 13}, {"q6_k", 14},
                           {"iq4_nl", 20}, {"q2_k", 10}, {"f16", 1},  {"bf16", 30}, {"f32", 0}};

// As many copies of one matrix as fill `megabytes`, gone through one after another.
void benchmark(Team& team, const Type& type, int rows, int cols, const Options& o) {
  Matrix w{packedFormat(type.id), rows, cols, 1, packedGroupBytes(packedFormat(type.id), cols), 0, nullptr};
  w.expertBytes = w.groupBytes * static_cast<size_t>(groupsOf(w));
  const int copies = std::max(1, static_cast<int>(o.megabytes * 1e6 / static_cast<double>(w.expertBytes)));
  const size_t total = w.expertBytes * static_cast<size_t>(copies);
  uint8_t* weights = allocate(total);
  // Random codes under small scales: raw rows of one random block repeated, packed, then copied.
  std::vector<uint8_t> raw(rawRowBytes(type.id, cols) * 16);
  std::mt19937 random(1);
  for (uint8_t& byte : raw) byte = static_cast<uint8_t>(random() & 0x37);
  w.data = weights;
  double packSeconds = 0;
  for (int row = 0; row < rows; row += 16) {
    const double start = now();
    packRows(type.id, raw.data(), rawRowBytes(type.id, cols), 16, w, 0, row);
    packSeconds += now() - start;
  }
  for (int c = 1; c < copies; c++)
    std::memcpy(weights + w.expertBytes * static_cast<size_t>(c), weights, w.expertBytes);

  const int most = 512;
  const size_t n = static_cast<size_t>(most) * static_cast<size_t>(cols);
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(random() % 2001) / 1000 - 1;
  std::vector<int8_t> codes(n);
  std::vector<float> scales(n / 32);
  std::vector<int32_t> sums(n / 16);
  const Rows8 x8{codes.data(), scales.data(), sums.data()};
  double quantizeSeconds = 1e9;
  for (int i = 0; i < 3; i++) {
    const double start = now();
    isa::quantizeRows(x.data(), static_cast<size_t>(cols), cols, x8, 0, most);
    quantizeSeconds = std::min(quantizeSeconds, now() - start);
  }
  float* y = reinterpret_cast<float*>(allocate(sizeof(float) * static_cast<size_t>(most) * static_cast<size_t>(rows)));
  std::vector<uint8_t*> scratch;
  for (int i = 0; i < team.size(); i++) scratch.push_back(allocate(isa::linearScratchBytes(w, most)));

  const int groups = groupsOf(w);
  const auto multiply = [&](int m, int useCopies) {
    return team.run([&](int thread) {
      const int g0 = groups * thread / team.size(), g1 = groups * (thread + 1) / team.size();
      LinearArgs a{};
      Matrix copy = w;
      a.w = &copy;
      a.x = x.data();
      a.ldx = static_cast<size_t>(cols);
      a.x8 = x8;
      a.rows = m;
      a.y = y;
      a.ldy = static_cast<size_t>(rows);
      for (int c = 0; c < useCopies; c++) {
        copy.data = weights + w.expertBytes * static_cast<size_t>(c);
        isa::linear(a, g0, g1, scratch[static_cast<size_t>(thread)]);
      }
    });
  };
  const auto bandwidth = [&] {
    return team.run([&](int thread) {
      const size_t part = total / static_cast<size_t>(team.size()) / 64 * 64;
      sink = isa::probes.read(weights + part * static_cast<size_t>(thread), part);
    });
  };
  const bool eight = packedFormat(type.id) >= Format::General16 || packedFormat(type.id) == Format::Q8_0 ||
                     packedFormat(type.id) == Format::IQ4_NL || packedFormat(type.id) == Format::IQ4_XS;
  const bool plain = !readsInt8(packedFormat(type.id));
  double peakMacs = 0;
  const auto peak = [&] {
    std::atomic<double> macs{0};
    const double t = team.run([&](int) {
      const int rounds = 50000;
      const double done = plain ? isa::probes.fmas(rounds) : isa::probes.products(eight ? 8 : 4, rounds);
      macs = done;
    });
    peakMacs = macs * team.size();
    return t;
  };

  const int counts[] = {1, 2, 4, 8, 16, 32, 128, 512};
  std::map<int, double> best;  // seconds a pass over one copy
  double bestRead = 1e9, bestPeak = 1e9;
  const double end = wall() + o.seconds;
  for (int round = 0; round < 3 || wall() < end; round++) {
    bestRead = std::min(bestRead, bandwidth());
    bestPeak = std::min(bestPeak, peak());
    for (int m : counts) {
      if (round >= 3 && m >= 128 && round % 4 != 0) continue;
      const int use = std::max(1, std::min(copies, copies / std::max(1, m / 4)));
      const double t = multiply(m, use) / use;
      if (best.count(m) == 0 || t < best[m]) best[m] = t;
    }
  }
  const double read = static_cast<double>(total) / bestRead, macsPeak = peakMacs / bestPeak;
  std::printf(
      "%-6s %5d x %-5d  %4.0f MB  %d thread%s  read %.1f GB/s  peak %.0f GMAC/s  quantize %.1f Gelem/s  pack %.1f "
      "GB/s\n",
      type.name, rows, cols, static_cast<double>(total) / 1e6, team.size(), team.size() > 1 ? "s" : "", read / 1e9,
      macsPeak / 1e9, static_cast<double>(n) / quantizeSeconds / 1e9,
      static_cast<double>(rawRowBytes(type.id, cols)) * rows / packSeconds / 1e9);
  for (int m : counts) {
    const double bytes = static_cast<double>(w.expertBytes) / best[m];
    const double macs = static_cast<double>(rows) * cols * m / best[m];
    std::printf("   M %-4d %8.1f us  %6.1f GB/s %4.0f %% of bw   %7.1f GMAC/s %4.0f %% of peak   %6.2f x one row\n", m,
                best[m] * 1e6, bytes / 1e9, 100 * bytes / read, macs / 1e9, 100 * macs / macsPeak, best[m] / best[1]);
  }
  std::fflush(stdout);
  munmap(weights, total);
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; i++) {
    const std::string word = argv[i];
    const auto value = [&] { return i + 1 < argc ? argv[++i] : "0"; };
    if (word == "--threads") o.threads = std::atoi(value());
    else if (word == "--cols") o.cols = std::atoi(value());
    else if (word == "--rows") o.rows = std::atoi(value());
    else if (word == "--megabytes") o.megabytes = std::atof(value());
    else if (word == "--seconds") o.seconds = std::atof(value());
    else o.formats.push_back(word);
  }
  for (const std::string& name : o.formats) {
    if (std::any_of(std::begin(kTypes), std::end(kTypes), [&](const Type& type) { return name == type.name; })) continue;
    std::fprintf(stderr, "%s is neither an option nor one of the formats:", name.c_str());
    for (const Type& type : kTypes) std::fprintf(stderr, " %s", type.name);
    std::fprintf(stderr, "\n");
    return 2;
  }
#if defined(__AMX_INT8__)
  if (!os::allowTiles()) return 1;
#endif
  Team team(std::max(1, o.threads));
  for (const Type& type : kTypes) {
    if (!o.formats.empty() && std::find(o.formats.begin(), o.formats.end(), type.name) == o.formats.end()) continue;
    const int cols = o.cols > 0 ? o.cols : 2048;
    benchmark(team, type, o.rows > 0 ? (o.rows + 15) / 16 * 16 : 2048, cols, o);
  }
}
