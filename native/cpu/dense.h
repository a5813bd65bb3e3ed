// Dense linear algebra in float32 for methods that compress: products of matrices in tiles. One table an ISA
// (isa/dense.cpp); every value of a product is summed in one order, whatever the tile, the threads and the ISA.
#pragma once
#include <cstddef>

#include "kernels.h"

namespace millrace {

// A matrix as strides: element (i, j) is data[i · rowStride + j · colStride].
struct MatrixView {
  const float* data;
  size_t rowStride, colStride;

  const float* at(size_t i, size_t j) const { return data + i * rowStride + j * colStride; }
  MatrixView from(size_t i, size_t j) const { return {at(i, j), rowStride, colStride}; }
};

// The most rows and columns of a tile, and the terms that are packed at a time.
constexpr int kTileRows = 96;
constexpr int kTileCols = 256;
constexpr int kTileTerms = 256;
constexpr size_t kTileScratch = static_cast<size_t>(kTileTerms) * (kTileRows + kTileCols);

struct Dense {
  // c[i, j] += sign · Σ_p a(i, p) · b(p, j) for a tile of `rows` × `cols`; c row-major with stride ldc. `scratch`:
  // kTileScratch floats.
  void (*product)(MatrixView a, MatrixView b, int rows, int cols, int terms, float sign, float* c, size_t ldc,
                  float* scratch);
  // y += factor · x, n values.
  void (*addScaled)(const float* x, float factor, size_t n, float* y);
};

// That of the ISA of these kernels.
const Dense& denseOf(const Kernels& kernels);

}  // namespace millrace
