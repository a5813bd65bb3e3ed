// What a processor can do, for kernels to be held against: one table an ISA beside that of kernels.h, filled by
// isa/probe.cpp.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels.h"

namespace millrace {

struct Probes {
  // Reads all bytes once; what comes back only depends on them.
  float (*read)(const uint8_t* p, size_t bytes);
  // Rounds of the instruction that multiplies codes of so many bits (4 or 8), and of fused multiply-adds, on registers:
  // the multiply-accumulates that were done. 0: there is no such instruction.
  double (*products)(int bits, int rounds);
  double (*fmas)(int rounds);
};

// Those of the ISA of these kernels.
const Probes& probesOf(const Kernels&);

}  // namespace millrace
