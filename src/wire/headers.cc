#include "wire/headers.h"

#include <algorithm>

#include "base/strings.h"

namespace knarr::wire {

void Headers::set(std::string name, std::string value) {
  remove(name);
  add(std::move(name), std::move(value));
}

void Headers::remove(std::string_view name) {
  std::erase_if(fields_, [&](const Field& field) { return equalsIgnoreCase(field.name, name); });
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
  for (const Field& field : fields_)
    if (equalsIgnoreCase(field.name, name)) return field.value;
  return std::nullopt;
}

std::vector<std::string_view> Headers::all(std::string_view name) const {
  std::vector<std::string_view> values;
  for (const Field& field : fields_)
    if (equalsIgnoreCase(field.name, name)) values.emplace_back(field.value);
  return values;
}

bool Headers::containsToken(std::string_view name, std::string_view token) const {
  for (std::string_view value : all(name))
    for (std::string_view element : split(value, ','))
      if (equalsIgnoreCase(trim(element), token)) return true;
  return false;
}

size_t Headers::bytes() const {
  size_t total = 0;
  for (const Field& field : fields_) total += field.name.size() + field.value.size() + 32;
  return total;
}

bool isHeaderName(std::string_view name) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::ranges::all_of(name, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || kMarks.find(c) != std::string_view::npos;
  });
}

bool isHeaderValue(std::string_view value) {
  return value.find_first_of(std::string_view("\0\r\n", 3)) == std::string_view::npos;
}

}  // namespace knarr::wire
