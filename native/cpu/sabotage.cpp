#include "sabotage.h"

#ifdef MILLRACE_SABOTAGE

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace millrace {

namespace {

std::atomic<Fault> chosen{Fault::None};
// In the order of Fault.
constexpr const char* kNames[] = {"",      "linear",  "references", "moves",    "listed",
                                  "masks", "commits", "order",      "adapters", "borders"};

}  // namespace

bool sabotaged(Fault fault) { return chosen.load(std::memory_order_relaxed) == fault; }

bool chooseFault() {
  const char* wanted = getenv("MILLRACE_SABOTAGE");
  int index = 0;
  for (const char* name : kNames) {
    if (strcmp(wanted ? wanted : "", name) == 0) {
      chosen.store(static_cast<Fault>(index), std::memory_order_relaxed);
      return true;
    }
    index++;
  }
  return false;
}

}  // namespace millrace

#endif
