#include "weights.h"

#include <algorithm>
#include <cstring>

#include "half.h"

namespace millrace {

namespace {

constexpr int kF32 = 0, kF16 = 1, kBF16 = 30;  // ggml type ids
// No matrix has more: sizes of it, padded and summed over those of any model, are far from where a size_t wraps.
constexpr size_t kMostBytes = size_t{1} << 50;
// File bytes that a thread reads and packs at once: they stay in its second-level cache.
constexpr size_t kPieceBytes = size_t{256} << 10;

}  // namespace

bool isVectorType(int ggmlType) { return ggmlType == kF32 || ggmlType == kF16 || ggmlType == kBF16; }

bool layoutOf(int ggmlType, int rows, int cols, int experts, Matrix& matrix) {
  if (rows < 1 || rows > INT32_MAX - kGroupRows || cols < 1 || experts < 1 || !packSupported(ggmlType)) return false;
  if (cols % packedBlockCols(ggmlType) != 0) return false;
  matrix = Matrix{};
  matrix.format = packedFormat(ggmlType);
  // Kernels that read int8 activations need whole blocks of them.
  if (readsInt8(matrix.format) && cols % kActBlock != 0) return false;
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.experts = experts;
  matrix.groupBytes = packedGroupBytes(matrix.format, cols);
  matrix.expertBytes = matrix.groupBytes * static_cast<size_t>(groupsOf(matrix));
  // At most 2^37 bytes a group and 2^27 groups: this product fits, that with the experts need not.
  return matrix.expertBytes <= kMostBytes / static_cast<size_t>(experts);
}

uint8_t* Weights::take(size_t bytes) {
  if (bytes > pages_.bytes() - used_) return nullptr;
  uint8_t* data = pages_.data() + used_;
  used_ += bytes;
  return data;
}

int Weights::add(Matrix matrix) {
  matrix.data = take(matrixBytes(matrix));
  if (!matrix.data) return -1;
  matrices_.push_back(std::make_unique<Matrix>(matrix));
  return static_cast<int>(matrices_.size()) - 1;
}

int Weights::addVector(size_t length) {
  if (length > pages_.bytes()) return -1;
  auto* data = reinterpret_cast<float*>(take(vectorBytes(length)));
  if (!data) return -1;
  vectors_.push_back({data, length});
  return static_cast<int>(vectors_.size()) - 1;
}

Matrix* Weights::matrix(int index) {
  return index >= 0 && index < static_cast<int>(matrices_.size()) ? matrices_[index].get() : nullptr;
}

float* Weights::vector(int index, size_t length) {
  if (index < 0 || index >= static_cast<int>(vectors_.size()) || vectors_[index].length < length) return nullptr;
  return vectors_[index].data;
}

size_t LoadTask::fileRowBytes() const {
  if (vector) return rawRowBytes(type, 1);
  return rawRowBytes(type, transposed > 0 ? transposed : matrix->cols);
}

bool LoadTask::check() const {
  if (rows < 1 || row < 0) return false;
  size_t fileRows = static_cast<size_t>(rows);
  if (vector) {
    if (!isVectorType(type)) return false;
  } else {
    Matrix layout;
    if (!layoutOf(type, matrix->rows, matrix->cols, matrix->experts, layout)) return false;
    if (layout.format != matrix->format || expert < 0 || expert >= matrix->experts) return false;
    if (transposed > 0) {
      // All rows of the matrix, from fileRow on in the file.
      if (!isVectorType(type) || row != 0 || rows != matrix->rows) return false;
      if (fileRow < 0 || fileRow > transposed - rows) return false;
      fileRows = static_cast<size_t>(matrix->cols);
    } else if (row % kGroupRows != 0 || row > matrix->rows - rows ||
               (rows % kGroupRows != 0 && row + rows != matrix->rows)) {
      return false;
    }
  }
  if (fd >= 0) return true;
  return bytes && offset <= byteCount && fileRows * fileRowBytes() <= byteCount - offset;
}

bool LoadTask::read(uint8_t* to, size_t count, uint64_t at) {
  if (fd < 0) {
    memcpy(to, bytes + offset + at, count);
    return true;
  }
  int status = os::readAt(fd, to, count, offset + at);
  if (status != 0) failure_.store(status, std::memory_order_relaxed);
  return status == 0;
}

int LoadTask::next(int threads) {
  if (piece_ > 0) {
    int status = failure_.load(std::memory_order_relaxed);
    if (status == -1) {
      error = "the file ends within a tensor that its header names; was it changed while it was read?";
    } else if (status != 0) {
      error = std::string("a file of weights can't be read: ") + strerror(status);
    }
    return 0;
  }
  // Whole groups of 16: of rows, or of columns of a transposed file.
  size_t rowBytes = fileRowBytes();
  piece_ = std::max<int>(1, static_cast<int>(kPieceBytes / (rowBytes * kGroupRows))) * kGroupRows;
  bufferBytes_ = (rowBytes * std::min(piece_, units()) + 63) / 64 * 64;
  if (!buffers_.allocate(bufferBytes_ * threads)) {
    error = "no memory to read weights: the system refuses " + std::to_string(bufferBytes_ * threads) + " bytes";
    isOutOfMemory = true;
    return 0;
  }
  return (units() + piece_ - 1) / piece_;
}

void LoadTask::work(int chunk, int thread) {
  if (failure_.load(std::memory_order_relaxed) != 0) return;
  uint8_t* raw = buffers_.data() + bufferBytes_ * thread;
  size_t rowBytes = fileRowBytes();
  int begin = chunk * piece_, count = std::min(piece_, units() - begin);
  if (!read(raw, rowBytes * count, rowBytes * begin)) return;
  if (vector) {
    for (int i = 0; i < count; i++) {
      float value;
      if (type == kF32) {
        memcpy(&value, raw + 4 * i, 4);
      } else {
        uint16_t half;
        memcpy(&half, raw + 2 * i, 2);
        value = type == kF16 ? halfToFloat(half) : brainToFloat(half);
      }
      vector[row + begin + i] = value;
    }
  } else if (transposed > 0) {
    size_t skip = rawRowBytes(type, 1) * static_cast<size_t>(fileRow);
    packTransposed(type, raw + skip, rowBytes, count, *matrix, expert, begin);
  } else {
    packRows(type, raw, rowBytes, count, *matrix, expert, row + begin);
  }
}

}  // namespace millrace
