// What rows see beyond the plain order of slots: nodes of drafted trees, spans that see to their end, and slots that
// were moved. Each is compared, bit for bit, with the same keys and values laid out one after another and run alone.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels.h"
#include "test.h"

using namespace millrace;

namespace {

constexpr int kTile = 128;

struct Shape {
  KvType type;
  int kvHeads, group, keyDim, valueDim;
  int heads() const { return kvHeads * group; }
};

// A pool of some blocks in random order, all of them not a number (in F16, F32 and Q8's scales) where nothing is
// written.
struct Cache {
  const Kernels& kernels;
  std::vector<int32_t> table;
  std::vector<uint8_t> pool;
  KvState kv;

  Cache(const Kernels& kernels, const Shape& s, int slots, std::mt19937& random) : kernels(kernels) {
    for (int i = 0; i < (slots + 15) / 16; i++) table.push_back(i);
    std::shuffle(table.begin(), table.end(), random);
    const size_t blockBytes = kernels.kvStateBytes(s.type, s.kvHeads, s.keyDim, s.valueDim, false) + 64;
    pool.assign(blockBytes * table.size(), 0xff);
    kv = {pool.data(), blockBytes, s.type, s.kvHeads, s.keyDim, s.valueDim};
  }
  Cache(const Cache&) = delete;

  void write(int slot, const float* k, const float* v) { kernels.kvWrite(kv, table.data(), &slot, k, 0, v, 0, 0, 1); }
};

// The rows of a sequence in a step: keys and values of all tokens, and for each row which of them it sees.
struct Rows {
  std::vector<int32_t> slots, seen, starts{0}, listed;
  std::vector<std::vector<int>> paths;  // the tokens that a row sees, in order of their places
  std::vector<int> own;                 // places

  int count() const { return static_cast<int>(slots.size()); }
};

struct Sequence {
  const Kernels& kernels;
  Shape s;
  int window;
  float softcap;
  std::mt19937& random;
  int tokens = 0;
  std::vector<float> k, v, q;  // q: of the rows
  std::vector<int> slotOf;     // of each token

  int newToken(int slot) {
    slotOf.push_back(slot);
    fill(k, static_cast<size_t>(s.kvHeads) * s.keyDim);
    fill(v, static_cast<size_t>(s.kvHeads) * s.valueDim);
    return tokens++;
  }
  void fill(std::vector<float>& x, size_t n) {
    std::normal_distribution<float> normal(0, 1);
    for (size_t i = 0; i < n; i++) x.push_back(normal(random));
  }
  void write(Cache& cache, int token, int slot) const {
    cache.write(slot, &k[static_cast<size_t>(token) * s.kvHeads * s.keyDim],
                &v[static_cast<size_t>(token) * s.kvHeads * s.valueDim]);
  }

  size_t width() const { return static_cast<size_t>(s.heads()) * s.valueDim; }
  AttendArgs args(const Cache& cache, const Rows& rows, std::vector<float>& out) const {
    out.assign(rows.count() * width(), std::numeric_limits<float>::quiet_NaN());
    AttendArgs a = {};
    a.kv = &cache.kv;
    a.blockTable = cache.table.data();
    a.q = q.data();
    a.ldq = static_cast<size_t>(s.heads()) * s.keyDim;
    a.heads = s.heads();
    a.scale = 1.0f / std::sqrt(static_cast<float>(s.keyDim));
    a.softcap = softcap;
    a.window = window;
    a.slots = rows.slots.data();
    a.seen = rows.seen.data();
    a.listStarts = rows.listed.empty() ? nullptr : rows.starts.data();
    a.listed = rows.listed.data();
    a.out = out.data();
    a.ldo = width();
    return a;
  }

