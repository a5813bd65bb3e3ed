// One machine vector: 32-bit lanes (16 in AVX-512, 8 in AVX2, 4 in NEON and scalar) and the dot products of bytes that
// isa/linear.cpp is written on. A lane is one of the 16 interleaved rows of a packed matrix, so that 16 / kLanes
// vectors
// ("parts") make a group. isa/lanes.h is its sister for the kernels that want sixteen floats whatever the machine.
//
// All of it gives the same bits on every ISA: integers are exact, and fma is fused (the scalar one by way of double,
// corrected where rounding twice would show).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
// GCC 12 takes the undefined operand within its own AVX-512 intrinsics for a mistake of ours (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

#define MILLRACE_VEC static inline __attribute__((always_inline))
// Before a loop whose count is a constant and whose arrays are to live in registers.
#if !defined(__AVX2__) && !defined(__ARM_FEATURE_DOTPROD)
#define MILLRACE_UNROLL
#elif defined(__clang__)
#define MILLRACE_UNROLL _Pragma("unroll")
#else
#define MILLRACE_UNROLL _Pragma("GCC unroll 16")
#endif

namespace millrace::MILLRACE_ISA::vec {

MILLRACE_VEC int32_t load32(const void* p) {
  int32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// What lies at p may have changed, for all that the compiler knows: it must not keep a table in registers that are
// wanted for sums, and no sum in registers that lies in memory.
MILLRACE_VEC void reload(const void* p) { asm volatile("" : : "r"(p) : "memory"); }

// What follows, for each ISA:
//   F32, I32       kLanes floats, kLanes 32-bit integers
//   Bytes          four bytes a lane: four columns of kLanes rows
//   loadHalf …     kLanes values of a small type, widened to float
//   bits<S, M>(b)  every byte (b >> S) & M; to the left where S is negative
//   signedCodes(b) brings signed bytes into the form that dot<8, …> wants; its dot products then come out too large
//                  by kSignedOffset · Σx, which the caller takes off by way of `init`
//   dot<B, n, P, R> sum[r][p] = Σ over 4·n columns of w[.][p] · x_r, exact; w: n × P vectors of codes of B bits without
//   a
//                  sign, or of signedCodes for B = 8; x_r: 4·n int8 other than −128, `stride` apart, the same for all
//                  lanes; to which init[r · initStride] is added if HasInit

#if defined(__AVX512VNNI__)

constexpr int kLanes = 16;
constexpr int kSignedOffset = 128;  // the instruction takes unsigned × signed: codes are moved by 128
using F32 = __m512;
using I32 = __m512i;
using Bytes = __m512i;

MILLRACE_VEC F32 zero() { return _mm512_setzero_ps(); }
MILLRACE_VEC F32 splat(float x) { return _mm512_set1_ps(x); }
MILLRACE_VEC F32 load(const float* p) { return _mm512_loadu_ps(p); }
MILLRACE_VEC void store(float* p, F32 x) { _mm512_storeu_ps(p, x); }
MILLRACE_VEC F32 add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
MILLRACE_VEC F32 mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
MILLRACE_VEC F32 fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
MILLRACE_VEC F32 toFloat(I32 a) { return _mm512_cvtepi32_ps(a); }
MILLRACE_VEC F32 loadHalf(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
MILLRACE_VEC F32 loadBrain(const uint16_t* p) {
  const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}
MILLRACE_VEC F32 loadInt8(const int8_t* p) {
  return toFloat(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
MILLRACE_VEC Bytes loadBytes(const void* p) { return _mm512_loadu_si512(p); }
MILLRACE_VEC Bytes join(Bytes a, Bytes b) { return _mm512_or_si512(a, b); }
template <int Shift, int Mask>
MILLRACE_VEC Bytes bits(Bytes b) {
  const __m512i mask = _mm512_set1_epi8(static_cast<char>(Mask));
  if constexpr (Shift >= 0) return _mm512_and_si512(_mm512_srli_epi16(b, Shift), mask);
  else return _mm512_and_si512(_mm512_slli_epi16(b, -Shift), mask);
}
MILLRACE_VEC Bytes signedCodes(Bytes b) { return _mm512_xor_si512(b, _mm512_set1_epi8(static_cast<char>(0x80))); }
template <int Bits, int Steps, int Parts, int Rows, bool HasInit>
MILLRACE_VEC void dot(const Bytes (*w)[Parts], const int8_t* x, size_t stride, const int32_t* init, size_t initStride,
                      I32 (*sum)[Parts]) {
  MILLRACE_UNROLL
  for (int r = 0; r < Rows; r++) {
    const I32 start = HasInit ? _mm512_set1_epi32(init[static_cast<size_t>(r) * initStride]) : _mm512_setzero_si512();
    MILLRACE_UNROLL
    for (int p = 0; p < Parts; p++) sum[r][p] = start;
  }
  MILLRACE_UNROLL
  for (int s = 0; s < Steps; s++) {
    MILLRACE_UNROLL
    for (int r = 0; r < Rows; r++) {
      const __m512i xs = _mm512_set1_epi32(load32(x + static_cast<size_t>(r) * stride + 4 * s));
      MILLRACE_UNROLL
      for (int p = 0; p < Parts; p++) sum[r][p] = _mm512_dpbusd_epi32(sum[r][p], w[s][p], xs);
    }
  }
}

#elif defined(__AVX2__)

constexpr int kLanes = 8;
constexpr int kSignedOffset = 0;
using F32 = __m256;
using I32 = __m256i;
using Bytes = __m256i;

MILLRACE_VEC F32 zero() { return _mm256_setzero_ps(); }
MILLRACE_VEC F32 splat(float x) { return _mm256_set1_ps(x); }
MILLRACE_VEC F32 load(const float* p) { return _mm256_loadu_ps(p); }
MILLRACE_VEC void store(float* p, F32 x) { _mm256_storeu_ps(p, x); }
MILLRACE_VEC F32 add(F32 a, F32 b) { return _mm256_add_ps(a, b); }
MILLRACE_VEC F32 mul(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
MILLRACE_VEC F32 fma(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
MILLRACE_VEC F32 toFloat(I32 a) { return _mm256_cvtepi32_ps(a); }
MILLRACE_VEC F32 loadHalf(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
MILLRACE_VEC F32 loadBrain(const uint16_t* p) {
  const __m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
}
MILLRACE_VEC F32 loadInt8(const int8_t* p) {
  return toFloat(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
MILLRACE_VEC Bytes loadBytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
MILLRACE_VEC Bytes join(Bytes a, Bytes b) { return _mm256_or_si256(a, b); }
template <int Shift, int Mask>
MILLRACE_VEC Bytes bits(Bytes b) {
  const __m256i mask = _mm256_set1_epi8(static_cast<char>(Mask));
  if constexpr (Shift > 0) b = _mm256_srli_epi16(b, Shift);
  if constexpr (Shift < 0) b = _mm256_slli_epi16(b, -Shift);
  return _mm256_and_si256(b, mask);
}
MILLRACE_VEC Bytes signedCodes(Bytes b) { return b; }
// The instruction multiplies unsigned by signed bytes and adds pairs, saturated to 16 bits: as many pairs are summed in
// 16 bits as their bound allows (15 · 127 · 2 · 8 < 2^15, 31: 4, 63: 2, 128: 1), then widened.
template <int Bits, int Steps, int Parts, int Rows, bool HasInit>
MILLRACE_VEC void dot(const Bytes (*w)[Parts], const int8_t* x, size_t stride, const int32_t* init, size_t initStride,
                      I32 (*sum)[Parts]) {
  constexpr int bound = Bits == 4 ? 8 : Bits == 5 ? 4 : Bits == 6 ? 2 : 1;
  constexpr int run = bound < Steps ? bound : Steps;
  const __m256i ones = _mm256_set1_epi16(1);
  MILLRACE_UNROLL
  for (int s = 0; s < Steps; s += run) {
    __m256i pairs[Rows][Parts];
    MILLRACE_UNROLL
    for (int i = 0; i < run; i++) {
      MILLRACE_UNROLL
      for (int r = 0; r < Rows; r++) {
        const __m256i xs = _mm256_set1_epi32(load32(x + static_cast<size_t>(r) * stride + 4 * (s + i)));
        MILLRACE_UNROLL
        for (int p = 0; p < Parts; p++) {
          const __m256i codes = w[s + i][p];
          __m256i product;
          if constexpr (Bits == 8) product = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(xs, codes));
          else product = _mm256_maddubs_epi16(codes, xs);
          pairs[r][p] = i == 0 ? product : _mm256_add_epi16(pairs[r][p], product);
          // Or GCC makes a tree of the additions, which needs a register for every product.
          asm("" : "+x"(pairs[r][p]));
        }
      }
    }
    MILLRACE_UNROLL
    for (int r = 0; r < Rows; r++) {
      MILLRACE_UNROLL
      for (int p = 0; p < Parts; p++) {
        const __m256i wide = _mm256_madd_epi16(pairs[r][p], ones);
        sum[r][p] = s == 0 ? wide : _mm256_add_epi32(sum[r][p], wide);
      }
    }
  }
  if constexpr (HasInit) {
    MILLRACE_UNROLL
    for (int r = 0; r < Rows; r++) {
      const __m256i start = _mm256_set1_epi32(init[static_cast<size_t>(r) * initStride]);
      MILLRACE_UNROLL
      for (int p = 0; p < Parts; p++) sum[r][p] = _mm256_add_epi32(sum[r][p], start);
    }
  }
}

#elif defined(__ARM_FEATURE_DOTPROD)

constexpr int kLanes = 4;
constexpr int kSignedOffset = 0;
using F32 = float32x4_t;
using I32 = int32x4_t;
using Bytes = uint8x16_t;

MILLRACE_VEC F32 zero() { return vdupq_n_f32(0); }
MILLRACE_VEC F32 splat(float x) { return vdupq_n_f32(x); }
MILLRACE_VEC F32 load(const float* p) { return vld1q_f32(p); }
MILLRACE_VEC void store(float* p, F32 x) { vst1q_f32(p, x); }
MILLRACE_VEC F32 add(F32 a, F32 b) { return vaddq_f32(a, b); }
MILLRACE_VEC F32 mul(F32 a, F32 b) { return vmulq_f32(a, b); }
MILLRACE_VEC F32 fma(F32 a, F32 b, F32 c) { return vfmaq_f32(c, a, b); }
MILLRACE_VEC F32 toFloat(I32 a) { return vcvtq_f32_s32(a); }
MILLRACE_VEC F32 loadHalf(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
MILLRACE_VEC F32 loadBrain(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
MILLRACE_VEC F32 loadInt8(const int8_t* p) {
  const int8x8_t v = vreinterpret_s8_s32(vdup_n_s32(load32(p)));
  return toFloat(vmovl_s16(vget_low_s16(vmovl_s8(v))));
}
MILLRACE_VEC Bytes loadBytes(const void* p) { return vld1q_u8(static_cast<const uint8_t*>(p)); }
MILLRACE_VEC Bytes join(Bytes a, Bytes b) { return vorrq_u8(a, b); }
template <int Shift, int Mask>
MILLRACE_VEC Bytes bits(Bytes b) {
  if constexpr (Shift > 0) b = vshrq_n_u8(b, Shift);
  if constexpr (Shift < 0) b = vshlq_n_u8(b, -Shift);
  return vandq_u8(b, vdupq_n_u8(Mask));
}
MILLRACE_VEC Bytes signedCodes(Bytes b) { return b; }
template <int Bits, int Steps, int Parts, int Rows, bool HasInit>
MILLRACE_VEC void dot(const Bytes (*w)[Parts], const int8_t* x, size_t stride, const int32_t* init, size_t initStride,
                      I32 (*sum)[Parts]) {
  MILLRACE_UNROLL
  for (int r = 0; r < Rows; r++) {
    const I32 start = vdupq_n_s32(HasInit ? init[static_cast<size_t>(r) * initStride] : 0);
    MILLRACE_UNROLL
    for (int p = 0; p < Parts; p++) sum[r][p] = start;
  }
  MILLRACE_UNROLL
  for (int s = 0; s < Steps; s += 4) {
    MILLRACE_UNROLL
    for (int r = 0; r < Rows; r++) {
      const int8x16_t xs = vld1q_s8(x + static_cast<size_t>(r) * stride + 4 * s);
      MILLRACE_UNROLL
      for (int p = 0; p < Parts; p++) {
        sum[r][p] = vdotq_laneq_s32(sum[r][p], vreinterpretq_s8_u8(w[s][p]), xs, 0);
        sum[r][p] = vdotq_laneq_s32(sum[r][p], vreinterpretq_s8_u8(w[s + 1][p]), xs, 1);
        sum[r][p] = vdotq_laneq_s32(sum[r][p], vreinterpretq_s8_u8(w[s + 2][p]), xs, 2);
        sum[r][p] = vdotq_laneq_s32(sum[r][p], vreinterpretq_s8_u8(w[s + 3][p]), xs, 3);
      }
    }
  }
}

#else

constexpr int kLanes = 4;
constexpr int kSignedOffset = 0;
struct F32 {
  float v[kLanes];
};
struct I32 {
  int32_t v[kLanes];
};
struct Bytes {
  uint8_t v[4 * kLanes];
};

template <typename F>
MILLRACE_VEC F32 lanes(F f) {
  return {{f(0), f(1), f(2), f(3)}};
}
// a · b is exact in double, and so is its sum with c but for one rounding; the second rounding, to float, goes wrong
// only where that sum lies half-way between two floats without being exact.
MILLRACE_VEC float fmaOne(float a, float b, float c) {
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const double sum = product + static_cast<double>(c);
  uint64_t pattern;
  std::memcpy(&pattern, &sum, sizeof pattern);
  if (__builtin_expect((pattern & 0x1fffffff) == 0x10000000 || !(__builtin_fabs(sum) > 0x1p-125), 0)) {
    return sum == 0 ? static_cast<float>(sum) : __builtin_fmaf(a, b, c);
  }
  return static_cast<float>(sum);
}
MILLRACE_VEC float halfOne(uint16_t h) {
  const uint32_t magnitude = static_cast<uint32_t>(h & 0x7fff) << 13;
  uint32_t pattern = magnitude | 0x7f800000;
  float value;
  if ((h & 0x7c00) != 0x7c00) {
    // The exponent is moved by a multiplication, which is exact for subnormal numbers, too.
    std::memcpy(&value, &magnitude, sizeof value);
    value *= 0x1p112f;
    std::memcpy(&pattern, &value, sizeof value);
  }
  pattern |= static_cast<uint32_t>(h & 0x8000) << 16;
  std::memcpy(&value, &pattern, sizeof value);
  return value;
}

MILLRACE_VEC F32 zero() { return {}; }
MILLRACE_VEC F32 splat(float x) { return {{x, x, x, x}}; }
MILLRACE_VEC F32 load(const float* p) {
  F32 r;
  std::memcpy(&r, p, sizeof r);
  return r;
}
MILLRACE_VEC void store(float* p, F32 x) { std::memcpy(p, &x, sizeof x); }
MILLRACE_VEC F32 add(F32 a, F32 b) {
  return lanes([&](int i) { return a.v[i] + b.v[i]; });
}
MILLRACE_VEC F32 mul(F32 a, F32 b) {
  return lanes([&](int i) { return a.v[i] * b.v[i]; });
}
MILLRACE_VEC F32 fma(F32 a, F32 b, F32 c) {
  return lanes([&](int i) { return fmaOne(a.v[i], b.v[i], c.v[i]); });
}
MILLRACE_VEC F32 toFloat(I32 a) {
  return lanes([&](int i) { return static_cast<float>(a.v[i]); });
}
MILLRACE_VEC F32 loadHalf(const uint16_t* p) {
  return lanes([&](int i) { return halfOne(p[i]); });
}
MILLRACE_VEC F32 loadBrain(const uint16_t* p) {
  return lanes([&](int i) {
    const uint32_t pattern = static_cast<uint32_t>(p[i]) << 16;
    float value;
    std::memcpy(&value, &pattern, sizeof value);
    return value;
  });
}
MILLRACE_VEC F32 loadInt8(const int8_t* p) {
  return lanes([&](int i) { return static_cast<float>(p[i]); });
}
MILLRACE_VEC Bytes loadBytes(const void* p) {
  Bytes r;
  std::memcpy(&r, p, sizeof r);
  return r;
}
MILLRACE_VEC Bytes join(Bytes a, Bytes b) {
  for (int i = 0; i < 4 * kLanes; i++) a.v[i] = static_cast<uint8_t>(a.v[i] | b.v[i]);
  return a;
}
template <int Shift, int Mask>
MILLRACE_VEC Bytes bits(Bytes b) {
  for (int i = 0; i < 4 * kLanes; i++) {
    if constexpr (Shift >= 0) b.v[i] = static_cast<uint8_t>((b.v[i] >> Shift) & Mask);
    else b.v[i] = static_cast<uint8_t>((b.v[i] << -Shift) & Mask);
  }
  return b;
}
MILLRACE_VEC Bytes signedCodes(Bytes b) { return b; }
template <int Bits, int Steps, int Parts, int Rows, bool HasInit>
MILLRACE_VEC void dot(const Bytes (*w)[Parts], const int8_t* x, size_t stride, const int32_t* init, size_t initStride,
                      I32 (*sum)[Parts]) {
  MILLRACE_UNROLL
  for (int r = 0; r < Rows; r++) {
    const int8_t* xs = x + static_cast<size_t>(r) * stride;
    MILLRACE_UNROLL
    for (int p = 0; p < Parts; p++) {
      const int32_t start = HasInit ? init[static_cast<size_t>(r) * initStride] : 0;
      I32 total{{start, start, start, start}};
      MILLRACE_UNROLL
      for (int s = 0; s < Steps; s++) {
        for (int lane = 0; lane < kLanes; lane++) {
          for (int c = 0; c < 4; c++) total.v[lane] += static_cast<int8_t>(w[s][p].v[4 * lane + c]) * xs[4 * s + c];
        }
      }
      sum[r][p] = total;
    }
  }
}

#endif

constexpr int kParts = 16 / kLanes;

// Of 32 floats: the largest magnitude, as bits (integers in the order of the floats, with infinities and not-a-numbers
// above all); and x · inverse rounded half to even as bytes, with their sums of 16. |x · inverse| ≤ 127.5.
#if defined(__AVX2__)

MILLRACE_VEC uint32_t largestBits32(const float* x) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i top = _mm256_setzero_si256();
  for (int i = 0; i < 32; i += 8) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i));
    top = _mm256_max_epi32(top, _mm256_and_si256(bits, magnitude));
  }
  __m128i half = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(half));
}
MILLRACE_VEC void round32(const float* x, float inverse, int8_t* codes, int32_t* sums) {
  __m256i v[4];
  for (int i = 0; i < 4; i++) {
    v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), _mm256_set1_ps(inverse)));
  }
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
  // Packing goes by halves of a register: words 0 4 1 5 2 6 3 7 are in order.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), _mm256_permutevar8x32_epi32(bytes, order));
  const __m256i pairs = _mm256_hadd_epi32(_mm256_add_epi32(v[0], v[1]), _mm256_add_epi32(v[2], v[3]));
  const __m256i fours = _mm256_hadd_epi32(pairs, pairs);
  const __m128i both = _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(sums), both);
}

#else

MILLRACE_VEC uint32_t largestBits32(const float* x) {
  uint32_t top = 0;
  for (int i = 0; i < 32; i++) {
    const uint32_t bits = static_cast<uint32_t>(load32(x + i)) & 0x7fffffff;
    top = bits > top ? bits : top;
  }
  return top;
}
MILLRACE_VEC void round32(const float* x, float inverse, int8_t* codes, int32_t* sums) {
  for (int h = 0; h < 2; h++) {
    int32_t sum = 0;
    for (int i = 16 * h; i < 16 * (h + 1); i++) {
      // Adding 1.5 · 2^23 leaves the rounded integer in the lowest bits.
      const float shifted = x[i] * inverse + 12582912.0f;
      const int32_t code = load32(&shifted) - 0x4b400000;
      codes[i] = static_cast<int8_t>(code);
      sum += code;
    }
    sums[h] = sum;
  }
}

#endif

}  // namespace millrace::MILLRACE_ISA::vec
