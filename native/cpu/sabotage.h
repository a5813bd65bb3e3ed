// The planted fault of `check:exact --sabotage` (setSabotage in kernels.h): while it is on, the linear kernel for few
// rows adds the blocks of K backwards from row 3 on. Read once a call.
#pragma once
#include <atomic>

namespace millrace {

extern std::atomic<bool> sabotage;

}  // namespace millrace
