// For Linux and macOS; Windows has os-windows.cpp.
#if !defined(_WIN32)
#include "os.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace millrace::os {

namespace {

#if defined(__linux__)
// The first number of a small text file; false where there is none.
bool readNumbers(const char* path, long long* first, long long* second) {
  FILE* file = fopen(path, "re");
  if (!file) return false;
  int found = second ? fscanf(file, "%lld %lld", first, second) : fscanf(file, "%lld", first);
  fclose(file);
  return found == (second ? 2 : 1);
}

// The path of this process in the cgroup hierarchy of `controller` ("": version 2); false where unknown.
bool cgroupPath(const char* controller, char* path, size_t size) {
  FILE* file = fopen("/proc/self/cgroup", "re");
  if (!file) return false;
  char line[1024];
  bool found = false;
  while (!found && fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    char* names = strchr(line, ':');
    char* where = names ? strchr(names + 1, ':') : nullptr;
    if (!where) continue;
    *where = 0;
    bool match = *controller ? false : names[1] == 0;
    for (char* name = names + 1; *controller && name && *name;) {
      char* end = strchr(name, ',');
      size_t length = end ? static_cast<size_t>(end - name) : strlen(name);
      if (length == strlen(controller) && strncmp(name, controller, length) == 0) match = true;
      name = end ? end + 1 : nullptr;
    }
    if (match) {
      snprintf(path, size, "%s", where + 1);
      found = true;
    }
  }
  fclose(file);
  return found;
}

// Calls visit(folder) for the process's group and all above it, in version 2 and version 1 hierarchies.
template <typename Visit>
void eachCgroup(const char* controller, Visit visit) {
  for (int version = 2; version >= 1; version--) {
    char path[1024];
    if (!cgroupPath(version == 2 ? "" : controller, path, sizeof path)) continue;
    while (true) {
      char folder[1200];
      if (version == 2) {
        snprintf(folder, sizeof folder, "/sys/fs/cgroup%s", path);
      } else {
        snprintf(folder, sizeof folder, "/sys/fs/cgroup/%s%s", controller, path);
      }
      visit(version, folder);
      char* slash = strrchr(path, '/');
      if (!slash || path[1] == 0) break;
      *(slash == path ? slash + 1 : slash) = 0;
    }
  }
}

int cgroupCores() {
  double least = 1e9;
  eachCgroup("cpu", [&](int version, const char* folder) {
    char file[1300];
    long long quota = 0, period = 0;
    if (version == 2) {
      snprintf(file, sizeof file, "%s/cpu.max", folder);
      if (!readNumbers(file, &quota, &period)) return;
    } else {
      snprintf(file, sizeof file, "%s/cpu.cfs_quota_us", folder);
      if (!readNumbers(file, &quota, nullptr)) return;
      snprintf(file, sizeof file, "%s/cpu.cfs_period_us", folder);
      if (!readNumbers(file, &period, nullptr)) return;
    }
    if (quota > 0 && period > 0 && static_cast<double>(quota) / period < least) {
      least = static_cast<double>(quota) / period;
    }
  });
  return least < 1 ? 1 : static_cast<int>(least);
}
#endif

// Threads inherit the mode of the one that starts them, and a library in this process may have set it to flush denormal
// numbers to zero.
void setFloatMode() {
#if defined(__x86_64__)
  constexpr unsigned kMaskAll = 0x1f80;
  __builtin_ia32_ldmxcsr(kMaskAll);
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" ::"r"(uint64_t{0}));
#endif
}

}  // namespace

int availableCores() {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  int cores = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &set)) continue;
    // A core is counted by the first of its hyper-threads.
    char path[128];
    long long first = cpu;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    if (!readNumbers(path, &first, nullptr) || first == cpu || !CPU_ISSET(static_cast<int>(first), &set)) cores++;
  }
  int quota = cgroupCores();
  if (quota < cores) cores = quota;
  return cores < 1 ? 1 : cores;
#elif defined(__APPLE__)
  int cores = 0;
  size_t size = sizeof cores;
  // Slow efficiency cores would make the fast ones wait.
  if (sysctlbyname("hw.perflevel0.physicalcpu", &cores, &size, nullptr, 0) != 0 &&
      sysctlbyname("hw.physicalcpu", &cores, &size, nullptr, 0) != 0) {
    return 1;
  }
  return cores < 1 ? 1 : cores;
#else
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  return cores < 1 ? 1 : static_cast<int>(cores);
#endif
}

