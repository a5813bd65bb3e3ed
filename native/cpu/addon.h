// What the sources of the addon share; see addon.cpp.
#pragma once
#include <memory>

#include "js.h"
#include "program.h"

namespace millrace {

// A team and the kernels that it runs.
struct Computer {
  std::shared_ptr<EffectQueue> queue;
  const Kernels* kernels = nullptr;
  std::shared_ptr<Counters> counters;

  std::shared_ptr<Team> team() const { return {queue, &queue->team()}; }
};

napi_value matrixLayout(napi_env env, napi_callback_info info);
napi_value createWeights(napi_env env, napi_callback_info info);
napi_value addMatrix(napi_env env, napi_callback_info info);
napi_value addVector(napi_env env, napi_callback_info info);
napi_value load(napi_env env, napi_callback_info info);
napi_value fingerprint(napi_env env, napi_callback_info info);
napi_value mapWeights(napi_env env, napi_callback_info info);
napi_value checkWeights(napi_env env, napi_callback_info info);
napi_value saveWeights(napi_env env, napi_callback_info info);
napi_value kvBytes(napi_env env, napi_callback_info info);
napi_value createPool(napi_env env, napi_callback_info info);
napi_value moveBlocks(napi_env env, napi_callback_info info);
napi_value compileProgram(napi_env env, napi_callback_info info);
napi_value programTimings(napi_env env, napi_callback_info info);
napi_value setAdapter(napi_env env, napi_callback_info info);
napi_value runStep(napi_env env, napi_callback_info info);
napi_value deliverMask(napi_env env, napi_callback_info info);
napi_value cancelStep(napi_env env, napi_callback_info info);
napi_value probe(napi_env env, napi_callback_info info);
napi_value formats(napi_env env, napi_callback_info info);
napi_value quantizeRows(napi_env env, napi_callback_info info);
napi_value addProduct(napi_env env, napi_callback_info info);
napi_value factor(napi_env env, napi_callback_info info);
napi_value invertUnit(napi_env env, napi_callback_info info);
napi_value solveRows(napi_env env, napi_callback_info info);

}  // namespace millrace