  // All rows in one cache, `chunk` rows a call.
  std::vector<float> attend(const Cache& cache, const Rows& rows, int chunk) const {
    std::vector<float> out;
    const AttendArgs a = args(cache, rows, out);
    std::vector<uint8_t> scratch(kernels.attendScratchBytes(cache.kv, s.heads(), chunk), 0xff);
    for (int row = 0; row < rows.count(); row += chunk) {
      for (int head = 0; head < s.kvHeads; head++) {
        kernels.attendRows(a, head, row, std::min(rows.count(), row + chunk), scratch.data());
      }
    }
    return out;
  }

  // The same, tile by tile.
  std::vector<float> attendByTiles(const Cache& cache, const Rows& rows, int chunk) const {
    std::vector<float> out;
    const AttendArgs a = args(cache, rows, out);
    std::vector<uint8_t> scratch(kernels.attendScratchBytes(cache.kv, s.heads(), chunk), 0xff);
    size_t tiles = 1;
    for (const auto& path : rows.paths) tiles = std::max(tiles, path.size() / kTile + 1);
    const size_t stride = static_cast<size_t>(s.group) * (s.valueDim + 2);
    std::vector<float> partials(stride * tiles * chunk, std::numeric_limits<float>::quiet_NaN());
    for (int begin = 0; begin < rows.count(); begin += chunk) {
      const int end = std::min(rows.count(), begin + chunk);
      for (int head = 0; head < s.kvHeads; head++) {
        for (size_t tile = 0; tile < tiles; tile++) {
          kernels.attendTile(a, head, begin, end, static_cast<int>(tile), &partials[tile * stride], stride * tiles,
                             scratch.data());
        }
        for (int row = begin; row < end; row++) {
          kernels.attendMerge(a, head, row, &partials[(row - begin) * stride * tiles], stride, 0,
                              static_cast<int>(tiles));
        }
      }
    }
    return out;
  }

  // One row, what it sees laid out one after another in a cache of its own, behind nothing.
  std::vector<float> attendAlone(const Rows& rows, int row) const {
    const std::vector<int>& path = rows.paths[row];
    const int length = static_cast<int>(path.size());
    Cache cache(kernels, s, length, random);
    for (int place = 0; place < length; place++) {
      if (window == 0 || place > rows.own[row] - window) write(cache, path[place], place);
    }
    // A window that reaches as far back from the last place as this row's does.
    const int reach = window > 0 ? length - std::max(0, rows.own[row] - window + 1) : 0;
    Sequence alone = {kernels, s, reach, softcap, random, 0, {}, {}, {}, {}};
    const auto first = q.begin() + static_cast<std::ptrdiff_t>(row) * s.heads() * s.keyDim;
    alone.q.assign(first, first + s.heads() * s.keyDim);
    Rows only;
    only.slots = {length - 1};
    only.seen = {length};
    only.paths = {path};
    return alone.attend(cache, only, 1);
  }

