// y = W x for every packed format (formats.h), one row or many, with one arithmetic for all row counts:
//
// int8 formats: K goes by in blocks of 32 columns (16 where a format has a scale for 16). A block's dot product is an
// exact integer; then acc = fma(float(dot), scale_w · scale_x, acc), and where the format has a minimum
// acc = fma(min_w, scale_x · Σx, acc), blocks in rising order.
// float formats: one chain acc = fma(w, x, acc) over k.
// At the end + bias, + residual.
//
// Every output has its own chain in its own lane, so neither the number of rows nor the range of groups can change its
// bits. What differs is only how often a weight is unpacked. Up to three rows (four of floats): once for all of them,
// straight from memory, in several streams; limit: memory bandwidth. More rows: a block is unpacked once and multiplied
// with tiles of rows of a panel, which holds the activations in the order of use, 64 bytes a block and row; limit: the
// integer or FMA units. AVX-512 and AMX have kernels of their own for many rows of integers
// (linear-wide.cpp, linear-tiles.cpp).
//
// Measured by bench/kernels, AVX2 on a Zen 3 at 3.25 GHz (two virtual processors, other work beside), 2048 x 2048,
// weights beyond the caches; % of probed read bandwidth (27 GB/s one thread, 54 two), % of the bare instructions' peak
// (166 GMAC/s a thread for codes up to 6 bits, 82 for 8 bits, 52 for FMA):
//
//              one row, 1 / 2 threads    8 rows, × one row    512 rows, one thread
//   Q4_0             86 / 88 %                3.7                113 GMAC/s  68 %
//   Q4_1             81 / 85 %                3.2                103 GMAC/s  62 %
//   Q8_0             92 / 91 %                3.7                 57 GMAC/s  69 %
//   Q4_K             81 / 79 %                3.6                104 GMAC/s  63 %
//   Q5_K             71 / 68 %                2.9                 99 GMAC/s  60 %
//   Q6_K             72 / 70 %                3.2                 70 GMAC/s  42 %
//   F16             101 / 101 %               2.6                 45 GMAC/s  87 %
//   F32             100 / 101 %               2.1                 40 GMAC/s  77 %
//
// A Q4 block of 32 columns and 8 lanes takes 20 vector operations (8 multiplications, 7 additions, and to finish:
// widen, offset, convert, scale, scale, accumulate), of which this processor does 3.2 a cycle: 133 GMAC/s is what this
// arithmetic allows, and 8 rows against one can't come below 2.7 where memory is this fast.
#include "isa/linear-shared.h"
#include "isa/tiles.h"

namespace millrace::MILLRACE_ISA {

void linear(const LinearArgs& a, int groupBegin, int groupEnd, uint8_t* scratch) {
  (readsInt8(a.w->format) ? linearInt : linearFloat)(a, groupBegin, groupEnd, scratch);
}

size_t linearScratchBytes(const Matrix& w, int maxRows) {
  return (readsInt8(w.format) ? linearIntScratchBytes : linearFloatScratchBytes)(w, maxRows);
}

int linearRows(const Matrix& w) {
#if defined(__AVX512VNNI__) || MILLRACE_TILES
  if (readsInt8(w.format)) return kMostRows;
#endif
  return panelRows(w.cols, kMostRows, readsInt8(w.format) ? 2 : 4);
}

}  // namespace millrace::MILLRACE_ISA
