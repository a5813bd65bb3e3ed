// The kernels of isa/elementwise.cpp; what each does stands in kernels.h, at struct Kernels.
#pragma once
#include "kernels.h"

namespace millrace::MILLRACE_ISA {

void rmsNorm(const float* x, size_t ldx, float* y, size_t ldy, int cols, int groupSize, const float* weight,
             float weightOffset, float eps, int rowBegin, int rowEnd);
void layerNorm(const float* x, size_t ldx, float* y, size_t ldy, int cols, const float* weight, float weightOffset,
               const float* bias, float eps, int rowBegin, int rowEnd);
void ropeTable(const int32_t* positions, const float* frequencies, int n, float magnitude, float* cos, float* sin,
               int rowBegin, int rowEnd);
void rope(const float* x, size_t ldx, float* y, size_t ldy, int heads, int headDim, int n, bool interleaved,
          const float* cos, const float* sin, int rowBegin, int rowEnd);
void gate(const float* g, size_t ldg, const float* u, size_t ldu, float* y, size_t ldy, int cols, Activation,
          int rowBegin, int rowEnd);
void gatePairs(const float* x, size_t ldx, float* y, size_t ldy, int cols, Activation, int rowBegin, int rowEnd);
void activate(const float* x, size_t ldx, float* y, size_t ldy, int cols, Activation, int rowBegin, int rowEnd);
void add(const float* a, size_t lda, const float* b, size_t ldb, float* y, size_t ldy, int cols, int rowBegin,
         int rowEnd);
void scale(const float* x, size_t ldx, float* y, size_t ldy, int cols, float factor, int rowBegin, int rowEnd);
void clamp(const float* x, size_t ldx, float* y, size_t ldy, int cols, float limit, int rowBegin, int rowEnd);
void softcap(const float* x, size_t ldx, float* y, size_t ldy, int cols, float cap, int rowBegin, int rowEnd);
void columnScale(const float* x, size_t ldx, float* y, size_t ldy, int cols, const float* weight, int weights,
                 ColumnFactor factor, int rowBegin, int rowEnd);

}  // namespace millrace::MILLRACE_ISA
