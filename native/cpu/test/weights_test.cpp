// What weights accept: shapes that some memory can hold, ranges that lie inside of them.
#include "weights.h"

#include <climits>
#include <vector>

#include "test.h"

using namespace millrace;

namespace {

constexpr int kF32 = 0, kQ8_0 = 8;

}  // namespace

TEST(matricesBeyondAllMemoryAreRefused) {
  Matrix matrix;
  CHECK(layoutOf(kF32, 100, 64, 1, matrix));
  CHECK_EQ(Weights::matrixBytes(matrix), size_t{112} * 64 * 4 + 128);
  CHECK(layoutOf(kQ8_0, 1 << 20, 1 << 20, 1, matrix));
  // Sizes of which the sum or the product wraps.
  CHECK(!layoutOf(kF32, INT_MAX, 64, 1, matrix));
  CHECK(!layoutOf(kF32, INT_MAX - 16, INT_MAX, 1, matrix));
  CHECK(!layoutOf(kF32, 1 << 24, 1 << 24, INT_MAX, matrix));
  CHECK(!layoutOf(kQ8_0, 1 << 24, 1 << 24, 1 << 16, matrix));
  CHECK(!layoutOf(kF32, 0, 64, 1, matrix));
  CHECK(!layoutOf(kF32, 16, -64, 1, matrix));
}

TEST(rangesOutsideOfAMatrixAreRefused) {
  Weights weights;
  Matrix layout;
  CHECK(layoutOf(kF32, 40, 8, 2, layout));
  CHECK(weights.allocate(Weights::matrixBytes(layout)));
  const int index = weights.add(layout);
  CHECK_EQ(index, 0);
  CHECK_EQ(weights.add(layout), -1);
  CHECK_EQ(weights.addVector(SIZE_MAX), -1);
  const std::vector<uint8_t> bytes(40 * 8 * 4);
  const auto isInside = [&](int expert, int row, int rows, size_t offset) {
    LoadTask task;
    task.matrix = weights.matrix(index);
    task.expert = expert;
    task.row = row;
    task.rows = rows;
    task.bytes = bytes.data();
    task.byteCount = bytes.size();
    task.offset = offset;
    return task.check();
  };
  CHECK(isInside(1, 0, 40, 0));
  CHECK(isInside(0, 32, 8, size_t{32} * 8 * 4));
  CHECK(!isInside(2, 0, 40, 0));
  CHECK(!isInside(0, 0, 41, 0));
  CHECK(!isInside(0, 16, INT_MAX, 0));
  CHECK(!isInside(0, -16, 16, 0));
  CHECK(!isInside(0, 8, 16, 0));  // no whole groups
  CHECK(!isInside(0, 0, 40, 4));  // beyond the bytes
  CHECK(!isInside(0, 0, 16, SIZE_MAX));
}
