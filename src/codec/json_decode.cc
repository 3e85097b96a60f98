// JSON to structs in one pass: the scanner's tokens go straight into the arena, guided by the
// TypeInfo.
//
// Source of the rules: encoding/json and sigs.k8s.io/json (case-sensitive names, null leaves a
// value alone, last duplicate wins, integers are never read from floats, errors name the innermost
// struct and the path of JSON names).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <vector>

#include "base/strings.h"
#include "codec/codec.h"
#include "codec/go_time.h"
#include "codec/json_names.h"
#include "codec/json_text.h"
#include "schema/duration.h"
#include "schema/layout.h"
#include "schema/quantity.h"

namespace knarr::codec {
namespace {

using namespace schema;

class JsonDecoder {
 public:
  JsonDecoder(std::string_view text, Arena& arena, bool strict) : text_(text), scan_(text), arena_(arena), strict_(strict) {}

  Result<void> run(const TypeInfo& type, void* root) {
    bool ok = structOrNull(type, root, nullptr, kDepthMax);
    bool complete = ok && scan_.peek() == Token::End;
    if (complete) return {};
    if (auto syntax = jsonSyntaxError(text_)) return fail(Reason::BadRequest, std::move(*syntax));
    return fail(Reason::BadRequest, error_.empty() ? "json: the value could not be read" : std::move(error_));
  }
  std::vector<std::string> takeStrictErrors() { return std::move(strictErrors_); }

 private:
  // ---- errors: every function below returns false after malformed text or after setting error_
  bool fails(std::string message) {
    if (error_.empty()) error_ = std::move(message);
    return false;
  }
  bool mismatch(std::string_view value, std::string_view type) { return fails(mismatchText(path_, value, type)); }
  // Reads over a value of the wrong kind so that malformed text is still found first.
  bool wrongKind(Token token, std::string_view type) {
    if (token == Token::End || token == Token::Bad || token == Token::Comma || token == Token::Colon ||
        token == Token::ObjectEnd || token == Token::ArrayEnd)
      return false;
    return mismatch(describeToken(token), type);
  }
  void strictError(std::string_view what, std::string_view name) {
    if (!strict_ || strictErrors_.size() >= kStrictErrorsMax) return;
    std::string message = fmt::format("{} field {}", what, quote(strictPath(path_, name)));
    if (std::find(strictErrors_.begin(), strictErrors_.end(), message) == strictErrors_.end())
      strictErrors_.push_back(std::move(message));
  }

  // ---- names
  // Names differ mostly in length or in an end, so the common case needs no call.
  static bool sameName(std::string_view a, std::string_view b) {
    if (a.size() != b.size() || a.empty()) return false;
    return a.back() == b.back() && a[0] == b[0] && std::memcmp(a.data(), b.data(), a.size()) == 0;
  }
  // Where the next member is likely to stand: behind the last one, in declaration order or in order
  // of names.
  struct Hint {
    size_t declared = 0, named = 0;
  };
  static constexpr size_t kLookAhead = 4;
  // The field called `name` in the JSON of `type`, with `root` moved to the struct that holds it.
  static const FieldInfo* findField(const TypeInfo& type, std::string_view name, Hint& hint, void*& root) {
    const auto& byJson = type.fieldsByJson;
    for (size_t i = hint.declared; i < type.fields.size() && i < hint.declared + kLookAhead; ++i)
      if (sameName(type.fields[i].json, name)) {
        hint.declared = i + 1;
        return &type.fields[i];
      }
    for (size_t i = hint.named; i < byJson.size() && i < hint.named + kLookAhead; ++i)
      if (sameName(type.fields[byJson[i]].json, name)) {
        hint.named = i + 1;
        return &type.fields[byJson[i]];
      }
    auto at = std::lower_bound(byJson.begin(), byJson.end(), name,
                               [&](uint16_t index, std::string_view wanted) { return type.fields[index].json < wanted; });
    if (at != byJson.end() && type.fields[*at].json == name) {
      hint = {*at + size_t{1}, static_cast<size_t>(at - byJson.begin()) + 1};
      return &type.fields[*at];
    }
    if (byJson.size() == type.fields.size()) return nullptr;
    for (const FieldInfo& field : type.fields) {
      if (!field.has(kInline)) continue;
      Hint innerHint;
      void* inner = at_(root, field);
      if (const FieldInfo* found = findField(*field.message, name, innerHint, inner)) {
        root = inner;
        return found;
      }
    }
    return nullptr;
  }
  static void* at_(void* root, const FieldInfo& field) { return schema::at(root, field); }

