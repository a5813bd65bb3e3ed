// The machine vector of AVX-512 VNNI: 16 lanes. What each function does stands in vec.h, which includes this.
#pragma once

namespace millrace::MILLRACE_ISA::vec {

constexpr int kLanes = 16;
constexpr int kSignedOffset = 128;  // the instruction takes unsigned × signed: codes are moved by 128
using F32 = __m512;
using I32 = __m512i;
using Bytes = __m512i;
using Mask = __mmask16;

MILLRACE_INLINE __m256i halfRegister(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

MILLRACE_INLINE F32 zero() { return _mm512_setzero_ps(); }
MILLRACE_INLINE F32 splat(float x) { return _mm512_set1_ps(x); }
MILLRACE_INLINE I32 splatInt(int32_t x) { return _mm512_set1_epi32(x); }
MILLRACE_INLINE F32 load(const float* p) { return _mm512_loadu_ps(p); }
MILLRACE_INLINE void store(float* p, F32 x) { _mm512_storeu_ps(p, x); }
MILLRACE_INLINE I32 loadInt(const int32_t* p) { return _mm512_loadu_si512(p); }
MILLRACE_INLINE void storeInt(int32_t* p, I32 x) { _mm512_storeu_si512(p, x); }
MILLRACE_INLINE F32 loadHalf(const uint16_t* p) { return _mm512_cvtph_ps(halfRegister(p)); }
MILLRACE_INLINE void storeHalf(uint16_t* p, F32 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
MILLRACE_INLINE F32 loadBrain(const uint16_t* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halfRegister(p)), 16));
}
MILLRACE_INLINE F32 loadInt8(const int8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

MILLRACE_INLINE F32 add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
MILLRACE_INLINE F32 sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
MILLRACE_INLINE F32 mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
MILLRACE_INLINE F32 div(F32 a, F32 b) { return _mm512_div_ps(a, b); }
MILLRACE_INLINE F32 fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
MILLRACE_INLINE F32 mulAdd(F32 a, F32 b, F32 c) { return fma(a, b, c); }
MILLRACE_INLINE F32 maximum(F32 a, F32 b) { return _mm512_max_ps(a, b); }
MILLRACE_INLINE F32 minimum(F32 a, F32 b) { return _mm512_min_ps(a, b); }
MILLRACE_INLINE F32 squareRoot(F32 a) { return _mm512_sqrt_ps(a); }
MILLRACE_INLINE I32 bitsOf(F32 a) { return _mm512_castps_si512(a); }
MILLRACE_INLINE F32 fromBits(I32 a) { return _mm512_castsi512_ps(a); }
MILLRACE_INLINE F32 toFloat(I32 a) { return _mm512_cvtepi32_ps(a); }

MILLRACE_INLINE I32 add(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
MILLRACE_INLINE I32 sub(I32 a, I32 b) { return _mm512_sub_epi32(a, b); }
MILLRACE_INLINE I32 both(I32 a, I32 b) { return _mm512_and_si512(a, b); }
MILLRACE_INLINE I32 either(I32 a, I32 b) { return _mm512_or_si512(a, b); }
MILLRACE_INLINE I32 differ(I32 a, I32 b) { return _mm512_xor_si512(a, b); }
template <int N>
MILLRACE_INLINE I32 shiftLeft(I32 a) {
  return _mm512_slli_epi32(a, N);
}
template <int N>
MILLRACE_INLINE I32 shiftRight(I32 a) {
  return _mm512_srli_epi32(a, N);
}
template <int N>
MILLRACE_INLINE I32 shiftRightSigned(I32 a) {
  return _mm512_srai_epi32(a, N);
}
MILLRACE_INLINE void mulWide(I32 a, uint32_t m, I32& high, I32& low) {
  const __m512i factor = _mm512_set1_epi64(m);
  const __m512i even = _mm512_mul_epu32(a, factor);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), factor);
  high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
  low = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
}

MILLRACE_INLINE Mask less(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
MILLRACE_INLINE Mask lessEqual(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
MILLRACE_INLINE Mask equal(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
MILLRACE_INLINE Mask less(I32 a, I32 b) { return _mm512_cmplt_epi32_mask(a, b); }
MILLRACE_INLINE F32 select(Mask m, F32 yes, F32 no) { return _mm512_mask_blend_ps(m, no, yes); }
MILLRACE_INLINE uint32_t maskBits(Mask m) { return m; }

MILLRACE_INLINE Bytes loadBytes(const void* p) { return _mm512_loadu_si512(p); }
MILLRACE_INLINE void storeBytes(void* p, Bytes b) { _mm512_storeu_si512(p, b); }
MILLRACE_INLINE Bytes join(Bytes a, Bytes b) { return _mm512_or_si512(a, b); }
template <int Shift, int Mask>
MILLRACE_INLINE Bytes bits(Bytes b) {
  const __m512i mask = _mm512_set1_epi8(static_cast<char>(Mask));
  if constexpr (Shift >= 0) return _mm512_and_si512(_mm512_srli_epi16(b, Shift), mask);
  else return _mm512_and_si512(_mm512_slli_epi16(b, -Shift), mask);
}
MILLRACE_INLINE Bytes lookup(const uint8_t* table, Bytes b) {
  const __m128i levels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(levels), b);
}
MILLRACE_INLINE Bytes signedCodes(Bytes b) { return _mm512_xor_si512(b, _mm512_set1_epi8(static_cast<char>(0x80))); }
template <int Bits, int Steps, int Parts, int Rows, bool HasInit>
MILLRACE_INLINE void dot(const Bytes (*w)[Parts], const int8_t* x, size_t stride, const int32_t* init,
                         size_t initStride, I32 (*sum)[Parts]) {
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

}  // namespace millrace::MILLRACE_ISA::vec
