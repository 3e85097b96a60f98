// Structs to protobuf, byte for byte as gogo-protobuf's generated marshalers write them.
//
// A message is written from its end to its start: a nested length is known when its bytes stand, so
// there is no first pass for sizes. Source: generated.pb.go of k8s.io/api; runtime.Unknown for the
// envelope.
#include <fmt/format.h>

#include <cstring>

#include "codec/codec.h"
#include "codec/json_text.h"
#include "codec/protobuf_wire.h"
#include "schema/layout.h"

namespace knarr::codec {
namespace {

using namespace schema;

// Bytes that grow towards the front.
class BackwardWriter {
 public:
  explicit BackwardWriter(size_t sizeHint) : buffer_(sizeHint, '\0'), at_(sizeHint) {}

  size_t size() const { return buffer_.size() - at_; }
  void raw(std::string_view bytes) {
    reserve(bytes.size());
    at_ -= bytes.size();
    if (!bytes.empty()) std::memcpy(buffer_.data() + at_, bytes.data(), bytes.size());
  }
  void varint(uint64_t value) {
    char bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7) bytes[n++] = static_cast<char>(value | 0x80);
    bytes[n++] = static_cast<char>(value);
    raw({bytes, n});
  }
  void key(uint32_t tag, Wire wire) { varint(uint64_t{tag} << 3 | static_cast<uint32_t>(wire)); }
  void lengthDelimited(uint32_t tag, std::string_view bytes) {
    raw(bytes);
    varint(bytes.size());
    key(tag, Wire::LengthDelimited);
  }
  // Closes a message whose bytes were written since size() was `before`.
  void closeMessage(uint32_t tag, size_t before) {
    varint(size() - before);
    key(tag, Wire::LengthDelimited);
  }
  std::string take() && {
    buffer_.erase(0, at_);
    return std::move(buffer_);
  }

 private:
  void reserve(size_t n) {
    if (at_ >= n) return;
    size_t used = size(), grown = buffer_.size() * 2 + n + 64;
    std::string larger(grown, '\0');
    std::memcpy(larger.data() + grown - used, buffer_.data() + at_, used);
    buffer_ = std::move(larger);
    at_ = grown - used;
  }
  std::string buffer_;
  size_t at_;
};

class ProtobufEncoder {
 public:
  explicit ProtobufEncoder(size_t sizeHint) : out_(sizeHint) {}

  void message(const TypeInfo& type, const void* root) {
    for (size_t i = type.fieldsByTag.size(); i-- > 0;) {
      const FieldInfo& field = type.fields[type.fieldsByTag[i]];
      member(field, schema::at(root, field));
    }
  }
  BackwardWriter& out() { return out_; }

