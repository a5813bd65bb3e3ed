// A list whose room is asked for and may be refused: what sizes a caller chose is allocated by these, because the addon
// is compiled without exceptions and a std::vector that finds no memory ends the process.
#pragma once
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>

namespace millrace {

template <typename T>
class List {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  // Room for `wanted` items, what is held kept; false where there is no memory.
  bool reserve(size_t wanted) {
    if (wanted <= capacity_) return true;
    if (wanted > SIZE_MAX / 2 / sizeof(T)) return false;
    std::unique_ptr<T[]> items(new (std::nothrow) T[wanted]);
    if (!items) return false;
    for (size_t i = 0; i < size_; i++) items[i] = items_[i];
    items_ = std::move(items);
    capacity_ = wanted;
    return true;
  }
  // Room for `wanted`, and at least half as much again as there was, so that growing costs little.
  bool grow(size_t wanted) { return wanted <= capacity_ || reserve(wanted > 2 * capacity_ ? wanted : 2 * capacity_); }
  bool assign(const T* from, size_t count) {
    if (!grow(count)) return false;
    for (size_t i = 0; i < count; i++) items_[i] = from[i];
    size_ = count;
    return true;
  }
  bool fill(size_t count, T value) {
    if (!grow(count)) return false;
    for (size_t i = 0; i < count; i++) items_[i] = value;
    size_ = count;
    return true;
  }
  // There must be room.
  void push(const T& item) { items_[size_++] = item; }
  void pop(size_t count) { size_ -= count; }
  void clear() { size_ = 0; }

  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }
  T* data() { return items_.get(); }
  const T* data() const { return items_.get(); }
  T& operator[](size_t i) { return items_[i]; }
  const T& operator[](size_t i) const { return items_[i]; }
  T* begin() { return items_.get(); }
  T* end() { return items_.get() + size_; }
  const T* begin() const { return items_.get(); }
  const T* end() const { return items_.get() + size_; }

 private:
  std::unique_ptr<T[]> items_;
  size_t size_ = 0, capacity_ = 0;
};

}  // namespace millrace
