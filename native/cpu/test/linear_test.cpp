// Packing, dequantising, quantising and linear kernels of every ISA. The oracle is this file's own plain arithmetic on
// the general layout's values (an exact integer for a block, then fmaf, in the order that isa/linear.cpp promises), and
// for file formats the float values recorded in test/fixtures/quants. Equality is of bits throughout.
//
// Without Node, from the repository's root, for one ISA (one line):
//   g++ -std=c++20 -O2 -ffp-contract=off -march=native -pthread -DMILLRACE_ISA=avx512vnni
//     '-DMILLRACE_FOR_EACH_ISA(X)=X(avx512vnni)' -Inative/cpu native/cpu/test/main.cpp native/cpu/test/linear_test.cpp
//     native/cpu/isa/*.cpp native/cpu/pack*.cpp native/cpu/iq-grids.cpp native/cpu/select.cpp
//     -o /tmp/linear-test && /tmp/linear-test
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "emulated-tiles.h"
#include "kernels.h"
#include "levels.h"
#include "pack.h"
#include "test.h"

using namespace millrace;

namespace {

struct FileType {
  const char* name;
  int id;
};
constexpr FileType kTypes[] = {
    {"f32", 0},     {"f16", 1},      {"bf16", 30},  {"q4_0", 2},    {"q4_1", 3},   {"q5_0", 6},   {"q5_1", 7},
    {"q8_0", 8},    {"q2_k", 10},    {"q3_k", 11},  {"q4_k", 12},   {"q5_k", 13},  {"q6_k", 14},  {"iq2_xxs", 16},
    {"iq2_xs", 17}, {"iq3_xxs", 18}, {"iq1_s", 19}, {"iq4_nl", 20}, {"iq3_s", 21}, {"iq2_s", 22}, {"iq4_xs", 23},
    {"iq1_m", 29},  {"tq1_0", 34},   {"tq2_0", 35}, {"mxfp4", 39},  {"nvfp4", 40},
};

// 64-byte aligned bytes.
class Buffer {
 public:
  explicit Buffer(size_t bytes) : storage_(bytes + 64, 0xcd) {}
  uint8_t* data() {
    const size_t at = reinterpret_cast<uintptr_t>(storage_.data()) % 64;
    return storage_.data() + (at == 0 ? 0 : 64 - at);
  }

 private:
  std::vector<uint8_t> storage_;
};

uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
// Equal bits, or both not a number.
bool same(float a, float b) { return bitsOf(a) == bitsOf(b) || (std::isnan(a) && std::isnan(b)); }

// Random raw rows of a type with scales of a sane size.
std::vector<uint8_t> randomRaw(int type, int rows, int cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<uint8_t> raw(rawRowBytes(type, cols) * static_cast<size_t>(rows));
  const int blockCols = packedBlockCols(type);
  const size_t blockBytes = rawRowBytes(type, blockCols);
  for (uint8_t& byte : raw) byte = static_cast<uint8_t>(random());
  const auto half = [&](uint8_t* p) {  // ± (0.01 … 0.03)
    const uint16_t h = static_cast<uint16_t>(0x2100 + random() % 0x600 + (random() % 2) * 0x8000);
    std::memcpy(p, &h, sizeof h);
  };
  for (size_t at = 0; at < raw.size(); at += blockBytes) {
    uint8_t* p = raw.data() + at;
    switch (type) {
      case 0: {
        const float x = normal(random);
        std::memcpy(p, &x, 4);
        break;
      }
      case 1:
        half(p);
        break;
      case 30:
        p[1] = static_cast<uint8_t>(0x3c + random() % 4 + (random() % 2) * 0x80);
        break;
      case 3:
      case 7:
      case 12:
      case 13:
        half(p);
        half(p + 2);
        break;
      case 10:
        half(p + 80);
        half(p + 82);
        break;
      case 11:
        half(p + 108);
        break;
      case 14:
        half(p + 208);
        break;
      case 29:  // d's upper bits are the top nibble of the last word
        p[55] = static_cast<uint8_t>((p[55] & 15) | 0x20);
        break;
      case 34:
        half(p + 52);
        break;
      case 35:
        half(p + 64);
        break;
      case 39:
        p[0] = static_cast<uint8_t>(118 + random() % 6);
        break;
      case 40:
        break;
      default:
        half(p);
    }
  }
  return raw;
}

// A packed matrix and its memory.
struct Packed {
  Matrix w;
  Buffer memory;

