// A unit-test frame of one page: TEST(name) { CHECK(...); } in any test/*.cpp; main.cpp runs them all. A failed check
// is reported with its place and the test goes on; nothing here throws.
#pragma once
#include <cmath>
#include <sstream>
#include <string>

namespace millrace::test {

struct Test {
  const char* name;
  void (*body)();
  Test* next;
};

// Enters a test into the list that main.cpp runs.
struct Register {
  explicit Register(Test* test);
};

// Counts a failure of the running test and prints it.
void fail(const char* file, int line, const std::string& message);
// Ends the running test as skipped, with the reason (an ISA that this processor lacks); return after it.
void skip(const std::string& reason);

template <typename A, typename B>
void checkEqual(const A& a, const B& b, const char* expression, const char* file, int line) {
  if (a == b) return;
  std::ostringstream out;
  out.precision(9);
  out << expression << ": " << a << " != " << b;
  fail(file, line, out.str());
}

// |a − b| ≤ tolerance; not-a-number never is.
inline void checkNear(double a, double b, double tolerance, const char* expression, const char* file, int line) {
  if (std::fabs(a - b) <= tolerance) return;
  std::ostringstream out;
  out.precision(9);
  out << expression << ": |" << a << " - " << b << "| > " << tolerance;
  fail(file, line, out.str());
}

}  // namespace millrace::test

#define TEST(name)                                                       \
  static void name();                                                    \
  static millrace::test::Test name##Test{#name, name, nullptr};          \
  static const millrace::test::Register name##Registration(&name##Test); \
  static void name()

#define CHECK(condition)                                                                 \
  do {                                                                                   \
    if (!(condition)) millrace::test::fail(__FILE__, __LINE__, "CHECK(" #condition ")"); \
  } while (false)
#define CHECK_EQ(a, b) millrace::test::checkEqual(a, b, #a " == " #b, __FILE__, __LINE__)
#define CHECK_NEAR(a, b, tolerance) millrace::test::checkNear(a, b, tolerance, #a " ~ " #b, __FILE__, __LINE__)
