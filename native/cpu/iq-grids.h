// The code books of the IQ formats: published constants of the GGUF format (ggml, I. Kawrakow). Every grid happens to
// be sorted, so it is stored as a set: one bit for each point of the lattice (as in src/artifact/iq-grids.ts).
#pragma once
#include <cstddef>
#include <cstdint>

namespace millrace {

struct IqGrids {
  int8_t iq2Xxs[256][8];
  int8_t iq2Xs[512][8];
  int8_t iq2S[1024][8];
  int8_t iq3Xxs[256][4];
  int8_t iq3S[512][4];
  int8_t iq1[2048][8];
};

// Expanded at first use.
const IqGrids& iqGrids();

}  // namespace millrace