  Packed(int type, int rows, int cols, int experts, const std::vector<uint8_t>& raw)
      : w{packedFormat(type), rows, cols, experts, packedGroupBytes(packedFormat(type), cols), 0, nullptr},
        memory(w.groupBytes * static_cast<size_t>(groupsOf(w)) * static_cast<size_t>(experts)) {
    w.expertBytes = w.groupBytes * static_cast<size_t>(groupsOf(w));
    w.data = memory.data();
    const size_t rowBytes = rawRowBytes(type, cols);
    for (int e = 0; e < experts; e++) {
      // In parts, as a loader does it.
      for (int row = 0; row < rows; row += 32) {
        packRows(type, raw.data() + rowBytes * static_cast<size_t>(e * rows + row), rowBytes, std::min(32, rows - row),
                 w, e, row);
      }
    }
  }
};

struct Activations {
  std::vector<float> x;
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;

  Activations(const Kernels& kernels, int rows, int cols, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 1);
    const size_t n = static_cast<size_t>(rows) * static_cast<size_t>(cols);
    x.resize(n);
    for (float& v : x) v = normal(random);
    codes.resize(n);
    scales.resize(n / 32 + 1);
    sums.resize(n / 16 + 1);
    if (cols % 32 == 0) kernels.quantizeRows(x.data(), static_cast<size_t>(cols), cols, rows8(), 0, rows);
  }
  Rows8 rows8() { return {codes.data(), scales.data(), sums.data()}; }
};

// --- The oracle ---------------------------------------------------------------------------------------------------

// What a packed matrix stands for, read back from its blocks: codes (offset taken off), scales and minimums for every
// 16 columns, of one row.
struct PlainRow {
  std::vector<int> codes;
  std::vector<float> scales, mins;
  bool perHalf, hasMin;
};

float halfValue(uint16_t h) {
  const int exponent = (h >> 10) & 31, fraction = h & 1023;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                        : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  return h & 0x8000 ? -magnitude : magnitude;
}

int nibble(const uint8_t* codes, int row, int c) {
  const uint8_t both = codes[64 * (c % 16 / 4) + 4 * row + c % 4];
  return c < 16 ? both & 15 : both >> 4;
}
int byte(const uint8_t* codes, int row, int c) { return static_cast<int8_t>(codes[64 * (c / 4) + 4 * row + c % 4]); }

int pair(const uint8_t* pairs, int row, int c) {
  return pairs[64 * (c / 16) + 4 * row + c % 4] >> (c % 16 / 4 * 2) & 3;
}
int bit(const uint8_t* bits, int row, int c) { return bits[4 * row + c % 4] >> (c / 4) & 1; }

