// Attention against plain double arithmetic, and bit for bit against itself: any split of the rows, tiles apart or at
// once. Whatever a row must not see (later positions, positions before the window, unused slots) is poisoned.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels.h"
#include "test.h"

using namespace millrace;

namespace {

constexpr int kTile = 128;

struct Case {
  KvType type;
  int kvHeads, group, keyDim, valueDim;
  int window;
  float softcap;
  int length;  // positions in the cache, the queries' own included
  int rows;    // queries at the end
};

// A cache of one sequence in shuffled blocks, and its queries.
struct Fixture {
  const Kernels& kernels;
  Case c;
  std::vector<float> k, v, q;
  std::vector<int32_t> table, slots, seen;  // of all positions
  size_t blockBytes;
  std::vector<uint8_t> pool, scratch;
  KvState kv;

  Fixture(const Kernels& table_, const Case& case_, unsigned seed) : kernels(table_), c(case_) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 1);
    const auto fill = [&](std::vector<float>& x, size_t n) {
      x.resize(n);
      for (float& y : x) y = normal(random);
    };
    fill(k, static_cast<size_t>(c.length) * c.kvHeads * c.keyDim);
    fill(v, static_cast<size_t>(c.length) * c.kvHeads * c.valueDim);
    fill(q, static_cast<size_t>(c.rows) * heads() * c.keyDim);
    const int blocks = (c.length + 15) / 16;
    for (int i = 0; i < blocks; i++) table.push_back(i);
    std::shuffle(table.begin(), table.end(), random);
    for (int p = 0; p < c.length; p++) {
      slots.push_back(p);
      seen.push_back(p + 1);
    }
    blockBytes = kernels.kvStateBytes(c.type, c.kvHeads, c.keyDim, c.valueDim, false) + 64;
    poison();
    kv = {pool.data(), blockBytes, c.type, c.kvHeads, c.keyDim, c.valueDim};
    scratch.assign(kernels.attendScratchBytes(kv, heads(), c.rows), 0xff);
  }

  int heads() const { return c.kvHeads * c.group; }
  int first() const { return c.length - c.rows; }

  // Every slot not a number in F16, F32, and in the scales of Q8.
  void poison() { pool.assign(blockBytes * table.size(), 0xff); }
  void write(int begin, int end) {
    kernels.kvWrite(kv, table.data(), slots.data(), k.data(), static_cast<size_t>(c.kvHeads) * c.keyDim, v.data(),
                    static_cast<size_t>(c.kvHeads) * c.valueDim, begin, end);
  }
  AttendArgs args(std::vector<float>& out) {
    const size_t width = static_cast<size_t>(heads()) * c.valueDim;
    out.assign(c.rows * width, std::numeric_limits<float>::quiet_NaN());
    AttendArgs a = {};
    a.kv = &kv;
    a.blockTable = table.data();
    a.q = q.data();
    a.ldq = static_cast<size_t>(heads()) * c.keyDim;
    a.heads = heads();
    a.scale = scale();
    a.softcap = c.softcap;
    a.window = c.window;
    a.slots = &slots[first()];
    a.seen = &seen[first()];
    a.out = out.data();
    a.ldo = width;
    return a;
  }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(c.keyDim)); }

  // The step in pieces of `chunk` rows, each written before it is read, all kv heads.
  std::vector<float> attend(int chunk) {
    std::vector<float> out;
    const AttendArgs a = args(out);
    poison();
    write(0, first());
    for (int begin = 0; begin < c.rows; begin += chunk) {
      const int end = std::min(begin + chunk, c.rows);
      write(first() + begin, first() + end);
      for (int head = 0; head < c.kvHeads; head++) kernels.attendRows(a, head, begin, end, scratch.data());
    }
    return out;
  }

  // Tile by tile, in reverse order, then merged. Blocks that are wholly behind the window are gone from the table.
  std::vector<float> attendByTiles() {
    std::vector<float> out;
    AttendArgs a = args(out);
    poison();
    write(0, first());
    for (int row = 0; row < c.rows; row++) {
      write(first() + row, first() + row + 1);
      const int position = first() + row;
      const int lowest = c.window > 0 ? std::max(0, position - c.window + 1) : 0;
      std::vector<int32_t> kept = table;
      for (int i = 0; i < lowest / 16; i++) kept[i] = -1;
      a.blockTable = kept.data();
      const int tiles = position / kTile + 1;
      const size_t stride = static_cast<size_t>(c.group) * (c.valueDim + 2) + 3;
      std::vector<float> partials(stride * (tiles + 1));  // one more than the row sees
      for (int head = 0; head < c.kvHeads; head++) {
        partials.assign(partials.size(), std::numeric_limits<float>::quiet_NaN());
        for (int tile = tiles; tile >= 0; tile--) {
          kernels.attendTile(a, head, row, row + 1, tile, partials.data() + tile * stride, 0, scratch.data());
        }
        kernels.attendMerge(a, head, row, partials.data(), stride, 0, tiles + 1);
      }
    }
    return out;
  }

  // What the cache makes of a key or a value.
  std::vector<double> stored(const float* x, int n) const {
    std::vector<double> y(x, x + n);
    float amax = 0;
    for (int i = 0; i < n; i++) amax = std::max(amax, std::fabs(x[i]));
    const float unit = amax / 127.0f;
    for (double& e : y) {
      if (c.type == KvType::Q8) e = static_cast<double>(std::nearbyintf(static_cast<float>(e) / unit)) * unit;
      if (c.type == KvType::F16) {
        const int exponent = e == 0 ? 0 : std::max(std::ilogb(e), -14);
        e = std::ldexp(std::nearbyint(std::ldexp(e, 10 - exponent)), exponent - 10);
      }
    }
    return y;
  }

  // The largest error relative to the largest value of the output.
  double errorOf(const std::vector<float>& out) const {
    double worst = 0;
    for (int head = 0; head < heads(); head++) {
      const int kvHead = head / c.group;
      std::vector<std::vector<double>> ks(c.length), vs(c.length);
      for (int p = 0; p < c.length; p++) {
        ks[p] = stored(&k[(static_cast<size_t>(p) * c.kvHeads + kvHead) * c.keyDim], c.keyDim);
        vs[p] = stored(&v[(static_cast<size_t>(p) * c.kvHeads + kvHead) * c.valueDim], c.valueDim);
      }
      for (int row = 0; row < c.rows; row++) {
        const int position = first() + row;
        const int lowest = c.window > 0 ? std::max(0, position - c.window + 1) : 0;
        std::vector<double> weight(c.length, 0);
        double top = -INFINITY, sum = 0;
        for (int p = lowest; p <= position; p++) {
          double s = 0;
          for (int d = 0; d < c.keyDim; d++) {
            s += static_cast<double>(q[(static_cast<size_t>(row) * heads() + head) * c.keyDim + d]) * ks[p][d];
          }
          s *= scale();
          if (c.softcap > 0) s = c.softcap * std::tanh(s / c.softcap);
          weight[p] = s;
          top = std::max(top, s);
        }
        for (int p = lowest; p <= position; p++) sum += weight[p] = std::exp(weight[p] - top);
        for (int col = 0; col < c.valueDim; col++) {
          double y = 0;
          for (int p = lowest; p <= position; p++) y += weight[p] / sum * vs[p][col];
          const float got = out[(static_cast<size_t>(row) * heads() + head) * c.valueDim + col];
          if (!std::isfinite(got)) return INFINITY;
          worst = std::max(worst, std::fabs(got - y));
        }
      }
    }
    return worst;
  }
};

bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

const Case kCases[] = {
    // type, kvHeads, group, keyDim, valueDim, window, softcap, length, rows
    {KvType::F16, 3, 3, 64, 64, 0, 0, 300, 300},    // SmolLM2-135M, a prompt over three tiles
    {KvType::F16, 1, 1, 32, 32, 0, 0, 1, 1},        // one position
    {KvType::F32, 2, 4, 40, 24, 0, 0, 150, 60},     // nothing a multiple of 16
    {KvType::Q8, 2, 2, 64, 64, 0, 0, 200, 97},      // Q8
    {KvType::Q8, 1, 5, 72, 33, 50, 20, 300, 170},   // Q8, window, softcap, odd sizes
    {KvType::F16, 1, 8, 256, 256, 0, 50, 140, 20},  // Gemma-2: softcap, wide heads
    {KvType::F16, 2, 2, 64, 64, 130, 0, 420, 300},  // window just over a tile
    {KvType::F32, 1, 3, 64, 64, 16, 0, 300, 200},   // window of a block
    {KvType::F16, 1, 71, 64, 64, 0, 0, 40, 9},      // multi-query: more heads than a batch holds
    {KvType::F32, 4, 1, 128, 128, 1, 0, 140, 20},   // sees itself only
    {KvType::F16, 1, 7, 128, 128, 0, 0, 520, 2},    // decode at depth
    {KvType::F16, 2, 1, 80, 96, 200, 0, 700, 1},    // one head a group, key and value differ
};

}  // namespace

TEST(attentionAgreesWithDoubleArithmetic) {
  for (const char* const* name = availableKernels(); *name != nullptr; name++) {
    const Kernels& kernels = *selectKernels(*name);
    for (const Case& c : kCases) {
      Fixture f(kernels, c, 1);
      CHECK_NEAR(f.errorOf(f.attend(c.rows)), 0, 4e-6);
    }
  }
}

