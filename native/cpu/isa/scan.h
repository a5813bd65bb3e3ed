// The kernels of isa/scan.cpp; what each does stands in kernels.h, at struct Kernels.
#pragma once
#include "kernels.h"

namespace millrace::MILLRACE_ISA {

void conv(const float* const* x, int taps, const float* weight, const float* bias, int cols, float* y, size_t ldy,
          int rows);
void scanRow(const ScanArgs& args, const ScanRow& row);
void scanAdvance(const ScanArgs& args, float* next);

}  // namespace millrace::MILLRACE_ISA