PlainRow plainRow(const Matrix& w, int expert, int n) {
  const uint8_t* group =
      w.data + w.expertBytes * static_cast<size_t>(expert) + w.groupBytes * static_cast<size_t>(n / 16);
  const int r = n % 16;
  PlainRow out{{}, {}, {}, false, false};
  const auto push = [&](float s0, float s1, float m0, float m1) {
    out.scales.insert(out.scales.end(), {s0, s1});
    out.mins.insert(out.mins.end(), {m0, m1});
  };
  for (int b = 0; b < w.cols / 32; b++) {
    switch (w.format) {
      case Format::Q4_0: {
        const BlockQ4_0& q = reinterpret_cast<const BlockQ4_0*>(group)[b];
        push(halfValue(q.scale[r]), 0, 0, 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(nibble(q.codes, r, c) - 8);
        break;
      }
      case Format::Q4_1: {
        const BlockQ4_1& q = reinterpret_cast<const BlockQ4_1*>(group)[b];
        out.hasMin = true;
        push(halfValue(q.scale[r]), 0, halfValue(q.min[r]), 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(nibble(q.codes, r, c));
        break;
      }
      case Format::Q8_0: {
        const BlockQ8_0& q = reinterpret_cast<const BlockQ8_0*>(group)[b];
        push(halfValue(q.scale[r]), 0, 0, 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(byte(q.codes, r, c));
        break;
      }
      case Format::Q4_K: {
        const BlockQ4_K& q = reinterpret_cast<const BlockQ4_K*>(group)[b / 8];
        const BlockQ4_K::Sub& sub = q.sub[b % 8];
        out.hasMin = true;
        push(halfValue(q.d[r]) * sub.scale[r], 0, halfValue(q.minusDmin[r]) * sub.min[r], 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(nibble(sub.codes, r, c));
        break;
      }
      case Format::Q5_K: {
        const BlockQ5_K& q = reinterpret_cast<const BlockQ5_K*>(group)[b / 8];
        const BlockQ5_K::Sub& sub = q.sub[b % 8];
        out.hasMin = true;
        push(halfValue(q.d[r]) * sub.scale[r], 0, halfValue(q.minusDmin[r]) * sub.min[r], 0);
        for (int c = 0; c < 32; c++) {
          out.codes.push_back(nibble(sub.codes, r, c) + 16 * (sub.high[4 * r + c % 4] >> (c / 4) & 1));
        }
        break;
      }
      case Format::Q6_K: {
        const BlockQ6_K& q = reinterpret_cast<const BlockQ6_K*>(group)[b / 8];
        const BlockQ6_K::Sub& sub = q.sub[b % 8];
        out.perHalf = true;
        push(halfValue(q.d[r]) * sub.scale[0][r], halfValue(q.d[r]) * sub.scale[1][r], 0, 0);
        for (int c = 0; c < 32; c++) {
          const int high = sub.high[64 * (c / 16) + 4 * r + c % 4] >> (c % 16 / 4 * 2) & 3;
          out.codes.push_back(nibble(sub.codes, r, c) + 16 * high - 32);
        }
        break;
      }
      case Format::General16: {
        const BlockGeneral16& q = reinterpret_cast<const BlockGeneral16*>(group)[b];
        out.perHalf = true;
        push(q.scale[0][r], q.scale[1][r], 0, 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(byte(q.codes, r, c));
        break;
      }
      case Format::General32: {
        const BlockGeneral32& q = reinterpret_cast<const BlockGeneral32*>(group)[b];
        push(q.scale[r], 0, 0, 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(byte(q.codes, r, c));
        break;
      }
      case Format::Q5_0: {
        const BlockQ5_0& q = reinterpret_cast<const BlockQ5_0*>(group)[b];
        push(halfValue(q.scale[r]), 0, 0, 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(nibble(q.codes, r, c) + 16 * bit(q.high, r, c) - 16);
        break;
      }
      case Format::Q5_1: {
        const BlockQ5_1& q = reinterpret_cast<const BlockQ5_1*>(group)[b];
        out.hasMin = true;
        push(halfValue(q.scale[r]), 0, halfValue(q.min[r]), 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(nibble(q.codes, r, c) + 16 * bit(q.high, r, c));
        break;
      }
      case Format::Q2_K: {
        const BlockQ2_K& q = reinterpret_cast<const BlockQ2_K*>(group)[b / 8];
        const BlockQ2_K::Sub& sub = q.sub[b % 8];
        const float d = halfValue(q.d[r]), m = halfValue(q.minusDmin[r]);
        out.perHalf = out.hasMin = true;
        push(d * sub.scale[0][r], d * sub.scale[1][r], m * sub.min[0][r], m * sub.min[1][r]);
        for (int c = 0; c < 32; c++) out.codes.push_back(pair(sub.codes, r, c));
        break;
      }
      case Format::Q3_K: {
        const BlockQ3_K& q = reinterpret_cast<const BlockQ3_K*>(group)[b / 8];
        const BlockQ3_K::Sub& sub = q.sub[b % 8];
        out.perHalf = true;
        push(halfValue(q.d[r]) * sub.scale[0][r], halfValue(q.d[r]) * sub.scale[1][r], 0, 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(pair(sub.codes, r, c) + 4 * bit(sub.high, r, c) - 4);
        break;
      }
      case Format::IQ4_NL: {
        const BlockIQ4_NL& q = reinterpret_cast<const BlockIQ4_NL*>(group)[b];
        push(halfValue(q.scale[r]), 0, 0, 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(kIq4Levels[nibble(q.codes, r, c)]);
        break;
      }
      case Format::IQ4_XS: {
        const BlockIQ4_XS& q = reinterpret_cast<const BlockIQ4_XS*>(group)[b / 8];
        const BlockIQ4_XS::Sub& sub = q.sub[b % 8];
        push(halfValue(q.d[r]) * sub.scale[r], 0, 0, 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(kIq4Levels[nibble(sub.codes, r, c)]);
        break;
      }
      case Format::MXFP4: {
        const BlockMXFP4& q = reinterpret_cast<const BlockMXFP4*>(group)[b];
        const uint32_t scale = uint32_t{q.scale[r]} << 16;
        push(0, 0, 0, 0);
        std::memcpy(&out.scales[out.scales.size() - 2], &scale, sizeof scale);
        for (int c = 0; c < 32; c++) out.codes.push_back(kFp4Levels[nibble(q.codes, r, c)]);
        break;
      }
      case Format::NVFP4: {
        const BlockNVFP4& q = reinterpret_cast<const BlockNVFP4*>(group)[b];
        out.perHalf = true;
        push(halfValue(q.scale[0][r]), halfValue(q.scale[1][r]), 0, 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(kFp4Levels[nibble(q.codes, r, c)]);
        break;
      }
      case Format::Ternary: {
        const BlockTernary& q = reinterpret_cast<const BlockTernary*>(group)[b / 8];
        push(halfValue(q.d[r]), 0, 0, 0);
        for (int c = 0; c < 32; c++) out.codes.push_back(pair(q.sub[b % 8].codes, r, c) - 1);
        break;
      }
      default:
        break;
    }
  }
  return out;
}

float plainInteger(const PlainRow& w, const int8_t* codes, const float* scales) {
  float acc = 0;
  const int width = w.perHalf ? 16 : 32;
  for (size_t k = 0; k < w.codes.size(); k += static_cast<size_t>(width)) {
    int32_t dot = 0, sum = 0;
    for (size_t c = k; c < k + static_cast<size_t>(width); c++) {
      dot += w.codes[c] * codes[c];
      sum += codes[c];
    }
    const float scale = scales[k / 32];
    acc = std::fmaf(static_cast<float>(dot), w.scales[k / 16] * scale, acc);
    if (w.hasMin) acc = std::fmaf(w.mins[k / 16], scale * static_cast<float>(sum), acc);
  }
  return acc;
}

float plainFloat(const float* w, const float* x, int cols) {
  float acc = 0;
  for (int k = 0; k < cols; k++) acc = std::fmaf(w[k], x[k], acc);
  return acc;
}

template <typename Body>
void forEachIsa(Body body) {
  for (const char* const* name = availableKernels(); *name != nullptr; name++) body(*selectKernels(*name));
  body(test::emulatedTiles());
}

bool readFile(const std::string& path, std::vector<uint8_t>& out) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) return false;
  uint8_t chunk[4096];
  for (size_t n; (n = std::fread(chunk, 1, sizeof chunk, file)) > 0;) out.insert(out.end(), chunk, chunk + n);
  std::fclose(file);
  return true;
}

void report(const Kernels& kernels, const char* type, const char* what, int row, int column) {
  millrace::test::fail(__FILE__, __LINE__,
                       std::string(kernels.name) + " " + type + ": " + what + " differs at row " + std::to_string(row) +
                           ", column " + std::to_string(column));
}

}  // namespace

// Every recorded block of every format comes back with the recorded bits.
TEST(packedFormatsHoldTheRecordedValues) {
  int read = 0;
  for (const FileType& type : kTypes) {
    CHECK(packSupported(type.id));
    std::vector<uint8_t> raw, wanted;
    for (const char* folder : {"test/fixtures/quants/", "../shared/data/quants/", "../../test/fixtures/quants/"}) {
      const std::string stem = std::string(folder) + type.name;
      if (readFile(stem + ".bin", raw) && readFile(stem + ".f32", wanted)) break;
      raw.clear();
      wanted.clear();
    }
    if (wanted.empty()) continue;
    read++;
    // Rows of three blocks (of 96 columns at least where blocks are small), the last group incomplete.
    const int blockCols = packedBlockCols(type.id);
    const int cols = blockCols < 32 ? 96 : 3 * blockCols;
    const int rows = static_cast<int>(wanted.size() / 4) / cols;
    const Packed packed(type.id, rows, cols, 1, raw);
    forEachIsa([&](const Kernels& kernels) {
      std::vector<float> out(static_cast<size_t>(cols));
      for (int n = 0; n < rows; n++) {
        kernels.dequantizeRow(packed.w, 0, n, 1.0f, out.data());
        for (int k = 0; k < cols; k++) {
          float value;
          std::memcpy(&value, wanted.data() + 4 * static_cast<size_t>(n * cols + k), 4);
          if (!same(out[static_cast<size_t>(k)], value)) {
            report(kernels, type.name, "value", n, k);
            return;
          }
        }
      }
    });
  }
  if (read == 0) return millrace::test::skip("no test/fixtures/quants from here; run in the repository's root");
  CHECK_EQ(read, 25);
}

// All formats, 1 to 40 rows, ranges of groups, rows not a multiple of 16, gathered rows, bias, residual, experts.
TEST(linearHasTheSameBitsForAllRowCounts) {
  const int counts[] = {1, 2, 3, 4, 5, 7, 8, 11, 16, 17, 24, 33, 40};
  for (const FileType& type : kTypes) {
    const bool plain = !readsInt8(packedFormat(type.id));
    const int blockCols = packedBlockCols(type.id);
    const int cols = plain ? 333 : blockCols >= 256 ? 512 : 576;
    // 11 groups: streams of several groups, and a rest that fills none.
    const int rows = 165, experts = 2, expert = 1, most = 40;
    const std::vector<uint8_t> raw = randomRaw(type.id, rows * experts, cols, 7u + static_cast<unsigned>(type.id));
    const Packed packed(type.id, rows, cols, experts, raw);
    const Matrix& w = packed.w;
    std::vector<float> bias(rows), residual(most * rows), wanted(most * rows);
    std::mt19937 random(3);
    std::normal_distribution<float> normal(0, 1);
    for (float& v : bias) v = normal(random);
    for (float& v : residual) v = normal(random);
    std::vector<int32_t> gather(most);
    for (int i = 0; i < most; i++) gather[static_cast<size_t>(i)] = (i * 17 + 5) % most;

    bool first = true;
    forEachIsa([&](const Kernels& kernels) {
      Activations x(kernels, most, cols, 11);
      if (first) {
        std::vector<float> values(static_cast<size_t>(cols));
        for (int n = 0; n < rows; n++) {
          PlainRow row{{}, {}, {}, false, false};
          if (plain) kernels.dequantizeRow(w, expert, n, 1.0f, values.data());
          else row = plainRow(w, expert, n);
          for (int i = 0; i < most; i++) {
            const size_t at = static_cast<size_t>(i) * static_cast<size_t>(cols);
            float v = plain ? plainFloat(values.data(), x.x.data() + at, cols)
                            : plainInteger(row, x.codes.data() + at, x.scales.data() + at / 32);
            wanted[static_cast<size_t>(i * rows + n)] = v;
          }
        }
        first = false;
      }
      const auto check = [&](const char* what, const std::vector<float>& y, int count, bool gathered, bool added) {
        for (int i = 0; i < count; i++) {
          for (int n = 0; n < rows; n++) {
            const size_t at = static_cast<size_t>(i * rows + n);
            const int source = gathered ? gather[static_cast<size_t>(i)] : i;
            float v = wanted[static_cast<size_t>(source * rows + n)];
            if (added) v = v + bias[static_cast<size_t>(n)] + residual[at];
            if (!same(y[at], v)) {
              report(kernels, type.name, what, i, n);
              return;
            }
          }
        }
        for (size_t at = static_cast<size_t>(count * rows); at < y.size(); at++) {
          if (y[at] != -77.0f) {
            report(kernels, type.name, "a value beyond the output", static_cast<int>(at), 0);
            return;
          }
        }
      };
      for (int count : counts) {
        Buffer scratch(kernels.linearScratchBytes(w, count));
        LinearArgs args{};
        args.w = &w;
        args.expert = expert;
        args.x = x.x.data();
        args.ldx = static_cast<size_t>(cols);
        args.x8 = x.rows8();
        args.rows = count;
        args.ldy = args.ldr = static_cast<size_t>(rows);
        std::vector<float> y(static_cast<size_t>(count * rows + 8), -77.0f);
        args.y = y.data();
        kernels.linear(args, 0, groupsOf(w), scratch.data());
        check("all groups", y, count, false, false);

        std::fill(y.begin(), y.end(), -77.0f);
        args.rowIndex = gather.data();
        kernels.linear(args, 3, 11, scratch.data());
        kernels.linear(args, 0, 3, scratch.data());
        check("gathered rows in two ranges", y, count, true, false);

        std::copy_n(residual.begin(), count * rows, y.begin());
        args.rowIndex = nullptr;
        args.bias = bias.data();
        args.residual = y.data();
        kernels.linear(args, 0, 9, scratch.data());
        kernels.linear(args, 9, 11, scratch.data());
        check("bias and residual in place", y, count, false, true);
      }
    });
  }
}

// Activations beyond one panel (its rows are at most 128), and the extremes of int8: no sum may saturate.
TEST(linearSurvivesExtremesAndManyRows) {
  const int cols = 1024, rows = 16, most = 150;
  for (int type : {2, 3, 8, 12, 13, 14, 20}) {
    std::vector<uint8_t> raw = randomRaw(type, rows, cols, 5);
    const int blockCols = packedBlockCols(type);
    const size_t blockBytes = rawRowBytes(type, blockCols);
    // All codes at their largest magnitude (0xff: 15, 31, 63; of Q8_0 0x80: −128) under scales that stay.
    for (size_t at = 0; at < raw.size(); at += blockBytes) {
      if (type == 8) std::memset(raw.data() + at + 2, 0x80, 32);
      if (type == 2) std::memset(raw.data() + at + 2, 0xff, 16);
      if (type == 3) std::memset(raw.data() + at + 4, 0xff, 16);
      if (type == 12 || type == 13) std::memset(raw.data() + at + 4, 0xff, blockBytes - 4);
      if (type == 14) std::memset(raw.data() + at, 0xff, 208);
      if (type == 20) std::memset(raw.data() + at + 2, 0x00, 16);
    }
    const Packed packed(type, rows, cols, 1, raw);
    forEachIsa([&](const Kernels& kernels) {
      Activations x(kernels, most, cols, 1);
      std::mt19937 random(9);
      for (size_t i = 0; i < x.codes.size(); i++) {
        const size_t row = i / cols;
        x.codes[i] = row == 0 ? 127 : row == 1 ? -127 : static_cast<int8_t>(random() % 2 ? 127 : -127);
      }
      for (size_t i = 0; i < x.codes.size() / 16; i++) {
        x.sums[i] = 0;
        for (size_t c = 16 * i; c < 16 * (i + 1); c++) x.sums[i] += x.codes[c];
      }
      for (int count : {1, 5, most}) {
        Buffer scratch(kernels.linearScratchBytes(packed.w, count));
        std::vector<float> y(static_cast<size_t>(count * rows));
        LinearArgs args{};
        args.w = &packed.w;
        args.x8 = x.rows8();
        args.rows = count;
        args.y = y.data();
        args.ldy = rows;
        kernels.linear(args, 0, 1, scratch.data());
        for (int n = 0; n < rows; n++) {
          const PlainRow row = plainRow(packed.w, 0, n);
          for (int i = 0; i < count; i++) {
            const size_t at = static_cast<size_t>(i * cols);
            if (!same(y[static_cast<size_t>(i * rows + n)],
                      plainInteger(row, x.codes.data() + at, x.scales.data() + at / 32))) {
              report(kernels, std::to_string(type).c_str(), "extreme sum", i, n);
              return;
            }
          }
        }
      }
    });
  }
}

TEST(transposedFilesPackLikeOthers) {
  const int rows = 37, cols = 20;
  for (int type : {0, 1, 30}) {
    const size_t size = type == 0 ? 4 : 2;
    const std::vector<uint8_t> raw = randomRaw(type, rows, cols, 2);
    std::vector<uint8_t> transposed(raw.size());
    for (size_t n = 0; n < static_cast<size_t>(rows); n++) {
      for (size_t k = 0; k < static_cast<size_t>(cols); k++) {
        std::memcpy(&transposed[size * (k * rows + n)], &raw[size * (n * cols + k)], size);
      }
    }
    Packed straight(type, rows, cols, 1, raw);
    Packed turned(type, rows, cols, 1, std::vector<uint8_t>(raw.size()));
    packTransposed(type, transposed.data(), size * rows, 13, turned.w, 0, 0);
    packTransposed(type, transposed.data() + 13 * size * rows, size * rows, cols - 13, turned.w, 0, 13);
    CHECK(std::memcmp(straight.w.data, turned.w.data, straight.w.expertBytes) == 0);
  }
}

TEST(quantizeRowsRoundsHalfToEvenAndNeverCrashes) {
  const int cols = 96;
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  forEachIsa([&](const Kernels& kernels) {
    std::mt19937 random(4);
    std::normal_distribution<float> normal(0, 1);
    const int rows = 300;
    std::vector<float> x(static_cast<size_t>(rows * cols));
    for (size_t i = 0; i < x.size(); i++) x[i] = normal(random) * std::ldexp(1.0f, static_cast<int>(i / 96 % 200) - 90);
    for (int c = 0; c < cols; c++) x[static_cast<size_t>(c)] = static_cast<float>(c - 48) / 2;  // ties
    x[0] = x[32] = x[64] = 127.0f;
    x[2 * 96 + 3] = nan;
    x[2 * 96 + 35] = -infinity;
    for (size_t c = 3 * 96; c < 4 * 96; c++) x[c] = 1e-42f;
    std::vector<int8_t> codes(x.size());
    std::vector<float> scales(x.size() / 32);
    std::vector<int32_t> sums(x.size() / 16);
    const Rows8 out{codes.data(), scales.data(), sums.data()};
    kernels.quantizeRows(x.data(), cols, cols, out, 0, 7);
    kernels.quantizeRows(x.data(), cols, cols, out, 7, rows);
    for (size_t b = 0; b < scales.size(); b++) {
      const float* v = &x[32 * b];
      float amax = 0;
      bool finite = true;
      for (int i = 0; i < 32; i++) {
        amax = std::max(amax, std::fabs(v[i]));
        finite = finite && std::isfinite(v[i]);
      }
      const bool zeros = !finite || amax < 1e-30f;
      const float scale = finite ? (zeros ? 0.0f : amax / 127.0f) : nan;
      const float inverse = 127.0f / amax;
      int sum[2] = {0, 0};
      bool good = same(scales[b], scale);
      for (int i = 0; i < 32; i++) {
        const int code = zeros ? 0 : static_cast<int>(std::nearbyint(v[i] * inverse));
        good = good && codes[32 * b + static_cast<size_t>(i)] == code;
        sum[i / 16] += code;
      }
      good = good && sums[2 * b] == sum[0] && sums[2 * b + 1] == sum[1];
      if (!good)
        return report(kernels, "quantizeRows", "a block", static_cast<int>(b / 3), static_cast<int>(b % 3 * 32));
    }
  });
}

// A row with not-a-number in it gives not-a-number, not a plausible value.
TEST(faultyActivationsShow) {
  const std::vector<uint8_t> raw = randomRaw(2, 16, 64, 1);
  const Packed packed(2, 16, 64, 1, raw);
  forEachIsa([&](const Kernels& kernels) {
    Activations x(kernels, 2, 64, 1);
    x.x[5] = std::numeric_limits<float>::quiet_NaN();
    kernels.quantizeRows(x.x.data(), 64, 64, x.rows8(), 0, 2);
    Buffer scratch(kernels.linearScratchBytes(packed.w, 2));
    float y[32];
    LinearArgs args{};
    args.w = &packed.w;
    args.x8 = x.rows8();
    args.rows = 2;
    args.y = y;
    args.ldy = 16;
    kernels.linear(args, 0, 1, scratch.data());
    for (int n = 0; n < 16; n++) {
      CHECK(std::isnan(y[n]));
      CHECK(std::isfinite(y[16 + n]));
    }
  });
}
