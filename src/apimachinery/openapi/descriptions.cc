#include "apimachinery/openapi/descriptions.h"

#include "base/strings.h"

namespace knarr::apimachinery::openapi {
namespace {

std::string keyOf(std::string_view type, std::string_view field) { return std::string(type) + " " + std::string(field); }

}  // namespace

std::vector<Descriptions::Entry> Descriptions::parse(std::string_view text) {
  std::vector<Entry> entries;
  std::string type;
  for (std::string_view line : split(text, '\n')) {
    if (line.empty() || line.starts_with('#')) continue;
    bool ofField = line.starts_with("  ");
    size_t colon = line.find(": ");
    std::string_view name = trim(line.substr(0, colon));
    std::string_view words = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 2);
    if (!ofField) type = name;
    // The heading of what holds for every type has no words of its own.
    if (name == "*" && words.empty()) continue;
    entries.push_back({type, ofField ? std::string(name) : "", words});
  }
  return entries;
}

Descriptions::Descriptions() {
  for (const Entry& entry : parse(descriptionsText())) words_.emplace(keyOf(entry.type, entry.field), entry.words);
}

std::string_view Descriptions::find(std::string_view type, std::string_view field) const {
  auto found = words_.find(keyOf(type, field));
  return found == words_.end() ? std::string_view() : found->second;
}

std::string_view Descriptions::ofField(std::string_view type, std::string_view field) const {
  std::string_view own = find(type, field);
  return own.empty() ? find("*", field) : own;
}

}  // namespace knarr::apimachinery::openapi
