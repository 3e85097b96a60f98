// Value: JSON without a schema, as a tree in an arena. Patches, CEL, custom resources and YAML work
// on it.
//
//   Arena arena;
//   Value value = TRY(parseJsonValue(text, arena));
//   if (const Value* metadata = value.find("metadata")) use(metadata->find("name"));
//
// A Value is trivially copyable; copies share what they point to, so only one of them may be edited
// afterwards (deepCopyValue makes a copy of its own). Members of an object are kept sorted by name
// (the order in which Go writes maps), so look-up is a binary search and encoding is canonical.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/assert.h"
#include "base/result.h"
#include "schema/type_info.h"

namespace knarr::codec {

struct Member;

class Value {
 public:
  enum class Is : uint8_t { Null, Bool, Int, Double, String, Array, Object };

  Value() = default;  // null
  static Value ofBool(bool value);
  static Value ofInt(int64_t value);
  static Value ofDouble(double value);
  // The text is not copied; it must live as long as the value's arena.
  static Value ofString(std::string_view text);
  static Value emptyArray();
  static Value emptyObject();

  Is is() const { return is_; }
  bool isNull() const { return is_ == Is::Null; }
  bool isBool() const { return is_ == Is::Bool; }
  bool isInt() const { return is_ == Is::Int; }
  bool isNumber() const { return is_ == Is::Int || is_ == Is::Double; }
  bool isString() const { return is_ == Is::String; }
  bool isArray() const { return is_ == Is::Array; }
  bool isObject() const { return is_ == Is::Object; }

  // Each may be called on its own kind only.
  bool boolean() const { return checked(Is::Bool), bool_; }
  int64_t integer() const { return checked(Is::Int), int_; }
  double number() const;
  std::string_view string() const { return checked(Is::String), std::string_view(text_, size_); }
  std::span<Value> items() { return checked(Is::Array), std::span<Value>(items_, size_); }
  std::span<const Value> items() const { return checked(Is::Array), std::span<const Value>(items_, size_); }
  std::span<Member> members();
  std::span<const Member> members() const;
  // Elements of an array or object.
  size_t size() const { return size_; }

  // The string of a string value, "" of any other.
  std::string_view stringOr(std::string_view fallback = {}) const { return is_ == Is::String ? string() : fallback; }

  // The member of an object; null when absent, and for every value that is no object.
  const Value* find(std::string_view name) const;
  Value* find(std::string_view name);
  // Sets a member, the name copied into the arena; the value becomes an object if it was null.
  Value& set(Arena& arena, std::string_view name, const Value& value);
  bool erase(std::string_view name);

  void append(Arena& arena, const Value& value);
  void insertAt(Arena& arena, size_t index, const Value& value);
  void eraseAt(size_t index);

  // Equal JSON: 1 equals 1.0; order of members does not matter.
  friend bool operator==(const Value& a, const Value& b);

  // Orders the members after they were added with addUnsorted; of equal names the last stays.
  // Returns the names that stood more than once.
  void addUnsorted(Arena& arena, std::string_view name, const Value& value);
  std::vector<std::string_view> sortMembers();

 private:
  void checked(Is is) const { ASSERT(is_ == is); }
  size_t lowerBound(std::string_view name) const;
  template <class T>
  T* grow(Arena& arena, T*& data);

  Is is_ = Is::Null;
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;
  union {
    bool bool_;
    int64_t int_ = 0;
    double double_;
    const char* text_;
    Value* items_;
    Member* members_;
  };
};

struct Member {
  std::string_view name;
  Value value;
};

inline std::span<Member> Value::members() { return checked(Is::Object), std::span<Member>(members_, size_); }
inline std::span<const Member> Value::members() const { return checked(Is::Object), std::span<const Member>(members_, size_); }

// Integers that fit int64 stay integers, other numbers become doubles. strictErrors, when given,
// receives `duplicate field "a.b"` per member that stands twice. Errors (BadRequest) carry
// encoding/json's text.
Result<Value> parseJsonValue(std::string_view text, Arena& arena, std::vector<std::string>* strictErrors = nullptr);
Value deepCopyValue(const Value& value, Arena& arena);
void appendJson(std::string& out, const Value& value);
std::string toJson(const Value& value);

// Between values and structs. The value form of a struct is that of its JSON, kind and apiVersion
// left out.
Result<Value> valueOf(const schema::TypeInfo& type, const void* root, Arena& arena);
Result<void> decodeValue(const schema::TypeInfo& type, const Value& value, void* root, Arena& arena);

}  // namespace knarr::codec
