// JSON to YAML in the shape that sigs.k8s.io/yaml gives it: keys in its natural order, lists not
// indented, quotes only where a plain scalar would mean something else. libyaml's emitter is the
// one that goyaml.v2 was translated from.
#include <fmt/format.h>
#include <yaml.h>

#include <algorithm>
#include <vector>

#include "codec/codec.h"
#include "codec/value.h"
#include "codec/yaml_scalar.h"

namespace knarr::codec {
namespace {

bool isDigit(char c) { return c >= '0' && c <= '9'; }
// Every character outside ASCII counts as a letter; keys of API objects are ASCII.
bool isLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80; }

// The number that starts at `at`, and where it ends.
int64_t numberAt(std::string_view text, size_t& at, int64_t start) {
  for (; at < text.size() && isDigit(text[at]); ++at)
    if (start < INT64_MAX / 20) start = start * 10 + (text[at] - '0');
  return start;
}

// yaml.v2's order of keys: letters after other characters, runs of digits as numbers. Source:
// sorter.go keyList.Less.
bool keyBefore(std::string_view a, std::string_view b) {
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (a[i] == b[i]) continue;
    bool aLetter = isLetter(a[i]), bLetter = isLetter(b[i]);
    if (aLetter && bLetter) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[i]);
    if (aLetter || bLetter) return bLetter;
    int64_t start = 0;
    if (a[i] == '0' || b[i] == '0')
      for (size_t j = i; j-- > 0 && isDigit(a[j]);)
        if (a[j] != '0') {
          start = 1;
          break;
        }
    size_t aEnd = i, bEnd = i;
    int64_t aNumber = numberAt(a, aEnd, start), bNumber = numberAt(b, bEnd, start);
    if (aNumber != bNumber) return aNumber < bNumber;
    if (aEnd != bEnd) return aEnd < bEnd;
    return a[i] < b[i];
  }
  return a.size() < b.size();
}

class YamlWriter {
 public:
  YamlWriter() {
    yaml_emitter_initialize(&emitter_);
    yaml_emitter_set_output(&emitter_, &YamlWriter::write, this);
    yaml_emitter_set_unicode(&emitter_, 1);
  }
  ~YamlWriter() { yaml_emitter_delete(&emitter_); }
  YamlWriter(const YamlWriter&) = delete;

  std::string run(const Value& value) {
    yaml_event_t event;
    yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING);
    emit(event);
    yaml_document_start_event_initialize(&event, nullptr, nullptr, nullptr, 1);
    emit(event);
    node(value);
    yaml_document_end_event_initialize(&event, 1);
    emit(event);
    yaml_stream_end_event_initialize(&event);
    emit(event);
    yaml_emitter_flush(&emitter_);
    return std::move(out_);
  }

 private:
  static int write(void* self, unsigned char* bytes, size_t size) {
    static_cast<YamlWriter*>(self)->out_.append(reinterpret_cast<const char*>(bytes), size);
    return 1;
  }
  void emit(yaml_event_t& event) { ASSERT(yaml_emitter_emit(&emitter_, &event) != 0); }
  void scalar(std::string_view text, yaml_scalar_style_t style) {
    yaml_event_t event;
    const auto* bytes = reinterpret_cast<const yaml_char_t*>(text.data());
    ASSERT(yaml_scalar_event_initialize(&event, nullptr, nullptr, bytes, static_cast<int>(text.size()), 1, 1, style) != 0);
    emit(event);
  }
  void string(std::string_view text) {
    if (text.find('\n') != std::string_view::npos)
      scalar(text, YAML_LITERAL_SCALAR_STYLE);
    else
      scalar(text.empty() ? "" : text, needsYamlQuotes(text) ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE);
  }
  void node(const Value& value) {
    switch (value.is()) {
      case Value::Is::Null:
        return scalar("null", YAML_PLAIN_SCALAR_STYLE);
      case Value::Is::Bool:
        return scalar(value.boolean() ? "true" : "false", YAML_PLAIN_SCALAR_STYLE);
      case Value::Is::Int:
        return scalar(std::to_string(value.integer()), YAML_PLAIN_SCALAR_STYLE);
      case Value::Is::Double:
        return scalar(formatGoG(value.number()), YAML_PLAIN_SCALAR_STYLE);
      case Value::Is::String:
        return string(value.string());
      case Value::Is::Array:
        return sequence(value);
      case Value::Is::Object:
        return mapping(value);
    }
  }
  void sequence(const Value& value) {
    yaml_event_t event;
    yaml_sequence_start_event_initialize(&event, nullptr, nullptr, 1, YAML_BLOCK_SEQUENCE_STYLE);
    emit(event);
    for (const Value& item : value.items()) node(item);
    yaml_sequence_end_event_initialize(&event);
    emit(event);
  }
  void mapping(const Value& value) {
    yaml_event_t event;
    yaml_mapping_start_event_initialize(&event, nullptr, nullptr, 1, YAML_BLOCK_MAPPING_STYLE);
    emit(event);
    std::vector<const Member*> members;
    for (const Member& member : value.members()) members.push_back(&member);
    std::sort(members.begin(), members.end(), [](const Member* a, const Member* b) { return keyBefore(a->name, b->name); });
    for (const Member* member : members) {
      string(member->name);
      node(member->value);
    }
    yaml_mapping_end_event_initialize(&event);
    emit(event);
  }

  yaml_emitter_t emitter_{};
  std::string out_;
};

}  // namespace

Result<std::string> jsonToYaml(std::string_view json) {
  Arena arena(json.size() * 2 + 512);
  Value value = TRY(parseJsonValue(json, arena));
  return YamlWriter().run(value);
}

std::string encodeYaml(const schema::Object& object) {
  // Our own JSON always parses.
  auto yaml = jsonToYaml(encodeJson(object));
  ASSERT(yaml.has_value());
  return std::move(*yaml);
}

}  // namespace knarr::codec
