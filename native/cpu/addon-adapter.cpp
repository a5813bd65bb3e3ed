// The part of the addon that puts adapters into a program's places. Their matrices are ordinary weights; here it is
// checked once that they fit the program's linears.
#include "addon.h"

namespace millrace {

namespace {

class AdapterReader {
 public:
  AdapterReader(Call& call, const Program& program, Adapter& out) : call_(call), program_(program), out_(out) {}

  // { site, a, scales: [[begin, end, factor]], runs: [[first, inner, matrix, vector | −1]] }
  void site(napi_value object) {
    int32_t index = int32(call_.property(object, "site"), 0);
    if (call_.failed) return;
    const auto& sites = program_.spec.loraSites;
    // A linear that only outputs need which this program wasn't compiled for.
    if (static_cast<size_t>(index) >= sites.size() || sites[static_cast<size_t>(index)].inputs == 0) return;
    const LoraSite& shape = sites[static_cast<size_t>(index)];
    if (out_.sites.size() <= static_cast<size_t>(index)) out_.sites.resize(static_cast<size_t>(index) + 1);
    Adapter::Site& site = out_.sites[static_cast<size_t>(index)];
    const Matrix* a = matrix(call_.property(object, "a"));
    require(a && a->cols == shape.inputs && a->rows <= shape.inner, "A");
    each(call_.property(object, "scales"), [&](napi_value list) {
      int32_t begin = int32(call_.element(list, 0), 0), end = int32(call_.element(list, 1), 1);
      auto factor = static_cast<float>(call_.number(call_.element(list, 2)));
      require(begin < end && end <= a->rows, "a scale");
      site.scales.push_back({begin, end, factor});
    });
    each(call_.property(object, "runs"), [&](napi_value list) { run(list, shape, *a, site); });
    if (!call_.failed) site.a = a;
  }

 private:
  void require(bool condition, const char* what) {
    if (!condition) call_.fail(kNativeError, std::string("an adapter doesn't fit the program: ") + what);
  }
  int32_t int32(napi_value value, int32_t least) {
    return static_cast<int32_t>(call_.integer(value, least, INT32_MAX));
  }
  template <typename F>
  void each(napi_value list, F&& visit) {
    uint32_t count = call_.length(list);
    for (uint32_t i = 0; i < count && !call_.failed; i++) visit(call_.element(list, i));
  }
  const Matrix* matrix(napi_value index) {
    int32_t i = int32(index, 0);
    const Matrix* found = call_.failed ? nullptr : out_.weights->matrix(i);
    require(call_.failed || (found && found->experts == 1 && !readsInt8(found->format)), "a matrix of plain floats");
    return call_.failed ? nullptr : found;
  }
  void run(napi_value list, const LoraSite& shape, const Matrix& a, Adapter::Site& site) {
    Adapter::Run run{int32(call_.element(list, 0), 0), int32(call_.element(list, 1), 0), nullptr, nullptr};
    run.b = matrix(call_.element(list, 2));
    int32_t gain = int32(call_.element(list, 3), -1);
    if (call_.failed) return;
    int64_t end = int64_t{run.first} + run.b->rows;
    require(end <= shape.cols && int64_t{run.inner} + run.b->cols <= a.rows, "B");
    // A chunk of the linear begins a multiple of 16 columns behind the start of one of its matrices.
    int32_t start = 0;
    for (int32_t s : shape.starts) {
      if (s <= run.first) start = s;
      else require(end <= s, "B reaches over two matrices");
    }
    require((run.first - start) % kGroupRows == 0, "B begins within a group of 16 columns");
    if (gain >= 0 && !call_.failed) {
      run.gain = out_.weights->vector(gain, static_cast<size_t>(run.b->rows));
      require(run.gain != nullptr, "gains");
    }
    site.runs.push_back(run);
  }

  Call& call_;
  const Program& program_;
  Adapter& out_;
};

}  // namespace

// (program, place, weights | undefined, [site]): for the steps that are submitted from now on
napi_value setAdapter(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto program = handle<Program>(call, call.at(0), Kind::Program);
  if (call.failed) return nullptr;
  auto place = static_cast<size_t>(call.integer(call.at(1), 0, static_cast<int64_t>(program->adapters.size()) - 1));
  if (call.failed) return nullptr;
  if (call.isUndefined(call.at(2))) {
    program->adapters[place].reset();
    return nullptr;
  }
  auto adapter = std::make_shared<Adapter>();
  adapter->weights = handle<Weights>(call, call.at(2), Kind::Weights);
  AdapterReader reader(call, *program, *adapter);
  uint32_t count = call.length(call.at(3));
  for (uint32_t i = 0; i < count && !call.failed; i++) reader.site(call.element(call.at(3), i));
  if (!call.failed) program->adapters[place] = adapter;
  return nullptr;
}

}  // namespace millrace
