// The formats with one scale for 16 to 64 weights: Q4_0 … Q8_0, IQ4_NL, MXFP4 and NVFP4, and the ternary TQ1_0, TQ2_0.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "half.h"
#include "quantizers.h"

namespace millrace {

namespace {

// The levels of IQ4_NL; those of 4-bit floats (E2M1), doubled.
constexpr int8_t kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int8_t kFp4Levels[15] = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};

float setHalf(uint8_t* at, float value) {
  const uint16_t bits = floatToHalf(value);
  std::memcpy(at, &bits, sizeof bits);
  return halfToFloat(bits);
}

// Weight i in the low half of byte i, weight i + n/2 in the high half.
template <int N>
void packNibbles(const int8_t* codes, int offset, uint8_t* out) {
  for (int i = 0; i < N / 2; i++) {
    out[i] = static_cast<uint8_t>((codes[i] + offset) | (codes[i + N / 2] + offset) << 4);
  }
}

void packFifth(const int8_t* codes, int offset, uint8_t* high, uint8_t* low) {
  uint32_t bits = 0;
  int8_t nibbles[32];
  for (int i = 0; i < 32; i++) {
    bits |= static_cast<uint32_t>((codes[i] + offset) >> 4) << i;
    nibbles[i] = static_cast<int8_t>((codes[i] + offset) & 15);
  }
  std::memcpy(high, &bits, sizeof bits);
  packNibbles<32>(nibbles, 0, low);
}

template <int Lo, int Hi>
void fitSymmetric(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float*) {
  scale[0] = setHalf(block, fits.scale(x, w, 32, Lo, Hi));
}

template <int Hi>
void fitMinimum(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float* min) {
  const Affine fit = fits.affine(x, w, 32, Hi, false);
  scale[0] = setHalf(block, fit.scale);
  min[0] = setHalf(block + 2, fit.min);
}

// At 8 bits a search gains nothing: the largest weight is code ±127.
void fitQ8(const Fits&, const float* x, const float*, uint8_t* block, float* scale, float*) {
  float most = 0;
  for (int i = 0; i < 32; i++) most = std::max(most, std::fabs(x[i]));
  scale[0] = setHalf(block, most / 127);
}

void fitIq4(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float*) {
  scale[0] = setHalf(block, fits.levels(x, w, 32, kIq4Levels, 16));
}

// E8M0: a power of two. OCP Microscaling takes the largest weight's, less the two of the largest level; the one above
// it clips nothing, and may do less harm.
void fitMxfp4(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float*) {
  float most = 0;
  for (int i = 0; i < 32; i++) most = std::max(most, std::fabs(x[i]));
  const int plain = most > 0 ? std::clamp(std::ilogb(most) - 2 + 127, 0, 253) : 0;
  double best = -1;
  for (int e = plain; e <= plain + 1; e++) {
    const float half = std::ldexp(1.0f, e - 128);
    const double error = fits.levelError(x, w, 32, half, kFp4Levels, 15);
    if (best >= 0 && error >= best) continue;
    best = error;
    block[0] = static_cast<uint8_t>(e);
    scale[0] = half;
  }
}

float fromE4m3(int byte) {
  const int exponent = byte >> 3, fraction = byte & 7;
  return exponent == 0 ? static_cast<float>(fraction) * 0x1p-9f
                       : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
}

// An E4M3 scale for each 16 weights. The scales near the fitted one are tried, and those for a largest level of 6 and
// of 4
// ("four over six": the steps between 4 and 6 are wide).
void fitNvfp4(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float*) {
  for (int s = 0; s < 4; s++) {
    const float *part = x + 16 * s, *weights = w + 16 * s;
    float most = 0;
    for (int i = 0; i < 16; i++) most = std::max(most, std::fabs(part[i]));
    const float fitted = 2 * std::fabs(fits.levels(part, weights, 16, kFp4Levels, 15));
    double best = -1;
    for (const float wanted : {fitted, most / 6, most / 4}) {
      int code = 0;
      while (code < 0x7e && fromE4m3(code + 1) <= wanted) code++;
      for (int c = code; c <= std::min(code + 1, 0x7e); c++) {
        const float half = fromE4m3(c) / 2;
        const double error = fits.levelError(part, weights, 16, half, kFp4Levels, 15);
        if (best >= 0 && error >= best) continue;
        best = error;
        block[s] = static_cast<uint8_t>(c);
        scale[s] = half;
      }
    }
  }
}

// The code of a level in the file: sign and magnitude.
uint8_t fp4Bits(int8_t index) { return static_cast<uint8_t>(index >= 7 ? index - 7 : 8 + (7 - index)); }

template <int N>
void packFp4(const int8_t* codes, uint8_t* out) {
  for (int i = 0; i < N / 2; i++) {
    out[i] = static_cast<uint8_t>(fp4Bits(codes[i]) | fp4Bits(codes[i + N / 2]) << 4);
  }
}

template <int At>
void fitTernary(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float*) {
  scale[0] = setHalf(block + At, fits.scale(x, w, 256, -1, 1));
}

// Five digits of base 3 a byte (four in the last four bytes), as the fraction digits / 243 · 256, rounded up.
void packTq1(const int8_t* codes, uint8_t* block) {
  const auto pack = [&](int first, int bytes, int digits, int at) {
    for (int b = 0; b < bytes; b++) {
      int value = 0;
      for (int d = 0; d < 5; d++) value = 3 * value + (d < digits ? codes[first + d * bytes + b] + 1 : 0);
      block[at + b] = static_cast<uint8_t>((value * 256 + 242) / 243);
    }
  };
  pack(0, 32, 5, 0);
  pack(160, 16, 5, 32);
  pack(240, 4, 4, 48);
}

void packTq2(const int8_t* codes, uint8_t* block) {
  for (int h = 0; h < 2; h++) {
    for (int b = 0; b < 32; b++) {
      int byte = 0;
      for (int d = 0; d < 4; d++) byte |= (codes[128 * h + 32 * d + b] + 1) << (2 * d);
      block[32 * h + b] = static_cast<uint8_t>(byte);
    }
  }
}

}  // namespace

