// Planted faults, so that a check can show that it finds them: only in the build variant "sabotage"
// (-DMILLRACE_SABOTAGE), where MILLRACE_SABOTAGE in the environment names one when a team is created. In the product
// `sabotaged` is the constant false. The fault in the linear kernel shows from row 3 of a call on.
#pragma once

namespace millrace {

enum class Fault { None, Linear, References, Moves, Listed, Masks, Commits, Order, Adapters, Borders };

#ifdef MILLRACE_SABOTAGE
bool sabotaged(Fault fault);
// Takes the environment's; false where there is no fault of that name.
bool chooseFault();
#else
constexpr bool sabotaged(Fault) { return false; }
#endif

}  // namespace millrace
