// Object: one API object in one arena, shared as a constant once published.
//
//   Mut<corev1::Pod> pod = newObject<corev1::Pod>();      // mine to write
//   pod->metadata.name = pod.str("web");
//   pod->spec.containers.append(pod.arena()).name = pod.str("main");
//   Ref<corev1::Pod> shared = std::move(pod).publish();   // everybody's to read, never written again
//   Mut<corev1::Pod> next = edit(shared);                 // a deep copy to write
//
// Ref and Mut without a type argument hold an object of any kind. Reference counts are atomic; a published object may be
// read from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/arena.h"
#include "base/assert.h"
#include "schema/type_info.h"
#include "schema/values.h"

namespace knarr::metav1 {
struct ObjectMeta;
struct ListMeta;
}  // namespace knarr::metav1

namespace knarr::schema {

// The forms an object is encoded to and remembered in.
enum class Encoding : uint8_t { Json, Protobuf };

class Object {
 public:
  Object(const TypeInfo& type, size_t firstBlockBytes)
      : type_(&type), arena_(firstBlockBytes), root_(arena_.allocate(type.size, 16)) {
    std::memset(root_, 0, type.size);
  }
  Object(const Object&) = delete;

  const TypeInfo& type() const { return *type_; }
  const void* root() const { return root_; }
  void* mutableRoot() { return root_; }
  Arena& arena() { return arena_; }
  const Arena& arena() const { return arena_; }
  // Bytes this object holds on the heap, without its remembered encodings.
  size_t bytesResident() const { return sizeof(Object) + arena_.bytesReserved(); }

  // The remembered encoding, null when it was not made yet. codec/ fills it.
  std::shared_ptr<const std::string> rememberedEncoding(Encoding encoding) const {
    return encodings_[static_cast<size_t>(encoding)].load();
  }
  void rememberEncoding(Encoding encoding, std::shared_ptr<const std::string> bytes) const {
    encodings_[static_cast<size_t>(encoding)].store(std::move(bytes));
  }

  void retain() const { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() const {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  ~Object() = default;
  const TypeInfo* type_;
  Arena arena_;
  void* root_;
  mutable std::atomic<uint32_t> references_{0};
  mutable std::atomic<std::shared_ptr<const std::string>> encodings_[2];
};

// A shared reference to a constant object of kind T, or of any kind. May be null.
template <class T = void>
class Ref;

template <>
class Ref<void> {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  explicit Ref(const Object* object) : object_(object) {
    if (object_) object_->retain();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) object_->release();
  }
  explicit operator bool() const { return object_ != nullptr; }
  const Object* get() const { return object_; }
  const Object& object() const { return *object_; }
  const TypeInfo& type() const { return object_->type(); }
  const void* root() const { return object_->root(); }
  friend bool operator==(const Ref& a, const Ref& b) { return a.object_ == b.object_; }

 protected:
  const Object* object_ = nullptr;
};

template <class T>
class Ref : public Ref<void> {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  // `object` is null or of kind T.
  explicit Ref(Ref<void> object) : Ref<void>(std::move(object)) { ASSERT(!object_ || &object_->type() == &typeInfoOf<T>()); }
  const T* operator->() const { return static_cast<const T*>(object_->root()); }
  const T& operator*() const { return *static_cast<const T*>(object_->root()); }
};

// The only reference to an object that is still being written. May be null after a move.
template <class T = void>
class Mut;

template <>
class Mut<void> {
 public:
  Mut() = default;
  explicit Mut(const TypeInfo& type, size_t firstBlockBytes = 1024) : object_(new Object(type, firstBlockBytes)) {
    object_->retain();
  }
  Mut(Mut&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Mut& operator=(Mut&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Mut() {
    if (object_) object_->release();
  }
  explicit operator bool() const { return object_ != nullptr; }
  Object& object() { return *object_; }
  const Object& object() const { return *object_; }
  const TypeInfo& type() const { return object_->type(); }
  void* root() { return object_->mutableRoot(); }
  const void* root() const { return object_->root(); }
  Arena& arena() { return object_->arena(); }
  // A copy of `text` in this object.
  Str str(Str text) { return object_->arena().copy(text); }
  Ref<void> publish() && {
    Ref<void> shared(object_);
    std::exchange(object_, nullptr)->release();
    return shared;
  }

 protected:
  Object* object_ = nullptr;
};

template <class T>
class Mut : public Mut<void> {
 public:
  Mut() = default;
  // `object` is null or of kind T.
  explicit Mut(Mut<void> object) : Mut<void>(std::move(object)) { ASSERT(!object_ || &object_->type() == &typeInfoOf<T>()); }
  T* operator->() { return static_cast<T*>(object_->mutableRoot()); }
  T& operator*() { return *static_cast<T*>(object_->mutableRoot()); }
  const T* operator->() const { return static_cast<const T*>(object_->root()); }
  const T& operator*() const { return *static_cast<const T*>(object_->root()); }
  Ref<T> publish() && { return Ref<T>(std::move(static_cast<Mut<void>&>(*this)).publish()); }
};

template <class T>
Mut<T> newObject() {
  return Mut<T>(Mut<void>(typeInfoOf<T>()));
}

// Deep copies (engine.cc). `to` and `from` are structs of `type`; all memory comes from `arena`.
void deepCopy(const TypeInfo& type, void* to, const void* from, Arena& arena);
// Deep, semantic equality: nil and empty lists and maps are equal; quantities compare as canonical text.
bool deepEqual(const TypeInfo& type, const void* a, const void* b);
// True when every field is Go's zero value.
bool isZero(const TypeInfo& type, const void* value);
Mut<void> edit(const Ref<void>& object);
template <class T>
Mut<T> edit(const Ref<T>& object) {
  return Mut<T>(edit(static_cast<const Ref<void>&>(object)));
}
template <class T>
T* copyInto(Arena& arena, const T& from) {
  T* to = arena.make<T>();
  deepCopy(typeInfoOf<T>(), to, &from, arena);
  return to;
}
template <class T>
bool equal(const T& a, const T& b) {
  return deepEqual(typeInfoOf<T>(), &a, &b);
}

// Sets every declared default (FieldInfo::defaultJson, a JSON scalar) of `root` and of all structs that it holds: an
// absent pointer becomes present, a zero value becomes the default. Source: the +default markers of k8s.io/api, as
// generated defaulters apply them. Texts point to constant memory.
void applyDeclaredDefaults(const TypeInfo& type, void* root, Arena& arena);

// The ObjectMeta (ListMeta) of an object; null when its kind has none.
const metav1::ObjectMeta* metadataOf(const Object& object);
metav1::ObjectMeta* metadataOf(Object& object);
const metav1::ListMeta* listMetadataOf(const Object& object);
metav1::ListMeta* listMetadataOf(Object& object);
inline const metav1::ObjectMeta& metadataOf(const Ref<void>& object) { return *metadataOf(object.object()); }
inline metav1::ObjectMeta& metadataOf(Mut<void>& object) { return *metadataOf(object.object()); }

}  // namespace knarr::schema