const BlockFormat kSimpleFormats[] = {
    {2, 32, 18, 32, -8, 7, nullptr, fitSymmetric<-8, 7>,
     [](const int8_t* c, uint8_t* b) { packNibbles<32>(c, 8, b + 2); }},
    {3, 32, 20, 32, 0, 15, nullptr, fitMinimum<15>, [](const int8_t* c, uint8_t* b) { packNibbles<32>(c, 0, b + 4); }},
    {6, 32, 22, 32, -16, 15, nullptr, fitSymmetric<-16, 15>,
     [](const int8_t* c, uint8_t* b) { packFifth(c, 16, b + 2, b + 6); }},
    {7, 32, 24, 32, 0, 31, nullptr, fitMinimum<31>, [](const int8_t* c, uint8_t* b) { packFifth(c, 0, b + 4, b + 8); }},
    {8, 32, 34, 32, -127, 127, nullptr, fitQ8, [](const int8_t* c, uint8_t* b) { std::memcpy(b + 2, c, 32); }},
    {20, 32, 18, 32, 0, 15, kIq4Levels, fitIq4, [](const int8_t* c, uint8_t* b) { packNibbles<32>(c, 0, b + 2); }},
    {34, 256, 54, 256, -1, 1, nullptr, fitTernary<52>, packTq1},
    {35, 256, 66, 256, -1, 1, nullptr, fitTernary<64>, packTq2},
    {39, 32, 17, 32, 0, 14, kFp4Levels, fitMxfp4, [](const int8_t* c, uint8_t* b) { packFp4<32>(c, b + 1); }},
    {40, 64, 36, 16, 0, 14, kFp4Levels, fitNvfp4,
     [](const int8_t* c, uint8_t* b) {
       for (int s = 0; s < 4; s++) packFp4<16>(c + 16 * s, b + 4 + 8 * s);
     }},
};
const int kSimpleFormatCount = static_cast<int>(sizeof kSimpleFormats / sizeof kSimpleFormats[0]);

}  // namespace millrace
