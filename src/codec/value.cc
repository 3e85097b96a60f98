#include "codec/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/strings.h"
#include "codec/codec.h"
#include "codec/json_text.h"

namespace knarr::codec {

Value Value::ofBool(bool value) {
  Value out;
  out.is_ = Is::Bool;
  out.bool_ = value;
  return out;
}
Value Value::ofInt(int64_t value) {
  Value out;
  out.is_ = Is::Int;
  out.int_ = value;
  return out;
}
Value Value::ofDouble(double value) {
  Value out;
  out.is_ = Is::Double;
  out.double_ = value;
  return out;
}
Value Value::ofString(std::string_view text) {
  ASSERT(text.size() <= UINT32_MAX);
  Value out;
  out.is_ = Is::String;
  out.text_ = text.data();
  out.size_ = static_cast<uint32_t>(text.size());
  return out;
}
Value Value::emptyArray() {
  Value out;
  out.is_ = Is::Array;
  out.items_ = nullptr;
  return out;
}
Value Value::emptyObject() {
  Value out;
  out.is_ = Is::Object;
  out.members_ = nullptr;
  return out;
}

double Value::number() const {
  ASSERT(isNumber());
  return is_ == Is::Int ? static_cast<double>(int_) : double_;
}

size_t Value::lowerBound(std::string_view name) const {
  auto at = std::lower_bound(members_, members_ + size_, name,
                             [](const Member& member, std::string_view wanted) { return member.name < wanted; });
  return static_cast<size_t>(at - members_);
}

const Value* Value::find(std::string_view name) const {
  if (is_ != Is::Object) return nullptr;
  size_t at = lowerBound(name);
  return at < size_ && members_[at].name == name ? &members_[at].value : nullptr;
}
Value* Value::find(std::string_view name) { return const_cast<Value*>(static_cast<const Value*>(this)->find(name)); }

// Room for one more element; the elements may move.
template <class T>
T* Value::grow(Arena& arena, T*& data) {
  if (size_ == capacity_) {
    ASSERT(capacity_ < UINT32_MAX / 2);
    uint32_t capacity = capacity_ == 0 ? 4 : capacity_ * 2;
    T* grown = static_cast<T*>(arena.allocate(sizeof(T) * capacity, alignof(T)));
    if (size_ != 0) std::copy(data, data + size_, grown);
    data = grown;
    capacity_ = capacity;
  }
  return data + size_++;
}

Value& Value::set(Arena& arena, std::string_view name, const Value& value) {
  Value copy = value;  // `value` may be inside of this object
  if (is_ == Is::Null) *this = emptyObject();
  checked(Is::Object);
  size_t at = lowerBound(name);
  if (at < size_ && members_[at].name == name) return members_[at].value = copy;
  std::string_view stored = arena.copy(name);
  grow(arena, members_);
  std::copy_backward(members_ + at, members_ + size_ - 1, members_ + size_);
  members_[at] = {stored, copy};
  return members_[at].value;
}

bool Value::erase(std::string_view name) {
  checked(Is::Object);
  size_t at = lowerBound(name);
  if (at >= size_ || members_[at].name != name) return false;
  std::copy(members_ + at + 1, members_ + size_, members_ + at);
  --size_;
  return true;
}

void Value::append(Arena& arena, const Value& value) {
  Value copy = value;
  checked(Is::Array);
  *grow(arena, items_) = copy;
}

void Value::insertAt(Arena& arena, size_t index, const Value& value) {
  Value copy = value;
  checked(Is::Array);
  ASSERT(index <= size_);
  grow(arena, items_);
  std::copy_backward(items_ + index, items_ + size_ - 1, items_ + size_);
  items_[index] = copy;
}

void Value::eraseAt(size_t index) {
  checked(Is::Array);
  ASSERT(index < size_);
  std::copy(items_ + index + 1, items_ + size_, items_ + index);
  --size_;
}

void Value::addUnsorted(Arena& arena, std::string_view name, const Value& value) {
  checked(Is::Object);
  *grow(arena, members_) = {name, value};
}

std::vector<std::string_view> Value::sortMembers() {
  checked(Is::Object);
  std::vector<std::string_view> twice;
  auto ascends = [](const Member& a, const Member& b) { return a.name < b.name; };
  bool sorted = true;
  for (size_t i = 1; i < size_ && sorted; ++i) sorted = ascends(members_[i - 1], members_[i]);
  if (sorted) return twice;
  std::vector<std::pair<Member, size_t>> order;
  order.reserve(size_);
  for (size_t i = 0; i < size_; ++i) order.emplace_back(members_[i], i);
  std::sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    int c = a.first.name.compare(b.first.name);
    return c != 0 ? c < 0 : a.second < b.second;
  });
  uint32_t kept = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i + 1 < order.size() && order[i].first.name == order[i + 1].first.name) {
      if (twice.empty() || twice.back() != order[i].first.name) twice.push_back(order[i].first.name);
      continue;
    }
    members_[kept++] = order[i].first;
  }
  size_ = kept;
  return twice;
}

