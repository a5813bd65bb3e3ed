// What the sources of the addon share; see addon.cpp.
#pragma once
#include <memory>

#include "js.h"
#include "program.h"

namespace millrace {

// A team and the kernels that it runs.
struct Computer {
  std::shared_ptr<Team> team;
  const Kernels* kernels = nullptr;
  std::shared_ptr<Program::Counters> counters;
};

napi_value compileProgram(napi_env env, napi_callback_info info);
napi_value openSampler(napi_env env, napi_callback_info info);
napi_value closeSampler(napi_env env, napi_callback_info info);
napi_value runProgram(napi_env env, napi_callback_info info);
napi_value programResults(napi_env env, napi_callback_info info);
napi_value programTimings(napi_env env, napi_callback_info info);

}  // namespace millrace
