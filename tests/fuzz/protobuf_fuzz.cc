// Protobuf into several kinds: no input harms, and what was accepted encodes to bytes that give an
// equal object.
#include <cstdint>
#include <string_view>

#include "api/apiextensions_v1.h"
#include "api/core_v1.h"
#include "codec/codec.h"

using namespace knarr;

namespace {
void check(const schema::TypeInfo& type, std::string_view bytes) {
  auto decoded = codec::decodeProtobuf(type, bytes);
  if (!decoded) return;
  auto again = codec::decodeProtobuf(type, codec::encodeProtobuf(decoded->object()));
  ASSERT(again.has_value());
  ASSERT(schema::deepEqual(type, decoded->root(), again->root()));
  ASSERT(codec::decodeJson(type, codec::encodeJson(decoded->object())).has_value());
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check(schema::typeInfoOf<corev1::Pod>(), bytes);
  check(schema::typeInfoOf<corev1::ConfigMap>(), bytes);
  check(schema::typeInfoOf<apiextensionsv1::CustomResourceDefinition>(), bytes);
  return 0;
}