 private:
  void member(const FieldInfo& field, const void* member) {
    switch (field.shape) {
      case Shape::Value:
        value(field, field.tag, member);
        return;
      case Shape::Pointer:
        if (const void* held = pointerValue(member, field)) value(field, field.tag, held);
        return;
      case Shape::List: {
        const auto& list = as<AnyList>(member);
        size_t size = valueSize(field);
        for (size_t i = list.size; i-- > 0;) value(field, field.tag, list.data + i * size);
        return;
      }
      case Shape::Map: {
        const auto& entries = as<AnyList>(member);
        size_t size = entrySize(field);
        for (size_t i = entries.size; i-- > 0;) {
          const char* entry = entries.data + i * size;
          size_t before = out_.size();
          value(field, 2, entry + kEntryValueOffset);
          out_.lengthDelimited(1, as<Str>(entry));
          out_.closeMessage(field.tag, before);
        }
        return;
      }
    }
  }
  void number(uint32_t tag, int64_t value) {
    out_.varint(static_cast<uint64_t>(value));
    out_.key(tag, Wire::Varint);
  }
  void value(const FieldInfo& field, uint32_t tag, const void* value) {
    switch (field.kind) {
      case Kind::String:
        return out_.lengthDelimited(tag, as<Str>(value));
      case Kind::Bool:
        return number(tag, as<bool>(value) ? 1 : 0);
      case Kind::Int32:
        return number(tag, as<int32_t>(value));
      case Kind::Int64:
      case Kind::Uint64:
        return number(tag, as<int64_t>(value));
      case Kind::Double:
        out_.raw({static_cast<const char*>(value), sizeof(double)});
        return out_.key(tag, Wire::Fixed64);
      case Kind::Bytes:
        if (!as<Bytes>(value).isNil()) out_.lengthDelimited(tag, as<Bytes>(value).bytes);
        return;
      default:
        break;
    }
    size_t before = out_.size();
    structured(field, value);
    out_.closeMessage(tag, before);
  }
  // The body of kinds that are messages on the wire.
  void structured(const FieldInfo& field, const void* value) {
    switch (field.kind) {
      case Kind::Time:
        if (!as<Time>(value).isZero()) timestamp(as<Time>(value).unixSeconds(), 0);
        return;
      case Kind::MicroTime: {
        int64_t micros = as<MicroTime>(value).unixMicros(), part = micros % 1'000'000;
        if (part < 0) part += 1'000'000;
        if (!as<MicroTime>(value).isZero()) timestamp((micros - part) / 1'000'000, part * 1000);
        return;
      }
      case Kind::Duration:
        return number(1, as<Duration>(value).nanos);
      case Kind::Quantity: {
        Str text = as<Quantity>(value).text;
        return out_.lengthDelimited(1, text.empty() ? Str("0") : text);
      }
      case Kind::IntOrString: {
        const auto& v = as<IntOrString>(value);
        out_.lengthDelimited(3, v.isString ? v.stringValue : Str());
        number(2, v.isString ? 0 : v.intValue);
        return number(1, v.isString ? 1 : 0);
      }
      case Kind::RawExtension:
      case Kind::FieldsV1:
      case Kind::Json:
        if (!as<RawJson>(value).text.empty()) out_.lengthDelimited(1, as<RawJson>(value).text);
        return;
      default:
        return message(*field.message, value);
    }
  }
  void timestamp(int64_t seconds, int64_t nanos) {
    number(2, nanos);
    number(1, seconds);
  }

  BackwardWriter out_;
};

// What stands before and after the message in an envelope.
void closeEnvelope(BackwardWriter& out, std::string_view apiVersion, std::string_view kind, size_t messageBefore) {
  out.closeMessage(2, messageBefore);
  size_t before = out.size();
  out.lengthDelimited(2, kind);
  out.lengthDelimited(1, apiVersion);
  out.closeMessage(1, before);
  out.raw(kEnvelopeMagic);
}

void openEnvelope(BackwardWriter& out) {
  out.lengthDelimited(4, {});
  out.lengthDelimited(3, {});
}

}  // namespace

std::string encodeProtobuf(const Object& object) {
  const TypeInfo& type = object.type();
  ProtobufEncoder encoder(object.arena().bytesReserved() / 2 + 256);
  openEnvelope(encoder.out());
  size_t before = encoder.out().size();
  encoder.message(type, object.root());
  closeEnvelope(encoder.out(), type.hasTypeMeta ? apiVersionOf(type) : "", type.hasTypeMeta ? type.kind : "", before);
  return std::move(encoder.out()).take();
}

std::string encodeProtobufValue(const TypeInfo& type, const void* value) {
  ProtobufEncoder encoder(size_t{1024});
  encoder.message(type, value);
  return std::move(encoder.out()).take();
}

std::string wrapProtobuf(std::string_view apiVersion, std::string_view kind, std::string_view message) {
  BackwardWriter out(message.size() + apiVersion.size() + kind.size() + 64);
  openEnvelope(out);
  size_t before = out.size();
  out.raw(message);
  closeEnvelope(out, apiVersion, kind, before);
  return std::move(out).take();
}

std::shared_ptr<const std::string> encodedProtobuf(const Ref<void>& object) {
  if (auto remembered = object.object().rememberedEncoding(Encoding::Protobuf)) return remembered;
  std::string bytes = encodeProtobuf(object.object());
  bytes.shrink_to_fit();
  auto made = std::make_shared<const std::string>(std::move(bytes));
  object.object().rememberEncoding(Encoding::Protobuf, made);
  return made;
}

}  // namespace knarr::codec
