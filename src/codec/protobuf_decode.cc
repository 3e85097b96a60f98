// Protobuf to structs. Outside input: every length is checked against what is left, nesting is
// bounded, and lists grow only by elements that really stand in the input.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "codec/codec.h"
#include "codec/json_text.h"
#include "codec/protobuf_wire.h"
#include "schema/layout.h"
#include "schema/quantity.h"

namespace knarr::codec {
namespace {

using namespace schema;

class ProtobufDecoder {
 public:
  explicit ProtobufDecoder(Arena& arena) : arena_(arena) {}

  bool message(const TypeInfo& type, void* root, std::string_view bytes, int depth) {
    if (depth <= 0) return fails("the message is nested too deeply");
    WireReader reader(bytes);
    size_t hint = 0;
    while (!reader.atEnd()) {
      uint32_t tag = 0;
      Wire wire = Wire::Varint;
      if (!reader.key(tag, wire)) return truncated(type);
      const FieldInfo* field = findField(type, tag, hint);
      if (!field) {
        if (!reader.skip(wire, depth)) return truncated(type);
        continue;
      }
      void* target = schema::at(root, *field);
      if (field->shape == Shape::List && as<AnyList>(target).data == nullptr && wire == Wire::LengthDelimited)
        reserveRun(*field, as<AnyList>(target), reader);
      if (!member(*field, target, reader, wire, depth)) return truncated(type);
    }
    return sortMaps(type, root);
  }
  const std::string& error() const { return error_; }

 private:
  bool fails(std::string message) {
    if (error_.empty()) error_ = std::move(message);
    return false;
  }
  bool truncated(const TypeInfo& type) { return fails(fmt::format("proto: {}: malformed or truncated message", type.name)); }
  // Fields come in ascending order of tags from every writer we know.
  static const FieldInfo* findField(const TypeInfo& type, uint32_t tag, size_t& hint) {
    auto tagAt = [&](size_t i) { return uint32_t{type.fields[type.fieldsByTag[i]].tag}; };
    size_t n = type.fieldsByTag.size();
    if (hint < n && tagAt(hint) == tag) return &type.fields[type.fieldsByTag[hint]];
    auto at = std::lower_bound(type.fieldsByTag.begin(), type.fieldsByTag.end(), tag,
                               [&](uint16_t index, uint32_t wanted) { return type.fields[index].tag < wanted; });
    if (at == type.fieldsByTag.end() || type.fields[*at].tag != tag) return nullptr;
    hint = static_cast<size_t>(at - type.fieldsByTag.begin());
    return &type.fields[*at];
  }

  // Elements of a list follow each other: counting them first makes the array exactly as long as
  // they need.
  void reserveRun(const FieldInfo& field, AnyList& list, WireReader reader) {
    uint32_t count = 0, tag = field.tag;
    Wire wire = Wire::LengthDelimited;
    std::string_view element;
    while (tag == field.tag && wire == Wire::LengthDelimited && reader.bytes(element)) {
      ++count;
      if (reader.atEnd() || !reader.key(tag, wire)) break;
    }
    // An element costs at least two bytes of input, but may be a large struct; longer lists grow as
    // they are read.
    constexpr uint32_t kReserveMax = 64;
    if (count == 0 || count > kReserveMax) return;
    list.data = static_cast<char*>(arena_.allocate(count * valueSize(field), 8));
    list.capacity = count;
  }

  static Wire wireOf(Kind kind) {
    switch (kind) {
      case Kind::Bool:
      case Kind::Int32:
      case Kind::Int64:
      case Kind::Uint64:
        return Wire::Varint;
      case Kind::Double:
        return Wire::Fixed64;
      default:
        return Wire::LengthDelimited;
    }
  }

