// From a file's bytes to the packed layout of formats.h: every ggml type that src/artifact/dtype.ts names. Formats with
// a kernel of their own keep their codes and scales; all others become a General format, losslessly. Runs once at load,
// part by part as the file is read; compiled once, for all ISAs.
#pragma once
#include <cstddef>
#include <cstdint>

#include "formats.h"

namespace millrace {

bool packSupported(int ggmlType);
// Only for supported types, as all that follow.
Format packedFormat(int ggmlType);
// Columns must be a multiple of this (1 for plain floats).
int packedBlockCols(int ggmlType);
// Bytes of one row in a file.
size_t rawRowBytes(int ggmlType, int cols);

// `rows` rows of raw bytes, rowBytes apart, become the rows firstRow … of an expert. firstRow: a multiple of 16; rows
// too, but for the last part of an expert, whose missing rows become zeros.
void packRows(int ggmlType, const uint8_t* raw, size_t rowBytes, int rows, Matrix& w, int expert, int firstRow);
// The same from a transposed file [K, N] of F32, F16 or BF16: `cols` runs of N values, rowBytes apart, become the
// columns firstCol … of an expert, all its rows at once.
void packTransposed(int ggmlType, const uint8_t* raw, size_t rowBytes, int cols, Matrix& w, int expert, int firstCol);

// A number that changes with the bytes that any type is packed to: who keeps packed weights keeps it with them.
uint64_t packFingerprint();

}  // namespace millrace
