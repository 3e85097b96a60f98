// List answers put together from the remembered encodings of their items: nothing is encoded twice.
#include <fmt/format.h>

#include "codec/codec.h"
#include "codec/json_text.h"
#include "codec/protobuf_wire.h"

namespace knarr::codec {
namespace {

// The item's JSON, without `"kind":...,"apiVersion":...,` when the list does not carry them.
void writeJsonItem(std::string_view json, bool keepTypeMeta, const Sink& sink) {
  JsonScanner scan(json);
  if (keepTypeMeta || scan.peek() != Token::ObjectBegin) return sink(json);
  scan.skipMark();
  // Encoded objects begin with kind and apiVersion.
  for (int i = 0; i < 2; ++i) {
    if (scan.peek() != Token::String) break;
    JsonScanner ahead = scan;
    std::string_view name, value;
    bool escaped = false;
    if (!ahead.readString(name, escaped) || (name != "kind" && name != "apiVersion")) break;
    if (ahead.peek() != Token::Colon) break;
    ahead.skipMark();
    if (!ahead.skipValue(value, kDepthMax)) break;
    if (ahead.peek() == Token::Comma) ahead.skipMark();
    scan = ahead;
  }
  sink("{");
  sink({scan.position(), static_cast<size_t>(json.data() + json.size() - scan.position())});
}

std::string varintText(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out += static_cast<char>(value);
}
std::string fieldText(uint32_t tag, std::string_view bytes) {
  return varintText(uint64_t{tag} << 3 | static_cast<uint64_t>(Wire::LengthDelimited)) + varintText(bytes.size()) +
         std::string(bytes);
}

// metav1.ListMeta: selfLink 1, resourceVersion 2, continue 3, remainingItemCount 4.
std::string listMetaProtobuf(const ListHead& head) {
  std::string out = fieldText(1, {}) + fieldText(2, head.resourceVersion) + fieldText(3, head.continueToken);
  if (head.remainingItemCount >= 0)
    out += varintText(uint64_t{4} << 3) + varintText(static_cast<uint64_t>(head.remainingItemCount));
  return out;
}

}  // namespace

void writeJsonList(const ListHead& head, std::span<const Ref<void>> items, const Sink& sink) {
  std::string text = "{\"kind\":";
  appendJsonString(text, head.kind);
  text += ",\"apiVersion\":";
  appendJsonString(text, head.apiVersion);
  text += ",\"metadata\":{";
  auto member = [&](std::string_view name) {
    if (text.back() != '{') text += ',';
    text += fmt::format("\"{}\":", name);
  };
  if (!head.resourceVersion.empty()) {
    member("resourceVersion");
    appendJsonString(text, head.resourceVersion);
  }
  if (!head.continueToken.empty()) {
    member("continue");
    appendJsonString(text, head.continueToken);
  }
  if (head.remainingItemCount >= 0) {
    member("remainingItemCount");
    appendInt(text, head.remainingItemCount);
  }
  text += "},\"items\":[";
  sink(text);
  for (size_t i = 0; i < items.size(); ++i) {
    if (i != 0) sink(",");
    writeJsonItem(*encodedJson(items[i]), head.itemsCarryTypeMeta, sink);
  }
  sink("]}");
}

void writeProtobufList(const ListHead& head, std::span<const Ref<void>> items, const Sink& sink) {
  // The sizes of all items come first, since every length stands before its bytes.
  std::vector<std::shared_ptr<const std::string>> encodings;
  std::vector<std::string_view> messages;
  encodings.reserve(items.size());
  messages.reserve(items.size());
  std::string listMeta = fieldText(1, listMetaProtobuf(head));
  size_t size = listMeta.size();
  for (const Ref<void>& item : items) {
    encodings.push_back(encodedProtobuf(item));
    auto envelope = openProtobufEnvelope(*encodings.back());
    ASSERT(envelope.has_value());
    messages.push_back(envelope->raw);
    size += 1 + varintText(messages.back().size()).size() + messages.back().size();
  }
  std::string open(kEnvelopeMagic);
  open += fieldText(1, fieldText(1, head.apiVersion) + fieldText(2, head.kind));
  open += varintText(uint64_t{2} << 3 | static_cast<uint64_t>(Wire::LengthDelimited)) + varintText(size) + listMeta;
  sink(open);
  for (std::string_view message : messages) {
    sink(varintText(uint64_t{2} << 3 | static_cast<uint64_t>(Wire::LengthDelimited)) + varintText(message.size()));
    sink(message);
  }
  sink(fieldText(3, {}) + fieldText(4, {}));
}

}  // namespace knarr::codec
