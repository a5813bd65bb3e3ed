// The formats with super-blocks of 256 weights: Q2_K … Q6_K and IQ4_XS. Groups of 16 or 32 are fitted one by one; their
// scales (and minimums) become small integers under one or two halves; then each group's integers are moved by one
// wherever that lessens the group's error, since what they were rounded from is not what is best after rounding.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "half.h"
#include "quantizers.h"

namespace millrace {

namespace {

constexpr int8_t kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

void putHalf(uint8_t* at, float value) {
  const uint16_t bits = floatToHalf(value);
  std::memcpy(at, &bits, sizeof bits);
}
float getHalf(const uint8_t* at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof bits);
  return halfToFloat(bits);
}

// Integers 0 … most for scales and minimums of Groups groups.
template <int Groups>
struct Integers {
  int scale[Groups], min[Groups];
};

// Fits groups with a minimum of −dmin · integer. `block` gets d and dmin at `at`.
template <int Groups, int Hi, int Most>
Integers<Groups> fitMinimums(const Fits& fits, const float* x, const float* w, uint8_t* at, float* scale, float* min) {
  constexpr int n = 256 / Groups;
  float largestScale = 0, largestMin = 0;
  for (int g = 0; g < Groups; g++) {
    const Affine fit = fits.affine(x + n * g, w + n * g, n, Hi, true);
    scale[g] = fit.scale;
    min[g] = -fit.min;
    largestScale = std::max(largestScale, scale[g]);
    largestMin = std::max(largestMin, min[g]);
  }
  putHalf(at, largestScale / Most);
  putHalf(at + 2, largestMin / Most);
  const float d = getHalf(at), dmin = getHalf(at + 2);
  Integers<Groups> integers;
  for (int g = 0; g < Groups; g++) {
    const int s0 = d > 0 ? std::min(nearestInt(scale[g] / d), Most) : 0;
    const int m0 = dmin > 0 ? std::min(nearestInt(min[g] / dmin), Most) : 0;
    double best = -1;
    for (int s = std::max(0, s0 - 1); s <= std::min(Most, s0 + 1); s++) {
      for (int m = std::max(0, m0 - 1); m <= std::min(Most, m0 + 1); m++) {
        const float ds = d * static_cast<float>(s), dm = -(dmin * static_cast<float>(m));
        const double error = fits.affineError(x + n * g, w + n * g, n, ds, dm, 0, Hi);
        if (best >= 0 && error >= best) continue;
        best = error;
        integers.scale[g] = s;
        integers.min[g] = m;
      }
    }
    scale[g] = d * static_cast<float>(integers.scale[g]);
    min[g] = -(dmin * static_cast<float>(integers.min[g]));
  }
  return integers;
}

// Fits groups without a minimum; integers −Most … Most − 1 (their largest takes −Most). d at `at`.
template <int Groups, int Lo, int Hi, int Most, bool Levels = false>
void fitScales(const Fits& fits, const float* x, const float* w, uint8_t* at, float* scale, int* integers) {
  constexpr int n = 256 / Groups;
  float extreme = 0;
  for (int g = 0; g < Groups; g++) {
    scale[g] =
        Levels ? fits.levels(x + n * g, w + n * g, n, kIq4Levels, 16) : fits.scale(x + n * g, w + n * g, n, Lo, Hi);
    if (std::fabs(scale[g]) > std::fabs(extreme)) extreme = scale[g];
  }
  putHalf(at, extreme / -Most);
  const float d = getHalf(at);
  for (int g = 0; g < Groups; g++) {
    const int s0 = d != 0 ? std::clamp(nearestInt(scale[g] / d), -Most, Most - 1) : 0;
    double best = -1;
    for (int s = std::max(-Most, s0 - 1); s <= std::min(Most - 1, s0 + 1); s++) {
      const float ds = d * static_cast<float>(s);
      const double error = Levels ? fits.levelError(x + n * g, w + n * g, n, ds, kIq4Levels, 16)
                                  : fits.affineError(x + n * g, w + n * g, n, ds, 0, Lo, Hi);
      if (best >= 0 && error >= best) continue;
      best = error;
      integers[g] = s;
    }
    scale[g] = d * static_cast<float>(integers[g]);
  }
}

// Eight 6-bit scales and minimums in 12 bytes (see blocks-k.ts).
void packSixBits(const Integers<8>& v, uint8_t* out) {
  for (int s = 0; s < 4; s++) {
    out[s] = static_cast<uint8_t>(v.scale[s] | (v.scale[s + 4] >> 4) << 6);
    out[4 + s] = static_cast<uint8_t>(v.min[s] | (v.min[s + 4] >> 4) << 6);
    out[8 + s] = static_cast<uint8_t>((v.scale[s + 4] & 15) | (v.min[s + 4] & 15) << 4);
  }
}

// Two bits each, four weights a byte, 32 apart in each half of 128.
void packTwoBits(const uint8_t* codes, uint8_t* out) {
  for (int b = 0; b < 64; b++) {
    const uint8_t* c = codes + (b >> 5) * 128 + (b & 31);
    out[b] = static_cast<uint8_t>(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
  }
}

// Nibbles of weights i (low) and i + 32 (high) in each run of 64.
void packRuns(const uint8_t* codes, uint8_t* out) {
  for (int i = 0; i < 128; i++) {
    const uint8_t* c = codes + (i >> 5) * 64 + (i & 31);
    out[i] = static_cast<uint8_t>((c[0] & 15) | (c[32] & 15) << 4);
  }
}

void fitQ2(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float* min) {
  const auto v = fitMinimums<16, 3, 15>(fits, x, w, block + 80, scale, min);
  for (int g = 0; g < 16; g++) block[g] = static_cast<uint8_t>(v.scale[g] | v.min[g] << 4);
}
void packQ2(const int8_t* codes, uint8_t* block) { packTwoBits(reinterpret_cast<const uint8_t*>(codes), block + 16); }

void fitQ3(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float*) {
  int v[16];
  fitScales<16, -4, 3, 32>(fits, x, w, block + 108, scale, v);
  std::memset(block + 96, 0, 12);
  for (int g = 0; g < 16; g++) {
    const int bits = v[g] + 32;
    block[96 + (g & 7)] |= static_cast<uint8_t>((bits & 15) << (g >= 8 ? 4 : 0));
    block[104 + (g & 3)] |= static_cast<uint8_t>((bits >> 4) << (2 * (g >> 2)));
  }
}
void packQ3(const int8_t* codes, uint8_t* block) {
  uint8_t low[256];
  std::memset(block, 0, 32);
  for (int i = 0; i < 256; i++) {
    const int bits = codes[i] + 4;
    low[i] = static_cast<uint8_t>(bits & 3);
    block[i & 31] |= static_cast<uint8_t>((bits >> 2) << (i >> 5));
  }
  packTwoBits(low, block + 32);
}

template <int Hi>
void fitQ45(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float* min) {
  packSixBits(fitMinimums<8, Hi, 63>(fits, x, w, block, scale, min), block + 4);
}
void packQ4(const int8_t* codes, uint8_t* block) { packRuns(reinterpret_cast<const uint8_t*>(codes), block + 16); }
void packQ5(const int8_t* codes, uint8_t* block) {
  std::memset(block + 16, 0, 32);
  for (int i = 0; i < 256; i++) block[16 + (i & 31)] |= static_cast<uint8_t>((codes[i] >> 4) << (i >> 5));
  packRuns(reinterpret_cast<const uint8_t*>(codes), block + 48);
}

void fitQ6(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float*) {
  int v[16];
  fitScales<16, -32, 31, 128>(fits, x, w, block + 208, scale, v);
  for (int g = 0; g < 16; g++) block[192 + g] = static_cast<uint8_t>(static_cast<int8_t>(v[g]));
}
void packQ6(const int8_t* codes, uint8_t* block) {
  uint8_t high[256];
  for (int i = 0; i < 256; i++) high[i] = static_cast<uint8_t>((codes[i] + 32) >> 4);
  for (int i = 0; i < 128; i++) {
    const int8_t* c = codes + (i >> 6) * 128 + (i & 63);
    block[i] = static_cast<uint8_t>(((c[0] + 32) & 15) | ((c[64] + 32) & 15) << 4);
  }
  packTwoBits(high, block + 128);
}

void fitIq4Xs(const Fits& fits, const float* x, const float* w, uint8_t* block, float* scale, float*) {
  int v[8];
  fitScales<8, 0, 15, 32, true>(fits, x, w, block, scale, v);
  std::memset(block + 2, 0, 6);
  uint16_t high = 0;
  for (int g = 0; g < 8; g++) {
    const int bits = v[g] + 32;
    high |= static_cast<uint16_t>((bits >> 4) << (2 * g));
    block[4 + (g >> 1)] |= static_cast<uint8_t>((bits & 15) << (4 * (g & 1)));
  }
  std::memcpy(block + 2, &high, sizeof high);
}
void packIq4Xs(const int8_t* codes, uint8_t* block) {
  for (int i = 0; i < 128; i++) {
    const int8_t* c = codes + (i >> 4) * 32 + (i & 15);
    block[8 + i] = static_cast<uint8_t>(c[0] | c[16] << 4);
  }
}

}  // namespace

const BlockFormat kSuperFormats[] = {
    {10, 256, 84, 16, 0, 3, nullptr, fitQ2, packQ2},        {11, 256, 110, 16, -4, 3, nullptr, fitQ3, packQ3},
    {12, 256, 144, 32, 0, 15, nullptr, fitQ45<15>, packQ4}, {13, 256, 176, 32, 0, 31, nullptr, fitQ45<31>, packQ5},
    {14, 256, 210, 16, -32, 31, nullptr, fitQ6, packQ6},    {23, 256, 136, 32, 0, 15, kIq4Levels, fitIq4Xs, packIq4Xs},
};
const int kSuperFormatCount = static_cast<int>(sizeof kSuperFormats / sizeof kSuperFormats[0]);

}  // namespace millrace