  void check(const Cache& cache, const Rows& rows, int chunk) const {
    const std::vector<float> all = attend(cache, rows, chunk);
    const std::vector<float> tiled = attendByTiles(cache, rows, chunk);
    CHECK(std::memcmp(all.data(), tiled.data(), all.size() * sizeof(float)) == 0);
    for (int row = 0; row < rows.count(); row++) {
      const std::vector<float> expected = attendAlone(rows, row);
      const float* got = &all[row * width()];
      if (std::isfinite(got[0]) && std::memcmp(got, expected.data(), width() * sizeof(float)) == 0) continue;
      millrace::test::fail(__FILE__, __LINE__,
                           std::string(kernels.name) + ": row " + std::to_string(row) + " of " +
                               std::to_string(rows.count()) + ", seen " + std::to_string(rows.seen[row]) + ", sees " +
                               std::to_string(rows.paths[row].size()) + ", window " + std::to_string(window));
    }
  }
};

// A prefix, of which the last `plain` tokens are rows, then a drafted tree: the first `chain` nodes at their places one
// under another, the others in slots behind them, each under the chain's end or another of them.
void checkTree(const Kernels& kernels, const Shape& s, int prefix, int plain, int chain, int nodes, int window,
               float softcap, int chunk, std::mt19937& random) {
  Sequence sequence = {kernels, s, window, softcap, random, 0, {}, {}, {}, {}};
  Rows rows;
  const auto addRow = [&](int slot, int seen, std::vector<int> path) {
    rows.slots.push_back(slot);
    rows.seen.push_back(seen);
    rows.own.push_back(static_cast<int>(path.size()) - 1);
    rows.paths.push_back(std::move(path));
    rows.starts.push_back(static_cast<int32_t>(rows.listed.size()));
    sequence.fill(sequence.q, static_cast<size_t>(s.heads()) * s.keyDim);
  };
  std::vector<int> path;
  for (int slot = 0; slot < prefix + chain; slot++) {
    path.push_back(sequence.newToken(slot));
    if (slot >= prefix - plain) addRow(slot, slot + 1, path);
  }
  // Slots in any order, with a gap.
  std::vector<int> slots;
  for (int i = 0; i < nodes; i++) slots.push_back(prefix + chain + 3 + i);
  std::shuffle(slots.begin(), slots.end(), random);
  std::vector<std::vector<int>> lists;
  for (int i = 0; i < nodes; i++) {
    const int parent = static_cast<int>(random() % (i + 1)) - 1;
    std::vector<int> list = parent < 0 ? std::vector<int>() : lists[parent];
    list.push_back(sequence.newToken(slots[i]));
    for (const int token : list) rows.listed.push_back(sequence.slotOf[token]);
    std::vector<int> all = path;
    all.insert(all.end(), list.begin(), list.end());
    addRow(slots[i], prefix + chain, std::move(all));
    lists.push_back(std::move(list));
  }
  if (rows.count() == 0) return;
  Cache cache(kernels, s, prefix + chain + 3 + nodes, random);
  for (int token = 0; token < sequence.tokens; token++) sequence.write(cache, token, sequence.slotOf[token]);
  // What lies before all windows is gone, if whole blocks of it do.
  int oldest = prefix + chain + nodes;
  for (const int own : rows.own) oldest = std::min(oldest, window > 0 ? std::max(0, own - window + 1) : 0);
  for (int i = 0; i < std::min(oldest, prefix + chain) / 16; i++) cache.table[i] = -1;
  sequence.check(cache, rows, chunk);
}

template <typename Body>
void forEachIsa(Body body) {
  for (const char* const* name = availableKernels(); *name != nullptr; name++) body(*selectKernels(*name));
}

constexpr Shape kShapes[] = {
    {KvType::F16, 1, 3, 64, 64}, {KvType::Q8, 2, 2, 32, 48},  {KvType::F32, 1, 2, 40, 24},
    {KvType::F16, 2, 1, 80, 96}, {KvType::F16, 1, 9, 32, 32}, {KvType::Q8, 1, 1, 64, 64},
};

}  // namespace

TEST(attentionOfATreesNodesIsThatOfTheirPathsAlone) {
  std::mt19937 random(31);
  const auto below = [&random](int n) { return static_cast<int>(random() % n); };
  forEachIsa([&](const Kernels& kernels) {
    int shape = 0;
    // Every offset of the tree's root around a tile's border, and some others.
    std::vector<int> prefixes = {0, 1, 15, 16, 17, 255, 256, 257, 300};
    for (int p = kTile - 36; p <= kTile + 4; p++) prefixes.push_back(p);
    for (const int prefix : prefixes) {
      const Shape& s = kShapes[shape++ % std::size(kShapes)];
      const int windows[] = {0, 0, 1, 5, 16, 20, 40, kTile, 140};
      const int window = windows[below(std::size(windows))];
      const float softcap = below(3) == 0 ? 8.0f : 0.0f;
      const int nodes = 1 + below(below(2) == 0 ? 64 : 8);
      checkTree(kernels, s, prefix, below(2) * below(std::min(prefix, 9) + 1), below(3) * below(4), nodes, window,
                softcap, 1 + below(70), random);
    }
  });
}

