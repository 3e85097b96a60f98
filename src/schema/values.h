// The value types that fields of API objects are made of.
//
// All of them are trivially copyable, valid when zeroed (zero is Go's zero value of the field) and point into the arena
// of the object they stand in: a value copied into another object must be deep-copied (schema/object.h).
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/arena.h"

namespace knarr::schema {

using Str = std::string_view;

// A pointer-to-scalar field: absent is distinct from zero.
template <class T>
struct Opt {
  T value;
  bool present;

  explicit operator bool() const { return present; }
  const T& operator*() const { return value; }
  T valueOr(T fallback) const { return present ? value : fallback; }
  Opt& operator=(T v) {
    value = v;
    present = true;
    return *this;
  }
  void clear() { *this = Opt{}; }
};

// A slice. nil (data null) and empty are distinct, as in Go's JSON of fields without omitempty.
template <class T>
struct List {
  T* data_;
  uint32_t size_;
  uint32_t capacity_;

  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool isNil() const { return data_ == nullptr; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }
  const T& back() const { return data_[size_ - 1]; }
  // A zeroed new last element. Growth copies shallowly inside the same arena; earlier references die.
  T& append(Arena& arena) {
    if (size_ == capacity_) reserve(arena, capacity_ == 0 ? 2 : capacity_ * 2);
    T* slot = data_ + size_++;
    std::memset(static_cast<void*>(slot), 0, sizeof(T));
    return *slot;
  }
  T& append(Arena& arena, const T& value) { return append(arena) = value; }
  void reserve(Arena& arena, size_t n) {
    if (n <= capacity_ && data_ != nullptr) return;
    T* grown = arena.makeArray<T>(n == 0 ? 1 : n);
    if (size_ != 0) std::memcpy(static_cast<void*>(grown), data_, sizeof(T) * size_);
    data_ = grown;
    capacity_ = static_cast<uint32_t>(n);
  }
  // Keeps the order of the others.
  void eraseAt(size_t i) {
    std::memmove(static_cast<void*>(data_ + i), data_ + i + 1, sizeof(T) * (size_ - i - 1));
    --size_;
  }
  void clear() { size_ = 0; }
};

template <class V>
struct MapEntry {
  Str key;
  V value;
};

// A map with string keys, kept sorted by key (the order of Go's JSON and deterministic protobuf).
template <class V>
struct Map {
  List<MapEntry<V>> entries;

  auto begin() { return entries.begin(); }
  auto end() { return entries.end(); }
  auto begin() const { return entries.begin(); }
  auto end() const { return entries.end(); }
  size_t size() const { return entries.size(); }
  bool empty() const { return entries.empty(); }
  bool isNil() const { return entries.isNil(); }
  size_t lowerBound(Str key) const {
    size_t low = 0, high = entries.size();
    while (low < high) {
      size_t middle = (low + high) / 2;
      if (entries[middle].key < key)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
  const V* find(Str key) const {
    size_t i = lowerBound(key);
    return i < entries.size() && entries[i].key == key ? &entries[i].value : nullptr;
  }
  V* find(Str key) { return const_cast<V*>(static_cast<const Map*>(this)->find(key)); }
  bool contains(Str key) const { return find(key) != nullptr; }
  // The value at `key`, a zeroed one when it was absent. The key is copied into the arena.
  V& at(Arena& arena, Str key) {
    size_t i = lowerBound(key);
    if (i < entries.size() && entries[i].key == key) return entries[i].value;
    Str stored = arena.copy(key);
    entries.append(arena);
    std::memmove(static_cast<void*>(entries.data_ + i + 1), entries.data_ + i, sizeof(MapEntry<V>) * (entries.size() - 1 - i));
    std::memset(static_cast<void*>(entries.data_ + i), 0, sizeof(MapEntry<V>));
    entries[i].key = stored;
    return entries[i].value;
  }
  bool erase(Str key) {
    size_t i = lowerBound(key);
    if (i >= entries.size() || entries[i].key != key) return false;
    entries.eraseAt(i);
    return true;
  }
  void clear() { entries.clear(); }
};

using StringMap = Map<Str>;
// The text of `key`, "" when absent.
inline Str valueOf(const StringMap& map, Str key) {
  const Str* value = map.find(key);
  return value ? *value : Str();
}
// Copies both texts into the arena.
inline void set(StringMap& map, Arena& arena, Str key, Str value) { map.at(arena, key) = arena.copy(value); }

// metav1.Time. Zero is Go's zero time (absent in JSON with omitempty, null without).
struct Time {
  static constexpr int64_t kUnixOfYear1 = -62135596800;
  int64_t secondsSinceYear1;

  static Time fromUnix(int64_t seconds) { return {seconds - kUnixOfYear1}; }
  int64_t unixSeconds() const { return secondsSinceYear1 + kUnixOfYear1; }
  bool isZero() const { return secondsSinceYear1 == 0; }
  friend bool operator==(const Time&, const Time&) = default;
  friend auto operator<=>(const Time&, const Time&) = default;
};

// metav1.MicroTime.
struct MicroTime {
  int64_t microsSinceYear1;

  static MicroTime fromUnixMicros(int64_t micros) { return {micros - Time::kUnixOfYear1 * 1'000'000}; }
  int64_t unixMicros() const { return microsSinceYear1 + Time::kUnixOfYear1 * 1'000'000; }
  bool isZero() const { return microsSinceYear1 == 0; }
  friend bool operator==(const MicroTime&, const MicroTime&) = default;
  friend auto operator<=>(const MicroTime&, const MicroTime&) = default;
};

// metav1.Duration, in nanoseconds.
struct Duration {
  int64_t nanos;
  friend bool operator==(const Duration&, const Duration&) = default;
};

// resource.Quantity, kept as its canonical text ("100m", "1Gi"); "" is zero. apimachinery/quantity.h computes with it.
struct Quantity {
  Str text;
};

// intstr.IntOrString.
struct IntOrString {
  bool isString;
  int32_t intValue;
  Str stringValue;
};

// A value without a schema (runtime.RawExtension, metav1.FieldsV1, apiextensions JSON): its compact JSON text; "" is nil.
struct RawJson {
  Str text;
};

// []byte, raw (base64 only in JSON).
struct Bytes {
  Str bytes;
  bool isNil() const { return bytes.data() == nullptr; }
};

}  // namespace knarr::schema
