// apiVersion and kind of a JSON object, without decoding the rest.
#include <fmt/format.h>

#include "codec/codec.h"
#include "codec/json_names.h"
#include "codec/json_text.h"

namespace knarr::codec {

std::string_view TypeMeta::group() const {
  size_t slash = apiVersion.find('/');
  return slash == std::string::npos ? std::string_view() : std::string_view(apiVersion).substr(0, slash);
}
std::string_view TypeMeta::version() const {
  size_t slash = apiVersion.find('/');
  return std::string_view(apiVersion).substr(slash == std::string::npos ? 0 : slash + 1);
}

Result<TypeMeta> peekTypeMeta(std::string_view text) {
  auto failed = [&](std::string_view otherwise) {
    auto syntax = jsonSyntaxError(text);
    return fail(Reason::BadRequest,
                fmt::format("couldn't get version/kind; json parse error: {}", syntax ? std::string_view(*syntax) : otherwise));
  };
  TypeMeta out;
  JsonScanner scan(text);
  if (scan.peek() == Token::Null && scan.readWord("null") && scan.peek() == Token::End) return out;
  if (scan.peek() != Token::ObjectBegin)
    return failed(
        fmt::format("json: cannot unmarshal {} into Go value of type struct {{ APIVersion string "
                    "\"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
                    describeToken(scan.peek())));
  scan.skipMark();
  bool haveKind = false, haveVersion = false;
  for (bool first = true; scan.peek() != Token::ObjectEnd; first = false) {
    if (!first) {
      if (scan.peek() != Token::Comma) return failed("");
      scan.skipMark();
    }
    std::string_view raw, skipped;
    bool escaped = false;
    if (scan.peek() != Token::String || !scan.readString(raw, escaped) || scan.peek() != Token::Colon) return failed("");
    scan.skipMark();
    bool isKind = raw == "kind", isVersion = raw == "apiVersion";
    if ((!isKind && !isVersion) || scan.peek() == Token::Null) {
      if (!scan.skipValue(skipped, kDepthMax)) return failed("");
      continue;
    }
    Token token = scan.peek();
    if (token != Token::String)
      return failed(fmt::format("json: cannot unmarshal {} into Go struct field .{} of type string", describeToken(token), raw));
    if (!scan.readString(skipped, escaped)) return failed("");
    std::string& target = isKind ? out.kind : out.apiVersion;
    target.clear();
    decodeJsonString(skipped, target);
    (isKind ? haveKind : haveVersion) = true;
    if (haveKind && haveVersion) return out;
  }
  return out;
}

}  // namespace knarr::codec
