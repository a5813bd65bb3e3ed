// Attention kernels alone, one thread: prefill as a share of the probed multiply-add peak, decode as a share of the
// probed memory bandwidth and of that peak. Best of several short runs, so that neighbours disturb little.
//
//   g++ -std=c++20 -O3 -ffp-contract=off -march=native -DMILLRACE_ISA=native -Inative/cpu
//     bench/kernels/attention.cpp native/cpu/isa/attention.cpp -o /tmp/attention && /tmp/attention
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <vector>

#include <sys/mman.h>

#include "isa/attention.h"
#include "isa/vec.h"

using namespace millrace;
using namespace millrace::MILLRACE_ISA;

namespace {

// CPU time of this thread: a busy machine doesn't count.
double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Seconds of the fastest of `times` runs.
template <typename F>
double best(int times, F f) {
  double least = 1e9;
  for (int i = 0; i < times; i++) {
    const double begin = now();
    f();
    least = std::min(least, now() - begin);
  }
  return least;
}

volatile float sink;

// Multiply-adds a second, in registers.
double probePeak() {
  using namespace lanes;
  constexpr int kChains = 6;
  const int rounds = 400000;
  const double seconds = best(20, [&] {
    float start[kChains * kLanes];  // all different, or the compiler would see one chain in many
    for (int i = 0; i < kChains * kLanes; i++) start[i] = sink + static_cast<float>(i);
    F32 sums[kChains];
    for (int i = 0; i < kChains; i++) sums[i] = load(start + i * kLanes);
    F32 a = splat(0.999f), b = splat(0.001f);
    for (int i = 0; i < rounds; i++) {
#pragma GCC unroll 6
      for (int j = 0; j < kChains; j++) sums[j] = mulAdd(sums[j], a, b);
    }
    for (const F32& s : sums) sink = sumOf(s);
  });
  return static_cast<double>(rounds) * kChains * kLanes / seconds;
}

// Memory in huge pages, as the engine's pools are.
struct Pages {
  size_t size = 0;
  uint8_t* data = nullptr;
  explicit Pages(size_t bytes) : size(bytes) {
    const size_t huge = size_t{2} << 20;
    data = static_cast<uint8_t*>(std::aligned_alloc(huge, (bytes + huge - 1) / huge * huge));
    madvise(data, bytes, MADV_HUGEPAGE);
    std::fill(data, data + bytes, uint8_t{0});
  }
  Pages(const Pages&) = delete;
  ~Pages() { std::free(data); }
};

// Bytes read a second, far beyond the caches.
double probeBandwidth() {
  using namespace lanes;
  const size_t count = 64 << 20;
  const Pages pages(count * sizeof(float));
  const float* memory = reinterpret_cast<const float*>(pages.data);
  const double seconds = best(6, [&] {
    F32 sums[4] = {splat(0), splat(0), splat(0), splat(0)};
    for (size_t i = 0; i < count; i += 4 * kLanes) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) sums[j] = sums[j] + load(memory + i + j * kLanes);
    }
    sink = sumOf(sums[0] + sums[1] + sums[2] + sums[3]);
  });
  return count * sizeof(float) / seconds;
}

struct Shape {
  const char* name;
  int kvHeads, group, dim;
};

struct Bench {
  Shape s;
  KvType type;
  int layers, context;
  size_t layerBytes, blockBytes;
  Pages pool;
  std::vector<uint8_t> scratch;
  std::vector<int32_t> table, slots, seen;
  std::vector<float> q, out;

