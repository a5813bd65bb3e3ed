// Half-precision and brain floats one by one, without a processor's help. Static on purpose: a copy in every source, so
// that none compiled for a newer processor can be linked in place of another.
#pragma once
#include <cstdint>
#include <cstring>

namespace millrace {

static inline float floatFromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static inline float halfToFloat(uint16_t h) {
  const uint32_t magnitude = static_cast<uint32_t>(h & 0x7fff) << 13;
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  if ((h & 0x7c00) == 0x7c00) return floatFromBits(sign | magnitude | 0x7f800000);
  // The exponent is moved by a multiplication, which is exact for subnormal numbers, too.
  const float value = floatFromBits(magnitude) * 0x1p112f;
  return sign == 0 ? value : -value;
}

static inline float brainToFloat(uint16_t b) { return floatFromBits(static_cast<uint32_t>(b) << 16); }

}  // namespace millrace
