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

// To the nearest half, ties to even; beyond the range, infinity.
static inline uint16_t floatToHalf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t sign = bits >> 16 & 0x8000;
  const float magnitude = floatFromBits(bits & 0x7fffffff);
  if (!(magnitude < 65520.0f)) return static_cast<uint16_t>(sign | (magnitude > 0 ? 0x7c00 : 0x7e00));
  // Adding 2^e with the right e leaves as many bits as a half of that size has, rounded by the processor.
  const uint32_t exponent = bits >> 23 & 0xff;
  const float unit = floatFromBits((exponent < 113 ? 126u : exponent + 13) << 23);
  const float sum = magnitude + unit;
  uint32_t rounded;
  std::memcpy(&rounded, &sum, sizeof rounded);
  const uint32_t base = exponent < 113 ? 0 : (exponent - 112) << 10;
  // Below the unit stand the half's ten bits (or the eleven of a carry), above an implicit 1 that `base` counts
  // already.
  const uint32_t steps = rounded & 0x7fffff;
  return static_cast<uint16_t>(sign | (base + (exponent < 113 ? steps : steps - 0x400)));
}

static inline float brainToFloat(uint16_t b) { return floatFromBits(static_cast<uint32_t>(b) << 16); }

}  // namespace millrace