  Bench(Shape shape, KvType t, int layers_, int context_, int rows)
      : s(shape),
        type(t),
        layers(layers_),
        context(context_),
        layerBytes(kvStateBytes(t, shape.kvHeads, shape.dim, shape.dim, false)),
        blockBytes(layerBytes * layers),
        pool(blockBytes * ((context_ + 15) / 16)) {
    const int blocks = (context + 15) / 16;
    for (int i = 0; i < blocks; i++) table.push_back(i);
    for (int p = 0; p < context; p++) {
      slots.push_back(p);
      seen.push_back(p + 1);
    }
    std::shuffle(table.begin(), table.end(), std::mt19937(1));
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    std::vector<float> k(static_cast<size_t>(s.kvHeads) * s.dim), v(k.size());
    for (int layer = 0; layer < layers; layer++) {
      for (float& x : k) x = normal(random);
      for (float& x : v) x = normal(random);
      const KvState kv = state(layer);
      kvWrite(kv, table.data(), slots.data(), k.data(), 0, v.data(), 0, 0, context);
    }
    q.resize(static_cast<size_t>(rows) * s.kvHeads * s.group * s.dim);
    for (float& x : q) x = normal(random);
    out.resize(q.size());
    const KvState kv = state(0);
    scratch.resize(attendScratchBytes(kv, s.kvHeads * s.group, rows));
  }
  KvState state(int layer) { return {pool.data + layer * layerBytes, blockBytes, type, s.kvHeads, s.dim, s.dim}; }
  AttendArgs args(const KvState& kv, int rows) {
    const int heads = s.kvHeads * s.group;
    const size_t width = static_cast<size_t>(heads) * s.dim;
    AttendArgs a = {};
    a.kv = &kv;
    a.blockTable = table.data();
    a.q = q.data();
    a.ldq = width;
    a.heads = heads;
    a.scale = 0.125f;
    a.slots = &slots[context - rows];
    a.seen = &seen[context - rows];
    a.out = out.data();
    a.ldo = width;
    return a;
  }
};

const char* nameOf(KvType t) { return t == KvType::F16 ? "f16" : t == KvType::F32 ? "f32" : "q8"; }

}  // namespace

int main(int argc, char** argv) {
  const int rowsPerCall = argc > 1 ? std::atoi(argv[1]) : 32;
  const double peak = probePeak(), bandwidth = probeBandwidth();
  std::printf("probed: %.1f GMAC/s, %.1f GB/s (one thread)\n", peak / 1e9, bandwidth / 1e9);
  const Shape shapes[] = {{"3x3x64", 3, 3, 64}, {"8x4x64", 8, 4, 64}, {"8x4x128", 8, 4, 128}, {"32x1x128", 32, 1, 128}};
  for (const Shape& s : shapes) {
    for (const KvType type : {KvType::F16, KvType::Q8, KvType::F32}) {
      std::printf("%-9s %s  prefill 512 at", s.name, nameOf(type));
      for (const int context : {512, 2048}) {
        const int rows = 512;
        Bench b(s, type, 1, context, rows);
        const KvState kv = b.state(0);
        const AttendArgs a = b.args(kv, rows);
        const int heads = std::min(s.kvHeads, 2);
        double macs = 0;
        for (int row = 0; row < rows; row++) macs += 2.0 * s.group * heads * s.dim * (context - rows + row + 1);
        const double seconds = best(8, [&] {
          for (int head = 0; head < heads; head++) {
            for (int r = 0; r < rows; r += rowsPerCall)
              attendRows(a, head, r, std::min(rows, r + rowsPerCall), b.scratch.data());
          }
        });
        std::printf(" %d: %5.1f GMAC/s %3.0f%%", context, macs / seconds / 1e9, 100 * macs / seconds / peak);
      }
      // Decode at depth 2,048 through layers that don't fit into L3.
      const int context = 2048;
      const int layers =
          std::max<int>(2, static_cast<int>((96 << 20) / (kvStateBytes(type, s.kvHeads, s.dim, s.dim, false) * 128)));
      Bench b(s, type, layers, context, 1);
      const double bytes = static_cast<double>(b.pool.size);
      const double macs = 2.0 * s.group * s.kvHeads * s.dim * context * layers;
      const double seconds = best(5, [&] {
        for (int layer = 0; layer < layers; layer++) {
          const KvState kv = b.state(layer);
          const AttendArgs a = b.args(kv, 1);
          for (int head = 0; head < s.kvHeads; head++) attendRows(a, head, 0, 1, b.scratch.data());
        }
      });
      std::printf("  decode at 2048: %5.1f GB/s %3.0f%% of bandwidth, %3.0f%% of peak\n", bytes / seconds / 1e9,
                  100 * bytes / seconds / bandwidth, 100 * macs / seconds / peak);
      std::fflush(stdout);
    }
  }
}
