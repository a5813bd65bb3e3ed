// The one vector vocabulary of the kernels, in two sizes:
//
//   vec     the machine's vector: kLanes 32-bit lanes (16 in AVX-512, 8 in AVX2, 4 in NEON and scalar), and dot
//   products
//           of bytes. A lane is one of the 16 interleaved rows of a packed matrix, so that kParts vectors ("parts")
//           make a group. The linear kernels are written on it; one file an ISA (vec-avx512.h, …) makes it.
//   lanes   sixteen floats whatever the machine: kParts machine vectors. Attention, elementwise and sampling kernels
//   are
//           written on it, so that their lanes, their order of adds and their trees are one and the same everywhere.
//
// All of it gives the same bits on every ISA: integers are exact, and fma is fused (the scalar one by way of double,
// corrected where rounding twice would show). But for mulAdd, fused only where that is one instruction (the inner loop
// of attention). What is in vec (a, b: F32 or I32):
//
//   F32, I32, Mask             kLanes floats, 32-bit integers, truth values
//   load, loadHalf, loadBrain, loadInt8    kLanes floats, widened from a small type; store, storeHalf
//   add, sub, mul, div, fma, squareRoot    of floats; add, sub (which wrap), both, either, differ (by bits) of integers
//   maximum(a, b), minimum(a, b)           b where either is not a number
//   shiftLeft, shiftRight                  zeros come in; shiftRightSigned
//   mulWide(a, m, high, low)               64-bit products of unsigned lanes with m, as high and low halves
//   less, lessEqual, equal → Mask; select(mask, yes, no); maskBits: bit i is lane i
//   Bytes                      four bytes a lane: four columns of kLanes rows; loadBytes, storeBytes,
//                              join (by or)
//   lookup(table, b)           table[byte] of sixteen bytes for every byte, which is below 16
//   bits<S, M>(b)              every byte (b >> S) & M; to the left where S is negative
//   signedCodes(b)             brings signed bytes into the form that dot<8, …> wants; its dot products then come out
//   too
//                              large by kSignedOffset · Σx, which the caller takes off by way of `init`
//   dot<B, n, P, R>            sum[r][p] = Σ over 4·n columns of w[.][p] · x_r, exact; w: n × P vectors of codes of B
//   bits
//                              without a sign, or of signedCodes for B = 8; x_r: 4·n int8 other than −128, `stride`
//                              apart, the same for all lanes; to which init[r · initStride] is added if HasInit
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

// Is the ISA that this is compiled for the one named so?
#define MILLRACE_JOIN_(a, b) a##b
#define MILLRACE_JOIN(a, b) MILLRACE_JOIN_(a, b)
#define MILLRACE_IS_scalar 1
#define MILLRACE_SCALAR MILLRACE_JOIN(MILLRACE_IS_, MILLRACE_ISA)

#if defined(__ARM_FEATURE_DOTPROD) && !MILLRACE_SCALAR
#define MILLRACE_NEON 1
#include <arm_neon.h>
#else
#define MILLRACE_NEON 0
#endif

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
#endif

#define MILLRACE_INLINE static inline __attribute__((always_inline))
// Before a loop whose count is a constant and whose arrays are to live in registers.
#if !defined(__AVX2__) && !MILLRACE_NEON
#define MILLRACE_UNROLL
#elif defined(__clang__)
#define MILLRACE_UNROLL _Pragma("unroll")
#else
#define MILLRACE_UNROLL _Pragma("GCC unroll 16")
#endif

