// The native formats keep the file's codes and scales and only move them: a 32-bit word of four columns at a time, so
// that loading runs at memory speed. A K format's scales are unfolded from their 6 bits to bytes.
#include "pack.h"

#include <algorithm>
#include <cstring>

#include "checksum.h"
#include "pack-general.h"

namespace millrace {

namespace {

uint32_t word(const uint8_t* p, int i) {
  uint32_t v;
  std::memcpy(&v, p + 4 * i, sizeof v);
  return v;
}
void setWord(uint8_t* p, int i, uint32_t v) { std::memcpy(p + 4 * i, &v, sizeof v); }
uint16_t short16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// 32 codes of 4 bits as formats.h has them, from 32 bytes of which bits `shift` … `shift` + 3 count.
void nibblesOf(const uint8_t* bytes, int shift, int row, uint8_t* codes) {
  for (int j = 0; j < 4; j++) {
    const uint32_t low = word(bytes, j) >> shift & 0x0f0f0f0f, high = word(bytes, 4 + j) >> shift & 0x0f0f0f0f;
    setWord(codes, 16 * j + row, low | high << 4);
  }
}

// Pairs of bits of 32 codes, `shift` and the next of 32 bytes.
void pairsOf(const uint8_t* bytes, int shift, int row, uint8_t* pairs) {
  for (int h = 0; h < 2; h++) {
    uint32_t all = 0;
    for (int j = 0; j < 4; j++) all |= (word(bytes, 4 * h + j) >> shift & 0x03030303) << (2 * j);
    setWord(pairs, 16 * h + row, all);
  }
}
// One bit of 32 codes, bit `shift` of 32 bytes.
void bitsOf(const uint8_t* bytes, int shift, int row, uint8_t* bits) {
  uint32_t all = 0;
  for (int j = 0; j < 8; j++) all |= (word(bytes, j) >> shift & 0x01010101) << j;
  setWord(bits, row, all);
}
// The same from a word, of which bit i is that of code i.
void bitsOfWord(uint32_t source, int row, uint8_t* bits) {
  uint32_t all = 0;
  for (int c = 0; c < 4; c++) {
    // Every fourth bit, moved together.
    uint32_t fourth = source >> c & 0x11111111;
    fourth = (fourth | fourth >> 3) & 0x03030303;
    fourth = (fourth | fourth >> 6) & 0x000f000f;
    all |= ((fourth | fourth >> 12) & 0xff) << (8 * c);
  }
  setWord(bits, row, all);
}
void fourBitsOf(const uint8_t* bytes, int row, uint8_t* codes) {
  for (int j = 0; j < 4; j++) setWord(codes, 16 * j + row, word(bytes, j));
}

// One row's raw block into its place among the 16 rows.
void packBlock(const uint8_t* p, int row, BlockQ4_0& out) {
  out.scale[row] = short16(p);
  fourBitsOf(p + 2, row, out.codes);
}
void packBlock(const uint8_t* p, int row, BlockQ4_1& out) {
  out.scale[row] = short16(p);
  out.min[row] = short16(p + 2);
  fourBitsOf(p + 4, row, out.codes);
}
void packBlock(const uint8_t* p, int row, BlockQ5_0& out) {
  out.scale[row] = short16(p);
  bitsOfWord(word(p + 2, 0), row, out.high);
  fourBitsOf(p + 6, row, out.codes);
}
void packBlock(const uint8_t* p, int row, BlockQ5_1& out) {
  out.scale[row] = short16(p);
  out.min[row] = short16(p + 2);
  bitsOfWord(word(p + 4, 0), row, out.high);
  fourBitsOf(p + 8, row, out.codes);
}
void packBlock(const uint8_t* p, int row, BlockIQ4_NL& out) {
  out.scale[row] = short16(p);
  fourBitsOf(p + 2, row, out.codes);
}
// E8M0: a power of two, 2^(e − 127), halved for the doubled levels; the two smallest are subnormal.
void packBlock(const uint8_t* p, int row, BlockMXFP4& out) {
  out.scale[row] = static_cast<uint16_t>(p[0] >= 2 ? (p[0] - 1) << 7 : 0x20 << p[0]);
  fourBitsOf(p + 1, row, out.codes);
}
void packBlock(const uint8_t* p, int row, BlockQ8_0& out) {
  out.scale[row] = short16(p);
  for (int j = 0; j < 8; j++) setWord(out.codes, 16 * j + row, word(p + 2, j));
}
// Eight 6-bit scales and minimums in 12 bytes: the low six bits of scales and minimums 0 … 3 in bytes 0 … 3 and 4 … 7;
// the low nibbles of 4 … 7 in bytes 8 … 11, their high bits at the top of bytes 0 … 7.
template <typename Block>
void packScales(const uint8_t* p, int row, Block& out) {
  for (int s = 0; s < 4; s++) {
    const int a = p[s], b = p[4 + s], c = p[8 + s];
    out.sub[s].scale[row] = static_cast<int8_t>(a & 63);
    out.sub[s].min[row] = static_cast<int8_t>(b & 63);
    out.sub[s + 4].scale[row] = static_cast<int8_t>((c & 15) | (a >> 6 << 4));
    out.sub[s + 4].min[row] = static_cast<int8_t>((c >> 4) | (b >> 6 << 4));
  }
}
// Sixteen nibbles of scales and minimums, 64 bytes of pairs (32 bytes hold 128 weights), d, dmin.
void packBlock(const uint8_t* p, int row, BlockQ2_K& out) {
  out.d[row] = short16(p + 80);
  out.minusDmin[row] = short16(p + 82) ^ 0x8000;
  for (int s = 0; s < 8; s++) {
    for (int h = 0; h < 2; h++) {
      out.sub[s].scale[h][row] = static_cast<int8_t>(p[2 * s + h] & 15);
      out.sub[s].min[h][row] = static_cast<int8_t>(p[2 * s + h] >> 4);
    }
    pairsOf(p + 16 + 32 * (s / 4), s % 4 * 2, row, out.sub[s].codes);
  }
}
// 32 bytes of third bits, 64 of pairs, sixteen 6-bit scales in 12 bytes (low nibbles in eight, high pairs in four), d.
void packBlock(const uint8_t* p, int row, BlockQ3_K& out) {
  out.d[row] = short16(p + 108);
  for (int s = 0; s < 8; s++) {
    for (int h = 0; h < 2; h++) {
      const int i = 2 * s + h;
      const int low = p[96 + i % 8] >> (i / 8 * 4) & 15, high = p[104 + i % 4] >> (i / 4 * 2) & 3;
      out.sub[s].scale[h][row] = static_cast<int8_t>((low | high << 4) - 32);
    }
    bitsOf(p, s, row, out.sub[s].high);
    pairsOf(p + 32 + 32 * (s / 4), s % 4 * 2, row, out.sub[s].codes);
  }
}
// d, 2 bytes of high scale bits, 4 of low scale nibbles, 128 of nibbles.
void packBlock(const uint8_t* p, int row, BlockIQ4_XS& out) {
  out.d[row] = short16(p);
  for (int s = 0; s < 8; s++) {
    const int low = p[4 + s / 2] >> (s % 2 * 4) & 15, high = short16(p + 2) >> (2 * s) & 3;
    out.sub[s].scale[row] = static_cast<int8_t>((low | high << 4) - 32);
    fourBitsOf(p + 8 + 16 * s, row, out.sub[s].codes);
  }
}
// d, dmin, 12 bytes of scales, 128 of nibbles (32 bytes hold 64 weights).
void packBlock(const uint8_t* p, int row, BlockQ4_K& out) {
  out.d[row] = short16(p);
  out.minusDmin[row] = short16(p + 2) ^ 0x8000;
  packScales(p + 4, row, out);
  for (int s = 0; s < 8; s++) nibblesOf(p + 16 + 32 * (s / 2), s % 2 * 4, row, out.sub[s].codes);
}
// As Q4_K, with 32 bytes of fifth bits before the nibbles.
void packBlock(const uint8_t* p, int row, BlockQ5_K& out) {
  out.d[row] = short16(p);
  out.minusDmin[row] = short16(p + 2) ^ 0x8000;
  packScales(p + 4, row, out);
  for (int s = 0; s < 8; s++) {
    bitsOf(p + 16, s, row, out.sub[s].high);
    nibblesOf(p + 48 + 32 * (s / 2), s % 2 * 4, row, out.sub[s].codes);
  }
}
// Two halves of 128 weights; in each, 64 bytes with weight i in the low and i + 64 in the high nibble, and 32 bytes of
// bit pairs; then 16 scales and d.
void packBlock(const uint8_t* p, int row, BlockQ6_K& out) {
  out.d[row] = short16(p + 208);
  for (int s = 0; s < 8; s++) {
    BlockQ6_K::Sub& sub = out.sub[s];
    nibblesOf(p + 64 * (s / 4) + 32 * (s % 2), s % 4 / 2 * 4, row, sub.codes);
    pairsOf(p + 128 + 32 * (s / 4), s % 4 * 2, row, sub.high);
    for (int h = 0; h < 2; h++) sub.scale[h][row] = static_cast<int8_t>(p[192 + 2 * s + h]);
  }
}

// One file type: its geometry, the format that it becomes, and how `rows` ≤ 16 of its rows become a group.
struct FileType {
  int ggmlType;
  int blockCols;
  int blockBytes;
  Format format;
  void (*pack)(const FileType&, const uint8_t* raw, size_t rowBytes, int rows, int cols, uint8_t* group);
  Decode decode = nullptr;  // of those that aren't moved, but decoded and packed anew
};

template <typename Value>
void packPlain(const FileType&, const uint8_t* raw, size_t rowBytes, int rows, int cols, uint8_t* group) {
  Value* out = reinterpret_cast<Value*>(group);
  for (int k = 0; k < cols; k++) {
    for (int row = 0; row < rows; row++) {
      std::memcpy(out + kGroupRows * k + row,
                  raw + static_cast<size_t>(row) * rowBytes + sizeof(Value) * static_cast<size_t>(k), sizeof(Value));
    }
  }
}

template <typename Block>
void packBlocks(const FileType& type, const uint8_t* raw, size_t rowBytes, int rows, int cols, uint8_t* group) {
  Block* out = reinterpret_cast<Block*>(group);
  for (int b = 0; b < cols / type.blockCols; b++) {
    for (int row = 0; row < rows; row++) {
      packBlock(raw + static_cast<size_t>(row) * rowBytes + static_cast<size_t>(b * type.blockBytes), row, out[b]);
    }
  }
}

// An 8-bit float without a sign (4 bits of exponent of bias 7, 3 of fraction; 0x7f, not a number, counts as 0), halved
// for the doubled levels, as a half.
uint16_t halvedE4m3(uint8_t byte) {
  constexpr uint16_t kSubnormal[8] = {0,       5 << 10,          6 << 10,          6 << 10 | 1 << 9,
                                      7 << 10, 7 << 10 | 1 << 8, 7 << 10 | 2 << 8, 7 << 10 | 3 << 8};
  const int exponent = byte >> 3 & 15, fraction = byte & 7;
  if (byte == 0x7f) return 0;
  return static_cast<uint16_t>(exponent == 0 ? kSubnormal[fraction] : (exponent + 7) << 10 | fraction << 7);
}

// Four scales; four runs of eight bytes, each with weight i in the low and i + 8 in the high nibble of byte i.
void packNvfp4(const FileType& type, const uint8_t* raw, size_t rowBytes, int rows, int cols, uint8_t* group) {
  BlockNVFP4* out = reinterpret_cast<BlockNVFP4*>(group);
  for (int b = 0; b < cols / 32; b++) {
    for (int row = 0; row < rows; row++) {
      const uint8_t* p = raw + static_cast<size_t>(row) * rowBytes + static_cast<size_t>(b / 2 * type.blockBytes);
      const uint8_t* codes = p + 4 + 16 * (b % 2);
      for (int h = 0; h < 2; h++) out[b].scale[h][row] = halvedE4m3(p[2 * (b % 2) + h]);
      for (int j = 0; j < 4; j++) {
        const int shift = j / 2 * 4;
        const uint32_t first = word(codes, j % 2) >> shift & 0x0f0f0f0f;
        const uint32_t second = word(codes + 8, j % 2) >> shift & 0x0f0f0f0f;
        setWord(out[b].codes, 16 * j + row, first | second << 4);
      }
    }
  }
}

// Digits −1 … 1 of both ternary types; d is the block's end.
void packTernary(const FileType& type, const uint8_t* raw, size_t rowBytes, int rows, int cols, uint8_t* group) {
  GeneralBlock general;
  BlockTernary* out = reinterpret_cast<BlockTernary*>(group);
  for (int b = 0; b < cols / 256; b++) {
    for (int row = 0; row < rows; row++) {
      const uint8_t* p = raw + static_cast<size_t>(row) * rowBytes + static_cast<size_t>(b * type.blockBytes);
      type.decode(p, general);
      for (int8_t& code : general.codes) code = static_cast<int8_t>(code + 1);
      out[b].d[row] = short16(p + type.blockBytes - 2);
      for (int s = 0; s < 8; s++) {
        pairsOf(reinterpret_cast<const uint8_t*>(general.codes) + 32 * s, 0, row, out[b].sub[s].codes);
      }
    }
  }
}

template <typename Block, int Scales>
void packGeneral(const FileType& type, const uint8_t* raw, size_t rowBytes, int rows, int cols, uint8_t* group) {
  GeneralBlock general;
  for (int row = 0; row < rows; row++) {
    const uint8_t* p = raw + static_cast<size_t>(row) * rowBytes;
    Block* out = reinterpret_cast<Block*>(group);
    for (int k = 0; k < cols; k += type.blockCols, p += type.blockBytes) {
      type.decode(p, general);
      for (int b = 0; b < type.blockCols / 32; b++, out++) {
        float* scale = reinterpret_cast<float*>(out);
        for (int h = 0; h < Scales; h++) scale[16 * h + row] = general.scales[Scales * b + h];
        const uint8_t* codes = reinterpret_cast<const uint8_t*>(general.codes) + 32 * b;
        for (int j = 0; j < 8; j++) setWord(out->codes, 16 * j + row, word(codes, j));
      }
    }
  }
}

constexpr auto general16 = packGeneral<BlockGeneral16, 2>;
constexpr auto general32 = packGeneral<BlockGeneral32, 1>;

constexpr FileType kTypes[] = {
    {0, 1, 4, Format::F32, packPlain<uint32_t>},
    {1, 1, 2, Format::F16, packPlain<uint16_t>},
    {30, 1, 2, Format::BF16, packPlain<uint16_t>},
    {2, 32, 18, Format::Q4_0, packBlocks<BlockQ4_0>},
    {3, 32, 20, Format::Q4_1, packBlocks<BlockQ4_1>},
    {6, 32, 22, Format::Q5_0, packBlocks<BlockQ5_0>},
    {7, 32, 24, Format::Q5_1, packBlocks<BlockQ5_1>},
    {8, 32, 34, Format::Q8_0, packBlocks<BlockQ8_0>},
    {10, 256, 84, Format::Q2_K, packBlocks<BlockQ2_K>},
    {11, 256, 110, Format::Q3_K, packBlocks<BlockQ3_K>},
    {12, 256, 144, Format::Q4_K, packBlocks<BlockQ4_K>},
    {13, 256, 176, Format::Q5_K, packBlocks<BlockQ5_K>},
    {14, 256, 210, Format::Q6_K, packBlocks<BlockQ6_K>},
    {16, 256, 66, Format::General32, general32, decodeIQ2_XXS},
    {17, 256, 74, Format::General16, general16, decodeIQ2_XS},
    {18, 256, 98, Format::General32, general32, decodeIQ3_XXS},
    {19, 256, 50, Format::General32, general32, decodeIQ1_S},
    {20, 32, 18, Format::IQ4_NL, packBlocks<BlockIQ4_NL>},
    {21, 256, 110, Format::General32, general32, decodeIQ3_S},
    {22, 256, 82, Format::General16, general16, decodeIQ2_S},
    {23, 256, 136, Format::IQ4_XS, packBlocks<BlockIQ4_XS>},
    {29, 256, 56, Format::General16, general16, decodeIQ1_M},
    {34, 256, 54, Format::Ternary, packTernary, decodeTQ1_0},
    {35, 256, 66, Format::Ternary, packTernary, decodeTQ2_0},
    {39, 32, 17, Format::MXFP4, packBlocks<BlockMXFP4>},
    {40, 64, 36, Format::NVFP4, packNvfp4},
};

const FileType* fileType(int ggmlType) {
  for (const FileType& type : kTypes) {
    if (type.ggmlType == ggmlType) return &type;
  }
  return nullptr;
}

uint8_t* groupAt(const Matrix& w, int expert, int group) {
  return w.data + static_cast<size_t>(expert) * w.expertBytes + static_cast<size_t>(group) * w.groupBytes;
}

}  // namespace

bool packSupported(int ggmlType) { return fileType(ggmlType) != nullptr; }

Format packedFormat(int ggmlType) {
  const FileType* type = fileType(ggmlType);
  return type ? type->format : Format::Count;
}

int packedBlockCols(int ggmlType) {
  const FileType* type = fileType(ggmlType);
  return type ? type->blockCols : 1;
}

size_t rawRowBytes(int ggmlType, int cols) {
  const FileType* type = fileType(ggmlType);
  return type ? static_cast<size_t>(cols / type->blockCols) * static_cast<size_t>(type->blockBytes) : 0;
}

void packRows(int ggmlType, const uint8_t* raw, size_t rowBytes, int rows, Matrix& w, int expert, int firstRow) {
  const FileType* type = fileType(ggmlType);
  if (type == nullptr) return;
  for (int row = 0; row < rows; row += kGroupRows) {
    const int n = std::min(kGroupRows, rows - row);
    uint8_t* group = groupAt(w, expert, (firstRow + row) / kGroupRows);
    if (n < kGroupRows) std::memset(group, 0, w.groupBytes);
    type->pack(*type, raw + static_cast<size_t>(row) * rowBytes, rowBytes, n, w.cols, group);
  }
}

void packTransposed(int ggmlType, const uint8_t* raw, size_t rowBytes, int cols, Matrix& w, int expert, int firstCol) {
  const size_t size = ggmlType == 0 ? 4 : 2;
  for (int group = 0; group < groupsOf(w); group++) {
    const int first = group * kGroupRows, n = std::min(kGroupRows, w.rows - first);
    for (int k = 0; k < cols; k++) {
      uint8_t* out = groupAt(w, expert, group) + size * kGroupRows * static_cast<size_t>(firstCol + k);
      std::memcpy(out, raw + static_cast<size_t>(k) * rowBytes + size * static_cast<size_t>(first),
                  size * static_cast<size_t>(n));
      std::memset(out + size * static_cast<size_t>(n), 0, size * static_cast<size_t>(kGroupRows - n));
    }
  }
}

uint64_t packFingerprint() {
  constexpr int kCols = 256;
  alignas(64) uint8_t raw[kGroupRows * kCols * sizeof(float)];
  alignas(64) uint8_t group[sizeof raw];
  uint32_t random = 1;
  for (uint8_t& byte : raw) byte = static_cast<uint8_t>((random = random * 1664525 + 1013904223) >> 24);
  uint64_t sums[2 * (sizeof kTypes / sizeof kTypes[0])] = {};
  size_t count = 0;
  for (const FileType& type : kTypes) {
    const size_t bytes = packedGroupBytes(type.format, kCols);
    Matrix w{type.format, kGroupRows, kCols, 1, bytes, bytes, group};
    packRows(type.ggmlType, raw, rawRowBytes(type.ggmlType, kCols), kGroupRows, w, 0, 0);
    sums[count++] = static_cast<uint64_t>(type.format);
    sums[count++] = checksum(group, bytes);
  }
  return checksum(reinterpret_cast<const uint8_t*>(sums), sizeof sums);
}

}  // namespace millrace
