// What a block of each quantised file format means, as the general layout: int8 codes with a float32 scale and, where
// the format has one, a float32 minimum for every 16 or 32 weights: w = scale · code + min, with scale · code exact.
// The twin of src/artifact/blocks-*.ts.
#pragma once
#include <cstdint>

namespace millrace {

struct GeneralBlock {
  int8_t codes[256];
  float scales[16];
  float mins[16];
};

using Decode = void (*)(const uint8_t* block, GeneralBlock& out);

struct GeneralType {
  int ggmlType;
  int blockCols;
  int blockBytes;
  int groupCols;  // weights that share a scale
  bool hasMin;
  Decode decode;
};

// Null for types that have none: the plain floats, and those with a packed format of their own.
const GeneralType* generalType(int ggmlType);

}  // namespace millrace