  bool member(const FieldInfo& field, void* target, WireReader& reader, Wire wire, int depth) {
    Wire wanted = wireOf(field.kind);
    if (field.shape == Shape::List && wanted != Wire::LengthDelimited && wire == Wire::LengthDelimited)
      return packed(field, as<AnyList>(target), reader);
    if (field.shape == Shape::Map) return wire == Wire::LengthDelimited && mapEntry(field, target, reader, depth);
    if (wire != wanted)
      return fails(fmt::format("proto: wrong wireType = {} for field {}", static_cast<int>(wire), field.protoName));
    switch (field.shape) {
      case Shape::Value:
        return value(field, target, reader, depth);
      case Shape::List:
        return value(field, appendElement(as<AnyList>(target), valueSize(field), arena_), reader, depth);
      default:
        return pointer(field, target, reader, depth);
    }
  }
  bool pointer(const FieldInfo& field, void* target, WireReader& reader, int depth) {
    if (isMessageKind(field.kind)) {
      void*& held = as<void*>(target);
      if (!held) {
        held = arena_.allocate(field.message->size, 16);
        std::memset(held, 0, field.message->size);
      }
      return value(field, held, reader, depth);
    }
    if (!isRawJsonKind(field.kind)) optPresent(target, field) = true;
    return value(field, target, reader, depth);
  }
  bool packed(const FieldInfo& field, AnyList& list, WireReader& reader) {
    std::string_view bytes;
    if (!reader.bytes(bytes)) return false;
    WireReader inner(bytes);
    while (!inner.atEnd())
      if (!value(field, appendElement(list, valueSize(field), arena_), inner, 1)) return false;
    return true;
  }
  bool mapEntry(const FieldInfo& field, void* target, WireReader& reader, int depth) {
    std::string_view bytes;
    if (!reader.bytes(bytes)) return false;
    char* entry = static_cast<char*>(appendElement(as<AnyList>(target), entrySize(field), arena_));
    WireReader inner(bytes);
    while (!inner.atEnd()) {
      uint32_t tag = 0;
      Wire wire = Wire::Varint;
      std::string_view key;
      if (!inner.key(tag, wire)) return false;
      if (tag == 1 && wire == Wire::LengthDelimited) {
        if (!inner.bytes(key)) return false;
        as<Str>(entry) = arena_.copy(key);
      } else if (tag == 2 && wire == wireOf(field.kind)) {
        if (!value(field, entry + kEntryValueOffset, inner, depth - 1)) return false;
      } else if (!inner.skip(wire, depth)) {
        return false;
      }
    }
    return true;
  }
  // Go's maps have no order; ours are sorted and the last entry of a key wins.
  bool sortMaps(const TypeInfo& type, void* root) {
    for (const FieldInfo& field : type.fields) {
      if (field.shape != Shape::Map) continue;
      sortMapEntries(as<AnyList>(schema::at(root, field)), entrySize(field), arena_);
    }
    return true;
  }

