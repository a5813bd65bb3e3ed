// Sixteen floats at a time, the same sixteen on every ISA: one zmm, two ymm, or four 16-byte vectors (NEON, scalar).
// Attention, elementwise and sampling kernels are written on these types, so that their lanes, their order of adds and
// their trees are one and the same everywhere. Only what those kernels need stands here.
//
// `fma` is fused, or equal to it but for one rounding in 2^29; `mulAdd` is fused only where that is one instruction
// (the inner loop of attention). maximum(a, b) and minimum(a, b) give b where either is not a number.
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
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define MILLRACE_INLINE static inline __attribute__((always_inline))

namespace millrace::MILLRACE_ISA::lanes {

constexpr int kLanes = 16;

#if defined(__AVX512F__)

struct F32 {
  __m512 v;
};
struct I32 {
  __m512i v;
};
struct Mask {
  __mmask16 m;
};

MILLRACE_INLINE F32 splat(float x) { return {_mm512_set1_ps(x)}; }
MILLRACE_INLINE I32 splatInt(int32_t x) { return {_mm512_set1_epi32(x)}; }
MILLRACE_INLINE I32 iota() { return {_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)}; }
MILLRACE_INLINE F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
MILLRACE_INLINE void store(float* p, F32 x) { _mm512_storeu_ps(p, x.v); }
MILLRACE_INLINE I32 loadInt(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
MILLRACE_INLINE void storeInt(int32_t* p, I32 x) { _mm512_storeu_si512(p, x.v); }
MILLRACE_INLINE F32 loadHalf(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
MILLRACE_INLINE void storeHalf(uint16_t* p, F32 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT));
}
MILLRACE_INLINE F32 loadBytes(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
MILLRACE_INLINE F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
MILLRACE_INLINE F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
MILLRACE_INLINE F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
MILLRACE_INLINE F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
MILLRACE_INLINE F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
MILLRACE_INLINE F32 mulAdd(F32 a, F32 b, F32 c) { return fma(a, b, c); }
MILLRACE_INLINE F32 maximum(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
MILLRACE_INLINE F32 minimum(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
MILLRACE_INLINE F32 squareRoot(F32 a) { return {_mm512_sqrt_ps(a.v)}; }
MILLRACE_INLINE I32 bitsOf(F32 a) { return {_mm512_castps_si512(a.v)}; }
MILLRACE_INLINE F32 fromBits(I32 a) { return {_mm512_castsi512_ps(a.v)}; }
MILLRACE_INLINE F32 toFloat(I32 a) { return {_mm512_cvtepi32_ps(a.v)}; }
MILLRACE_INLINE I32 operator+(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
MILLRACE_INLINE I32 operator-(I32 a, I32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
MILLRACE_INLINE I32 operator&(I32 a, I32 b) { return {_mm512_and_si512(a.v, b.v)}; }
MILLRACE_INLINE I32 operator|(I32 a, I32 b) { return {_mm512_or_si512(a.v, b.v)}; }
MILLRACE_INLINE I32 operator^(I32 a, I32 b) { return {_mm512_xor_si512(a.v, b.v)}; }
template <int N>
MILLRACE_INLINE I32 shiftLeft(I32 a) {
  return {_mm512_slli_epi32(a.v, N)};
}
template <int N>
MILLRACE_INLINE I32 shiftRight(I32 a) {  // zeros come in
  return {_mm512_srli_epi32(a.v, N)};
}
template <int N>
MILLRACE_INLINE I32 shiftRightSigned(I32 a) {
  return {_mm512_srai_epi32(a.v, N)};
}
// The 64-bit products of unsigned lanes with `m`, as high and low halves.
MILLRACE_INLINE void mulWide(I32 a, uint32_t m, I32& high, I32& low) {
  const __m512i factor = _mm512_set1_epi64(m);
  const __m512i even = _mm512_mul_epu32(a.v, factor);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), factor);
  high = {_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd)};
  low = {_mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32))};
}
MILLRACE_INLINE Mask less(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
MILLRACE_INLINE Mask lessEqual(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
MILLRACE_INLINE Mask equal(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
MILLRACE_INLINE Mask lessInt(I32 a, I32 b) { return {_mm512_cmplt_epi32_mask(a.v, b.v)}; }
MILLRACE_INLINE F32 select(Mask m, F32 yes, F32 no) { return {_mm512_mask_blend_ps(m.m, no.v, yes.v)}; }
MILLRACE_INLINE uint32_t maskBits(Mask m) { return m.m; }
MILLRACE_INLINE Mask firstLanes(int n) { return {static_cast<__mmask16>((1u << n) - 1)}; }

#elif defined(__AVX2__)

struct F32 {
  __m256 a, b;
};
struct I32 {
  __m256i a, b;
};
struct Mask {
  __m256 a, b;
};

MILLRACE_INLINE F32 splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
MILLRACE_INLINE I32 splatInt(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
MILLRACE_INLINE I32 iota() {
  return {_mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0), _mm256_set_epi32(15, 14, 13, 12, 11, 10, 9, 8)};
}
MILLRACE_INLINE F32 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
MILLRACE_INLINE void store(float* p, F32 x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
MILLRACE_INLINE I32 loadInt(const int32_t* p) {
  const __m256i* q = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
MILLRACE_INLINE void storeInt(int32_t* p, I32 x) {
  __m256i* q = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(q, x.a);
  _mm256_storeu_si256(q + 1, x.b);
}
MILLRACE_INLINE F32 loadHalf(const uint16_t* p) {
  const __m128i* q = reinterpret_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}
MILLRACE_INLINE void storeHalf(uint16_t* p, F32 x) {
  __m128i* q = reinterpret_cast<__m128i*>(p);
  _mm_storeu_si128(q, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(q + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}
MILLRACE_INLINE F32 loadBytes(const int8_t* p) {
  const __m128i a = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  const __m128i b = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8));
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(a)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b))};
}
MILLRACE_INLINE F32 operator+(F32 x, F32 y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
MILLRACE_INLINE F32 operator-(F32 x, F32 y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
MILLRACE_INLINE F32 operator*(F32 x, F32 y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
MILLRACE_INLINE F32 operator/(F32 x, F32 y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
MILLRACE_INLINE F32 fma(F32 x, F32 y, F32 z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
MILLRACE_INLINE F32 mulAdd(F32 x, F32 y, F32 z) { return fma(x, y, z); }
MILLRACE_INLINE F32 maximum(F32 x, F32 y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
MILLRACE_INLINE F32 minimum(F32 x, F32 y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
MILLRACE_INLINE F32 squareRoot(F32 x) { return {_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
MILLRACE_INLINE I32 bitsOf(F32 x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
MILLRACE_INLINE F32 fromBits(I32 x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
MILLRACE_INLINE F32 toFloat(I32 x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
MILLRACE_INLINE I32 operator+(I32 x, I32 y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
MILLRACE_INLINE I32 operator-(I32 x, I32 y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
MILLRACE_INLINE I32 operator&(I32 x, I32 y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
MILLRACE_INLINE I32 operator|(I32 x, I32 y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
MILLRACE_INLINE I32 operator^(I32 x, I32 y) { return {_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)}; }
template <int N>
MILLRACE_INLINE I32 shiftLeft(I32 x) {
  return {_mm256_slli_epi32(x.a, N), _mm256_slli_epi32(x.b, N)};
}
template <int N>
MILLRACE_INLINE I32 shiftRight(I32 x) {  // zeros come in
  return {_mm256_srli_epi32(x.a, N), _mm256_srli_epi32(x.b, N)};
}
template <int N>
MILLRACE_INLINE I32 shiftRightSigned(I32 x) {
  return {_mm256_srai_epi32(x.a, N), _mm256_srai_epi32(x.b, N)};
}
MILLRACE_INLINE void mulWideHalf(__m256i x, __m256i factor, __m256i& high, __m256i& low) {
  const __m256i even = _mm256_mul_epu32(x, factor);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), factor);
  high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}
// The 64-bit products of unsigned lanes with `m`, as high and low halves.
MILLRACE_INLINE void mulWide(I32 x, uint32_t m, I32& high, I32& low) {
  const __m256i factor = _mm256_set1_epi64x(m);
  mulWideHalf(x.a, factor, high.a, low.a);
  mulWideHalf(x.b, factor, high.b, low.b);
}
MILLRACE_INLINE Mask less(F32 x, F32 y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}
MILLRACE_INLINE Mask lessEqual(F32 x, F32 y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_LE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LE_OQ)};
}
MILLRACE_INLINE Mask equal(F32 x, F32 y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ)};
}
MILLRACE_INLINE Mask lessInt(I32 x, I32 y) {
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(y.a, x.a)), _mm256_castsi256_ps(_mm256_cmpgt_epi32(y.b, x.b))};
}
MILLRACE_INLINE F32 select(Mask m, F32 yes, F32 no) {
  return {_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
}
MILLRACE_INLINE uint32_t maskBits(Mask m) {
  return static_cast<uint32_t>(_mm256_movemask_ps(m.a)) | static_cast<uint32_t>(_mm256_movemask_ps(m.b)) << 8;
}
MILLRACE_INLINE Mask firstLanes(int n) { return lessInt(iota(), splatInt(n)); }

#else

// Four 16-byte vectors in the compilers' own vector extension, which becomes SSE, NEON or whatever there is.
typedef float Float4 __attribute__((vector_size(16)));
typedef int32_t Int4 __attribute__((vector_size(16)));
typedef uint32_t Uint4 __attribute__((vector_size(16)));

struct F32 {
  Float4 v[4];
};
struct I32 {
  Int4 v[4];
};
struct Mask {
  Int4 v[4];
};

// f(0) … f(3), a quarter each.
template <typename F>
MILLRACE_INLINE F32 floats(F f) {
  return {{f(0), f(1), f(2), f(3)}};
}
template <typename F>
MILLRACE_INLINE I32 ints(F f) {
  return {{f(0), f(1), f(2), f(3)}};
}
template <typename F>
MILLRACE_INLINE Mask masks(F f) {
  return {{f(0), f(1), f(2), f(3)}};
}
template <typename To, typename From>
MILLRACE_INLINE To reinterpret(From x) {
  static_assert(sizeof(To) == sizeof(From));
  return __builtin_bit_cast(To, x);
}

MILLRACE_INLINE F32 splat(float x) {
  const Float4 v = {x, x, x, x};
  return {{v, v, v, v}};
}
MILLRACE_INLINE I32 splatInt(int32_t x) {
  const Int4 v = {x, x, x, x};
  return {{v, v, v, v}};
}
MILLRACE_INLINE I32 iota() { return {{Int4{0, 1, 2, 3}, Int4{4, 5, 6, 7}, Int4{8, 9, 10, 11}, Int4{12, 13, 14, 15}}}; }
MILLRACE_INLINE F32 load(const float* p) {
  F32 r;
  std::memcpy(&r, p, sizeof r);
  return r;
}
MILLRACE_INLINE void store(float* p, F32 x) { std::memcpy(p, &x, sizeof x); }
MILLRACE_INLINE I32 loadInt(const int32_t* p) {
  I32 r;
  std::memcpy(&r, p, sizeof r);
  return r;
}
MILLRACE_INLINE void storeInt(int32_t* p, I32 x) { std::memcpy(p, &x, sizeof x); }
MILLRACE_INLINE F32 operator+(F32 x, F32 y) {
  return floats([&](int i) { return x.v[i] + y.v[i]; });
}
MILLRACE_INLINE F32 operator-(F32 x, F32 y) {
  return floats([&](int i) { return x.v[i] - y.v[i]; });
}
MILLRACE_INLINE F32 operator*(F32 x, F32 y) {
  return floats([&](int i) { return x.v[i] * y.v[i]; });
}
MILLRACE_INLINE F32 operator/(F32 x, F32 y) {
  return floats([&](int i) { return x.v[i] / y.v[i]; });
}
MILLRACE_INLINE I32 bitsOf(F32 x) {
  return ints([&](int i) { return reinterpret<Int4>(x.v[i]); });
}
MILLRACE_INLINE F32 fromBits(I32 x) {
  return floats([&](int i) { return reinterpret<Float4>(x.v[i]); });
}
MILLRACE_INLINE F32 toFloat(I32 x) {
  return floats([&](int i) { return __builtin_convertvector(x.v[i], Float4); });
}
// Unsigned: sums that pass the sign bit wrap.
MILLRACE_INLINE I32 operator+(I32 x, I32 y) {
  return ints([&](int i) { return reinterpret<Int4>(reinterpret<Uint4>(x.v[i]) + reinterpret<Uint4>(y.v[i])); });
}
MILLRACE_INLINE I32 operator-(I32 x, I32 y) {
  return ints([&](int i) { return reinterpret<Int4>(reinterpret<Uint4>(x.v[i]) - reinterpret<Uint4>(y.v[i])); });
}
MILLRACE_INLINE I32 operator&(I32 x, I32 y) {
  return ints([&](int i) { return x.v[i] & y.v[i]; });
}
MILLRACE_INLINE I32 operator|(I32 x, I32 y) {
  return ints([&](int i) { return x.v[i] | y.v[i]; });
}
MILLRACE_INLINE I32 operator^(I32 x, I32 y) {
  return ints([&](int i) { return x.v[i] ^ y.v[i]; });
}
template <int N>
MILLRACE_INLINE I32 shiftLeft(I32 x) {
  return ints([&](int i) { return reinterpret<Int4>(reinterpret<Uint4>(x.v[i]) << N); });
}
template <int N>
MILLRACE_INLINE I32 shiftRight(I32 x) {  // zeros come in
  return ints([&](int i) { return reinterpret<Int4>(reinterpret<Uint4>(x.v[i]) >> N); });
}
template <int N>
MILLRACE_INLINE I32 shiftRightSigned(I32 x) {
  return ints([&](int i) { return x.v[i] >> N; });
}
// The 64-bit products of unsigned lanes with `m`, as high and low halves.
MILLRACE_INLINE void mulWide(I32 x, uint32_t m, I32& high, I32& low) {
#if defined(__ARM_NEON)
  const auto product = [&](int i, auto narrow) {
    const uint32x4_t lanes = reinterpret<uint32x4_t>(x.v[i]);
    return reinterpret<Int4>(
        vcombine_u32(narrow(vmull_n_u32(vget_low_u32(lanes), m)), narrow(vmull_n_u32(vget_high_u32(lanes), m))));
  };
  high = ints([&](int i) { return product(i, [](uint64x2_t p) { return vshrn_n_u64(p, 32); }); });
  low = ints([&](int i) { return product(i, [](uint64x2_t p) { return vmovn_u64(p); }); });
#else
  int32_t from[kLanes], highs[kLanes], lows[kLanes];
  storeInt(from, x);
  for (int i = 0; i < kLanes; i++) {
    const uint64_t product = static_cast<uint64_t>(static_cast<uint32_t>(from[i])) * m;
    highs[i] = static_cast<int32_t>(product >> 32);
    lows[i] = static_cast<int32_t>(product);
  }
  high = loadInt(highs);
  low = loadInt(lows);
#endif
}
MILLRACE_INLINE Mask less(F32 x, F32 y) {
  return masks([&](int i) { return x.v[i] < y.v[i]; });
}
MILLRACE_INLINE Mask lessEqual(F32 x, F32 y) {
  return masks([&](int i) { return x.v[i] <= y.v[i]; });
}
MILLRACE_INLINE Mask equal(F32 x, F32 y) {
  return masks([&](int i) { return x.v[i] == y.v[i]; });
}
MILLRACE_INLINE Mask lessInt(I32 x, I32 y) {
  return masks([&](int i) { return x.v[i] < y.v[i]; });
}
MILLRACE_INLINE I32 selectInt(Mask m, I32 yes, I32 no) {
  return ints([&](int i) { return (yes.v[i] & m.v[i]) | (no.v[i] & ~m.v[i]); });
}
MILLRACE_INLINE F32 select(Mask m, F32 yes, F32 no) { return fromBits(selectInt(m, bitsOf(yes), bitsOf(no))); }
MILLRACE_INLINE uint32_t maskBits(Mask m) {
  uint32_t bits = 0;
  for (int i = 0; i < 4; i++) {
    for (int j = 0; j < 4; j++) bits |= static_cast<uint32_t>(m.v[i][j] & 1) << (4 * i + j);
  }
  return bits;
}
MILLRACE_INLINE Mask firstLanes(int n) { return lessInt(iota(), splatInt(n)); }
MILLRACE_INLINE F32 maximum(F32 x, F32 y) { return select(less(y, x), x, y); }
MILLRACE_INLINE F32 minimum(F32 x, F32 y) { return select(less(x, y), x, y); }
MILLRACE_INLINE F32 squareRoot(F32 x) {
  return floats([&](int i) {
    return Float4{__builtin_sqrtf(x.v[i][0]), __builtin_sqrtf(x.v[i][1]), __builtin_sqrtf(x.v[i][2]),
                  __builtin_sqrtf(x.v[i][3])};
  });
}
MILLRACE_INLINE F32 loadBytes(const int8_t* p) {
  typedef int8_t Bytes4 __attribute__((vector_size(4)));
  return floats([&](int i) {
    Bytes4 bytes;
    std::memcpy(&bytes, p + 4 * i, sizeof bytes);
    return Float4{static_cast<float>(bytes[0]), static_cast<float>(bytes[1]), static_cast<float>(bytes[2]),
                  static_cast<float>(bytes[3])};
  });
}

#if defined(__ARM_NEON)

MILLRACE_INLINE F32 fma(F32 x, F32 y, F32 z) {
  return floats([&](int i) { return reinterpret<Float4>(vfmaq_f32(z.v[i], x.v[i], y.v[i])); });
}
MILLRACE_INLINE F32 mulAdd(F32 x, F32 y, F32 z) { return fma(x, y, z); }
MILLRACE_INLINE F32 loadHalf(const uint16_t* p) {
  return floats([&](int i) { return reinterpret<Float4>(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)))); });
}
MILLRACE_INLINE void storeHalf(uint16_t* p, F32 x) {
  for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.v[i])));
}

#else

// The product of two floats is exact in double.
MILLRACE_INLINE F32 fma(F32 x, F32 y, F32 z) {
  typedef double Double4 __attribute__((vector_size(32)));
  return floats([&](int i) {
    const Double4 a = __builtin_convertvector(x.v[i], Double4), b = __builtin_convertvector(y.v[i], Double4);
    return __builtin_convertvector(a * b + __builtin_convertvector(z.v[i], Double4), Float4);
  });
}
MILLRACE_INLINE F32 mulAdd(F32 x, F32 y, F32 z) { return x * y + z; }
// Exponents are moved by a multiplication, which is exact for subnormal numbers, too.
MILLRACE_INLINE F32 loadHalf(const uint16_t* p) {
  int32_t halves[kLanes];
  for (int i = 0; i < kLanes; i++) halves[i] = p[i];
  const I32 h = loadInt(halves);
  const I32 magnitude = h & splatInt(0x7fff);
  const I32 shifted = shiftLeft<13>(magnitude);
  const I32 finite = bitsOf(fromBits(shifted) * splat(0x1p112f));
  const I32 value = selectInt(lessInt(magnitude, splatInt(0x7c00)), finite, shifted | splatInt(0x7f800000));
  return fromBits(value | shiftLeft<16>(h & splatInt(0x8000)));
}
MILLRACE_INLINE void storeHalf(uint16_t* p, F32 x) {
  const I32 bits = bitsOf(x);
  const I32 magnitude = bits & splatInt(0x7fffffff);
  const I32 half = splatInt(0x3f000000);
  // Below 2^-14 an addition of 0.5 rounds to a multiple of 2^-24.
  const I32 tiny = bitsOf(fromBits(magnitude) + fromBits(half)) - half;
  const I32 odd = shiftRight<13>(magnitude) & splatInt(1);
  const I32 normal = shiftRight<13>(magnitude + splatInt(0xfff - (112 << 23)) + odd);
  I32 r = selectInt(lessInt(magnitude, splatInt(0x38800000)), tiny, normal);
  r = selectInt(lessInt(splatInt(0x477fefff), magnitude), splatInt(0x7c00), r);
  r = selectInt(lessInt(splatInt(0x7f800000), magnitude), splatInt(0x7e00), r);
  r = r | shiftRight<16>(bits & splatInt(static_cast<int32_t>(0x80000000)));
  for (int i = 0; i < 4; i++) {
    for (int j = 0; j < 4; j++) p[4 * i + j] = static_cast<uint16_t>(r.v[i][j]);
  }
}

#endif
#endif

// The first n lanes from memory, the others zero; n may be 0.
MILLRACE_INLINE F32 loadFirst(const float* p, int n) {
  float lanes[kLanes] = {};
  std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(float));
  return load(lanes);
}
MILLRACE_INLINE void storeFirst(float* p, F32 x, int n) {
  float lanes[kLanes];
  store(lanes, x);
  std::memcpy(p, lanes, static_cast<size_t>(n) * sizeof(float));
}
MILLRACE_INLINE F32 absolute(F32 x) { return fromBits(bitsOf(x) & splatInt(0x7fffffff)); }
MILLRACE_INLINE F32 operator-(F32 x) { return fromBits(bitsOf(x) ^ splatInt(static_cast<int32_t>(0x80000000))); }
// |magnitude| with the sign of `sign`; magnitude ≥ 0.
MILLRACE_INLINE F32 withSign(F32 magnitude, F32 sign) {
  return fromBits(bitsOf(magnitude) | (bitsOf(sign) & splatInt(static_cast<int32_t>(0x80000000))));
}

// Trees over the lanes: i with i + 8, then i + 4, i + 2, i + 1; the same on every ISA.
#if defined(__AVX2__)
#if defined(__AVX512F__)
MILLRACE_INLINE __m256 lowHalf(F32 x) { return _mm512_castps512_ps256(x.v); }
MILLRACE_INLINE __m256 highHalf(F32 x) { return _mm512_extractf32x8_ps(x.v, 1); }
#else
MILLRACE_INLINE __m256 lowHalf(F32 x) { return x.a; }
MILLRACE_INLINE __m256 highHalf(F32 x) { return x.b; }
#endif
MILLRACE_INLINE float sumOf(F32 x) {
  const __m256 eight = _mm256_add_ps(lowHalf(x), highHalf(x));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
// No lane may be other than a number.
MILLRACE_INLINE float maxOf(F32 x) {
  const __m256 eight = _mm256_max_ps(lowHalf(x), highHalf(x));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
#else
MILLRACE_INLINE float sumOf(F32 x) {
  const Float4 four = (x.v[0] + x.v[2]) + (x.v[1] + x.v[3]);
  return (four[0] + four[2]) + (four[1] + four[3]);
}
// No lane may be other than a number.
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
