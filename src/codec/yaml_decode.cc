// YAML to JSON: libyaml's events become a Value tree, whose JSON the JSON decoder reads.
//
// Source: sigs.k8s.io/yaml and its goyaml.v2: which plain scalars are numbers, booleans and null,
// keys turned to text, merge keys, and the bound on aliases that keeps a small document from
// growing without end.
#include <fmt/format.h>
#include <yaml.h>

#include <map>
#include <optional>
#include <set>

#include "base/strings.h"
#include "codec/codec.h"
#include "codec/json_text.h"
#include "codec/value.h"
#include "codec/yaml_scalar.h"

namespace knarr::codec {
namespace {

std::string_view viewOf(const yaml_char_t* text) { return text ? reinterpret_cast<const char*>(text) : ""; }

class YamlReader {
 public:
  YamlReader(std::string_view text, Arena& arena, std::vector<std::string>* duplicates) : arena_(arena), duplicates_(duplicates) {
    yaml_parser_initialize(&parser_);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  ~YamlReader() {
    clearEvent();
    yaml_parser_delete(&parser_);
  }
  YamlReader(const YamlReader&) = delete;

  // The first document; null when there is none.
  Result<Value> run() {
    Value out;
    for (;;) {
      if (!next()) return failure();
      if (event_.type == YAML_STREAM_END_EVENT) return out;
      if (event_.type == YAML_DOCUMENT_START_EVENT) break;
    }
    Node root;
    if (!next() || !node(root, kDepthMax)) return failure();
    return root.value;
  }

 private:
  struct Node {
    Value value;
    size_t nodes = 1;  // with what its aliases stand for
    size_t line = 0;   // from 1
    bool isMergeKey = false;
  };

  bool fails(std::string message) {
    if (error_.empty()) error_ = std::move(message);
    return false;
  }
  Unexpected failure() { return fail(Reason::BadRequest, error_.empty() ? "yaml: malformed document" : error_); }
  void clearEvent() {
    if (haveEvent_) yaml_event_delete(&event_);
    haveEvent_ = false;
  }
  bool next() {
    clearEvent();
    haveEvent_ = yaml_parser_parse(&parser_, &event_) != 0;
    if (haveEvent_) return true;
    // goyaml says where only when the place is not the start.
    size_t line = parser_.context_mark.line ? parser_.context_mark.line : parser_.problem_mark.line;
    if (parser_.problem_mark.line != 0) line = parser_.problem_mark.line;
    std::string where = line != 0 ? fmt::format("line {}: ", line + (parser_.error == YAML_SCANNER_ERROR ? 1 : 0)) : "";
    return fails(fmt::format("yaml: {}{}", where, parser_.problem ? parser_.problem : "unknown problem parsing YAML content"));
  }

  // ---- nodes: the event of the node is current
  bool node(Node& out, int depth) {
    if (depth <= 0) return fails("yaml: exceeded max depth");
    out.line = event_.start_mark.line + 1;
    switch (event_.type) {
      case YAML_ALIAS_EVENT:
        return alias(out);
      case YAML_SCALAR_EVENT:
        return ++decodeCount_, scalar(out) && remember(anchor(event_.data.scalar.anchor), out);
      case YAML_SEQUENCE_START_EVENT: {
        ++decodeCount_;
        auto name = anchor(event_.data.sequence_start.anchor);
        return open(name) && sequence(out, depth) && remember(name, out);
      }
      case YAML_MAPPING_START_EVENT: {
        ++decodeCount_;
        auto name = anchor(event_.data.mapping_start.anchor);
        return open(name) && mapping(out, depth) && remember(name, out);
      }
      default:
        return fails("yaml: unexpected event");
    }
  }
  static std::optional<std::string> anchor(const yaml_char_t* name) {
    return name ? std::optional<std::string>(viewOf(name)) : std::nullopt;
  }
  bool open(const std::optional<std::string>& name) {
    if (name) anchors_[*name] = std::nullopt;
    return true;
  }
  bool remember(const std::optional<std::string>& name, const Node& node) {
    if (name) anchors_[*name] = node;
    return true;
  }
  bool alias(Node& out) {
    std::string name(viewOf(event_.data.alias.anchor));
    auto found = anchors_.find(name);
    if (found == anchors_.end()) return fails(fmt::format("yaml: unknown anchor '{}' referenced", name));
    if (!found->second) return fails(fmt::format("yaml: anchor '{}' value contains itself", name));
    size_t line = out.line;
    out = *found->second;
    out.line = line;
    aliasCount_ += out.nodes;
    decodeCount_ += out.nodes;
    auto ratio = static_cast<double>(aliasCount_) / static_cast<double>(decodeCount_);
    if (aliasCount_ > 100 && decodeCount_ > 1000 && ratio > allowedAliasRatio())
      return fails("yaml: document contains excessive aliasing");
    return true;
  }
  // Source: yaml.v2 decode.go allowedAliasRatio.
  double allowedAliasRatio() const {
    constexpr double kLow = 400'000, kHigh = 4'000'000;
    auto count = static_cast<double>(decodeCount_);
    if (count <= kLow) return 0.99;
    if (count >= kHigh) return 0.10;
    return 0.99 - 0.89 * (count - kLow) / (kHigh - kLow);
  }

  bool scalar(Node& out) {
    std::string_view text(reinterpret_cast<const char*>(event_.data.scalar.value), event_.data.scalar.length);
    std::string_view tag = viewOf(event_.data.scalar.tag);
    bool plain = event_.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    constexpr std::string_view kCore = "tag:yaml.org,2002:";
    if (tag == "tag:yaml.org,2002:binary") {
      auto bytes = base64Decode(text);
      if (!bytes) return fails("yaml: !!binary value contains invalid base64 data");
      out.value = Value::ofString(arena_.copy(*bytes));
      return true;
    }
    bool resolves = (plain && tag.empty()) || (tag.starts_with(kCore) && tag != "tag:yaml.org,2002:str");
    out.isMergeKey = plain && text == "<<" && tag.empty();
    ResolvedScalar resolved = resolves ? resolveYamlScalar(text) : ResolvedScalar{};
    switch (resolved.is) {
      case YamlScalar::Null:
        out.value = Value();
        return true;
      case YamlScalar::Bool:
        out.value = Value::ofBool(resolved.boolean);
        return true;
      case YamlScalar::Int:
        out.value = Value::ofInt(resolved.integer);
        return true;
      case YamlScalar::Uint:
      case YamlScalar::Float:
        out.value = Value::ofDouble(resolved.number);
        return true;
      case YamlScalar::NotFinite:
        return fails(fmt::format("error marshaling into JSON: json: unsupported value: {}", text));
      case YamlScalar::Timestamp:
      case YamlScalar::String:
        break;
    }
    if (isValidUtf8(text)) {
      out.value = Value::ofString(arena_.copy(text));
      return true;
    }
    return fails("yaml: invalid UTF-8 text");
  }

  bool sequence(Node& out, int depth) {
    out.value = Value::emptyArray();
    for (;;) {
      if (!next()) return false;
      if (event_.type == YAML_SEQUENCE_END_EVENT) return true;
      Node item;
      if (!node(item, depth - 1)) return false;
      out.nodes += item.nodes;
      out.value.append(arena_, item.value);
    }
  }

  bool mapping(Node& out, int depth) {
    out.value = Value::emptyObject();
    std::set<std::string_view> seen;  // kept when duplicates are told
    for (;;) {
      if (!next()) return false;
      if (event_.type == YAML_MAPPING_END_EVENT) break;
      Node key, value;
      if (!node(key, depth - 1) || !next() || !node(value, depth - 1)) return false;
      out.nodes += key.nodes + value.nodes;
      if (key.isMergeKey) {
        size_t before = out.value.size();
        if (!merge(out.value, value.value)) return false;
        if (duplicates_)
          for (const Member& member : out.value.members().subspan(before)) seen.insert(member.name);
        continue;
      }
      std::string_view name;
      if (!keyText(key.value, name)) return false;
      if (duplicates_ && !seen.insert(name).second)
        duplicates_->push_back(fmt::format("line {}: key {} already set in map", value.line, quote(name)));
      out.value.addUnsorted(arena_, name, value.value);
    }
    out.value.sortMembers();
    return true;
  }

  bool merge(Value& into, const Value& from) {
    if (from.isArray()) {
      // Earlier maps of the list win.
      for (size_t i = from.size(); i-- > 0;) {
        if (!from.items()[i].isObject()) return fails("yaml: map merge requires map or sequence of maps as the value");
        if (!merge(into, from.items()[i])) return false;
      }
      return true;
    }
    if (!from.isObject()) return fails("yaml: map merge requires map or sequence of maps as the value");
    for (const Member& member : from.members()) into.addUnsorted(arena_, member.name, member.value);
    return true;
  }
  // Source: sigs.k8s.io/yaml convertToJSONableObject.
  bool keyText(const Value& key, std::string_view& out) {
    switch (key.is()) {
      case Value::Is::String:
        out = key.string();
        return true;
      case Value::Is::Int:
        out = arena_.copy(std::to_string(key.integer()));
        return true;
      case Value::Is::Double:
        out = arena_.copy(formatGoG(key.number()));
        return true;
      case Value::Is::Bool:
        out = key.boolean() ? "true" : "false";
        return true;
      default:
        return fails("yaml: unsupported map key: only text, numbers and booleans can be keys");
    }
  }

  Arena& arena_;
  std::vector<std::string>* duplicates_;
  yaml_parser_t parser_{};
  yaml_event_t event_{};
  bool haveEvent_ = false;
  std::map<std::string, std::optional<Node>> anchors_;  // nothing while the node is open
  size_t decodeCount_ = 0, aliasCount_ = 0;
  std::string error_;
};

// JSON of at most `bytesMax` bytes; false beyond.
bool appendBoundedJson(std::string& out, const Value& value, size_t bytesMax) {
  if (out.size() > bytesMax) return false;
  bool first = true;
  if (value.isArray()) {
    out += '[';
    for (const Value& item : value.items()) {
      if (!first) out += ',';
      first = false;
      if (!appendBoundedJson(out, item, bytesMax)) return false;
    }
    out += ']';
  } else if (value.isObject()) {
    out += '{';
    for (const Member& member : value.members()) {
      if (!first) out += ',';
      first = false;
      appendJsonString(out, member.name);
      out += ':';
      if (!appendBoundedJson(out, member.value, bytesMax)) return false;
    }
    out += '}';
  } else {
    appendJson(out, value);
  }
  return out.size() <= bytesMax;
}

}  // namespace

Result<std::string> yamlToJson(std::string_view text, std::vector<std::string>* duplicateKeys, size_t bytesMax) {
  if (text.size() > bytesMax) return fail(Reason::RequestEntityTooLarge, fmt::format("limit is {}", bytesMax));
  Arena arena(text.size() + 512);
  std::vector<std::string> lines;
  Value value = TRY(YamlReader(text, arena, duplicateKeys ? &lines : nullptr).run());
  if (!lines.empty()) {
    std::string message = "yaml: unmarshal errors:";
    for (const std::string& line : lines) message += "\n  " + line;
    duplicateKeys->push_back(std::move(message));
  }
  std::string out;
  if (!appendBoundedJson(out, value, bytesMax))
    return fail(Reason::RequestEntityTooLarge, fmt::format("yaml: the document grows beyond {} bytes", bytesMax));
  return out;
}

Result<Decoded> decodeYaml(const TypeInfo& type, std::string_view text, const DecodeOptions& options) {
  constexpr size_t kYamlBytesMax = size_t{64} << 20;
  std::vector<std::string> duplicates;
  std::string json = TRY(yamlToJson(text, options.strict ? &duplicates : nullptr, std::min(options.bytesMax, kYamlBytesMax)));
  Decoded decoded = TRY(decodeJson(type, json, options));
  decoded.strictErrors.insert(decoded.strictErrors.begin(), duplicates.begin(), duplicates.end());
  return decoded;
}

std::vector<std::string_view> splitYamlDocuments(std::string_view text) {
  std::vector<std::string_view> out;
  size_t documentFrom = 0, at = 0;
  auto add = [&](std::string_view document) {
    // Comments and blanks alone are no document.
    for (std::string_view line : split(document, '\n')) {
      std::string_view bare = trim(line);
      if (bare.empty() || bare[0] == '#' || bare == "---") continue;
      out.push_back(document);
      return;
    }
  };
  while (at < text.size()) {
    size_t end = text.find('\n', at);
    size_t next = end == std::string_view::npos ? text.size() : end + 1;
    std::string_view line = text.substr(at, next - at);
    bool separator =
        line.starts_with("---") && (line.size() == 3 || line[3] == '\n' || line[3] == '\r' || line[3] == ' ' || line[3] == '\t');
    if (separator) {
      add(text.substr(documentFrom, at - documentFrom));
      // What follows on the separator's line belongs to the new document.
      bool bare = trim(line.substr(3)).empty() || trim(line.substr(3))[0] == '#';
      documentFrom = bare ? next : at;
    }
    at = next;
  }
  add(text.substr(documentFrom));
  return out;
}

}  // namespace knarr::codec
