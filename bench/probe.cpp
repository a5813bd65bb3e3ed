// Bandwidth probe: for each line "THREADS" on standard input, reads 256 MiB a thread (beyond any L3) and prints GB/s.
// Read-only, 2 MiB pages where the system gives them: the limit of a decode step, which reads each weight once.
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

namespace {
constexpr size_t kBytes = size_t(256) << 20;

uint64_t readAll(const uint64_t* data, size_t words) {
  uint64_t sums[16] = {};
  for (size_t i = 0; i < words; i += 16)
    for (size_t j = 0; j < 16; j++) sums[j] += data[i + j];
  uint64_t sum = 0;
  for (uint64_t s : sums) sum += s;
  return sum;
}
}  // namespace

int main() {
  std::vector<uint64_t*> buffers;
  std::atomic<uint64_t> sink{0};
  int threads = 0;
  while (std::scanf("%d", &threads) == 1 && threads > 0 && threads <= 64) {
    while (buffers.size() < size_t(threads)) {
      void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (memory == MAP_FAILED) return 1;
      madvise(memory, kBytes, MADV_HUGEPAGE);
      auto* words = static_cast<uint64_t*>(memory);
      for (size_t i = 0; i < kBytes / 8; i++) words[i] = i;
      buffers.push_back(words);
    }
    std::atomic<int> ready{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> team;
    for (int t = 0; t < threads; t++)
      team.emplace_back([&, t] {
        ready++;
        while (!go) {
        }
        sink += readAll(buffers[size_t(t)], kBytes / 8);
      });
    while (ready < threads) std::this_thread::yield();
    const auto start = std::chrono::steady_clock::now();
    go = true;
    for (auto& thread : team) thread.join();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("%.3f\n", double(kBytes) * threads / seconds / 1e9);
    std::fflush(stdout);
  }
  return sink == 42 ? 1 : 0;
}
