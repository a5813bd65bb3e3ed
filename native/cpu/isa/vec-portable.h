// The machine vector of NEON, and of the scalar ISA: 4 lanes in the compilers' own vector extension. What each function
// does stands in vec.h, which includes this.
//
// The scalar ISA has one arithmetic on every processor, so it takes no help from one that has more: MILLRACE_NEON is 0
// for it on arm64, too.
#pragma once

namespace millrace::MILLRACE_ISA::vec {

constexpr int kLanes = 4;
constexpr int kSignedOffset = 0;
typedef uint32_t Uint4 __attribute__((vector_size(16)));
#if MILLRACE_NEON
using F32 = float32x4_t;
using I32 = int32x4_t;
using Mask = int32x4_t;
using Bytes = uint8x16_t;
#else
typedef float F32 __attribute__((vector_size(16)));
typedef int32_t I32 __attribute__((vector_size(16)));
typedef I32 Mask;
typedef uint8_t Bytes __attribute__((vector_size(16)));
#endif

template <typename To, typename From>
MILLRACE_INLINE To as(From x) {
  static_assert(sizeof(To) == sizeof(From));
  return __builtin_bit_cast(To, x);
}
template <typename To>
MILLRACE_INLINE To read(const void* p) {
  To r;
  std::memcpy(&r, p, sizeof r);
  return r;
}

MILLRACE_INLINE F32 splat(float x) { return F32{x, x, x, x}; }
MILLRACE_INLINE I32 splatInt(int32_t x) { return I32{x, x, x, x}; }
MILLRACE_INLINE F32 zero() { return splat(0); }
MILLRACE_INLINE F32 load(const float* p) { return read<F32>(p); }
MILLRACE_INLINE void store(float* p, F32 x) { std::memcpy(p, &x, sizeof x); }
MILLRACE_INLINE I32 loadInt(const int32_t* p) { return read<I32>(p); }
MILLRACE_INLINE void storeInt(int32_t* p, I32 x) { std::memcpy(p, &x, sizeof x); }
MILLRACE_INLINE F32 loadBrain(const uint16_t* p) {
  return as<F32>(Uint4{uint32_t{p[0]} << 16, uint32_t{p[1]} << 16, uint32_t{p[2]} << 16, uint32_t{p[3]} << 16});
}
MILLRACE_INLINE F32 loadInt8(const int8_t* p) {
  return F32{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]), static_cast<float>(p[3])};
}

MILLRACE_INLINE F32 add(F32 a, F32 b) { return a + b; }
MILLRACE_INLINE F32 sub(F32 a, F32 b) { return a - b; }
MILLRACE_INLINE F32 mul(F32 a, F32 b) { return a * b; }
MILLRACE_INLINE F32 div(F32 a, F32 b) { return a / b; }
MILLRACE_INLINE I32 bitsOf(F32 a) { return as<I32>(a); }
MILLRACE_INLINE F32 fromBits(I32 a) { return as<F32>(a); }
MILLRACE_INLINE F32 toFloat(I32 a) { return __builtin_convertvector(a, F32); }

// Unsigned: sums that pass the sign bit wrap.
MILLRACE_INLINE I32 add(I32 a, I32 b) { return as<I32>(as<Uint4>(a) + as<Uint4>(b)); }
MILLRACE_INLINE I32 sub(I32 a, I32 b) { return as<I32>(as<Uint4>(a) - as<Uint4>(b)); }
MILLRACE_INLINE I32 both(I32 a, I32 b) { return a & b; }
MILLRACE_INLINE I32 either(I32 a, I32 b) { return a | b; }
MILLRACE_INLINE I32 differ(I32 a, I32 b) { return a ^ b; }
template <int N>
MILLRACE_INLINE I32 shiftLeft(I32 a) {
  return as<I32>(as<Uint4>(a) << N);
}
template <int N>
MILLRACE_INLINE I32 shiftRight(I32 a) {
  return as<I32>(as<Uint4>(a) >> N);
}
template <int N>
MILLRACE_INLINE I32 shiftRightSigned(I32 a) {
  return a >> N;
}

