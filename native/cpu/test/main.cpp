// Runs the unit tests (all, or those whose name contains an argument) and closes with "N passed, N failed".
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "test.h"

namespace millrace::test {
namespace {

Test* first = nullptr;
int failures = 0;  // of the running test
bool skipped = false;

bool isWanted(const char* name, int argc, char** argv) {
  if (argc <= 1) return true;
  return std::any_of(argv + 1, argv + argc, [&](const char* part) { return std::strstr(name, part) != nullptr; });
}

}  // namespace

Register::Register(Test* test) {
  test->next = first;
  first = test;
}

void fail(const char* file, int line, const std::string& message) {
  // A broken kernel fails a million checks: the first ten say enough.
  if (++failures <= 10) std::printf("  %s:%d: %s\n", file, line, message.c_str());
}

void skip(const std::string& reason) {
  skipped = true;
  std::printf("  skipped: %s\n", reason.c_str());
}

}  // namespace millrace::test

int main(int argc, char** argv) {
  using namespace millrace::test;
  int passed = 0, failed = 0, left = 0;
  for (Test* test = first; test != nullptr; test = test->next) {
    if (!isWanted(test->name, argc, argv)) continue;
    failures = 0;
    skipped = false;
    std::printf("%s\n", test->name);
    std::fflush(stdout);
    test->body();
    if (failures > 0) std::printf("  FAILED (%d checks)\n", failures);
    (failures > 0 ? failed : skipped ? left : passed)++;
  }
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, left);
  return failed > 0 || passed + left == 0 ? 1 : 0;
}
