#include "kubelet/image_reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/strings.h"

namespace knarr::kubelet {
namespace {

constexpr size_t kNameBytesMax = 255;
constexpr size_t kTagBytesMax = 128;

bool isLower(char c) { return c >= 'a' && c <= 'z'; }
bool isUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isWord(char c) { return isLower(c) || isUpper(c) || isDigit(c); }
bool isHex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return isDigit(c) || (c >= 'a' && c <= 'f'); });
}

// Runs of small letters and digits with one separator between two: ".", "_", "__", or any number of "-".
bool isPathComponent(std::string_view text) {
  bool afterWord = false;
  for (size_t i = 0; i < text.size();) {
    if (isLower(text[i]) || isDigit(text[i])) {
      afterWord = true;
      ++i;
      continue;
    }
    size_t run = i;
    while (run < text.size() && text[run] == text[i]) ++run;
    size_t most = text[i] == '.' ? 1 : text[i] == '_' ? 2 : text[i] == '-' ? run - i : 0;
    if (!afterWord || run - i > most) return false;
    afterWord = false;
    i = run;
  }
  return afterWord;
}

bool isHostLabel(std::string_view text) {
  return !text.empty() && text.front() != '-' && text.back() != '-' &&
         std::ranges::all_of(text, [](char c) { return isWord(c) || c == '-'; });
}

bool isHost(std::string_view text) {
  std::string_view port;
  if (text.starts_with('[')) {
    size_t end = text.find(']');
    if (end == text.npos) return false;
    std::string_view address = text.substr(1, end - 1);
    bool hex = !address.empty() &&
               std::ranges::all_of(address, [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) || c == ':'; });
    if (!hex) return false;
    text.remove_prefix(end + 1);
    if (text.empty()) return true;
    if (text.front() != ':') return false;
    port = text.substr(1);
  } else {
    size_t colon = text.find(':');
    for (std::string_view label : split(text.substr(0, colon), '.'))
      if (!isHostLabel(label)) return false;
    if (colon == text.npos) return true;
    port = text.substr(colon + 1);
  }
  return !port.empty() && std::ranges::all_of(port, isDigit);
}

bool isTag(std::string_view text) {
  return !text.empty() && text.size() <= kTagBytesMax && (isWord(text.front()) || text.front() == '_') &&
         std::ranges::all_of(text, [](char c) { return isWord(c) || c == '_' || c == '.' || c == '-'; });
}

// ALGORITHM:HEX; the algorithms that runtimes know have a fixed number of digits.
bool isDigest(std::string_view text) {
  size_t colon = text.find(':');
  if (colon == text.npos || colon == 0) return false;
  std::string_view algorithm = text.substr(0, colon), hex = text.substr(colon + 1);
  if (!isHex(hex)) return false;
  return (algorithm == "sha256" && hex.size() == 64) || (algorithm == "sha384" && hex.size() == 96) ||
         (algorithm == "sha512" && hex.size() == 128);
}

// The first part is a host when it looks like one: a dot, a port, "localhost", or capitals, which no path has.
bool namesHost(std::string_view first) {
  return first.find_first_of(".:") != first.npos || first == "localhost" || toLower(first) != first;
}

// "" or what is wrong.
std::string wrongWith(std::string_view image) {
  constexpr std::string_view kFormat = "invalid reference format";
  if (image.size() == 64 && isHex(image))
    return fmt::format("invalid repository name ({}), cannot specify 64-byte hexadecimal strings", image);
  size_t slash = image.find('/');
  bool hosted = slash != image.npos && namesHost(image.substr(0, slash));
  std::string_view host = hosted ? image.substr(0, slash) : std::string_view();
  std::string_view rest = hosted ? image.substr(slash + 1) : image;
  bool official = !hosted && rest.find('/') == rest.npos;
  std::string_view beforeTag = rest.substr(0, rest.find(':'));
  if (toLower(beforeTag) != beforeTag)
    return fmt::format("{}: repository name ({}{}) must be lowercase", kFormat, official ? "library/" : "", beforeTag);
  size_t at = rest.find('@');
  if (at != rest.npos && !isDigest(rest.substr(at + 1))) return std::string(kFormat);
  std::string_view name = rest.substr(0, at);
  size_t colon = name.find(':');
  if (colon != name.npos && !isTag(name.substr(colon + 1))) return std::string(kFormat);
  name = name.substr(0, colon);
  if (hosted && !isHost(host)) return std::string(kFormat);
  for (std::string_view component : split(name, '/'))
    if (!isPathComponent(component)) return std::string(kFormat);
  // With the host that is meant when there is none.
  size_t whole = (hosted ? host.size() : std::string_view("docker.io").size()) + 1 + (official ? 8 : 0) + name.size();
  if (whole > kNameBytesMax) return fmt::format("repository name must not be more than {} characters", kNameBytesMax);
  return "";
}

}  // namespace

Result<std::string> withDefaultTag(std::string_view image) {
  if (std::string wrong = wrongWith(image); !wrong.empty())
    return fail(Reason::Invalid, fmt::format("couldn't parse image name \"{}\": {}", image, wrong));
  size_t slash = image.rfind('/');
  bool tagged = image.find_first_of(":@", slash == image.npos ? 0 : slash) != image.npos;
  return tagged ? std::string(image) : fmt::format("{}:latest", image);
}

}  // namespace knarr::kubelet
