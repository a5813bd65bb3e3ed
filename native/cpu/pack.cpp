// The native formats keep the file's codes and scales and only move them: a 32-bit word of four columns at a time, so
// that loading runs at memory speed. A K format's scales are unfolded from their 6 bits to bytes.
#include "pack.h"

#include <algorithm>
#include <cstring>

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
    out.sub[s].min[row] = static_cast<int8_t>(-(b & 63));
    out.sub[s + 4].scale[row] = static_cast<int8_t>((c & 15) | (a >> 6 << 4));
    out.sub[s + 4].min[row] = static_cast<int8_t>(-((c >> 4) | (b >> 6 << 4)));
  }
}
// d, dmin, 12 bytes of scales, 128 of nibbles (32 bytes hold 64 weights).
void packBlock(const uint8_t* p, int row, BlockQ4_K& out) {
  out.d[row] = short16(p);
  out.dmin[row] = short16(p + 2);
  packScales(p + 4, row, out);
  for (int s = 0; s < 8; s++) nibblesOf(p + 16 + 32 * (s / 2), s % 2 * 4, row, out.sub[s].codes);
}
// As Q4_K, with 32 bytes of fifth bits before the nibbles.
void packBlock(const uint8_t* p, int row, BlockQ5_K& out) {
  out.d[row] = short16(p);
  out.dmin[row] = short16(p + 2);
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

// Rows of raw blocks `blockBytes` long, `rows` ≤ 16 of them, into a group.
template <typename Block>
void packGroup(const uint8_t* raw, size_t rowBytes, int rows, int blocks, size_t blockBytes, uint8_t* group) {
  Block* out = reinterpret_cast<Block*>(group);
  for (int b = 0; b < blocks; b++) {
    for (int row = 0; row < rows; row++) {
      packBlock(raw + static_cast<size_t>(row) * rowBytes + static_cast<size_t>(b) * blockBytes, row, out[b]);
    }
  }
}

// The same by way of the general layout, for all that have no format of their own.
template <typename Block, int Scales, bool Min>
void packGeneral(const GeneralType& type, const uint8_t* raw, size_t rowBytes, int rows, int cols, uint8_t* group) {
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

template <typename Value>
void packPlain(const uint8_t* raw, size_t rowBytes, int rows, int cols, uint8_t* group) {
  Value* out = reinterpret_cast<Value*>(group);
  for (int k = 0; k < cols; k++) {
    for (int row = 0; row < rows; row++) {
      std::memcpy(out + kGroupRows * k + row,
                  raw + static_cast<size_t>(row) * rowBytes + sizeof(Value) * static_cast<size_t>(k), sizeof(Value));
    }
  }
}

struct NativeType {
  int ggmlType;
  int blockCols;
  int blockBytes;
  Format format;
};
constexpr NativeType kNative[] = {
    {0, 1, 4, Format::F32},       {1, 1, 2, Format::F16},       {30, 1, 2, Format::BF16},
    {2, 32, 18, Format::Q4_0},    {3, 32, 20, Format::Q4_1},    {8, 32, 34, Format::Q8_0},
    {12, 256, 144, Format::Q4_K}, {13, 256, 176, Format::Q5_K}, {14, 256, 210, Format::Q6_K},
};

const NativeType* nativeType(int ggmlType) {
  for (const NativeType& type : kNative) {
    if (type.ggmlType == ggmlType) return &type;
  }
  return nullptr;
}

void packOneGroup(int ggmlType, const uint8_t* raw, size_t rowBytes, int rows, int cols, uint8_t* group) {
  if (const GeneralType* type = generalType(ggmlType)) {
    switch (packedFormat(ggmlType)) {
      case Format::General16:
        return packGeneral<BlockGeneral16, 2, false>(*type, raw, rowBytes, rows, cols, group);
      case Format::General16Min:
        return packGeneral<BlockGeneral16Min, 2, true>(*type, raw, rowBytes, rows, cols, group);
      case Format::General32:
        return packGeneral<BlockGeneral32, 1, false>(*type, raw, rowBytes, rows, cols, group);
      default:
        return packGeneral<BlockGeneral32Min, 1, true>(*type, raw, rowBytes, rows, cols, group);
    }
  }
  switch (packedFormat(ggmlType)) {
    case Format::F32:
      return packPlain<uint32_t>(raw, rowBytes, rows, cols, group);
    case Format::F16:
    case Format::BF16:
      return packPlain<uint16_t>(raw, rowBytes, rows, cols, group);
    case Format::Q4_0:
      return packGroup<BlockQ4_0>(raw, rowBytes, rows, cols / 32, 18, group);
    case Format::Q4_1:
      return packGroup<BlockQ4_1>(raw, rowBytes, rows, cols / 32, 20, group);
    case Format::Q8_0:
      return packGroup<BlockQ8_0>(raw, rowBytes, rows, cols / 32, 34, group);
    case Format::Q4_K:
      return packGroup<BlockQ4_K>(raw, rowBytes, rows, cols / 256, 144, group);
    case Format::Q5_K:
      return packGroup<BlockQ5_K>(raw, rowBytes, rows, cols / 256, 176, group);
    case Format::Q6_K:
      return packGroup<BlockQ6_K>(raw, rowBytes, rows, cols / 256, 210, group);
    default:
      return;
  }
}

uint8_t* groupAt(const Matrix& w, int expert, int group) {
  return w.data + static_cast<size_t>(expert) * w.expertBytes + static_cast<size_t>(group) * w.groupBytes;
}

}  // namespace

bool packSupported(int ggmlType) { return nativeType(ggmlType) != nullptr || generalType(ggmlType) != nullptr; }

Format packedFormat(int ggmlType) {
  if (const NativeType* native = nativeType(ggmlType)) return native->format;
  const GeneralType* type = generalType(ggmlType);
  if (type == nullptr) return Format::Count;
  if (type->groupCols == 16) return type->hasMin ? Format::General16Min : Format::General16;
  return type->hasMin ? Format::General32Min : Format::General32;
}

int packedBlockCols(int ggmlType) {
  if (const NativeType* native = nativeType(ggmlType)) return native->blockCols;
  const GeneralType* type = generalType(ggmlType);
  return type ? type->blockCols : 1;
}

size_t rawRowBytes(int ggmlType, int cols) {
  const size_t n = static_cast<size_t>(cols);
  if (const NativeType* native = nativeType(ggmlType)) {
    return n / static_cast<size_t>(native->blockCols) * static_cast<size_t>(native->blockBytes);
  }
  const GeneralType* type = generalType(ggmlType);
  return type ? n / static_cast<size_t>(type->blockCols) * static_cast<size_t>(type->blockBytes) : 0;
}

size_t packedGroupBytes(Format format, int cols) {
  const size_t n = static_cast<size_t>(cols);
  switch (format) {
    case Format::F32:
      return n * kGroupRows * 4;
    case Format::F16:
    case Format::BF16:
      return n * kGroupRows * 2;
    case Format::Q4_0:
      return n / 32 * sizeof(BlockQ4_0);
    case Format::Q4_1:
      return n / 32 * sizeof(BlockQ4_1);
    case Format::Q8_0:
      return n / 32 * sizeof(BlockQ8_0);
    case Format::Q4_K:
      return n / 256 * sizeof(BlockQ4_K);
    case Format::Q5_K:
      return n / 256 * sizeof(BlockQ5_K);
    case Format::Q6_K:
      return n / 256 * sizeof(BlockQ6_K);
    case Format::General16:
      return n / 32 * sizeof(BlockGeneral16);
    case Format::General16Min:
      return n / 32 * sizeof(BlockGeneral16Min);
    case Format::General32:
      return n / 32 * sizeof(BlockGeneral32);
    case Format::General32Min:
      return n / 32 * sizeof(BlockGeneral32Min);
    case Format::Count:
      break;
  }
  return 0;
}

void packRows(int ggmlType, const uint8_t* raw, size_t rowBytes, int rows, Matrix& w, int expert, int firstRow) {
  for (int row = 0; row < rows; row += kGroupRows) {
    const int n = std::min(kGroupRows, rows - row);
    uint8_t* group = groupAt(w, expert, (firstRow + row) / kGroupRows);
    if (n < kGroupRows) std::memset(group, 0, w.groupBytes);
    packOneGroup(ggmlType, raw + static_cast<size_t>(row) * rowBytes, rowBytes, n, w.cols, group);
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

}  // namespace millrace