  bool value(const FieldInfo& field, void* target, WireReader& reader, int depth) {
    uint64_t number = 0;
    std::string_view bytes;
    switch (wireOf(field.kind)) {
      case Wire::Varint:
        return reader.varint(number) && (setNumber(field.kind, target, number), true);
      case Wire::Fixed64:
        if (!reader.fixed64(number)) return false;
        std::memcpy(target, &number, sizeof number);
        return true;
      default:
        return reader.bytes(bytes) && setBytes(field, target, bytes, depth);
    }
  }
  static void setNumber(Kind kind, void* target, uint64_t number) {
    if (kind == Kind::Bool)
      as<bool>(target) = number != 0;
    else if (kind == Kind::Int32)
      as<int32_t>(target) = static_cast<int32_t>(number);
    else
      as<uint64_t>(target) = number;
  }
  bool setBytes(const FieldInfo& field, void* target, std::string_view bytes, int depth) {
    switch (field.kind) {
      case Kind::String:
        as<Str>(target) = arena_.copy(bytes);
        return true;
      case Kind::Bytes:
        as<Bytes>(target).bytes = bytes.empty() ? emptyStr() : arena_.copy(bytes);
        return true;
      case Kind::Time:
      case Kind::MicroTime:
        return timestamp(field.kind, target, bytes);
      case Kind::Duration:
        return duration(as<Duration>(target), bytes);
      case Kind::Quantity:
        return quantity(as<Quantity>(target), bytes);
      case Kind::IntOrString:
        return intOrString(as<IntOrString>(target), bytes);
      case Kind::RawExtension:
      case Kind::FieldsV1:
      case Kind::Json:
        return raw(as<RawJson>(target), bytes);
      default:
        return message(*field.message, target, bytes, depth - 1);
    }
  }
  // Calls field(tag, wire, reader), which returns whether it took the value, for each field of a
  // small message.
  template <class Field>
  static bool eachField(std::string_view bytes, Field field) {
    WireReader reader(bytes);
    while (!reader.atEnd()) {
      uint32_t tag = 0;
      Wire wire = Wire::Varint;
      if (!reader.key(tag, wire) || !field(tag, wire, reader)) return false;
    }
    return true;
  }
  bool timestamp(Kind kind, void* target, std::string_view bytes) {
    uint64_t seconds = 0, nanos = 0;
    bool read = eachField(bytes, [&](uint32_t tag, Wire wire, WireReader& reader) {
      if (tag == 1 && wire == Wire::Varint) return reader.varint(seconds);
      if (tag == 2 && wire == Wire::Varint) return reader.varint(nanos);
      return reader.skip(wire, 1);
    });
    if (!read) return false;
    if (bytes.empty()) {
      as<int64_t>(target) = 0;
      return true;
    }
    auto signedSeconds = static_cast<int64_t>(seconds);
    // Far outside of what a calendar can say; also keeps microseconds inside int64.
    constexpr int64_t kSecondsMax = int64_t{1} << 40;
    if (signedSeconds > kSecondsMax || signedSeconds < -kSecondsMax) return fails("proto: time is out of range");
    if (kind == Kind::Time)
      as<Time>(target) = Time::fromUnix(signedSeconds);
    else
      as<MicroTime>(target) = MicroTime::fromUnixMicros(signedSeconds * 1'000'000 + static_cast<int32_t>(nanos) / 1000);
    return true;
  }
  bool duration(Duration& out, std::string_view bytes) {
    uint64_t nanos = 0;
    bool read = eachField(bytes, [&](uint32_t tag, Wire wire, WireReader& reader) {
      return tag == 1 && wire == Wire::Varint ? reader.varint(nanos) : reader.skip(wire, 1);
    });
    out.nanos = static_cast<int64_t>(nanos);
    return read;
  }
  bool quantity(Quantity& out, std::string_view bytes) {
    std::string_view text;
    bool read = eachField(bytes, [&](uint32_t tag, Wire wire, WireReader& reader) {
      return tag == 1 && wire == Wire::LengthDelimited ? reader.bytes(text) : reader.skip(wire, 1);
    });
    if (!read) return false;
    if (text.empty()) {
      out.text = {};
      return true;
    }
    constexpr size_t kQuantityBytesMax = 1024;
    if (text.size() > kQuantityBytesMax) return fails("quantity is too long");
    auto canonical = canonicalQuantity(text);
    if (!canonical) return fails(canonical.error().message());
    out.text = arena_.copy(*canonical);
    return true;
  }
  bool intOrString(IntOrString& out, std::string_view bytes) {
    uint64_t type = 0, number = 0;
    std::string_view text;
    bool read = eachField(bytes, [&](uint32_t tag, Wire wire, WireReader& reader) {
      if (tag == 1 && wire == Wire::Varint) return reader.varint(type);
      if (tag == 2 && wire == Wire::Varint) return reader.varint(number);
      if (tag == 3 && wire == Wire::LengthDelimited) return reader.bytes(text);
      return reader.skip(wire, 1);
    });
    if (!read) return false;
    out = type == 1 ? IntOrString{true, 0, arena_.copy(text)} : IntOrString{false, static_cast<int32_t>(number), {}};
    return true;
  }
  // Raw values are JSON here; what is stored as anything else cannot be shown to a client.
  bool raw(RawJson& out, std::string_view bytes) {
    std::string_view text;
    bool read = eachField(bytes, [&](uint32_t tag, Wire wire, WireReader& reader) {
      return tag == 1 && wire == Wire::LengthDelimited ? reader.bytes(text) : reader.skip(wire, 1);
    });
    if (!read) return false;
    if (text.empty()) {
      out.text = {};
      return true;
    }
    JsonScanner scan(text);
    std::string_view whole;
    if (!scan.skipValue(whole, kDepthMax) || scan.peek() != Token::End) return fails("proto: a raw extension holds no JSON");
    if (whole == "null") {
      out.text = {};
      return true;
    }
    if (!mayNeedCompacting(whole)) {
      out.text = arena_.copy(whole);
      return true;
    }
    std::string compact;
    appendWithoutBlanks(compact, whole);
    out.text = arena_.copy(compact);
    return true;
  }
  Arena& arena_;
  std::string error_;
};

}  // namespace

bool hasProtobufEnvelope(std::string_view bytes) { return bytes.starts_with(kEnvelopeMagic); }

Result<ProtobufEnvelope> openProtobufEnvelope(std::string_view bytes) {
  if (!hasProtobufEnvelope(bytes))
    return fail(Reason::BadRequest, "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  ProtobufEnvelope out;
  std::string_view typeMeta;
  WireReader reader(bytes.substr(kEnvelopeMagic.size()));
  auto malformed = [] { return fail(Reason::BadRequest, "proto: runtime.Unknown: malformed or truncated message"); };
  while (!reader.atEnd()) {
    uint32_t tag = 0;
    Wire wire = Wire::Varint;
    if (!reader.key(tag, wire)) return malformed();
    bool known = tag <= 4 && wire == Wire::LengthDelimited;
    std::string_view* targets[] = {&typeMeta, &out.raw, &out.contentEncoding, &out.contentType};
    if (known ? !reader.bytes(*targets[tag - 1]) : !reader.skip(wire, kDepthMax)) return malformed();
  }
  WireReader inner(typeMeta);
  while (!inner.atEnd()) {
    uint32_t tag = 0;
    Wire wire = Wire::Varint;
    std::string_view text;
    if (!inner.key(tag, wire)) return malformed();
    bool known = tag <= 2 && wire == Wire::LengthDelimited;
    if (known ? !inner.bytes(text) : !inner.skip(wire, kDepthMax)) return malformed();
    if (known) (tag == 1 ? out.typeMeta.apiVersion : out.typeMeta.kind) = text;
  }
  return out;
}

Result<Mut<void>> decodeProtobuf(const TypeInfo& type, std::string_view bytes, size_t bytesMax) {
  if (bytes.size() > bytesMax) return fail(Reason::RequestEntityTooLarge, fmt::format("limit is {}", bytesMax));
  std::string_view message = bytes;
  if (hasProtobufEnvelope(bytes)) message = TRY(openProtobufEnvelope(bytes)).raw;
  // Absent fields take no bytes on the wire but room in structs: about three times the message.
  Mut<void> object(type, type.size + message.size() * 3 + 64);
  ProtobufDecoder decoder(object.arena());
  if (!decoder.message(type, object.root(), message, kDepthMax)) return fail(Reason::BadRequest, decoder.error());
  return object;
}

}  // namespace knarr::codec
