#include "cni/plugin/json.h"

#include <charconv>

#include "base/strings.h"

namespace knarr::cni {
namespace {

constexpr size_t kTextBytesMax = size_t{1} << 20;
constexpr int kDepthMax = 64;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::optional<Json> document() {
    std::optional<Json> value = read(0);
    if (!value) return std::nullopt;
    skipSpace();
    if (at_ != text_.size()) return fail("text after the value");
    return value;
  }
  std::string error() const { return error_ + " at byte " + std::to_string(at_); }

 private:
  std::nullopt_t fail(std::string what) {
    if (error_.empty()) error_ = std::move(what);
    return std::nullopt;
  }
  void skipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool takeWord(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  std::optional<Json> read(int depth) {
    if (depth > kDepthMax) return fail("nested too deeply");
    skipSpace();
    Json value;
    if (at_ >= text_.size()) return fail("unexpected end");
    char c = text_[at_];
    if (c == '{') return readObject(depth);
    if (c == '[') return readArray(depth);
    if (c == '"') {
      auto text = readString();
      if (!text) return std::nullopt;
      value.type = Json::String;
      value.text = std::move(*text);
      return value;
    }
    if (takeWord("null")) return value;
    if (takeWord("true") || takeWord("false")) {
      value.type = Json::Bool;
      value.boolean = c == 't';
      return value;
    }
    return readNumber();
  }

  std::optional<Json> readNumber() {
    size_t start = at_;
    take('-');
    size_t digits = at_;
    while (at_ < text_.size() && std::string_view("0123456789+-.eE").find(text_[at_]) != std::string_view::npos) {
      ++at_;
    }
    if (at_ == digits) return fail("unexpected character");
    Json value;
    value.type = Json::Number;
    value.text = std::string(text_.substr(start, at_ - start));
    double number = 0;
    auto [end, failed] = std::from_chars(value.text.data(), value.text.data() + value.text.size(), number);
    if (failed != std::errc() || end != value.text.data() + value.text.size()) return fail("bad number");
    return value;
  }

  std::optional<Json> readArray(int depth) {
    take('[');
    Json value;
    value.type = Json::Array;
    skipSpace();
    if (take(']')) return value;
    while (true) {
      auto item = read(depth + 1);
      if (!item) return std::nullopt;
      value.items.push_back(std::move(*item));
      skipSpace();
      if (take(']')) return value;
      if (!take(',')) return fail("expected , or ]");
    }
  }

  std::optional<Json> readObject(int depth) {
    take('{');
    Json value;
    value.type = Json::Object;
    skipSpace();
    if (take('}')) return value;
    while (true) {
      skipSpace();
      auto name = readString();
      if (!name) return std::nullopt;
      skipSpace();
      if (!take(':')) return fail("expected :");
      auto member = read(depth + 1);
      if (!member) return std::nullopt;
      value.members.push_back({std::move(*name), std::move(*member)});
      skipSpace();
      if (take('}')) return value;
      if (!take(',')) return fail("expected , or }");
    }
  }

  std::optional<unsigned> readHex4() {
    unsigned code = 0;
    if (at_ + 4 > text_.size()) return fail("unexpected end");
    auto [end, failed] = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, code, 16);
    if (failed != std::errc() || end != text_.data() + at_ + 4) return fail("bad \\u escape");
    at_ += 4;
    return code;
  }

  std::optional<std::string> readString() {
    if (!take('"')) return fail("expected a string");
    std::string out;
    while (at_ < text_.size()) {
      char c = text_[at_++];
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20) return fail("control character in a string");
      if (c != '\\') {
        out += c;
        continue;
      }
      if (!readEscape(out)) return std::nullopt;
    }
    return fail("unexpected end of a string");
  }

  bool readEscape(std::string& out) {
    if (at_ >= text_.size()) return fail("unexpected end"), false;
    char c = text_[at_++];
    size_t simple = std::string_view("\"\\/bfnrt").find(c);
    if (simple != std::string_view::npos) {
      out += "\"\\/\b\f\n\r\t"[simple];
      return true;
    }
    if (c != 'u') return fail("unknown escape"), false;
    auto unit = readHex4();
    if (!unit) return false;
    unsigned code = *unit;
    if (code >= 0xd800 && code < 0xdc00 && takeWord("\\u")) {
      auto low = readHex4();
      if (!low) return false;
      if (*low < 0xdc00 || *low > 0xdfff) return fail("bad surrogate pair"), false;
      code = 0x10000 + ((code - 0xd800) << 10) + (*low - 0xdc00);
    }
    appendUtf8(out, code);
    return true;
  }

  static void appendUtf8(std::string& out, unsigned code) {
    auto put = [&](unsigned byte) { out += static_cast<char>(byte); };
    if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;  // half of a pair
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xc0 | code >> 6);
      put(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      put(0xe0 | code >> 12);
      put(0x80 | (code >> 6 & 0x3f));
      put(0x80 | (code & 0x3f));
    } else {
      put(0xf0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3f));
      put(0x80 | (code >> 6 & 0x3f));
      put(0x80 | (code & 0x3f));
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string error_;
};

}  // namespace

const Json& Json::at(std::string_view name) const {
  static const Json kNull;
  // As Go's decoder has it: the last of repeated members wins, and case does not matter where no name fits exactly
  // (containerd sends "HostPort").
  const Json* folded = nullptr;
  for (auto it = members.rbegin(); it != members.rend(); ++it) {
    if (it->name == name) return it->value;
    if (folded == nullptr && equalsIgnoreCase(it->name, name)) folded = &it->value;
  }
  if (folded != nullptr) return *folded;
  return kNull;
}

std::optional<int64_t> Json::integer() const {
  if (type != Number) return std::nullopt;
  int64_t value = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Json> parseJson(std::string_view text, std::string& error) {
  if (text.size() > kTextBytesMax) {
    error = "longer than 1 MiB";
    return std::nullopt;
  }
  Reader reader(text);
  std::optional<Json> value = reader.document();
  if (!value) error = reader.error();
  return value;
}

std::string jsonString(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace knarr::cni
