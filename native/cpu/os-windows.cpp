// os.h for Windows: its own threads, WaitOnAddress, VirtualAlloc and file mappings. A descriptor is Node's, of a C
// library that isn't ours, so the host program's libuv is asked for its handle.
#if defined(_WIN32)

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include <errno.h>
#include <string.h>

#include "os.h"

namespace millrace::os {

namespace {

// A function of a library that is in the process already; null where there is none.
template <typename F>
F find(const wchar_t* library, const char* name) {
  HMODULE module = GetModuleHandleW(library);
  FARPROC found = module ? GetProcAddress(module, name) : nullptr;
  F function = nullptr;
  static_assert(sizeof function == sizeof found);
  memcpy(&function, &found, sizeof found);
  return function;
}

HANDLE handleOf(int fd) {
  using GetHandle = void* (*)(int);
  static const GetHandle get = find<GetHandle>(nullptr, "uv_get_osfhandle");
  return get ? static_cast<HANDLE>(get(fd)) : INVALID_HANDLE_VALUE;
}

OVERLAPPED at(uint64_t offset) {
  OVERLAPPED place = {};
  place.Offset = static_cast<DWORD>(offset);
  place.OffsetHigh = static_cast<DWORD>(offset >> 32);
  return place;
}

constexpr size_t kMostAtOnce = size_t{1} << 30;

int errnoOf(DWORD error) {
  switch (error) {
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
      return ENOSPC;
    case ERROR_INVALID_HANDLE:
      return EBADF;
    case ERROR_ACCESS_DENIED:
      return EACCES;
    default:
      return EIO;
  }
}

void setFloatMode() {
#if defined(__x86_64__)
  constexpr unsigned kMaskAll = 0x1f80;
  __builtin_ia32_ldmxcsr(kMaskAll);
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" ::"r"(uint64_t{0}));
#endif
}

struct Start {
  void* (*enter)(void*);
  void* self;
};

DWORD WINAPI enterThread(void* raw) {
  Start start = *static_cast<Start*>(raw);
  delete static_cast<Start*>(raw);
  start.enter(start.self);
  return 0;
}

}  // namespace

int availableCores() {
  DWORD_PTR own = 0, all = 0;
  if (!GetProcessAffinityMask(GetCurrentProcess(), &own, &all) || own == 0) own = ~DWORD_PTR{0};
  DWORD bytes = 0;
  GetLogicalProcessorInformation(nullptr, &bytes);
  auto* list = static_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION*>(HeapAlloc(GetProcessHeap(), 0, bytes));
  int cores = 0;
  if (list && GetLogicalProcessorInformation(list, &bytes)) {
    for (size_t i = 0; i < bytes / sizeof *list; i++) {
      if (list[i].Relationship == RelationProcessorCore && (list[i].ProcessorMask & own) != 0) cores++;
    }
  }
  if (list) HeapFree(GetProcessHeap(), 0, list);
  return cores < 1 ? 1 : cores;
}

size_t availableMemory() {
  MEMORYSTATUSEX status = {};
  status.dwLength = sizeof status;
  return GlobalMemoryStatusEx(&status) ? static_cast<size_t>(status.ullAvailPhys) : SIZE_MAX;
}

bool allowTiles() { return false; }

bool Thread::start(void (*body)(void*), void* argument) {
  body_ = body;
  argument_ = argument;
  auto* start = new Start{enter, this};
  HANDLE thread = CreateThread(nullptr, 0, enterThread, start, 0, nullptr);
  if (!thread) {
    delete start;
    return false;
  }
  static_assert(sizeof thread <= sizeof handle_);
  memcpy(&handle_, &thread, sizeof thread);
  return true;
}

void* Thread::enter(void* self) {
  setFloatMode();
  auto* thread = static_cast<Thread*>(self);
  thread->body_(thread->argument_);
  return nullptr;
}

void Thread::join() {
  if (!handle_) return;
  HANDLE thread;
  memcpy(&thread, &handle_, sizeof thread);
  WaitForSingleObject(thread, INFINITE);
  CloseHandle(thread);
  handle_ = 0;
}

void wait(std::atomic<uint32_t>& word, uint32_t expected) {
  using Wait = BOOL(WINAPI*)(volatile void*, void*, SIZE_T, DWORD);
  static const Wait waitOn = find<Wait>(L"kernelbase.dll", "WaitOnAddress");
  if (waitOn) waitOn(&word, &expected, sizeof expected, INFINITE);
  else Sleep(1);
}

void wakeAll(std::atomic<uint32_t>& word) {
  using Wake = void(WINAPI*)(void*);
  static const Wake wake = find<Wake>(L"kernelbase.dll", "WakeByAddressAll");
  if (wake) wake(&word);
}

uint64_t nanoseconds() {
  LARGE_INTEGER frequency, count;
  QueryPerformanceFrequency(&frequency);
  QueryPerformanceCounter(&count);
  const auto ticks = static_cast<uint64_t>(count.QuadPart), perSecond = static_cast<uint64_t>(frequency.QuadPart);
  return ticks / perSecond * 1000000000u + ticks % perSecond * 1000000000u / perSecond;
}

bool Pages::allocate(size_t bytes) {
  release();
  if (bytes == 0) return true;
  if (bytes > SIZE_MAX / 2) return false;
  void* memory = VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  if (!memory) return false;
  mapping_ = memory;
  data_ = static_cast<uint8_t*>(memory);
  bytes_ = bytes;
  mapped_ = 0;
  return true;
}

bool Pages::map(int fd, uint64_t offset, size_t bytes) {
  release();
  HANDLE file = handleOf(fd);
  if (bytes == 0 || bytes > SIZE_MAX / 2 || file == INVALID_HANDLE_VALUE) return false;
  HANDLE section = CreateFileMappingW(file, nullptr, PAGE_READONLY, 0, 0, nullptr);
  if (!section) return false;
  // The view keeps what it shows.
  void* view =
      MapViewOfFile(section, FILE_MAP_READ, static_cast<DWORD>(offset >> 32), static_cast<DWORD>(offset), bytes);
  CloseHandle(section);
  if (!view) return false;
  mapping_ = view;
  data_ = static_cast<uint8_t*>(view);
  bytes_ = mapped_ = bytes;
  return true;
}

void Pages::release() {
  if (mapping_ && mapped_ > 0) UnmapViewOfFile(mapping_);
  else if (mapping_) VirtualFree(mapping_, 0, MEM_RELEASE);
  mapping_ = nullptr;
  data_ = nullptr;
  bytes_ = mapped_ = 0;
}

int readAt(int fd, void* to, size_t bytes, uint64_t offset) {
  HANDLE file = handleOf(fd);
  for (auto* next = static_cast<uint8_t*>(to); bytes > 0;) {
    OVERLAPPED place = at(offset);
    DWORD got = 0;
    const auto most = static_cast<DWORD>(bytes < kMostAtOnce ? bytes : kMostAtOnce);
    if (!ReadFile(file, next, most, &got, &place)) {
      return GetLastError() == ERROR_HANDLE_EOF ? -1 : errnoOf(GetLastError());
    }
    if (got == 0) return -1;
    next += got;
    bytes -= got;
    offset += got;
  }
  return 0;
}

int writeAt(int fd, const void* from, size_t bytes, uint64_t offset) {
  HANDLE file = handleOf(fd);
  for (auto* next = static_cast<const uint8_t*>(from); bytes > 0;) {
    OVERLAPPED place = at(offset);
    DWORD put = 0;
    const auto most = static_cast<DWORD>(bytes < kMostAtOnce ? bytes : kMostAtOnce);
    if (!WriteFile(file, next, most, &put, &place)) return errnoOf(GetLastError());
    next += put;
    bytes -= put;
    offset += put;
  }
  return 0;
}

}  // namespace millrace::os

#endif
