#include "weights.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace millrace {

namespace {

constexpr int kF32 = 0, kF16 = 1, kBF16 = 30;  // ggml type ids
// File bytes that a thread reads and packs at once: they stay in its second-level cache.
constexpr size_t kPieceBytes = size_t{256} << 10;

float halfToFloat(uint16_t half) {
  uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  uint32_t exponent = (half >> 10) & 31, mantissa = half & 1023;
  float value;
  if (exponent == 0) {
    value = static_cast<float>(mantissa) * 0x1p-24f;
    uint32_t bits;
    memcpy(&bits, &value, 4);
    bits |= sign;
    memcpy(&value, &bits, 4);
    return value;
  }
  uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | (mantissa << 13);
  memcpy(&value, &bits, 4);
  return value;
}

}  // namespace

bool isVectorType(int ggmlType) { return ggmlType == kF32 || ggmlType == kF16 || ggmlType == kBF16; }

bool layoutOf(int ggmlType, int rows, int cols, int experts, Matrix& matrix) {
  if (rows < 1 || cols < 1 || experts < 1 || !packSupported(ggmlType)) return false;
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
  return true;
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

void LoadTask::run(Team& team) {
  constexpr int kNoMemory = -2;
  size_t rowBytes = fileRowBytes();
  int units = transposed > 0 ? matrix->cols : rows;
  // Whole groups of 16: of rows, or of columns of a transposed file.
  int piece = std::max<int>(1, static_cast<int>(kPieceBytes / (rowBytes * kGroupRows))) * kGroupRows;
  std::unique_ptr<uint8_t[]> buffer(new (std::nothrow) uint8_t[rowBytes * std::min(piece, units)]);
  if (!buffer) failure_.store(kNoMemory, std::memory_order_relaxed);
  while (failure_.load(std::memory_order_relaxed) == 0) {
    int begin = counter_.take() * piece;
    if (begin >= units) break;
    int count = std::min(piece, units - begin);
    if (!read(buffer.get(), rowBytes * count, rowBytes * begin)) break;
    if (vector) {
      for (int i = 0; i < count; i++) {
        float value;
        if (type == kF32) {
          memcpy(&value, &buffer[4 * i], 4);
        } else {
          uint16_t half;
          memcpy(&half, &buffer[2 * i], 2);
          uint32_t bits = static_cast<uint32_t>(half) << 16;
          memcpy(&value, &bits, 4);
          if (type == kF16) value = halfToFloat(half);
        }
        vector[row + begin + i] = value;
      }
    } else if (transposed > 0) {
      size_t skip = rawRowBytes(type, 1) * static_cast<size_t>(fileRow);
      packTransposed(type, buffer.get() + skip, rowBytes, count, *matrix, expert, begin);
    } else {
      packRows(type, buffer.get(), rowBytes, count, *matrix, expert, row + begin);
    }
  }
  team.barrier([&] {
    int status = failure_.load(std::memory_order_relaxed);
    if (status == -1) {
      error = "the file ends within a tensor that its header names; was it changed while it was read?";
    } else if (status == kNoMemory) {
      error = "no memory to read weights";
    } else if (status != 0) {
      error = std::string("a file of weights can't be read: ") + strerror(status);
    }
  });
}

}  // namespace millrace