MILLRACE_INLINE Mask less(F32 a, F32 b) { return as<Mask>(a < b); }
MILLRACE_INLINE Mask lessEqual(F32 a, F32 b) { return as<Mask>(a <= b); }
MILLRACE_INLINE Mask equal(F32 a, F32 b) { return as<Mask>(a == b); }
MILLRACE_INLINE Mask less(I32 a, I32 b) { return as<Mask>(a < b); }
MILLRACE_INLINE I32 selectInt(Mask m, I32 yes, I32 no) { return (yes & m) | (no & ~m); }
MILLRACE_INLINE F32 select(Mask m, F32 yes, F32 no) { return fromBits(selectInt(m, bitsOf(yes), bitsOf(no))); }
MILLRACE_INLINE uint32_t maskBits(Mask m) {
  return static_cast<uint32_t>((m[0] & 1) | (m[1] & 2) | (m[2] & 4) | (m[3] & 8));
}
MILLRACE_INLINE F32 maximum(F32 a, F32 b) { return select(less(b, a), a, b); }
MILLRACE_INLINE F32 minimum(F32 a, F32 b) { return select(less(a, b), a, b); }
MILLRACE_INLINE F32 squareRoot(F32 a) {
  return F32{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])};
}

MILLRACE_INLINE Bytes loadBytes(const void* p) { return read<Bytes>(p); }
MILLRACE_INLINE void storeBytes(void* p, Bytes b) { std::memcpy(p, &b, sizeof b); }
MILLRACE_INLINE Bytes join(Bytes a, Bytes b) { return a | b; }
template <int Shift, int Mask>
MILLRACE_INLINE Bytes bits(Bytes b) {
  if constexpr (Shift > 0) b = b >> Shift;
  if constexpr (Shift < 0) b = b << -Shift;
  constexpr uint8_t m = Mask;
  return b & Bytes{m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m};
}
#if MILLRACE_NEON
MILLRACE_INLINE Bytes lookup(const uint8_t* table, Bytes b) { return vqtbl1q_u8(vld1q_u8(table), b); }
#else
MILLRACE_INLINE Bytes lookup(const uint8_t* table, Bytes b) {
  for (size_t i = 0; i < sizeof b; i++) b[i] = table[b[i]];
  return b;
}
#endif
MILLRACE_INLINE Bytes signedCodes(Bytes b) { return b; }

#if MILLRACE_NEON

