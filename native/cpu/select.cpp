// Which of the kernel tables in this build the processor runs, and which one is taken: the caller's choice, else the
// environment's (MILLRACE_ISA), else the best.
#include <cstdlib>
#include <cstring>

#include "dense.h"
#include "fit.h"
#include "kernels.h"
#include "os.h"
#include "probes.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace millrace {

#define MILLRACE_DECLARE(isa)   \
  namespace isa {               \
  extern const Kernels kernels; \
  extern const Probes probes;   \
  extern const Fits fits;       \
  extern const Dense dense;     \
  }
MILLRACE_FOR_EACH_ISA(MILLRACE_DECLARE)
#undef MILLRACE_DECLARE

namespace {

#if defined(__x86_64__)
// Asked of the processor itself: compilers' __builtin_cpu_supports know different names, and Zig's can't be linked into
// a shared library.
struct Processor {
  bool avx2 = false, avxVnni = false, avx512 = false, tiles = false;

  Processor() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kFma = 1u << 12, kSaves = 1u << 27, kAvx = 1u << 28, kHalf = 1u << 29;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (kFma | kSaves | kAvx | kHalf)) != (kFma | kSaves | kAvx | kHalf))
      return;
    // Which registers the operating system saves: 1, 2 of the wide ones, 5 to 7 of the widest.
    unsigned saved = 0, high = 0;
    asm("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    constexpr unsigned kAvx2 = 1u << 5, kBmi2 = 1u << 8;
    constexpr unsigned kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
    constexpr unsigned kVnni = 1u << 11, kTiles = 1u << 24 | 1u << 25;       // of tiles and of int8 in them
    if ((saved & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    avx2 = (b & (kAvx2 | kBmi2)) == (kAvx2 | kBmi2);
    avx512 = avx2 && (saved & 0xe6) == 0xe6 && (b & kAvx512) == kAvx512 && (c & kVnni) != 0;
    tiles = avx512 && (d & kTiles) == kTiles;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) avxVnni = avx2 && (a & 1u << 4) != 0;
  }
};
#endif

bool runsHere(const char* name) {
  if (strcmp(name, "scalar") == 0) return true;
#if defined(__x86_64__)
  static const Processor here;
  if (strcmp(name, "avx2") == 0) return here.avx2;
  if (strcmp(name, "avxvnni") == 0) return here.avxVnni;
  if (strcmp(name, "avx512vnni") == 0) return here.avx512;
  if (strcmp(name, "avx512amx") == 0) return here.tiles && os::allowTiles();
#elif defined(__aarch64__)
  if (strcmp(name, "neon") == 0) {
#if defined(__linux__)
    unsigned long caps = getauxval(AT_HWCAP);
    return (caps & HWCAP_ASIMDDP) != 0 && (caps & HWCAP_FPHP) != 0 && (caps & HWCAP_ASIMDHP) != 0;
#else
    return true;  // every Apple processor with this architecture
#endif
  }
#endif
  return false;
}

#define MILLRACE_COUNT(isa) +1
constexpr int kTables = 0 MILLRACE_FOR_EACH_ISA(MILLRACE_COUNT);
#undef MILLRACE_COUNT

struct Available {
  const Kernels* tables[kTables] = {};
  const char* names[kTables + 1] = {};

  Available() {
    // The build names them lowest first.
#define MILLRACE_ADDRESS(isa) &isa::kernels,
    const Kernels* all[] = {MILLRACE_FOR_EACH_ISA(MILLRACE_ADDRESS)};
#undef MILLRACE_ADDRESS
    int count = 0;
    for (int i = kTables - 1; i >= 0; i--) {
      if (!runsHere(all[i]->name)) continue;
      tables[count] = all[i];
      names[count++] = all[i]->name;
    }
  }
};

const Available& available() {
  static const Available list;
  return list;
}

}  // namespace

const Kernels* selectKernels(const char* name) {
  if (!name) name = getenv("MILLRACE_ISA");
  const Available& list = available();
  if (!name || !*name) return list.tables[0];
  for (int i = 0; list.names[i]; i++) {
    if (strcmp(list.names[i], name) == 0) return list.tables[i];
  }
  return nullptr;
}

const Probes& probesOf(const Kernels& kernels) {
  const Probes* found = nullptr;
#define MILLRACE_PROBES(isa) \
  if (&kernels == &isa::kernels) found = &isa::probes;
  MILLRACE_FOR_EACH_ISA(MILLRACE_PROBES)
#undef MILLRACE_PROBES
  return *found;
}

const Fits& fitsOf(const Kernels& kernels) {
  const Fits* found = nullptr;
#define MILLRACE_FITS(isa) \
  if (&kernels == &isa::kernels) found = &isa::fits;
  MILLRACE_FOR_EACH_ISA(MILLRACE_FITS)
#undef MILLRACE_FITS
  return *found;
}

const Dense& denseOf(const Kernels& kernels) {
  const Dense* found = nullptr;
#define MILLRACE_DENSE(isa) \
  if (&kernels == &isa::kernels) found = &isa::dense;
  MILLRACE_FOR_EACH_ISA(MILLRACE_DENSE)
#undef MILLRACE_DENSE
  return *found;
}

const char* const* availableKernels() { return available().names; }

}  // namespace millrace