bool operator==(const Value& a, const Value& b) {
  if (a.is_ != b.is_) return a.isNumber() && b.isNumber() && a.number() == b.number();
  switch (a.is_) {
    case Value::Is::Null:
      return true;
    case Value::Is::Bool:
      return a.bool_ == b.bool_;
    case Value::Is::Int:
      return a.int_ == b.int_;
    case Value::Is::Double:
      return a.double_ == b.double_;
    case Value::Is::String:
      return a.string() == b.string();
    case Value::Is::Array:
      return std::equal(a.items_, a.items_ + a.size_, b.items_, b.items_ + b.size_);
    case Value::Is::Object:
      return std::equal(a.members_, a.members_ + a.size_, b.members_, b.members_ + b.size_,
                        [](const Member& x, const Member& y) { return x.name == y.name && x.value == y.value; });
  }
  return false;
}

namespace {

class ValueParser {
 public:
  ValueParser(std::string_view text, Arena& arena, std::vector<std::string>* strictErrors)
      : text_(text), scan_(text), arena_(arena), strictErrors_(strictErrors) {}

  Result<Value> run() {
    Value out;
    if (value(out, kDepthMax) && scan_.peek() == Token::End) return out;
    if (auto syntax = jsonSyntaxError(text_)) return fail(Reason::BadRequest, std::move(*syntax));
    return fail(Reason::BadRequest, error_.empty() ? "exceeded max depth" : std::move(error_));
  }

 private:
  bool value(Value& out, int depth) {
    Token token = scan_.peek();
    switch (token) {
      case Token::Null:
        out = Value();
        return scan_.readWord("null");
      case Token::True:
        out = Value::ofBool(true);
        return scan_.readWord("true");
      case Token::False:
        out = Value::ofBool(false);
        return scan_.readWord("false");
      case Token::Number:
        return number(out);
      case Token::String: {
        std::string_view text;
        if (!string(text)) return false;
        out = Value::ofString(text);
        return true;
      }
      case Token::ArrayBegin:
        return depth > 0 && array(out, depth - 1);
      case Token::ObjectBegin:
        return depth > 0 && object(out, depth - 1);
      default:
        return false;
    }
  }
  bool string(std::string_view& text) {
    bool escaped = false;
    if (!scan_.readString(text, escaped)) return false;
    text = decodeJsonString(text, escaped, arena_);
    return true;
  }
  bool number(Value& out) {
    std::string_view text;
    if (!scan_.readNumber(text)) return false;
    const char *begin = text.data(), *end = begin + text.size();
    int64_t integer = 0;
    auto read = std::from_chars(begin, end, integer);
    if (read.ec == std::errc() && read.ptr == end) {
      out = Value::ofInt(integer);
      return true;
    }
    double real = 0;
    if (std::from_chars(begin, end, real).ec != std::errc()) {
      error_ = fmt::format("json: cannot unmarshal number {} into Go value of type float64", text);
      return false;
    }
    out = Value::ofDouble(real);
    return true;
  }
  bool array(Value& out, int depth) {
    out = Value::emptyArray();
    scan_.skipMark();
    if (scan_.peek() == Token::ArrayEnd) return scan_.skipMark(), true;
    for (;;) {
      if (strictErrors_) path_.push_back(fmt::format("[{}]", out.size()));
      Value item;
      bool ok = value(item, depth);
      if (strictErrors_) path_.pop_back();
      if (!ok) return false;
      out.append(arena_, item);
      Token token = scan_.peek();
      if (token != Token::Comma && token != Token::ArrayEnd) return false;
      scan_.skipMark();
      if (token == Token::ArrayEnd) return true;
    }
  }
  bool object(Value& out, int depth) {
    out = Value::emptyObject();
    scan_.skipMark();
    if (scan_.peek() == Token::ObjectEnd) return scan_.skipMark(), true;
    for (;;) {
      std::string_view name;
      if (scan_.peek() != Token::String || !string(name) || scan_.peek() != Token::Colon) return false;
      scan_.skipMark();
      if (strictErrors_) path_.emplace_back(name);
      Value item;
      bool ok = value(item, depth);
      if (strictErrors_) path_.pop_back();
      if (!ok) return false;
      out.addUnsorted(arena_, name, item);
      Token token = scan_.peek();
      if (token != Token::Comma && token != Token::ObjectEnd) return false;
      scan_.skipMark();
      if (token == Token::ObjectEnd) break;
    }
    for (std::string_view name : out.sortMembers()) duplicate(name);
    return true;
  }
  void duplicate(std::string_view name) {
    if (!strictErrors_ || strictErrors_->size() >= kStrictErrorsMax) return;
    std::string path;
    for (const std::string& step : path_) path += (path.empty() || step[0] == '[' ? "" : ".") + step;
    path += (path.empty() ? "" : ".") + std::string(name);
    strictErrors_->push_back(fmt::format("duplicate field {}", quote(path)));
  }