MILLRACE_INLINE F32 fma(F32 a, F32 b, F32 c) { return vfmaq_f32(c, a, b); }
MILLRACE_INLINE F32 mulAdd(F32 a, F32 b, F32 c) { return fma(a, b, c); }
MILLRACE_INLINE F32 loadHalf(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
MILLRACE_INLINE void storeHalf(uint16_t* p, F32 x) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
MILLRACE_INLINE void mulWide(I32 a, uint32_t m, I32& high, I32& low) {
  const uint32x4_t lanes = vreinterpretq_u32_s32(a);
  const uint64x2_t first = vmull_n_u32(vget_low_u32(lanes), m), second = vmull_n_u32(vget_high_u32(lanes), m);
  high = vreinterpretq_s32_u32(vcombine_u32(vshrn_n_u64(first, 32), vshrn_n_u64(second, 32)));
  low = vreinterpretq_s32_u32(vcombine_u32(vmovn_u64(first), vmovn_u64(second)));
}
template <int Bits, int Steps, int Parts, int Rows, bool HasInit>
MILLRACE_INLINE void dot(const Bytes (*w)[Parts], const int8_t* x, size_t stride, const int32_t* init,
                         size_t initStride, I32 (*sum)[Parts]) {
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

typedef double Double4 __attribute__((vector_size(32)));
typedef int64_t Long4 __attribute__((vector_size(32)));

MILLRACE_INLINE F32 mulAdd(F32 a, F32 b, F32 c) { return a * b + c; }
// a · b is exact in double, and so is its sum with c but for one rounding; the second rounding, to float, goes wrong
// only where that sum lies half-way between two floats, or among the subnormal ones, without being exact.
MILLRACE_INLINE F32 fma(F32 a, F32 b, F32 c) {
  const Double4 product = __builtin_convertvector(a, Double4) * __builtin_convertvector(b, Double4);
  const Double4 sum = product + __builtin_convertvector(c, Double4);
  Long4 pattern;
  std::memcpy(&pattern, &sum, sizeof pattern);
  const Long4 halfWay = (pattern & 0x1fffffff) == 0x10000000;
  const Long4 notNormal = (pattern & 0x7fffffffffffffff) <= as<int64_t>(0x1p-125);
  F32 r = __builtin_convertvector(sum, F32);
  const Long4 odd = halfWay | notNormal;
  if (__builtin_expect((odd[0] | odd[1] | odd[2] | odd[3]) != 0, 0)) {
    for (int i = 0; i < kLanes; i++) {
      if (odd[i] != 0 && sum[i] != 0) r[i] = __builtin_fmaf(a[i], b[i], c[i]);
    }
  }
  return r;
}
// Exponents are moved by a multiplication, which is exact for subnormal numbers, too.
MILLRACE_INLINE F32 loadHalf(const uint16_t* p) {
  const I32 h = {p[0], p[1], p[2], p[3]};
  const I32 magnitude = h & splatInt(0x7fff);
  const I32 shifted = shiftLeft<13>(magnitude);
  const I32 finite = bitsOf(fromBits(shifted) * splat(0x1p112f));
  const I32 value = selectInt(less(magnitude, splatInt(0x7c00)), finite, shifted | splatInt(0x7f800000));
  return fromBits(value | shiftLeft<16>(h & splatInt(0x8000)));
}
MILLRACE_INLINE void storeHalf(uint16_t* p, F32 x) {
  const I32 pattern = bitsOf(x);
  const I32 magnitude = pattern & splatInt(0x7fffffff);
  const I32 half = splatInt(0x3f000000);
  // Below 2^-14 an addition of 0.5 rounds to a multiple of 2^-24.
  const I32 tiny = sub(bitsOf(fromBits(magnitude) + fromBits(half)), half);
  const I32 odd = shiftRight<13>(magnitude) & splatInt(1);
  const I32 normal = shiftRight<13>(add(add(magnitude, splatInt(0xfff - (112 << 23))), odd));
  I32 r = selectInt(less(magnitude, splatInt(0x38800000)), tiny, normal);
  r = selectInt(less(splatInt(0x477fefff), magnitude), splatInt(0x7c00), r);
  r = selectInt(less(splatInt(0x7f800000), magnitude), splatInt(0x7e00), r);
  r = r | shiftRight<16>(pattern & splatInt(static_cast<int32_t>(0x80000000)));
  for (int i = 0; i < kLanes; i++) p[i] = static_cast<uint16_t>(r[i]);
}
MILLRACE_INLINE void mulWide(I32 a, uint32_t m, I32& high, I32& low) {
  const auto product = [&](int i) { return static_cast<uint64_t>(static_cast<uint32_t>(a[i])) * m; };
  const auto highOf = [&](int i) { return static_cast<int32_t>(product(i) >> 32); };
  const auto lowOf = [&](int i) { return static_cast<int32_t>(product(i)); };
  high = I32{highOf(0), highOf(1), highOf(2), highOf(3)};
  low = I32{lowOf(0), lowOf(1), lowOf(2), lowOf(3)};
}
template <int Bits, int Steps, int Parts, int Rows, bool HasInit>
MILLRACE_INLINE void dot(const Bytes (*w)[Parts], const int8_t* x, size_t stride, const int32_t* init,
                         size_t initStride, I32 (*sum)[Parts]) {
  for (int r = 0; r < Rows; r++) {
    const int8_t* xs = x + static_cast<size_t>(r) * stride;
    for (int p = 0; p < Parts; p++) {
      I32 total = splatInt(HasInit ? init[static_cast<size_t>(r) * initStride] : 0);
      for (int s = 0; s < Steps; s++) {
        for (int lane = 0; lane < kLanes; lane++) {
          for (int c = 0; c < 4; c++) total[lane] += static_cast<int8_t>(w[s][p][4 * lane + c]) * xs[4 * s + c];
        }
      }
      sum[r][p] = total;
    }
  }
}

#endif

}  // namespace millrace::MILLRACE_ISA::vec
