// Weights in the kernels' layout: one range of memory that holds all matrices and vectors, filled by tasks that stream
// rows of a file (or bytes from memory) straight into their place. The layout itself is pack.h's.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "formats.h"
#include "os.h"
#include "pack.h"
#include "team.h"

namespace millrace {

// Types that vectors can have: F32, F16, BF16.
bool isVectorType(int ggmlType);
// The packed matrix of a file's type (a ggml_type id), without data; false where no kernel reads it.
bool layoutOf(int ggmlType, int rows, int cols, int experts, Matrix& matrix);

class Weights {
 public:
  // Bytes that `add` takes for a matrix, and `addVector` for so many floats.
  static size_t matrixBytes(const Matrix& matrix) {
    return (matrix.expertBytes * static_cast<size_t>(matrix.experts) + kAlign - 1) / kAlign * kAlign + kAlign;
  }
  static size_t vectorBytes(size_t length) { return (length * sizeof(float) + kAlign - 1) / kAlign * kAlign + kAlign; }

  bool allocate(size_t bytes) { return pages_.allocate(bytes); }
  // All bytes as another process packed them, from a file; nothing may be loaded into them.
  bool map(int fd, uint64_t offset, size_t bytes) { return isMapped_ = pages_.map(fd, offset, bytes); }
  bool isMapped() const { return isMapped_; }
  const uint8_t* data() const { return pages_.data(); }
  size_t bytes() const { return pages_.bytes(); }
  // Takes the next bytes; the index, or −1 where they don't fit.
  int add(Matrix matrix);
  int addVector(size_t length);

  Matrix* matrix(int index);
  // Null where the vector is shorter than `length`.
  float* vector(int index, size_t length);

 private:
  // Kernels may load whole vectors beyond the end of a row.
  static constexpr size_t kAlign = 128;
  struct Vector {
    float* data;
    size_t length;
  };
  uint8_t* take(size_t bytes);

  os::Pages pages_;
  bool isMapped_ = false;
  size_t used_ = 0;
  std::vector<std::unique_ptr<Matrix>> matrices_;
  std::vector<Vector> vectors_;
};

// Fills the rows row … row + rows − 1 of one expert of a matrix (row: a multiple of 16), or values of a vector, from
// `offset` on. `transposed`: the file holds [cols, transposed] and the rows are its columns from fileRow on; the offset
// is that of the whole tensor then.
struct LoadTask {
  Matrix* matrix = nullptr;
  float* vector = nullptr;
  int type = 0;  // ggml_type id
  int32_t expert = 0, row = 0, rows = 0;
  int32_t transposed = 0, fileRow = 0;
  int fd = -1;
  const uint8_t* bytes = nullptr;
  size_t byteCount = 0;
  uint64_t offset = 0;
  std::string error;
  bool isOutOfMemory = false;  // what the error is

  // Does the range lie inside of the matrix (and the bytes)?
  bool check() const;
  // As Job::next and Job::work: one phase, whose chunks are pieces of the range.
  int next(int threads);
  void work(int chunk, int thread);

 private:
  size_t fileRowBytes() const;
  int units() const { return transposed > 0 ? matrix->cols : rows; }
  bool read(uint8_t* to, size_t count, uint64_t at);

  os::Pages buffers_;  // one a thread
  size_t bufferBytes_ = 0;
  int piece_ = 0;
  std::atomic<int> failure_{0};
};

}  // namespace millrace
