// Patches: a document and a patch, divided by a NUL, through every kind of patch. No input harms; a result is again an object
// that its type can hold, or a clear error; applying the same configuration twice changes nothing the second time.
#include <cstdint>
#include <string_view>

#include "api/core_v1.h"
#include "apimachinery/patch/managed_fields.h"
#include "apimachinery/patch/patch.h"
#include "codec/codec.h"
#include "codec/value.h"

using namespace knarr;

namespace {

void checkApply(const schema::TypeInfo& type, const codec::Value& live, const codec::Value& config, Arena& arena) {
  apimachinery::Manager applier;
  applier.name = "fuzz";
  applier.apply = true;
  applier.apiVersion = "v1";
  auto once = apimachinery::applyConfiguration(type, {}, live, config, applier, true, arena);
  if (!once) return;
  auto twice = apimachinery::applyConfiguration(type, once->managers, once->object, config, applier, false, arena);
  ASSERT(twice.has_value());
  ASSERT(codec::toJson(twice->object) == codec::toJson(once->object));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  size_t divider = text.find('\0');
  if (divider == std::string_view::npos) return 0;
  Arena arena;
  auto document = codec::parseJsonValue(text.substr(0, divider), arena);
  auto patch = codec::parseJsonValue(text.substr(divider + 1), arena);
  if (!document || !patch) return 0;
  const schema::TypeInfo& type = schema::typeInfoOf<corev1::Pod>();
  if (auto patched = apimachinery::applyJsonPatch(*document, *patch, arena)) ASSERT(!codec::toJson(*patched).empty());
  if (auto merged = apimachinery::applyMergePatch(*document, *patch, arena)) {
    auto again = apimachinery::applyMergePatch(*merged, *patch, arena);
    ASSERT(again && codec::toJson(*again) == codec::toJson(*merged));  // RFC 7386: idempotent
  }
  if (auto merged = apimachinery::applyStrategicMergePatch(type, *document, *patch, arena))
    ASSERT(!codec::toJson(*merged).empty());
  // Server-side apply sees objects that their type has accepted.
  if (codec::decodeJson(type, codec::toJson(*document)) && codec::decodeJson(type, codec::toJson(*patch)))
    checkApply(type, *document, *patch, arena);
  return 0;
}