  bool name(std::string_view& out) {
    if (scan_.peek() != Token::String) return false;
    std::string_view raw;
    bool escaped = false;
    if (!scan_.readString(raw, escaped)) return false;
    out = escaped ? decodeJsonString(raw, true, arena_) : raw;
    if (scan_.peek() != Token::Colon) return false;
    scan_.skipMark();
    return true;
  }
  // Calls member() after each `"name":` of the object whose brace is next.
  template <class Member>
  bool object(Member member) {
    scan_.skipMark();
    Token token = scan_.peek();
    if (token == Token::ObjectEnd) {
      scan_.skipMark();
      return true;
    }
    for (;;) {
      std::string_view key;
      if (!name(key) || !member(key)) return false;
      token = scan_.peek();
      if (token != Token::Comma && token != Token::ObjectEnd) return false;
      scan_.skipMark();
      if (token == Token::ObjectEnd) return true;
    }
  }
  template <class Element>
  bool array(Element element) {
    scan_.skipMark();
    Token token = scan_.peek();
    if (token == Token::ArrayEnd) {
      scan_.skipMark();
      return true;
    }
    for (size_t index = 0;; ++index) {
      if (!element(index)) return false;
      token = scan_.peek();
      if (token != Token::Comma && token != Token::ArrayEnd) return false;
      scan_.skipMark();
      if (token == Token::ArrayEnd) return true;
    }
  }

  // ---- structs
  // `context`: the field that holds the struct, null for the root.
  bool structOrNull(const TypeInfo& type, void* root, const FieldInfo* context, int depth) {
    Token token = scan_.peek();
    if (token == Token::Null) return scan_.readWord("null");
    if (type.wrapped) return wrapped(type, root, depth);
    if (token != Token::ObjectBegin) return wrongKind(token, context ? goElementType(*context) : goShortName(type.name));
    if (depth <= 0) return false;
    SeenMembers seen;
    Hint hint;
    return object([&](std::string_view key) {
      if (type.hasTypeMeta && (key == "apiVersion" || key == "kind")) return typeMeta(type, key, seen);
      void* base = root;
      const FieldInfo* field = findField(type, key, hint, base);
      if (!field) {
        strictError("unknown", key);
        std::string_view skipped;
        return scan_.skipValue(skipped, depth - 1);
      }
      void* target = schema::at(base, *field);
      if (strict_) noteSeen(seen, target, key);
      Step step{path_, Step::Is::Field, field->json, 0, &type};
      path_ = &step;
      bool ok = member(*field, target, depth - 1);
      path_ = step.up;
      return ok;
    });
  }
  void noteSeen(SeenMembers& seen, const void* what, std::string_view key) {
    if (!seen.add(what)) strictError("duplicate", key);
  }
  bool typeMeta(const TypeInfo& type, std::string_view key, SeenMembers& seen) {
    static constexpr char kKind = 0, kApiVersion = 0;
    if (strict_) noteSeen(seen, key == "kind" ? &kKind : &kApiVersion, key);
    Token token = scan_.peek();
    if (token == Token::Null) return scan_.readWord("null");
    Step step{path_, Step::Is::Field, key == "kind" ? "kind" : "apiVersion", 0, &type};
    path_ = &step;
    std::string_view raw;
    bool escaped = false;
    bool ok = token == Token::String ? scan_.readString(raw, escaped) : wrongKind(token, "string");
    path_ = step.up;
    return ok;
  }
  // A struct whose JSON is the list of its only field.
  bool wrapped(const TypeInfo& type, void* root, int depth) {
    const FieldInfo& items = type.fields[0];
    if (scan_.peek() != Token::ArrayBegin) return wrongKind(scan_.peek(), goShortName(type.name));
    return list(items, as<AnyList>(schema::at(root, items)), depth);
  }

