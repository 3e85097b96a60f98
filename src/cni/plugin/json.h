// A small JSON reader for configurations of plugins. The plugins are fully static programs started
// once per pod, so they carry this instead of the codec and its tables. Source: RFC 8259. Bounds: 1
// MiB of text, 64 levels, checked before anything is built.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace knarr::cni {

struct JsonMember;

struct Json {
  enum Type : uint8_t { Null, Bool, Number, String, Array, Object } type = Null;
  bool boolean = false;
  std::string text;  // of a string; of a number as it was written
  std::vector<Json> items;
  std::vector<JsonMember> members;

  // The member, or a null value when this is no object or has no such member.
  const Json& at(std::string_view name) const;
  bool isNull() const { return type == Null; }
  std::string_view string() const { return type == String ? std::string_view(text) : std::string_view(); }
  // A whole number; nothing for anything else.
  std::optional<int64_t> integer() const;
};
struct JsonMember {
  std::string name;
  Json value;
};

// On failure: nothing, and `error` says what and at which byte.
std::optional<Json> parseJson(std::string_view text, std::string& error);
// "..." with what JSON must escape.
std::string jsonString(std::string_view text);

}  // namespace knarr::cni
