// What an operating system decides: threads, waiting, memory pages, reading files, how much of the machine is ours.
// The only header that knows one, with os.cpp for Linux and macOS, os-windows.cpp for Windows.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace millrace::os {

// Physical cores that this process may use: affinity and the cgroup's quota counted, hyper-threads not. At least 1.
int availableCores();
// Bytes that can be had without swapping: free memory and the cgroup's limit counted. SIZE_MAX where unknown.
size_t availableMemory();

// Asks for the state of AMX's tiles, which a process has only after it asked; false where there is none to have.
bool allowTiles();

// A joinable thread; start() is false where the system has none left. It computes in IEEE 754's own way, whatever mode
// the thread that starts it is in: rounds to nearest even, keeps denormal numbers, traps nothing.
class Thread {
 public:
  bool start(void (*body)(void*), void* argument);
  void join();

 private:
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  uint64_t handle_ = 0;
  static void* enter(void* self);
};

// Sleeps while `word` holds `expected`; may wake for no reason.
void wait(std::atomic<uint32_t>& word, uint32_t expected);
void wakeAll(std::atomic<uint32_t>& word);

// Tells the core that this is a spin loop.
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

uint64_t nanoseconds();

// Zeroed memory in huge pages where the system has them, 64-byte aligned at least; or a file's bytes, read only and
// shared with all who map them. Freed by the destructor.
class Pages {
 public:
  Pages() = default;
  ~Pages() { release(); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  // False where the system refuses.
  bool allocate(size_t bytes);
  // The offset is a multiple of kMapAlign. The file may be removed afterwards, but not become shorter.
  static constexpr size_t kMapAlign = size_t{64} << 10;
  bool map(int fd, uint64_t offset, size_t bytes);
  void release();
  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
  void* mapping_ = nullptr;
  size_t mapped_ = 0;
};

// Reads `bytes` at `offset`. 0: done; −1: the file ends before; else errno.
int readAt(int fd, void* to, size_t bytes, uint64_t offset);
// 0: done; else errno.
int writeAt(int fd, const void* from, size_t bytes, uint64_t offset);

}  // namespace millrace::os
