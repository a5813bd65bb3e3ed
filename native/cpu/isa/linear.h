// The kernels of isa/linear*.cpp and isa/quantize.cpp; what each does stands in kernels.h, at struct Kernels.
#pragma once
#include "kernels.h"

namespace millrace::MILLRACE_ISA {

void linear(const LinearArgs&, int groupBegin, int groupEnd, uint8_t* scratch);
size_t linearScratchBytes(const Matrix&, int maxRows);
int linearRows(const Matrix&);
// The same for the formats that read int8 activations (linear-int.cpp), and for plain floats (linear-float.cpp).
void linearInt(const LinearArgs&, int groupBegin, int groupEnd, uint8_t* scratch);
size_t linearIntScratchBytes(const Matrix&, int maxRows);
// For many rows of those, the same bits: on AVX-512 (linear-wide.cpp), on AMX (linear-tiles.cpp).
void linearWide(const LinearArgs&, int groupBegin, int groupEnd, uint8_t* scratch);
size_t linearWideScratchBytes(const Matrix&, int maxRows);
void linearTiles(const LinearArgs&, int groupBegin, int groupEnd, uint8_t* scratch);
size_t linearTilesScratchBytes(const Matrix&, int maxRows);
void linearFloat(const LinearArgs&, int groupBegin, int groupEnd, uint8_t* scratch);
size_t linearFloatScratchBytes(const Matrix&, int maxRows);
void quantizeRows(const float* x, size_t ldx, int cols, Rows8 out, int rowBegin, int rowEnd);
void dequantizeRow(const Matrix&, int expert, int n, float scale, float* out);

}  // namespace millrace::MILLRACE_ISA
