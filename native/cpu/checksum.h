// A checksum against accidents (a disk that fails, a file that was cut or written over), as fast as memory: eight
// chains of multiplications, whose results are mixed. No protection against who means to deceive.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace millrace {

inline uint64_t checksum(const uint8_t* p, size_t bytes) {
  constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;
  constexpr int kChains = 8;
  const auto mix = [](uint64_t sum, uint64_t word) {
    sum = (sum ^ word) * kFactor;
    return sum ^ (sum >> 29);
  };
  uint64_t chains[kChains];
  for (int i = 0; i < kChains; i++) chains[i] = bytes + static_cast<uint64_t>(i);
  size_t at = 0;
  for (; at + sizeof chains <= bytes; at += sizeof chains) {
    uint64_t words[kChains];
    std::memcpy(words, p + at, sizeof words);
    for (int i = 0; i < kChains; i++) chains[i] = mix(chains[i], words[i]);
  }
  uint64_t rest[kChains] = {};
  std::memcpy(rest, p + at, bytes - at);
  uint64_t sum = bytes;
  for (int i = 0; i < kChains; i++) sum = mix(sum, mix(chains[i], rest[i]));
  return sum;
}

}  // namespace millrace