  // ---- fields
  bool member(const FieldInfo& field, void* target, int depth) {
    if (scan_.peek() == Token::Null && field.shape != Shape::Value) {
      std::memset(target, 0, memberSize(field));
      return scan_.readWord("null");
    }
    switch (field.shape) {
      case Shape::Value:
        return value(field, target, depth);
      case Shape::Pointer:
        return pointer(field, target, depth);
      case Shape::List:
        if (scan_.peek() != Token::ArrayBegin) return wrongKind(scan_.peek(), goType(field));
        return list(field, as<AnyList>(target), depth);
      case Shape::Map:
        if (scan_.peek() != Token::ObjectBegin) return wrongKind(scan_.peek(), goType(field));
        return map(field, as<AnyList>(target), depth);
    }
    return false;
  }
  static size_t memberSize(const FieldInfo& field) {
    if (field.shape != Shape::Pointer) return sizeof(AnyList);
    if (isMessageKind(field.kind)) return sizeof(void*);
    return isRawJsonKind(field.kind) ? sizeof(Str) : valueSize(field) + 1;
  }
  bool pointer(const FieldInfo& field, void* target, int depth) {
    if (!isMessageKind(field.kind)) {
      if (!value(field, target, depth)) return false;
      if (!isRawJsonKind(field.kind)) optPresent(target, field) = true;
      return true;
    }
    void*& held = as<void*>(target);
    if (!held) {
      held = arena_.allocate(field.message->size, 16);
      std::memset(held, 0, field.message->size);
    }
    return value(field, held, depth);
  }
  // Elements gather on the stack while they are few, so that the arena gets an array of exactly
  // their number. Deep inside a document the stack is spared.
  static constexpr size_t kGatherBytes = 2048;
  static constexpr int kGatherDepth = 40;
  struct Gathered {
    alignas(16) char bytes[kGatherBytes];
  };
  bool list(const FieldInfo& field, AnyList& out, int depth) {
    if (depth <= 0) return false;
    out = {emptyListData(), 0, 0};
    size_t size = valueSize(field);
    if (depth < kDepthMax - kGatherDepth) return listElements(field, out, size, depth);
    return gather(out, size, [&] { return listElements(field, out, size, depth); });
  }
  template <class Read>
  bool gather(AnyList& out, size_t size, Read read) {
    Gathered local;
    out = {local.bytes, 0, static_cast<uint32_t>(kGatherBytes / size)};
    bool ok = read();
    if (out.data != local.bytes) return ok;
    char* exact = emptyListData();
    if (out.size != 0) {
      exact = static_cast<char*>(arena_.allocate(out.size * size, 8));
      std::memcpy(exact, local.bytes, out.size * size);
    }
    out = {exact, out.size, out.size};
    return ok;
  }
  bool listElements(const FieldInfo& field, AnyList& out, size_t size, int depth) {
    return array([&](size_t index) {
      Step step{path_, Step::Is::Index, {}, index, nullptr};
      path_ = &step;
      bool ok = value(field, appendElement(out, size, arena_), depth - 1);
      path_ = step.up;
      return ok;
    });
  }
  bool map(const FieldInfo& field, AnyList& out, int depth) {
    if (depth <= 0) return false;
    out = {emptyListData(), 0, 0};
    size_t size = entrySize(field);
    bool ok = false;
    if (depth < kDepthMax - kGatherDepth)
      ok = mapEntries(field, out, size, depth);
    else
      ok = gather(out, size, [&] { return mapEntries(field, out, size, depth); });
    if (ok)
      for (Str key : sortMapEntries(out, size, arena_)) strictError("duplicate", key);
    return ok;
  }
  bool mapEntries(const FieldInfo& field, AnyList& out, size_t size, int depth) {
    return object([&](std::string_view key) {
      char* entry = static_cast<char*>(appendElement(out, size, arena_));
      // The text may go away before the object does.
      as<Str>(entry) = arena_.copy(key);
      if (key.empty()) as<Str>(entry) = emptyStr();
      Step step{path_, Step::Is::Key, as<Str>(entry), 0, nullptr};
      path_ = &step;
      bool good = value(field, entry + kEntryValueOffset, depth - 1);
      path_ = step.up;
      return good;
    });
  }
  // ---- values
  bool value(const FieldInfo& field, void* target, int depth) {
    Token token = scan_.peek();
    if (token == Token::Null && !isRawJsonKind(field.kind)) return scan_.readWord("null");
    switch (field.kind) {
      case Kind::String:
        if (token != Token::String) return wrongKind(token, goElementType(field));
        return string(as<Str>(target));
      case Kind::Bool:
        if (token == Token::True) return as<bool>(target) = scan_.readWord("true");
        if (token != Token::False) return wrongKind(token, "bool");
        as<bool>(target) = false;
        return scan_.readWord("false");
      case Kind::Int32:
        return integer<int32_t>(field, token, target);
      case Kind::Int64:
        return integer<int64_t>(field, token, target);
      case Kind::Uint64:
        return integer<uint64_t>(field, token, target);
      case Kind::Double:
        return real(token, target);
      case Kind::Bytes:
        return bytes(token, as<Bytes>(target));
      case Kind::Time:
      case Kind::MicroTime:
      case Kind::Duration:
        return time(field.kind, token, target);
      case Kind::Quantity:
        return quantity(as<Quantity>(target), depth);
      case Kind::IntOrString:
        return intOrString(token, as<IntOrString>(target));
      case Kind::RawExtension:
      case Kind::FieldsV1:
      case Kind::Json:
        return raw(token, as<RawJson>(target), depth);
      case Kind::Message:
        return structOrNull(*field.message, target, &field, depth);
      case Kind::JsonSchemaPropsOrArray:
      case Kind::JsonSchemaPropsOrBool:
      case Kind::JsonSchemaPropsOrStringArray:
        return schemaOr(field, token, target, depth);
    }
    return false;
  }
  bool string(Str& out) {
    std::string_view text;
    bool escaped = false;
    if (!scan_.readString(text, escaped)) return false;
    out = decodeJsonString(text, escaped, arena_);
    return true;
  }
  // The text of a string for kinds that only look at it.
  bool stringInto(std::string_view& out, std::string& storage) {
    bool escaped = false;
    if (!scan_.readString(out, escaped)) return false;
    if (!escaped) return true;
    decodeJsonString(out, storage);
    out = storage;
    return true;
  }
  template <class T>
  bool integer(const FieldInfo& field, Token token, void* target) {
    if (token != Token::Number) return wrongKind(token, goElementType(field));
    std::string_view text;
    if (!scan_.readNumber(text)) return false;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), as<T>(target));
    if (error == std::errc() && end == text.data() + text.size()) return true;
    return mismatch(fmt::format("number {}", text), goElementType(field));
  }
  bool real(Token token, void* target) {
    if (token != Token::Number) return wrongKind(token, "float64");
    std::string_view text;
    if (!scan_.readNumber(text)) return false;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), as<double>(target));
    if (error == std::errc()) return true;
    return mismatch(fmt::format("number {}", text), "float64");
  }
  bool bytes(Token token, Bytes& out) {
    if (token != Token::String) return wrongKind(token, "[]uint8");
    std::string storage;
    std::string_view text;
    if (!stringInto(text, storage)) return false;
    // Go's decoder passes over line ends.
    std::string joined;
    if (text.find_first_of("\r\n") != std::string_view::npos) {
      for (char c : text)
        if (c != '\r' && c != '\n') joined += c;
      text = joined;
    }
    auto decoded = base64Decode(text);
    if (!decoded) return fails(fmt::format("illegal base64 data at input byte {}", badBase64At(text)));
    out.bytes = decoded->empty() ? emptyStr() : arena_.copy(*decoded);
    return true;
  }
  static size_t badBase64At(std::string_view text) {
    size_t at = text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    return at == std::string_view::npos ? text.size() - text.size() % 4 : at;
  }
  bool time(Kind kind, Token token, void* target) {
    if (token != Token::String) {
      if (!startsValue(token)) return false;
      return fails(fmt::format("json: cannot unmarshal {} into Go value of type string", describeToken(token)));
    }
    std::string storage;
    std::string_view text;
    if (!stringInto(text, storage)) return false;
    if (kind == Kind::Duration) {
      auto nanos = parseDuration(text);
      if (!nanos) return fails(nanos.error().message());
      as<Duration>(target).nanos = *nanos;
      return true;
    }
    auto parsed = parseGoTime(text, kind == Kind::Time ? TimeLayout::Rfc3339 : TimeLayout::Rfc3339Micro);
    if (!parsed) return fails(parsed.error().message());
    if (kind == Kind::Time)
      as<Time>(target) = Time::fromUnix(parsed->seconds);
    else
      as<MicroTime>(target) = MicroTime::fromUnixMicros(parsed->seconds * 1'000'000 + parsed->nanos / 1000);
    return true;
  }
  static bool startsValue(Token token) {
    return token != Token::End && token != Token::Bad && token != Token::Comma && token != Token::Colon &&
           token != Token::ObjectEnd && token != Token::ArrayEnd;
  }
  bool quantity(Quantity& out, int depth) {
    std::string_view text;
    if (!scan_.skipValue(text, depth)) return false;
    if (text.size() >= 2 && text[0] == '"') text = text.substr(1, text.size() - 2);
    text = trim(text);
    if (text.size() > kQuantityBytesMax) return fails("quantity is too long");
    if (isPlainInteger(text)) {
      out.text = arena_.copy(text);
      return true;
    }
    auto canonical = canonicalQuantity(text);
    if (!canonical) return fails(canonical.error().message());
    out.text = arena_.copy(*canonical);
    return true;
  }
  // Short forms that are canonical as they stand and need no arithmetic: "0", "2", "250".
  static bool isPlainInteger(std::string_view text) {
    if (text.empty() || text.size() > 3) return false;
    for (char c : text)
      if (c < '0' || c > '9') return false;
    return text.size() == 1 || text[0] != '0';
  }
  bool intOrString(Token token, IntOrString& out) {
    if (token == Token::String) {
      out = {true, 0, {}};
      return string(out.stringValue);
    }
    if (token != Token::Number) {
      if (!startsValue(token)) return false;
      return fails(fmt::format("json: cannot unmarshal {} into Go value of type int32", describeToken(token)));
    }
    std::string_view text;
    if (!scan_.readNumber(text)) return false;
    out = {};
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out.intValue);
    if (error == std::errc() && end == text.data() + text.size()) return true;
    return fails(fmt::format("json: cannot unmarshal number {} into Go value of type int32", text));
  }
  bool raw(Token token, RawJson& out, int depth) {
    if (token == Token::Null) {
      out = {};
      return scan_.readWord("null");
    }
    std::string_view text;
    if (!scan_.skipValue(text, depth)) return false;
    if (!mayNeedCompacting(text)) {
      out.text = arena_.copy(text);
      return true;
    }
    std::string compact;
    compact.reserve(text.size());
    appendWithoutBlanks(compact, text);
    out.text = arena_.copy(compact);
    return true;
  }
  // Source: apiextensions/v1 marshal.go: the first character decides.
  bool schemaOr(const FieldInfo& field, Token token, void* target, int depth) {
    auto part = [&](std::string_view json) -> const FieldInfo& {
      return *std::find_if(field.message->fields.begin(), field.message->fields.end(),
                           [&](const FieldInfo& f) { return f.json == json; });
    };
    if (token == Token::ObjectBegin) {
      if (field.kind == Kind::JsonSchemaPropsOrBool) as<bool>(schema::at(target, part("Allows"))) = true;
      const FieldInfo& inner = part("Schema");
      return pointer(inner, schema::at(target, inner), depth);
    }
    if (field.kind == Kind::JsonSchemaPropsOrBool) {
      if (token != Token::True && token != Token::False)
        return startsValue(token) ? fails("boolean or JSON schema expected") : false;
      const FieldInfo& allows = part("Allows");
      return value(allows, schema::at(target, allows), depth);
    }
    if (token == Token::ArrayBegin) {
      const FieldInfo& inner = part(field.kind == Kind::JsonSchemaPropsOrArray ? "JSONSchemas" : "Property");
      return list(inner, as<AnyList>(schema::at(target, inner)), depth);
    }
    // Any other value leaves both parts unset.
    std::string_view skipped;
    return scan_.skipValue(skipped, depth);
  }

  static constexpr size_t kQuantityBytesMax = 1024;
  std::string_view text_;
  JsonScanner scan_;
  Arena& arena_;
  bool strict_;
  const Step* path_ = nullptr;
  std::string error_;
  std::vector<std::string> strictErrors_;
};

}  // namespace

Result<Decoded> decodeJson(const TypeInfo& type, std::string_view text, const DecodeOptions& options) {
  if (text.size() > options.bytesMax) return fail(Reason::RequestEntityTooLarge, fmt::format("limit is {}", options.bytesMax));
  Decoded out;
  // Room for everything in one block: objects take up to 1.35 times their compact text beside the
  // root struct.
  out.object = Mut<void>(type, type.size + text.size() * 11 / 8 + 64);
  JsonDecoder decoder(text, out.object.arena(), options.strict);
  auto decoded = decoder.run(type, out.object.root());
  if (!decoded) return std::unexpected(std::move(decoded).error());
  out.strictErrors = decoder.takeStrictErrors();
  return out;
}

Result<void> decodeJsonValue(const TypeInfo& type, std::string_view text, void* value, Arena& arena) {
  return JsonDecoder(text, arena, false).run(type, value);
}

}  // namespace knarr::codec
