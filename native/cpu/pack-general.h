// What a block of each quantised file format means, as the general layout: int8 codes with a float32 scale and, where
// the format has one, a float32 minimum for every 16 or 32 weights: w = scale · code + min, with scale · code exact.
// The twin of src/artifact/blocks-*.ts.
#pragma once
#include <cstdint>

namespace millrace {

struct GeneralBlock {
  int8_t codes[256];
  float scales[16];
};

using Decode = void (*)(const uint8_t* block, GeneralBlock& out);

// Of one block.
void decodeIQ2_XXS(const uint8_t* block, GeneralBlock& out);
void decodeIQ2_XS(const uint8_t* block, GeneralBlock& out);
void decodeIQ2_S(const uint8_t* block, GeneralBlock& out);
void decodeIQ3_XXS(const uint8_t* block, GeneralBlock& out);
void decodeIQ3_S(const uint8_t* block, GeneralBlock& out);
void decodeIQ1_S(const uint8_t* block, GeneralBlock& out);
void decodeIQ1_M(const uint8_t* block, GeneralBlock& out);
void decodeTQ1_0(const uint8_t* block, GeneralBlock& out);
void decodeTQ2_0(const uint8_t* block, GeneralBlock& out);

}  // namespace millrace