// One path of 64 nodes from the last places of one tile into the next but one.
TEST(attentionOfALongDraftedPathIsThatOfThePathAlone) {
  std::mt19937 random(32);
  forEachIsa([&](const Kernels& kernels) {
    for (const KvType type : {KvType::F16, KvType::Q8, KvType::F32}) {
      const Shape s = {type, 1, 2, 32, 32};
      Sequence sequence = {kernels, s, 0, 0, random, 0, {}, {}, {}, {}};
      Rows rows;
      std::vector<int> path;
      for (int slot = 0; slot < 120; slot++) path.push_back(sequence.newToken(slot));
      for (int i = 0; i < 150; i++) {
        path.push_back(sequence.newToken(400 - i));
        for (size_t place = 120; place < path.size(); place++) rows.listed.push_back(sequence.slotOf[path[place]]);
        rows.slots.push_back(400 - i);
        rows.seen.push_back(120);
        rows.starts.push_back(static_cast<int32_t>(rows.listed.size()));
        rows.own.push_back(120 + i);
        rows.paths.push_back(path);
        sequence.fill(sequence.q, static_cast<size_t>(s.heads()) * s.keyDim);
      }
      Cache cache(kernels, s, 401, random);
      for (int token = 0; token < sequence.tokens; token++) sequence.write(cache, token, sequence.slotOf[token]);
      sequence.check(cache, rows, 32);
    }
  });
}

// Rows that see a span to its end, as an encoder's and an image's do: with a window, from their own places on.
TEST(attentionOfASpanSeesToItsEnd) {
  std::mt19937 random(33);
  forEachIsa([&](const Kernels& kernels) {
    int shape = 0;
    for (const int before : {0, 5, 100, 130}) {
      for (const int length : {1, 7, 30, 160}) {
        for (const int window : {0, 1, 20, 140}) {
          const Shape& s = kShapes[shape++ % std::size(kShapes)];
          Sequence sequence = {kernels, s, window, 0, random, 0, {}, {}, {}, {}};
          Rows rows;
          std::vector<int> path;
          // A plain row behind the span sees all of it.
          const int end = before + length;
          for (int slot = 0; slot <= end; slot++) path.push_back(sequence.newToken(slot));
          for (int slot = before; slot <= end; slot++) {
            const int seen = slot < end ? end : end + 1;
            rows.slots.push_back(slot);
            rows.seen.push_back(seen);
            rows.own.push_back(slot);
            rows.paths.emplace_back(path.begin(), path.begin() + seen);
            sequence.fill(sequence.q, static_cast<size_t>(s.heads()) * s.keyDim);
          }
          Cache cache(kernels, s, end + 1, random);
          for (int token = 0; token < sequence.tokens; token++) sequence.write(cache, token, sequence.slotOf[token]);
          sequence.check(cache, rows, 1 + static_cast<int>(random() % 64));
        }
      }
    }
  });
}

TEST(movedSlotsHaveTheBytesOfWrittenOnes) {
  std::mt19937 random(34);
  forEachIsa([&](const Kernels& kernels) {
    for (const Shape& s : kShapes) {
      Sequence sequence = {kernels, s, 0, 0, random, 0, {}, {}, {}, {}};
      std::mt19937 twin = random;
      Cache moved(kernels, s, 64, random), written(kernels, s, 64, twin);
      CHECK(moved.table == written.table);
      const int pairs[][2] = {{40, 3}, {47, 63}, {0, 15}, {5, 6}, {20, 20}};
      for (const auto& [from, to] : pairs) {
        const int token = sequence.newToken(from);
        sequence.write(moved, token, from);
        sequence.write(written, token, from);
        kernels.kvMove(moved.kv, moved.table[from / 16], from % 16, moved.table[to / 16], to % 16);
        sequence.write(written, token, to);
      }
      CHECK(moved.pool == written.pool);
    }
  });
}
