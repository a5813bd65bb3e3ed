// The kernels of isa/sample.cpp; what each does stands in kernels.h, at struct Kernels.
#pragma once
#include "kernels.h"

namespace millrace::MILLRACE_ISA {

void sample(SampleArgs&);
void logprob(LogprobArgs&);

}  // namespace millrace::MILLRACE_ISA
