// The kernels of isa/recur.cpp; what each does stands in kernels.h, at struct Kernels.
#pragma once
#include "kernels.h"

namespace millrace::MILLRACE_ISA {

void columnFactors(const float* weight, int count, ColumnFactor factor, float* out);
void selectiveAdvance(const RecurArgs& args, const float* const* places, int count, float* state);
void selectiveRead(const RecurArgs& args, const float* state, const float* c, float* y);
void wkvBegin(float* state);
void wkvAdvance(const RecurArgs& args, const float* const* places, int count, float* state);
void wkvRead(const RecurArgs& args, const float* state, const float* own, float* y);
void matrixAdvance(const MatrixScanArgs& args, const float* const* places, int count, float* state);
void matrixRead(const MatrixScanArgs& args, const float* state, const float* r, const float* own, float* y);

}  // namespace millrace::MILLRACE_ISA
