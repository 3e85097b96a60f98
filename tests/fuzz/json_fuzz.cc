// JSON into several kinds and into values: no input harms, the scanner and the syntax check agree,
// and what was accepted is encoded to JSON that gives an equal object.
//
// Opaque JSON (RawExtension, FieldsV1) is kept as it was written, and like Go's encoder ours writes <, >, & and the two line
// separators as escapes: text that holds those is equal only from the second writing on.
#include <cstdint>
#include <string_view>

#include "api/apiextensions_v1.h"
#include "api/core_v1.h"
#include "codec/codec.h"
#include "codec/json_text.h"
#include "codec/value.h"

using namespace knarr;

namespace {
bool holdsEscapedWhenWritten(std::string_view text) {
  return text.find_first_of("<>&") != text.npos || text.find("\xe2\x80\xa8") != text.npos ||
         text.find("\xe2\x80\xa9") != text.npos;
}

void check(const schema::TypeInfo& type, std::string_view text) {
  auto decoded = codec::decodeJson(type, text, {.strict = true});
  if (!decoded) return;
  std::string json = codec::encodeJson(decoded->object.object());
  auto again = codec::decodeJson(type, json);
  ASSERT(again.has_value());
  if (!holdsEscapedWhenWritten(text)) ASSERT(schema::deepEqual(type, decoded->object.root(), again->object.root()));
  ASSERT(codec::encodeJson(again->object.object()) == json);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  check(schema::typeInfoOf<corev1::Pod>(), text);
  check(schema::typeInfoOf<corev1::Secret>(), text);
  check(schema::typeInfoOf<apiextensionsv1::CustomResourceDefinition>(), text);
  (void)codec::peekTypeMeta(text);
  Arena arena;
  std::vector<std::string> strict;
  auto value = codec::parseJsonValue(text, arena, &strict);
  if (value) {
    ASSERT(!codec::jsonSyntaxError(text));
    ASSERT(codec::parseJsonValue(codec::toJson(*value), arena).has_value());
  }
  return 0;
}