TEST(attentionHasTheSameBitsForEverySplitOfRows) {
  for (const char* const* name = availableKernels(); *name != nullptr; name++) {
    const Kernels& kernels = *selectKernels(*name);
    for (const Case& c : kCases) {
      Fixture f(kernels, c, 2);
      const std::vector<float> whole = f.attend(c.rows);
      for (const int chunk : {1, 2, 3, 7, 16, 50, 128}) {
        if (chunk < c.rows) CHECK(sameBits(f.attend(chunk), whole));
      }
    }
  }
}

TEST(attentionHasTheSameBitsTileByTile) {
  for (const char* const* name = availableKernels(); *name != nullptr; name++) {
    const Kernels& kernels = *selectKernels(*name);
    for (const Case& c : kCases) {
      Fixture f(kernels, c, 3);
      CHECK(sameBits(f.attendByTiles(), f.attend(c.rows)));
    }
  }
}

// Rows of one call, of which a later one has infinite keys and values: the earlier ones don't notice.
TEST(attentionOfARowIgnoresLaterRowsOfItsCall) {
  for (const char* const* name = availableKernels(); *name != nullptr; name++) {
    const Kernels& kernels = *selectKernels(*name);
    for (const KvType type : {KvType::F16, KvType::F32, KvType::Q8}) {
      for (const int window : {0, 40}) {
        const Case c = {type, 1, 3, 64, 64, window, 0, 290, 200};
        Fixture f(kernels, c, 4);
        const std::vector<float> clean = f.attend(c.rows);
        const int bad = 200;  // a position, of the second tile
        for (int d = 0; d < 64; d++) {
          f.k[static_cast<size_t>(bad) * 64 + d] = d % 2 == 0 ? INFINITY : NAN;
          f.v[static_cast<size_t>(bad) * 64 + d] = d % 2 == 0 ? NAN : -INFINITY;
        }
        const std::vector<float> dirty = f.attend(c.rows);
        const size_t width = 3 * 64;
        const int badRow = bad - f.first();
        CHECK(std::memcmp(clean.data(), dirty.data(), badRow * width * sizeof(float)) == 0);
        CHECK(std::isnan(dirty[badRow * width]));
        if (window == 0) continue;
        // And those whose window has passed it.
        const size_t from = (badRow + window) * width;
        CHECK(std::memcmp(clean.data() + from, dirty.data() + from, (clean.size() - from) * sizeof(float)) == 0);
      }
    }
  }
}

TEST(halfConversionRoundsToNearestEven) {
  for (const char* const* name = availableKernels(); *name != nullptr; name++) {
    const Kernels& kernels = *selectKernels(*name);
    // A cache of one position and value width 16 gives back what was stored: softmax of one score is 1.
    const float inputs[16] = {0.0f,          -0.0f,     1.0f,          1.00048828125f, 1.00146484375f, 65504.0f,
                              65519.0f,      -65519.0f, 6.1035156e-5f, 6.0975552e-5f,  5.9604645e-8f,  2.9802322e-8f,
                              2.9802325e-8f, -8.95e-8f, 0.1f,          -3.14159265f};
    const float expected[16] = {0.0f,
                                0.0f,
                                1.0f,
                                1.0f,
                                1.001953125f,
                                65504.0f,
                                65504.0f,
                                -65504.0f,
                                6.1035156e-5f,
                                6.0975552e-5f,
                                5.9604645e-8f,
                                0.0f,
                                5.9604645e-8f,
                                -5.9604645e-8f * 2,
                                0.0999755859375f,
                                -3.140625f};
    const size_t bytes = kernels.kvStateBytes(KvType::F16, 1, 16, 16, false);
    std::vector<uint8_t> pool(bytes, 0xff);
    const KvState kv = {pool.data(), bytes, KvType::F16, 1, 16, 16};
    const int32_t table = 0;
    float zeros[16] = {}, out[16];
    const int32_t slot = 0, seen = 1;
    kernels.kvWrite(kv, &table, &slot, zeros, 16, inputs, 16, 0, 1);
    std::vector<uint8_t> scratch(kernels.attendScratchBytes(kv, 1, 1));
    AttendArgs args = {};
    args.kv = &kv;
    args.blockTable = &table;
    args.q = zeros;
    args.ldq = 16;
    args.heads = 1;
    args.scale = 1;
    args.slots = &slot;
    args.seen = &seen;
    args.out = out;
    args.ldo = 16;
    kernels.attendRows(args, 0, 0, 1, scratch.data());
    for (int i = 0; i < 16; i++) CHECK_EQ(out[i], expected[i]);
  }
}
