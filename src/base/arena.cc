#include "base/arena.h"

#include <algorithm>
#include <cstdlib>

#include "base/assert.h"

namespace knarr {
namespace {
constexpr size_t kBlockBytesMax = size_t{64} << 10;
}

Arena::~Arena() {
  for (Block* block = blocks_; block != nullptr;) {
    Block* next = block->next;
    ::operator delete(block);
    block = next;
  }
}

void* Arena::allocateSlow(size_t bytes, size_t alignment) {
  ASSERT(alignment <= 16 && bytes < (size_t{1} << 40));
  size_t need = bytes + alignment + sizeof(Block);
  size_t size = std::max(need, nextBlockBytes_);
  nextBlockBytes_ = std::min(kBlockBytesMax, nextBlockBytes_ * 2);
  Block* block = static_cast<Block*>(::operator new(size));
  block->next = blocks_;
  block->bytes = size;
  blocks_ = block;
  reserved_ += size;
  uintptr_t begin = reinterpret_cast<uintptr_t>(block) + sizeof(Block);
  uintptr_t at = (begin + alignment - 1) & ~(uintptr_t(alignment) - 1);
  // A block made for one large value does not replace a block that still has room.
  uintptr_t blockEnd = reinterpret_cast<uintptr_t>(block) + size;
  if (cursor_ == 0 || blockEnd - (at + bytes) >= end_ - cursor_) {
    cursor_ = at + bytes;
    end_ = blockEnd;
  }
  return reinterpret_cast<void*>(at);
}

}  // namespace knarr
