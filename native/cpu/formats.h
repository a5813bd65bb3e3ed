// Weight formats as the kernels read them: packed once at load, 16 rows interleaved, so that one vector holds the
// same columns of 16 rows. What the bytes of a file mean stands in pack.cpp; how a kernel multiplies them stands in
// isa/linear.cpp. Rows are padded to a multiple of 16 with zero rows; padded rows are never written to an output.
#pragma once
#include <cstddef>
#include <cstdint>

namespace millrace {

// Every format, and the columns of its block (below, struct Block…). From this table follow the enumeration, the names,
// the sizes, and which code serves a format. Kernels of the plain formats read float activations, of the packed ones
// int8 (Rows8).
#define MILLRACE_PLAIN_FORMATS(X) \
  X(F32, 1)                       \
  X(F16, 1)                       \
  X(BF16, 1)
#define MILLRACE_PACKED_FORMATS(X) \
  X(Q4_0, 32)                      \
  X(Q4_1, 32)                      \
  X(Q5_0, 32)                      \
  X(Q5_1, 32)                      \
  X(Q8_0, 32)                      \
  X(Q2_K, 256)                     \
  X(Q3_K, 256)                     \
  X(Q4_K, 256)                     \
  X(Q5_K, 256)                     \
  X(Q6_K, 256)                     \
  X(IQ4_NL, 32)                    \
  X(IQ4_XS, 256)                   \
  X(MXFP4, 32)                     \
  X(NVFP4, 32)                     \
  X(Ternary, 256)                  \
  X(General16, 32)                 \
  X(General32, 32)
#define MILLRACE_FORMATS(X) MILLRACE_PLAIN_FORMATS(X) MILLRACE_PACKED_FORMATS(X)

enum class Format : int32_t {
#define MILLRACE_NAME(name, cols) name,
  MILLRACE_FORMATS(MILLRACE_NAME)
#undef MILLRACE_NAME
      Count,
};

// Rows interleaved in the packed layout.
constexpr int kGroupRows = 16;
// Columns that share an activation scale.
constexpr int kActBlock = 32;

// --- Packed blocks ------------------------------------------------------------------------------------------------
// A group of 16 rows is a run of blocks along K: of one column (plain floats), of 32, or of 256 (the K formats, in 8 of
// their `Sub`). Codes of 8 bits: byte 64·j + 4·row + c is column 4·j + c,
// j < 8. Of 4 bits: the low half of byte 64·j + 4·row + c is column 4·j + c, the high half column 16 + 4·j + c, j < 4.
// Bits (`high` of the formats of five bits, and of Q3_K): bit j of byte 4·row + c is that of column 4·j + c. Pairs of
// bits
// (`high` of Q6_K, `codes` of Q2_K, Q3_K and Ternary): bits 2j, 2j + 1 of byte 64·h + 4·row + c are those of column
// 16·h + 4·j + c. A weight is scale · (code − offset) + min; where codes index a table (levels.h), its level instead.

struct BlockF32 {
  float value[16];
};
struct BlockF16 {
  uint16_t value[16];
};
struct BlockBF16 {
  uint16_t value[16];
};
struct BlockQ4_0 {  // offset 8
  uint16_t scale[16];
  uint8_t codes[256];
};
struct BlockQ4_1 {
  uint16_t scale[16], min[16];
  uint8_t codes[256];
};
struct BlockQ5_0 {  // offset 16
  uint16_t scale[16];
  uint8_t high[64];
  uint8_t codes[256];
};
struct BlockQ5_1 {
  uint16_t scale[16], min[16];
  uint8_t high[64];
  uint8_t codes[256];
};
struct BlockQ8_0 {
  uint16_t scale[16];
  uint8_t codes[512];
};
struct BlockQ2_K {  // scale = d · scale, min = minusDmin · min, for each 16 columns
  struct Sub {
    int8_t scale[2][16], min[2][16];
    uint8_t codes[128];
  };
  uint16_t d[16], minusDmin[16];
  Sub sub[8];
};
struct BlockQ3_K {  // offset 4; scale = d · scale, one for each 16 columns
  struct Sub {
    int8_t scale[2][16];
    uint8_t high[64];
    uint8_t codes[128];
  };
  uint16_t d[16];
  Sub sub[8];
};
struct BlockQ4_K {  // scale = d · scale, min = minusDmin · min
  struct Sub {
    int8_t scale[16], min[16];
    uint8_t codes[256];
  };
  uint16_t d[16], minusDmin[16];
  Sub sub[8];
};
struct BlockQ5_K {
  struct Sub {
    int8_t scale[16], min[16];
    uint8_t high[64];
    uint8_t codes[256];
  };
  uint16_t d[16], minusDmin[16];
  Sub sub[8];
};
struct BlockQ6_K {  // offset 32; scale = d · scale, one for each 16 columns
  struct Sub {
    int8_t scale[2][16];
    uint8_t high[128];
    uint8_t codes[256];
  };
  uint16_t d[16];
  Sub sub[8];
};
struct BlockIQ4_NL {  // kIq4Levels
  uint16_t scale[16];
  uint8_t codes[256];
};
struct BlockIQ4_XS {  // kIq4Levels; scale = d · scale
  struct Sub {
    int8_t scale[16];
    uint8_t codes[256];
  };
  uint16_t d[16];
  Sub sub[8];
};
struct BlockMXFP4 {  // kFp4Levels; the scale, a power of two, is a bfloat16
  uint16_t scale[16];
  uint8_t codes[256];
};
struct BlockNVFP4 {  // kFp4Levels; a scale for each 16 columns
  uint16_t scale[2][16];
  uint8_t codes[256];
};
struct BlockTernary {  // offset 1: TQ1_0 and TQ2_0
  struct Sub {
    uint8_t codes[128];
  };
  uint16_t d[16];
  Sub sub[8];
};
// Every other file format, losslessly: int8 codes, a float scale for 16 or 32 columns.
struct BlockGeneral16 {
  float scale[2][16];
  uint8_t codes[512];
};
struct BlockGeneral32 {
  float scale[16];
  uint8_t codes[512];
};

struct FormatInfo {
  const char* name;
  int blockCols;
  size_t blockBytes;
};
constexpr FormatInfo kFormats[] = {
#define MILLRACE_INFO(name, cols) {#name, cols, sizeof(Block##name)},
    MILLRACE_FORMATS(MILLRACE_INFO)
#undef MILLRACE_INFO
};
constexpr const FormatInfo& infoOf(Format f) { return kFormats[static_cast<int>(f)]; }
inline size_t packedGroupBytes(Format f, int cols) {
  return static_cast<size_t>(cols / infoOf(f).blockCols) * infoOf(f).blockBytes;
}

// A packed matrix [experts, rows, cols]; a plain matrix has experts = 1.
struct Matrix {
  Format format;
  int32_t rows;  // N of one expert
  int32_t cols;  // K
  int32_t experts;
  size_t groupBytes;   // bytes of one group of 16 rows
  size_t expertBytes;  // groupBytes · ceil(rows / 16)
  uint8_t* data;       // 64-byte aligned
};

inline int groupsOf(const Matrix& w) { return (w.rows + kGroupRows - 1) / kGroupRows; }
// Do kernels of this format read int8 activations (Rows8), or float ones?
inline bool readsInt8(Format f) { return infoOf(f).blockCols > 1; }

// Activations as int8: codes [T, K] in −127 … 127, one scale for 32 columns, sums of the codes of 16 columns.
struct Rows8 {
  int8_t* codes;  // [T, K]
  float* scales;  // [T, K/32]
  int32_t* sums;  // [T, K/16]
};

}  // namespace millrace