namespace millrace::MILLRACE_ISA::vec {

MILLRACE_INLINE int32_t load32(const void* p) {
  int32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// What lies at p may have changed, for all that the compiler knows: it must not keep a table in registers that are
// wanted for sums, and no sum in registers that lies in memory.
MILLRACE_INLINE void reload(const void* p) { asm volatile("" : : "r"(p) : "memory"); }

}  // namespace millrace::MILLRACE_ISA::vec

#if defined(__AVX512VNNI__)
#include "vec-avx512.h"
#elif defined(__AVX2__)
#include "vec-avx2.h"
#else
#include "vec-portable.h"
#endif

namespace millrace::MILLRACE_ISA::vec {

constexpr int kParts = 16 / kLanes;

// Of 32 floats: the largest magnitude, as bits (integers in the order of the floats, with infinities and not-a-numbers
// above all); and x · inverse rounded half to even as bytes, with their sums of 16. |x · inverse| ≤ 127.5.
#if defined(__AVX2__)

MILLRACE_INLINE uint32_t largestBits32(const float* x) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i top = _mm256_setzero_si256();
  for (int i = 0; i < 32; i += 8) {
    const __m256i pattern = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i));
    top = _mm256_max_epi32(top, _mm256_and_si256(pattern, magnitude));
  }
  __m128i half = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(half));
}
MILLRACE_INLINE void round32(const float* x, float inverse, int8_t* codes, int32_t* sums) {
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

MILLRACE_INLINE uint32_t largestBits32(const float* x) {
  uint32_t top = 0;
  for (int i = 0; i < 32; i++) {
    const uint32_t pattern = static_cast<uint32_t>(load32(x + i)) & 0x7fffffff;
    top = pattern > top ? pattern : top;
  }
  return top;
}
MILLRACE_INLINE void round32(const float* x, float inverse, int8_t* codes, int32_t* sums) {
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

namespace millrace::MILLRACE_ISA::lanes {

constexpr int kLanes = 16;

struct F32 {
  vec::F32 v[vec::kParts];
};
struct I32 {
  vec::I32 v[vec::kParts];
};
struct Mask {
  vec::Mask v[vec::kParts];
};

// f(i) for every part.
template <typename T, typename F>
MILLRACE_INLINE T each(F f) {
  if constexpr (vec::kParts == 1) return {{f(0)}};
  else if constexpr (vec::kParts == 2) return {{f(0), f(1)}};
  else return {{f(0), f(1), f(2), f(3)}};
}

MILLRACE_INLINE F32 splat(float x) {
  return each<F32>([&](int) { return vec::splat(x); });
}
MILLRACE_INLINE I32 splatInt(int32_t x) {
  return each<I32>([&](int) { return vec::splatInt(x); });
}
MILLRACE_INLINE F32 load(const float* p) {
  return each<F32>([&](int i) { return vec::load(p + vec::kLanes * i); });
}
MILLRACE_INLINE I32 loadInt(const int32_t* p) {
  return each<I32>([&](int i) { return vec::loadInt(p + vec::kLanes * i); });
}
MILLRACE_INLINE F32 loadHalf(const uint16_t* p) {
  return each<F32>([&](int i) { return vec::loadHalf(p + vec::kLanes * i); });
}
MILLRACE_INLINE F32 loadBytes(const int8_t* p) {
  return each<F32>([&](int i) { return vec::loadInt8(p + vec::kLanes * i); });
}
MILLRACE_INLINE void store(float* p, F32 x) {
  for (int i = 0; i < vec::kParts; i++) vec::store(p + vec::kLanes * i, x.v[i]);
}
MILLRACE_INLINE void storeInt(int32_t* p, I32 x) {
  for (int i = 0; i < vec::kParts; i++) vec::storeInt(p + vec::kLanes * i, x.v[i]);
}
MILLRACE_INLINE void storeHalf(uint16_t* p, F32 x) {
  for (int i = 0; i < vec::kParts; i++) vec::storeHalf(p + vec::kLanes * i, x.v[i]);
}
MILLRACE_INLINE I32 iota() {
  constexpr int32_t lanes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return loadInt(lanes);
}

MILLRACE_INLINE F32 operator+(F32 a, F32 b) {
  return each<F32>([&](int i) { return vec::add(a.v[i], b.v[i]); });
}
MILLRACE_INLINE F32 operator-(F32 a, F32 b) {
  return each<F32>([&](int i) { return vec::sub(a.v[i], b.v[i]); });
}
MILLRACE_INLINE F32 operator*(F32 a, F32 b) {
  return each<F32>([&](int i) { return vec::mul(a.v[i], b.v[i]); });
}
MILLRACE_INLINE F32 operator/(F32 a, F32 b) {
  return each<F32>([&](int i) { return vec::div(a.v[i], b.v[i]); });
}
MILLRACE_INLINE F32 fma(F32 a, F32 b, F32 c) {
  return each<F32>([&](int i) { return vec::fma(a.v[i], b.v[i], c.v[i]); });
}
MILLRACE_INLINE F32 mulAdd(F32 a, F32 b, F32 c) {
  return each<F32>([&](int i) { return vec::mulAdd(a.v[i], b.v[i], c.v[i]); });
}
MILLRACE_INLINE F32 maximum(F32 a, F32 b) {
  return each<F32>([&](int i) { return vec::maximum(a.v[i], b.v[i]); });
}
MILLRACE_INLINE F32 minimum(F32 a, F32 b) {
  return each<F32>([&](int i) { return vec::minimum(a.v[i], b.v[i]); });
}
MILLRACE_INLINE F32 squareRoot(F32 a) {
  return each<F32>([&](int i) { return vec::squareRoot(a.v[i]); });
}
MILLRACE_INLINE I32 bitsOf(F32 a) {
  return each<I32>([&](int i) { return vec::bitsOf(a.v[i]); });
}
MILLRACE_INLINE F32 fromBits(I32 a) {
  return each<F32>([&](int i) { return vec::fromBits(a.v[i]); });
}
MILLRACE_INLINE F32 toFloat(I32 a) {
  return each<F32>([&](int i) { return vec::toFloat(a.v[i]); });
}
MILLRACE_INLINE I32 operator+(I32 a, I32 b) {
  return each<I32>([&](int i) { return vec::add(a.v[i], b.v[i]); });
}
MILLRACE_INLINE I32 operator-(I32 a, I32 b) {
  return each<I32>([&](int i) { return vec::sub(a.v[i], b.v[i]); });
}
MILLRACE_INLINE I32 operator&(I32 a, I32 b) {
  return each<I32>([&](int i) { return vec::both(a.v[i], b.v[i]); });
}
MILLRACE_INLINE I32 operator|(I32 a, I32 b) {
  return each<I32>([&](int i) { return vec::either(a.v[i], b.v[i]); });
}
MILLRACE_INLINE I32 operator^(I32 a, I32 b) {
  return each<I32>([&](int i) { return vec::differ(a.v[i], b.v[i]); });
}
template <int N>
MILLRACE_INLINE I32 shiftLeft(I32 a) {
  return each<I32>([&](int i) { return vec::shiftLeft<N>(a.v[i]); });
}
template <int N>
MILLRACE_INLINE I32 shiftRight(I32 a) {
  return each<I32>([&](int i) { return vec::shiftRight<N>(a.v[i]); });
}
template <int N>
MILLRACE_INLINE I32 shiftRightSigned(I32 a) {
  return each<I32>([&](int i) { return vec::shiftRightSigned<N>(a.v[i]); });
}
MILLRACE_INLINE void mulWide(I32 a, uint32_t m, I32& high, I32& low) {
  for (int i = 0; i < vec::kParts; i++) vec::mulWide(a.v[i], m, high.v[i], low.v[i]);
}

MILLRACE_INLINE Mask less(F32 a, F32 b) {
  return each<Mask>([&](int i) { return vec::less(a.v[i], b.v[i]); });
}
MILLRACE_INLINE Mask lessEqual(F32 a, F32 b) {
  return each<Mask>([&](int i) { return vec::lessEqual(a.v[i], b.v[i]); });
}
MILLRACE_INLINE Mask equal(F32 a, F32 b) {
  return each<Mask>([&](int i) { return vec::equal(a.v[i], b.v[i]); });
}
MILLRACE_INLINE Mask lessInt(I32 a, I32 b) {
  return each<Mask>([&](int i) { return vec::less(a.v[i], b.v[i]); });
}
MILLRACE_INLINE F32 select(Mask m, F32 yes, F32 no) {
  return each<F32>([&](int i) { return vec::select(m.v[i], yes.v[i], no.v[i]); });
}
MILLRACE_INLINE uint32_t maskBits(Mask m) {
  uint32_t all = 0;
  for (int i = 0; i < vec::kParts; i++) all |= vec::maskBits(m.v[i]) << (vec::kLanes * i);
  return all;
}
MILLRACE_INLINE Mask firstLanes(int n) { return lessInt(iota(), splatInt(n)); }

// The first n lanes from memory, the others zero; n may be 0.
MILLRACE_INLINE F32 loadFirst(const float* p, int n) {
  float all[kLanes] = {};
  std::memcpy(all, p, static_cast<size_t>(n) * sizeof(float));
  return load(all);
}
MILLRACE_INLINE void storeFirst(float* p, F32 x, int n) {
  float all[kLanes];
  store(all, x);
  std::memcpy(p, all, static_cast<size_t>(n) * sizeof(float));
}
MILLRACE_INLINE F32 absolute(F32 x) { return fromBits(bitsOf(x) & splatInt(0x7fffffff)); }
MILLRACE_INLINE F32 operator-(F32 x) { return fromBits(bitsOf(x) ^ splatInt(static_cast<int32_t>(0x80000000))); }
// |magnitude| with the sign of `sign`; magnitude ≥ 0.
MILLRACE_INLINE F32 withSign(F32 magnitude, F32 sign) {
  return fromBits(bitsOf(magnitude) | (bitsOf(sign) & splatInt(static_cast<int32_t>(0x80000000))));
}

// Trees over the lanes: i with i + 8, then i + 4, i + 2, i + 1; the same on every ISA. No lane of maxOf's may be other
// than a number.
#if defined(__AVX2__)
#if defined(__AVX512VNNI__)
MILLRACE_INLINE __m256 lowHalf(F32 x) { return _mm512_castps512_ps256(x.v[0]); }
MILLRACE_INLINE __m256 highHalf(F32 x) { return _mm512_extractf32x8_ps(x.v[0], 1); }
#else
MILLRACE_INLINE __m256 lowHalf(F32 x) { return x.v[0]; }
MILLRACE_INLINE __m256 highHalf(F32 x) { return x.v[1]; }
#endif
MILLRACE_INLINE float sumOf(F32 x) {
  const __m256 eight = _mm256_add_ps(lowHalf(x), highHalf(x));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
MILLRACE_INLINE float maxOf(F32 x) {
  const __m256 eight = _mm256_max_ps(lowHalf(x), highHalf(x));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
#else
MILLRACE_INLINE float sumOf(F32 x) {
  const vec::F32 four = vec::add(vec::add(x.v[0], x.v[2]), vec::add(x.v[1], x.v[3]));
  return (four[0] + four[2]) + (four[1] + four[3]);
}
MILLRACE_INLINE float maxOf(F32 x) {
  float v[kLanes];
  store(v, x);
  for (int n = 8; n > 0; n /= 2) {
    for (int i = 0; i < n; i++) v[i] = v[i] > v[i + n] ? v[i] : v[i + n];
  }
  return v[0];
}
#endif

}  // namespace millrace::MILLRACE_ISA::lanes
