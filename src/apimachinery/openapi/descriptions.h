// The words that explain shows for types and fields. Private to the room.
//
// The text is constant data of the program (api/descriptions/descriptions.txt); it is read when a document is made, and what
// was read goes with the document.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace knarr::apimachinery::openapi {

// The whole file, made a string by the build.
std::string_view descriptionsText();

class Descriptions {
 public:
  struct Entry {
    std::string type;   // "core/v1.Pod"; "*" for fields of any type
    std::string field;  // "" for the type itself
    std::string_view words;
  };
  // Entries in the order of the file; the words are views of `text`. A line that is no entry gives one without words.
  static std::vector<Entry> parse(std::string_view text);

  Descriptions();
  // "" when there are none. `type` is a TypeInfo's name.
  std::string_view ofType(std::string_view type) const { return find(type, ""); }
  std::string_view ofField(std::string_view type, std::string_view field) const;

 private:
  std::string_view find(std::string_view type, std::string_view field) const;
  std::unordered_map<std::string, std::string_view> words_;  // by "type field"
};

}  // namespace knarr::apimachinery::openapi
