// Arena: the memory of one API object. Allocations are bumped out of a few blocks and freed together.
//
// Nothing in an arena is destroyed, so only trivially destructible values live in one. An arena has one owner and is
// not thread safe while it grows; once its object is published it is only read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

namespace knarr {

class Arena {
 public:
  // firstBlockBytes: size of the first block taken when the arena is first used; later blocks double up to 64 KiB.
  explicit Arena(size_t firstBlockBytes = 512) : nextBlockBytes_(firstBlockBytes) {}
  ~Arena();
  Arena(Arena&& other) noexcept { swap(other); }
  Arena& operator=(Arena&& other) noexcept {
    swap(other);
    return *this;
  }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Uninitialised memory; alignment is a power of two of at most 16.
  void* allocate(size_t bytes, size_t alignment) {
    uintptr_t at = (cursor_ + alignment - 1) & ~(uintptr_t(alignment) - 1);
    if (at + bytes > end_ || cursor_ == 0) return allocateSlow(bytes, alignment);
    cursor_ = at + bytes;
    return reinterpret_cast<void*>(at);
  }

  // A value-initialised T.
  template <class T, class... Args>
  T* make(Args&&... args) {
    static_assert(std::is_trivially_destructible_v<T>);
    return new (allocate(sizeof(T), alignof(T))) T(std::forward<Args>(args)...);
  }

  // A zeroed array of n T.
  template <class T>
  T* makeArray(size_t n) {
    static_assert(std::is_trivially_destructible_v<T> && std::is_trivially_copyable_v<T>);
    void* memory = allocate(sizeof(T) * n, alignof(T));
    if (n != 0) std::memset(memory, 0, sizeof(T) * n);
    return static_cast<T*>(memory);
  }

  // A copy of `text` that lives as long as the arena. Empty text takes no memory.
  std::string_view copy(std::string_view text) {
    if (text.empty()) return std::string_view();
    char* memory = static_cast<char*>(allocate(text.size(), 1));
    std::memcpy(memory, text.data(), text.size());
    return {memory, text.size()};
  }

  // Bytes taken from the heap, block headers included.
  size_t bytesReserved() const { return reserved_; }

 private:
  struct Block {
    Block* next;
    size_t bytes;
  };
  void* allocateSlow(size_t bytes, size_t alignment);
  void swap(Arena& other) noexcept {
    std::swap(cursor_, other.cursor_);
    std::swap(end_, other.end_);
    std::swap(blocks_, other.blocks_);
    std::swap(nextBlockBytes_, other.nextBlockBytes_);
    std::swap(reserved_, other.reserved_);
  }

  uintptr_t cursor_ = 0;
  uintptr_t end_ = 0;
  Block* blocks_ = nullptr;
  size_t nextBlockBytes_ = 512;
  size_t reserved_ = 0;
};

}  // namespace knarr
