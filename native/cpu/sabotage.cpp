#include "sabotage.h"

#include "kernels.h"

namespace millrace {

std::atomic<bool> sabotage{false};

void setSabotage(bool on) { sabotage.store(on, std::memory_order_relaxed); }

}  // namespace millrace
