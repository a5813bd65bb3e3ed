#define MILLRACE_ISA emulated
#define MILLRACE_EMULATED_TILES
#include "emulated-tiles.h"

#include "isa/linear-float.cpp"
#include "isa/linear-int.cpp"
#include "isa/linear-tiles.cpp"
#include "isa/linear.cpp"

namespace millrace::test {

const Kernels& emulatedTiles() {
  static const Kernels kernels = [] {
    Kernels all = *selectKernels("scalar");
    all.name = "emulated tiles";
    all.linear = emulated::linear;
    all.linearScratchBytes = emulated::linearScratchBytes;
    all.linearRows = emulated::linearRows;
    return all;
  }();
  return kernels;
}

}  // namespace millrace::test