size_t availableMemory() {
#if defined(__linux__)
  size_t least = SIZE_MAX;
  FILE* file = fopen("/proc/meminfo", "re");
  if (file) {
    char line[256];
    unsigned long long kib = 0;
    while (fgets(line, sizeof line, file)) {
      if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) least = static_cast<size_t>(kib) * 1024;
    }
    fclose(file);
  }
  eachCgroup("memory", [&](int version, const char* folder) {
    char path[1300];
    long long limit = 0, used = 0;
    snprintf(path, sizeof path, "%s/%s", folder, version == 2 ? "memory.max" : "memory.limit_in_bytes");
    if (!readNumbers(path, &limit, nullptr)) return;
    snprintf(path, sizeof path, "%s/%s", folder, version == 2 ? "memory.current" : "memory.usage_in_bytes");
    if (!readNumbers(path, &used, nullptr)) return;
    // What the group holds as page cache is given back under pressure; count only what is not.
    long long cache = 0;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    if (FILE* stat = fopen(path, "re")) {
      char line[256];
      long long value = 0;
      while (fgets(line, sizeof line, stat)) {
        if (sscanf(line, "inactive_file %lld", &value) == 1) cache += value;
        if (sscanf(line, "active_file %lld", &value) == 1) cache += value;
      }
      fclose(stat);
    }
    long long held = used > cache ? used - cache : 0;
    size_t left = limit > held ? static_cast<size_t>(limit - held) : 0;
    if (left < least) least = left;
  });
  return least;
#elif defined(__APPLE__)
  uint64_t bytes = 0;
  size_t size = sizeof bytes;
  return sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) == 0 ? static_cast<size_t>(bytes) : SIZE_MAX;
#else
  return SIZE_MAX;
#endif
}

bool Thread::start(void (*body)(void*), void* argument) {
  body_ = body;
  argument_ = argument;
  pthread_t thread;
  if (pthread_create(&thread, nullptr, enter, this) != 0) return false;
  static_assert(sizeof thread <= sizeof handle_);
  memcpy(&handle_, &thread, sizeof thread);
  return true;
}

void* Thread::enter(void* self) {
#if defined(__linux__)
  pthread_setname_np(pthread_self(), "millrace");
#endif
  setFloatMode();
  auto* thread = static_cast<Thread*>(self);
  thread->body_(thread->argument_);
  return nullptr;
}

void Thread::join() {
  if (!handle_) return;
  pthread_t thread;
  memcpy(&thread, &handle_, sizeof thread);
  pthread_join(thread, nullptr);
  handle_ = 0;
}

void wait(std::atomic<uint32_t>& word, uint32_t expected) {
#if defined(__linux__)
  static_assert(sizeof word == sizeof(uint32_t));
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
#else
  word.wait(expected, std::memory_order_acquire);
#endif
}

void wakeAll(std::atomic<uint32_t>& word) {
#if defined(__linux__)
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
#else
  word.notify_all();
#endif
}

bool allowTiles() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr int requestPermission = 0x1023, tileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
#else
  return false;
#endif
}

uint64_t nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

bool Pages::allocate(size_t bytes) {
  release();
  constexpr size_t kHuge = size_t{2} << 20;
  if (bytes == 0) return true;
  if (bytes > SIZE_MAX / 2) return false;
  size_t align = bytes >= kHuge ? kHuge : 0;
  size_t mapped = bytes + align;
  void* mapping = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return false;
  auto start = reinterpret_cast<uintptr_t>(mapping);
  if (align) start = (start + kHuge - 1) & ~(kHuge - 1);
  mapping_ = mapping;
  mapped_ = mapped;
  data_ = reinterpret_cast<uint8_t*>(start);
  bytes_ = bytes;
#if defined(__linux__)
  if (align) madvise(data_, bytes, MADV_HUGEPAGE);  // a wish: without huge pages it works, too
#endif
  return true;
}

bool Pages::map(int fd, uint64_t offset, size_t bytes) {
  release();
  if (bytes == 0 || bytes > SIZE_MAX / 2) return false;
  void* mapping = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (mapping == MAP_FAILED) return false;
  mapping_ = mapping;
  mapped_ = bytes_ = bytes;
  data_ = static_cast<uint8_t*>(mapping);
  madvise(data_, bytes, MADV_WILLNEED);
  return true;
}

void Pages::release() {
  if (mapping_) munmap(mapping_, mapped_);
  mapping_ = nullptr;
  data_ = nullptr;
  bytes_ = mapped_ = 0;
}

int readAt(int fd, void* to, size_t bytes, uint64_t offset) {
  auto* at = static_cast<uint8_t*>(to);
  while (bytes > 0) {
    ssize_t got = pread(fd, at, bytes, static_cast<off_t>(offset));
    if (got == 0) return -1;
    if (got < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    at += got;
    bytes -= static_cast<size_t>(got);
    offset += static_cast<uint64_t>(got);
  }
  return 0;
}

int writeAt(int fd, const void* from, size_t bytes, uint64_t offset) {
  const auto* at = static_cast<const uint8_t*>(from);
  while (bytes > 0) {
    ssize_t put = pwrite(fd, at, bytes, static_cast<off_t>(offset));
    if (put < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    at += put;
    bytes -= static_cast<size_t>(put);
    offset += static_cast<uint64_t>(put);
  }
  return 0;
}

}  // namespace millrace::os

#endif
