// The scalar kernels, with the linear kernels of avx512amx over tiles that are emulated: AMX's arithmetic on every
// machine.
#pragma once
#include "kernels.h"

namespace millrace::test {

const Kernels& emulatedTiles();

}  // namespace millrace::test
