// Codecs: objects to and from JSON, YAML and protobuf, for all kinds, by their TypeInfo.
//
// Decoding makes one arena per object. Errors of outside input are BadRequest with upstream's
// wording, so that a handler can put them into its answer. Encoding cannot fail. Source:
// encoding/json as k8s.io uses it (sigs.k8s.io/json), sigs.k8s.io/yaml,
// k8s.io/apimachinery/pkg/runtime/serializer/{json,protobuf}.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "schema/object.h"

namespace knarr::codec {

using schema::Mut;
using schema::Ref;
using schema::TypeInfo;

struct DecodeOptions {
  bool strict = false;  // collect unknown and duplicate fields
  // Longest text taken; a longer one is RequestEntityTooLarge. The default leaves room for lists.
  size_t bytesMax = size_t{512} << 20;
};
// Nesting deeper than this is refused in every form.
constexpr int kDepthMax = 1000;
// At most so many strict errors are collected, as upstream does.
constexpr size_t kStrictErrorsMax = 100;

struct Decoded {
  Mut<void> object;
  // `unknown field "spec.foo"`, `duplicate field "spec.bar"`, in order of appearance; empty unless
  // strict.
  std::vector<std::string> strictErrors;
};

// apiVersion and kind as written in an object; "" where missing.
struct TypeMeta {
  std::string apiVersion;
  std::string kind;
  // apiVersion's parts; version alone for the core group.
  std::string_view group() const;
  std::string_view version() const;
};

// ---- JSON
// The object that `text` holds. apiVersion and kind in it are not compared with `type`. null leaves
// a field unset, names match exactly, unknown fields are dropped.
Result<Decoded> decodeJson(const TypeInfo& type, std::string_view text, const DecodeOptions& options = {});
// apiVersion and kind of a JSON object, found without decoding the rest.
Result<TypeMeta> peekTypeMeta(std::string_view text);
// Compact, without a newline at the end. kind and apiVersion are the TypeInfo's (upstream's order:
// kind first).
std::string encodeJson(const schema::Object& object);
// Two blanks a level, as Go's MarshalIndent.
std::string encodeJsonPretty(const schema::Object& object);
// One struct of `type`, without kind and apiVersion; for values inside objects (patches, CEL, Table
// cells).
std::string encodeJsonValue(const TypeInfo& type, const void* value);
void appendJsonValue(std::string& out, const TypeInfo& type, const void* value);
// Decodes one JSON object into a zeroed struct of `type` with memory of `arena`.
Result<void> decodeJsonValue(const TypeInfo& type, std::string_view text, void* value, Arena& arena);
// The JSON of a published object, made once and then remembered by it.
std::shared_ptr<const std::string> encodedJson(const Ref<void>& object);

// ---- protobuf
// Bytes with the envelope ("k8s\0"); a bare message when they have none.
Result<Mut<void>> decodeProtobuf(const TypeInfo& type, std::string_view bytes, size_t bytesMax = size_t{512} << 20);
struct ProtobufEnvelope {
  TypeMeta typeMeta;
  std::string_view raw;  // of the given bytes
  std::string_view contentEncoding, contentType;
};
bool hasProtobufEnvelope(std::string_view bytes);
Result<ProtobufEnvelope> openProtobufEnvelope(std::string_view bytes);
// With the envelope.
std::string encodeProtobuf(const schema::Object& object);
// The bare message of one struct.
std::string encodeProtobufValue(const TypeInfo& type, const void* value);
// An envelope around a bare message.
std::string wrapProtobuf(std::string_view apiVersion, std::string_view kind, std::string_view message);
// The enveloped protobuf of a published object, made once and then remembered by it.
std::shared_ptr<const std::string> encodedProtobuf(const Ref<void>& object);

// ---- YAML
Result<Decoded> decodeYaml(const TypeInfo& type, std::string_view text, const DecodeOptions& options = {});
// One YAML document as JSON text (YAML 1.1 scalars as sigs.k8s.io/yaml reads them; keys sorted).
// duplicateKeys, when given, receives upstream's message per key that is set twice.
Result<std::string> yamlToJson(std::string_view text, std::vector<std::string>* duplicateKeys = nullptr,
                               size_t bytesMax = size_t{64} << 20);
// The documents of a stream separated by "---" lines; empty ones are left out. Views of `text`.
std::vector<std::string_view> splitYamlDocuments(std::string_view text);
Result<std::string> jsonToYaml(std::string_view json);
std::string encodeYaml(const schema::Object& object);

// ---- lists of already encoded objects
// What a list answer says beside its items.
struct ListHead {
  std::string apiVersion = {};  // of the list: "v1"
  std::string kind = {};        // "PodList"
  std::string resourceVersion = {};
  std::string continueToken = {};
  int64_t remainingItemCount = -1;  // -1: not said
  bool itemsCarryTypeMeta = false;  // items keep kind and apiVersion (custom resources); otherwise they are dropped
};
using Sink = std::function<void(std::string_view piece)>;
// Hands the pieces of the list's JSON to `sink`, items as their remembered encodings. No newline at
// the end.
void writeJsonList(const ListHead& head, std::span<const Ref<void>> items, const Sink& sink);
// The same in protobuf, with the envelope.
void writeProtobufList(const ListHead& head, std::span<const Ref<void>> items, const Sink& sink);

// ---- single fields, for walks over structs that see what their JSON would hold
// Whether the struct's JSON has this member at all.
bool isWrittenInJson(const schema::FieldInfo& field, const void* member);
// Whether a member of Shape::Value is written as something else than null.
bool isJsonValuePresent(const schema::FieldInfo& field, const void* member);
// The member, or one element of a list or map field.
void appendJsonFieldMember(std::string& out, const schema::FieldInfo& field, const void* member);
void appendJsonFieldValue(std::string& out, const schema::FieldInfo& field, const void* value);

// "text" as a JSON string with Go's escapes.
std::string quoteJson(std::string_view text);

// "v1" or "apps/v1".
std::string apiVersionOf(const TypeInfo& type);

}  // namespace knarr::codec
