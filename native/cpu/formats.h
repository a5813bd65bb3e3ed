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
  int8_t* codes;   // [T, K]
  float* scales;   // [T, K/32]
  int32_t* sums;   // [T, K/16]
};

}  // namespace millrace