  std::string_view text_;
  JsonScanner scan_;
  Arena& arena_;
  std::vector<std::string>* strictErrors_;
  std::vector<std::string> path_;
  std::string error_;
};

}  // namespace

Result<Value> parseJsonValue(std::string_view text, Arena& arena, std::vector<std::string>* strictErrors) {
  return ValueParser(text, arena, strictErrors).run();
}

Value deepCopyValue(const Value& value, Arena& arena) {
  switch (value.is()) {
    case Value::Is::String:
      return Value::ofString(arena.copy(value.string()));
    case Value::Is::Array: {
      Value out = Value::emptyArray();
      for (const Value& item : value.items()) out.append(arena, deepCopyValue(item, arena));
      return out;
    }
    case Value::Is::Object: {
      Value out = Value::emptyObject();
      for (const Member& member : value.members())
        out.addUnsorted(arena, arena.copy(member.name), deepCopyValue(member.value, arena));
      return out;
    }
    default:
      return value;
  }
}

void appendJson(std::string& out, const Value& value) {
  switch (value.is()) {
    case Value::Is::Null:
      out += "null";
      return;
    case Value::Is::Bool:
      out += value.boolean() ? "true" : "false";
      return;
    case Value::Is::Int:
      return appendInt(out, value.integer());
    case Value::Is::Double:
      return appendJsonDouble(out, value.number());
    case Value::Is::String:
      return appendJsonString(out, value.string());
    case Value::Is::Array: {
      out += '[';
      bool first = true;
      for (const Value& item : value.items()) {
        if (!first) out += ',';
        first = false;
        appendJson(out, item);
      }
      out += ']';
      return;
    }
    case Value::Is::Object: {
      out += '{';
      bool first = true;
      for (const Member& member : value.members()) {
        if (!first) out += ',';
        first = false;
        appendJsonString(out, member.name);
        out += ':';
        appendJson(out, member.value);
      }
      out += '}';
      return;
    }
  }
}

std::string toJson(const Value& value) {
  std::string out;
  appendJson(out, value);
  return out;
}

Result<Value> valueOf(const schema::TypeInfo& type, const void* root, Arena& arena) {
  return parseJsonValue(encodeJsonValue(type, root), arena);
}

Result<void> decodeValue(const schema::TypeInfo& type, const Value& value, void* root, Arena& arena) {
  return decodeJsonValue(type, toJson(value), root, arena);
}

}  // namespace knarr::codec
