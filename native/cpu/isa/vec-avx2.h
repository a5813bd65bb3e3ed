// The machine vector of AVX2, with AVX-VNNI's dot product where there is one: 8 lanes. What each function does stands
// in vec.h, which includes this.
#pragma once

namespace millrace::MILLRACE_ISA::vec {

constexpr int kLanes = 8;
#if defined(__AVXVNNI__)
constexpr int kSignedOffset = 128;  // the instruction takes unsigned × signed: codes are moved by 128
#else
constexpr int kSignedOffset = 0;
#endif
using F32 = __m256;
using I32 = __m256i;
using Bytes = __m256i;
using Mask = __m256;

MILLRACE_INLINE __m128i halfRegister(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

MILLRACE_INLINE F32 zero() { return _mm256_setzero_ps(); }
MILLRACE_INLINE F32 splat(float x) { return _mm256_set1_ps(x); }
MILLRACE_INLINE I32 splatInt(int32_t x) { return _mm256_set1_epi32(x); }
MILLRACE_INLINE F32 load(const float* p) { return _mm256_loadu_ps(p); }
MILLRACE_INLINE void store(float* p, F32 x) { _mm256_storeu_ps(p, x); }
MILLRACE_INLINE I32 loadInt(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
MILLRACE_INLINE void storeInt(int32_t* p, I32 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
MILLRACE_INLINE F32 loadHalf(const uint16_t* p) { return _mm256_cvtph_ps(halfRegister(p)); }
MILLRACE_INLINE void storeHalf(uint16_t* p, F32 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
MILLRACE_INLINE F32 loadBrain(const uint16_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halfRegister(p)), 16));
}
MILLRACE_INLINE F32 loadInt8(const int8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

MILLRACE_INLINE F32 add(F32 a, F32 b) { return _mm256_add_ps(a, b); }
MILLRACE_INLINE F32 sub(F32 a, F32 b) { return _mm256_sub_ps(a, b); }
MILLRACE_INLINE F32 mul(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
MILLRACE_INLINE F32 div(F32 a, F32 b) { return _mm256_div_ps(a, b); }
MILLRACE_INLINE F32 fma(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
MILLRACE_INLINE F32 mulAdd(F32 a, F32 b, F32 c) { return fma(a, b, c); }
MILLRACE_INLINE F32 maximum(F32 a, F32 b) { return _mm256_max_ps(a, b); }
MILLRACE_INLINE F32 minimum(F32 a, F32 b) { return _mm256_min_ps(a, b); }
MILLRACE_INLINE F32 squareRoot(F32 a) { return _mm256_sqrt_ps(a); }
MILLRACE_INLINE I32 bitsOf(F32 a) { return _mm256_castps_si256(a); }
MILLRACE_INLINE F32 fromBits(I32 a) { return _mm256_castsi256_ps(a); }
MILLRACE_INLINE F32 toFloat(I32 a) { return _mm256_cvtepi32_ps(a); }

MILLRACE_INLINE I32 add(I32 a, I32 b) { return _mm256_add_epi32(a, b); }
MILLRACE_INLINE I32 sub(I32 a, I32 b) { return _mm256_sub_epi32(a, b); }
MILLRACE_INLINE I32 both(I32 a, I32 b) { return _mm256_and_si256(a, b); }
MILLRACE_INLINE I32 either(I32 a, I32 b) { return _mm256_or_si256(a, b); }
MILLRACE_INLINE I32 differ(I32 a, I32 b) { return _mm256_xor_si256(a, b); }
template <int N>
MILLRACE_INLINE I32 shiftLeft(I32 a) {
  return _mm256_slli_epi32(a, N);
}
template <int N>
MILLRACE_INLINE I32 shiftRight(I32 a) {
  return _mm256_srli_epi32(a, N);
}
template <int N>
MILLRACE_INLINE I32 shiftRightSigned(I32 a) {
  return _mm256_srai_epi32(a, N);
}
MILLRACE_INLINE void mulWide(I32 a, uint32_t m, I32& high, I32& low) {
  const __m256i factor = _mm256_set1_epi64x(m);
  const __m256i even = _mm256_mul_epu32(a, factor);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), factor);
  high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}

MILLRACE_INLINE Mask less(F32 a, F32 b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
MILLRACE_INLINE Mask lessEqual(F32 a, F32 b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
MILLRACE_INLINE Mask equal(F32 a, F32 b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
MILLRACE_INLINE Mask less(I32 a, I32 b) { return _mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a)); }
MILLRACE_INLINE F32 select(Mask m, F32 yes, F32 no) { return _mm256_blendv_ps(no, yes, m); }
MILLRACE_INLINE uint32_t maskBits(Mask m) { return static_cast<uint32_t>(_mm256_movemask_ps(m)); }

MILLRACE_INLINE Bytes loadBytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
MILLRACE_INLINE void storeBytes(void* p, Bytes b) { _mm256_storeu_si256(static_cast<__m256i*>(p), b); }
MILLRACE_INLINE Bytes join(Bytes a, Bytes b) { return _mm256_or_si256(a, b); }
template <int Shift, int Mask>
MILLRACE_INLINE Bytes bits(Bytes b) {
  const __m256i mask = _mm256_set1_epi8(static_cast<char>(Mask));
  if constexpr (Shift > 0) b = _mm256_srli_epi16(b, Shift);
  if constexpr (Shift < 0) b = _mm256_slli_epi16(b, -Shift);
  return _mm256_and_si256(b, mask);
}

MILLRACE_INLINE Bytes lookup(const uint8_t* table, Bytes b) {
  const __m128i levels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(levels), b);
}

#if defined(__AVXVNNI__)

MILLRACE_INLINE Bytes signedCodes(Bytes b) { return _mm256_xor_si256(b, _mm256_set1_epi8(static_cast<char>(0x80))); }
template <int Bits, int Steps, int Parts, int Rows, bool HasInit>
MILLRACE_INLINE void dot(const Bytes (*w)[Parts], const int8_t* x, size_t stride, const int32_t* init,
                         size_t initStride, I32 (*sum)[Parts]) {
  MILLRACE_UNROLL
  for (int r = 0; r < Rows; r++) {
    const I32 start = HasInit ? splatInt(init[static_cast<size_t>(r) * initStride]) : splatInt(0);
    MILLRACE_UNROLL
    for (int p = 0; p < Parts; p++) sum[r][p] = start;
  }
  MILLRACE_UNROLL
  for (int s = 0; s < Steps; s++) {
    MILLRACE_UNROLL
    for (int r = 0; r < Rows; r++) {
      const I32 xs = splatInt(load32(x + static_cast<size_t>(r) * stride + 4 * s));
      MILLRACE_UNROLL
      for (int p = 0; p < Parts; p++) sum[r][p] = _mm256_dpbusd_avx_epi32(sum[r][p], w[s][p], xs);
    }
  }
}

#else

MILLRACE_INLINE Bytes signedCodes(Bytes b) { return b; }
// The instruction multiplies unsigned by signed bytes and adds pairs, saturated to 16 bits: as many pairs are summed in
// 16 bits as their bound allows (15 · 127 · 2 · 8 < 2^15, 31: 4, 63: 2, 128: 1), then widened.
template <int Bits, int Steps, int Parts, int Rows, bool HasInit>
MILLRACE_INLINE void dot(const Bytes (*w)[Parts], const int8_t* x, size_t stride, const int32_t* init,
                         size_t initStride, I32 (*sum)[Parts]) {
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

#endif

}  // namespace millrace::MILLRACE_ISA::vec
