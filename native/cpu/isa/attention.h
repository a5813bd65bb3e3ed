// The kernels of isa/attention.cpp; what each does stands in kernels.h, at struct Kernels.
#pragma once
#include "kernels.h"

namespace millrace::MILLRACE_ISA {

size_t kvStateBytes(KvType, int kvHeads, int keyDim, int valueDim, bool latent);
void kvWrite(const KvState&, const int32_t* blockTable, const int32_t* slots, const float* k, size_t ldk,
             const float* v, size_t ldv, int rowBegin, int rowEnd);
void kvMove(const KvState&, int fromBlock, int fromOffset, int toBlock, int toOffset);
void attendRows(const AttendArgs&, int kvHead, int rowBegin, int rowEnd, uint8_t* scratch);
void attendTile(const AttendArgs&, int kvHead, int rowBegin, int rowEnd, int tile, float* partials, size_t rowStride,
                uint8_t* scratch);
void attendMerge(const AttendArgs&, int kvHead, int row, const float* partials, size_t stride, int tileBegin,
                 int tileEnd);
size_t attendScratchBytes(const KvState&, int heads, int maxRows);

}  // namespace millrace::MILLRACE_ISA
