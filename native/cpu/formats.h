// Weight formats as the kernels read them: packed once at load, 16 rows interleaved, so that one vector holds the
// same columns of 16 rows. What the bytes of a file mean stands in pack.cpp; how a kernel multiplies them stands in
// isa/linear.cpp. Rows are padded to a multiple of 16 with zero rows; padded rows are never written to an output.
#pragma once
#include <cstddef>
#include <cstdint>

namespace millrace {

enum class Format : int32_t {
  F32,
  F16,
  BF16,
  Q4_0,
  Q4_1,
  Q8_0,
  Q4_K,
  Q5_K,
  Q6_K,
  // Every other file format, losslessly: int8 codes, f32 scale per 16 or 32 columns, f32 minimum where needed.
  General16,
  General16Min,
  General32,
  General32Min,
  Count,
};

// Rows interleaved in the packed layout.
constexpr int kGroupRows = 16;
// Columns that share an activation scale.
constexpr int kActBlock = 32;

// --- Packed blocks ------------------------------------------------------------------------------------------------
// A group of 16 rows is a run of blocks along K. F32, F16, BF16: [K][16] values. The others: the structs below, 32
// columns each (the K formats: 256, in 8 of their `Sub`). Codes of 8 bits: byte 64·j + 4·row + c is column 4·j + c,
// j < 8. Of 4 bits: the low half of byte 64·j + 4·row + c is column 4·j + c, the high half column 16 + 4·j + c, j < 4.
// `high` of Q5_K: bit j of byte 4·row + c is the fifth bit of column 4·j + c. Of Q6_K: bits 2j, 2j + 1 of byte
// 64·h + 4·row + c are the upper two of column 16·h + 4·j + c. A weight is scale · (code − offset) + min.

struct BlockQ4_0 {  // offset 8
  uint16_t scale[16];
  uint8_t codes[256];
};
struct BlockQ4_1 {
  uint16_t scale[16], min[16];
  uint8_t codes[256];
};
struct BlockQ8_0 {
  uint16_t scale[16];
  uint8_t codes[512];
};
struct BlockQ4_K {  // scale = d · scale, min = dmin · min, with min ≤ 0
  struct Sub {
    int8_t scale[16], min[16];
    uint8_t codes[256];
  };
  uint16_t d[16], dmin[16];
  Sub sub[8];
};
struct BlockQ5_K {
  struct Sub {
    int8_t scale[16], min[16];
    uint8_t high[64];
    uint8_t codes[256];
  };
  uint16_t d[16], dmin[16];
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
struct BlockGeneral16 {
  float scale[2][16];
  uint8_t codes[512];
};
struct BlockGeneral16Min {
  float scale[2][16], min[2][16];
  uint8_t codes[512];
};
struct BlockGeneral32 {
  float scale[16];
  uint8_t codes[512];
};
struct BlockGeneral32Min {
  float scale[16], min[16];
  uint8_t codes[512];
};

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
inline bool readsInt8(Format f) { return f >= Format::Q4_0; }

// Activations as int8: codes [T, K] in −127 … 127, one scale for 32 columns, sums of the codes of 16 columns.
struct Rows8 {
  int8_t* codes;  // [T, K]
  float* scales;  // [T, K/32]
  int32_t* sums;  // [T, K/16]
};

}  // namespace millrace
