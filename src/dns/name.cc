// Names in wire form.
#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "dns/message.h"

namespace knarr::dns {
namespace {

constexpr size_t kNameBytesMax = 255;
constexpr size_t kLabelBytesMax = 63;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool sameLabel(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace

Result<Name> nameFromText(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  Name out;
  if (!text.empty())
    for (std::string_view label : split(text, '.')) {
      if (label.empty() || label.size() > kLabelBytesMax)
        return fail(Reason::Invalid, fmt::format("{} is no domain name", quote(text.substr(0, 300))));
      out += static_cast<char>(label.size());
      out += label;
    }
  out += '\0';
  if (out.size() > kNameBytesMax) return fail(Reason::Invalid, "the domain name is longer than 255 bytes");
  return out;
}

std::string textOf(const Name& name) {
  std::string out;
  for (std::string_view label : labelsOf(name)) {
    for (char c : label) {
      bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
      out += plain ? std::string(1, c) : fmt::format("\\{:03}", static_cast<uint8_t>(c));
    }
    out += '.';
  }
  return out.empty() ? "." : out;
}

std::vector<std::string_view> labelsOf(const Name& name) {
  std::vector<std::string_view> out;
  std::string_view rest = name;
  while (!rest.empty() && rest[0] != '\0') {
    size_t size = static_cast<uint8_t>(rest[0]);
    out.push_back(rest.substr(1, size));
    rest.remove_prefix(std::min(size + 1, rest.size()));
  }
  return out;
}

Name nameOf(const std::vector<std::string_view>& labels) {
  Name out;
  for (std::string_view label : labels) {
    out += static_cast<char>(label.size());
    out += label;
  }
  out += '\0';
  return out;
}

Name foldCase(Name name) {
  // Length bytes are at most 63, below every capital letter.
  for (char& c : name) c = lower(c);
  return name;
}

bool isBelow(const Name& name, const Name& zone) {
  auto labels = labelsOf(name), wanted = labelsOf(zone);
  if (labels.size() < wanted.size()) return false;
  return std::equal(wanted.rbegin(), wanted.rend(), labels.rbegin(), sameLabel);
}

Name reverseName(const IpAddress& ip) {
  std::string text;
  int digits = ip.v6 ? 32 : 4, bits = ip.v6 ? 4 : 8;
  for (int i = 0; i < digits; ++i) {
    auto digit = static_cast<uint32_t>(ip.value >> (i * bits) & ((1u << bits) - 1));
    text += ip.v6 ? fmt::format("{:x}.", digit) : fmt::format("{}.", digit);
  }
  return *nameFromText(text + (ip.v6 ? "ip6.arpa." : "in-addr.arpa."));
}

std::optional<IpAddress> addressOfReverseName(const Name& name) {
  Name folded = foldCase(name);
  auto labels = labelsOf(folded);
  bool v6 = labels.size() == 34;
  if (!v6 && labels.size() != 6) return std::nullopt;
  if (!isBelow(folded, *nameFromText(v6 ? "ip6.arpa" : "in-addr.arpa"))) return std::nullopt;
  IpAddress out;
  out.v6 = v6;
  for (size_t i = labels.size() - 2; i-- > 0;) {
    std::string_view label = labels[i];
    if (v6) {
      if (label.size() != 1) return std::nullopt;
      int digit = label[0] >= '0' && label[0] <= '9'   ? label[0] - '0'
                  : label[0] >= 'a' && label[0] <= 'f' ? label[0] - 'a' + 10
                                                       : -1;
      if (digit < 0) return std::nullopt;
      out.value = out.value << 4 | static_cast<unsigned>(digit);
    } else {
      auto octet = parseUint(label);
      if (!octet || *octet > 255 || label != std::to_string(*octet)) return std::nullopt;
      out.value = out.value << 8 | *octet;
    }
  }
  return out;
}

}  // namespace knarr::dns
