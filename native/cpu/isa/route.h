// The kernel of isa/route.cpp; what it does stands in kernels.h, at struct Kernels.
#pragma once
#include "kernels.h"

namespace millrace::MILLRACE_ISA {

void route(const RouteArgs&, int rowBegin, int rowEnd);

}  // namespace millrace::MILLRACE_ISA
