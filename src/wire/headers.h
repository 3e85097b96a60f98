// HTTP header fields: an ordered multimap whose names compare without case.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace knarr::wire {

class Headers {
 public:
  struct Field {
    std::string name;
    std::string value;
  };
  Headers() = default;
  Headers(std::initializer_list<Field> fields) : fields_(fields) {}

  void add(std::string name, std::string value) { fields_.push_back({std::move(name), std::move(value)}); }
  // Replaces all fields of that name.
  void set(std::string name, std::string value);
  void remove(std::string_view name);
  // The first value; nothing when absent.
  std::optional<std::string_view> find(std::string_view name) const;
  // The first value or "".
  std::string_view get(std::string_view name) const { return find(name).value_or(std::string_view()); }
  std::vector<std::string_view> all(std::string_view name) const;
  bool contains(std::string_view name) const { return find(name).has_value(); }
  // True when one of the comma separated elements of the fields equals `token` without case, e.g.
  // Connection: Upgrade.
  bool containsToken(std::string_view name, std::string_view token) const;
  const std::vector<Field>& fields() const { return fields_; }
  bool empty() const { return fields_.empty(); }
  // Names and values together, with the 32 bytes per field that HTTP/2 counts (RFC 9113, 6.5.2).
  size_t bytes() const;

 private:
  std::vector<Field> fields_;
};

// True when `name` is a field name a peer may send: 1 or more token characters (RFC 9110, 5.6.2).
bool isHeaderName(std::string_view name);
// True without NUL, CR or LF.
bool isHeaderValue(std::string_view value);

}  // namespace knarr::wire
