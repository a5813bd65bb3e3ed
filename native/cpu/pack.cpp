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

// One row's raw block into its place among the 16 rows.
void packBlock(const uint8_t* p, int row, BlockQ4_0& out) {
  out.scale[row] = short16(p);
  for (int j = 0; j < 4; j++) setWord(out.codes, 16 * j + row, word(p + 2, j));
}
void packBlock(const uint8_t* p, int row, BlockQ4_1& out) {
  out.scale[row] = short16(p);
  out.min[row] = short16(p + 2);
  for (int j = 0; j < 4; j++) setWord(out.codes, 16 * j + row, word(p + 4, j));
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
    uint32_t high = 0;
    for (int j = 0; j < 8; j++) high |= (word(p + 16, j) >> s & 0x01010101) << j;
    setWord(out.sub[s].high, row, high);
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
    for (int h = 0; h < 2; h++) {
      uint32_t high = 0;
      for (int j = 0; j < 4; j++)
        high |= (word(p + 128 + 32 * (s / 4), 4 * h + j) >> (s % 4 * 2) & 0x03030303) << (2 * j);
      setWord(sub.high, 16 * h + row, high);
      sub.scale[h][row] = static_cast<int8_t>(p[192 + 2 * s + h]);
    }
  }
}

// One file type: its geometry, the format that it becomes, and how `rows` ≤ 16 of its rows become a group.
struct FileType {
  int ggmlType;
  int blockCols;
  int blockBytes;
  Format format;
  void (*pack)(const FileType&, const uint8_t* raw, size_t rowBytes, int rows, int cols, uint8_t* group);
  Decode decode = nullptr;  // of those that become a General format
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

template <typename Block, int Scales, bool Min>
void packGeneral(const FileType& type, const uint8_t* raw, size_t rowBytes, int rows, int cols, uint8_t* group) {
  GeneralBlock general;
  for (int row = 0; row < rows; row++) {
    const uint8_t* p = raw + static_cast<size_t>(row) * rowBytes;
    Block* out = reinterpret_cast<Block*>(group);
    for (int k = 0; k < cols; k += type.blockCols, p += type.blockBytes) {
      type.decode(p, general);
      for (int b = 0; b < type.blockCols / 32; b++, out++) {
        float* scale = reinterpret_cast<float*>(out);
        for (int h = 0; h < Scales; h++) {
          scale[16 * h + row] = general.scales[Scales * b + h];
          if constexpr (Min) scale[16 * (Scales + h) + row] = general.mins[Scales * b + h];
        }
        const uint8_t* codes = reinterpret_cast<const uint8_t*>(general.codes) + 32 * b;
        for (int j = 0; j < 8; j++) setWord(out->codes, 16 * j + row, word(codes, j));
      }
    }
  }
}

constexpr auto general16 = packGeneral<BlockGeneral16, 2, false>;
constexpr auto general16Min = packGeneral<BlockGeneral16Min, 2, true>;
constexpr auto general32 = packGeneral<BlockGeneral32, 1, false>;
constexpr auto general32Min = packGeneral<BlockGeneral32Min, 1, true>;

constexpr FileType kTypes[] = {
    {0, 1, 4, Format::F32, packPlain<uint32_t>},
    {1, 1, 2, Format::F16, packPlain<uint16_t>},
    {30, 1, 2, Format::BF16, packPlain<uint16_t>},
    {2, 32, 18, Format::Q4_0, packBlocks<BlockQ4_0>},
    {3, 32, 20, Format::Q4_1, packBlocks<BlockQ4_1>},
    {6, 32, 22, Format::General32, general32, decodeQ5_0},
    {7, 32, 24, Format::General32Min, general32Min, decodeQ5_1},
    {8, 32, 34, Format::Q8_0, packBlocks<BlockQ8_0>},
    {10, 256, 84, Format::General16Min, general16Min, decodeQ2_K},
    {11, 256, 110, Format::General16, general16, decodeQ3_K},
    {12, 256, 144, Format::Q4_K, packBlocks<BlockQ4_K>},
    {13, 256, 176, Format::Q5_K, packBlocks<BlockQ5_K>},
    {14, 256, 210, Format::Q6_K, packBlocks<BlockQ6_K>},
    {16, 256, 66, Format::General32, general32, decodeIQ2_XXS},
    {17, 256, 74, Format::General16, general16, decodeIQ2_XS},
    {18, 256, 98, Format::General32, general32, decodeIQ3_XXS},
    {19, 256, 50, Format::General32, general32, decodeIQ1_S},
    {20, 32, 18, Format::General32, general32, decodeIQ4_NL},
    {21, 256, 110, Format::General32, general32, decodeIQ3_S},
    {22, 256, 82, Format::General16, general16, decodeIQ2_S},
    {23, 256, 136, Format::General32, general32, decodeIQ4_XS},
    {29, 256, 56, Format::General16, general16, decodeIQ1_M},
    {34, 256, 54, Format::General32, general32, decodeTQ1_0},
    {35, 256, 66, Format::General32, general32, decodeTQ2_0},
    {39, 32, 17, Format::General32, general32, decodeMXFP4},
    {40, 64, 36, Format::General16, general16, decodeNVFP4},
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
