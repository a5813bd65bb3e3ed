// What this processor can do, to hold the kernels against: read bandwidth, and the bare instructions that no kernel can
// do without, on registers alone (in assembly, as a compiler would see through them).
#include "probes.h"

#include "isa/vec.h"

namespace millrace::MILLRACE_ISA {

using namespace vec;

namespace {

// In four streams, which get more out of a memory than one.
float read(const uint8_t* p, size_t bytes) {
  constexpr size_t streams = 4, perLine = 64 / sizeof(F32);
  const size_t part = bytes / streams / 64 * 64;
  F32 sum[streams];
  for (F32& s : sum) s = zero();
  for (size_t at = 0; at < part; at += 64) {
    for (size_t i = 0; i < streams; i++) {
      const float* q = reinterpret_cast<const float*>(p + i * part + at);
      __builtin_prefetch(q + 256);
      for (size_t j = 0; j < perLine; j++) sum[i] = add(sum[i], load(q + j * kLanes));
    }
  }
  for (size_t i = 1; i < streams; i++) sum[0] = add(sum[0], sum[i]);
  float out[16];
  store(out, sum[0]);
  return out[0];
}

#define TWELVE(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#if defined(__AVX2__)
#define CLOBBERS                                                                                                      \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm13", "xmm14", \
      "xmm15"
#endif

double products(int bits, int rounds) {
  for (int i = 0; i < rounds; i++) {
#if defined(__AVX512VNNI__)
#define DOT(n) "vpdpbusd %%zmm14, %%zmm15, %%zmm" #n "\n"
    asm volatile(TWELVE(DOT)::: CLOBBERS);
#elif defined(__AVXVNNI__)
#define DOT(n) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #n "\n"
    asm volatile(TWELVE(DOT)::: CLOBBERS);
#elif defined(__AVX2__)
#define DOT8(n)                            \
  "vpsignb %%ymm14, %%ymm15, %%ymm13\n"    \
  "vpmaddubsw %%ymm13, %%ymm15, %%ymm13\n" \
  "vpmaddwd %%ymm13, %%ymm15, %%ymm13\n"   \
  "vpaddd %%ymm13, %%ymm" #n ", %%ymm" #n "\n"
#define DOT4(n) "vpmaddubsw %%ymm14, %%ymm15, %%ymm13\nvpaddw %%ymm13, %%ymm" #n ", %%ymm" #n "\n"
    if (bits == 8) asm volatile(TWELVE(DOT8)::: CLOBBERS);
    else asm volatile(TWELVE(DOT4)::: CLOBBERS);
#elif defined(__ARM_FEATURE_DOTPROD)
#define DOT(n) "sdot v" #n ".4s, v14.16b, v15.4b[0]\n"
    asm volatile(TWELVE(DOT)::: "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v14", "v15");
#else
    return 0;
#endif
  }
  return bits > 0 ? static_cast<double>(rounds) * 12 * 4 * kLanes : 0;
}

double fmas(int rounds) {
  for (int i = 0; i < rounds; i++) {
#if defined(__AVX512VNNI__)
#define FMA(n) "vfmadd231ps %%zmm14, %%zmm15, %%zmm" #n "\n"
    asm volatile(TWELVE(FMA)::: CLOBBERS);
#elif defined(__AVX2__)
#define FMA(n) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #n "\n"
    asm volatile(TWELVE(FMA)::: CLOBBERS);
#elif defined(__ARM_FEATURE_DOTPROD)
#define FMA(n) "fmla v" #n ".4s, v14.4s, v15.4s\n"
    asm volatile(TWELVE(FMA)::: "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v14", "v15");
#else
    return 0;
#endif
  }
  return static_cast<double>(rounds) * 12 * kLanes;
}

}  // namespace

extern const Probes probes;
const Probes probes = {.read = read, .products = products, .fmas = fmas};

}  // namespace millrace::MILLRACE_ISA
