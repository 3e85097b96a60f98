// The generated tables of one package (TypeInfo, FieldInfo) and the registry of all packages.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/strings.h"
#include "schema/generator/model.h"

namespace knarr::schema::generator {
namespace {

// Collects the string lists of a unit so that equal ones are written once.
class Lists {
 public:
  // An expression for a span over `values`.
  std::string use(const std::vector<std::string>& values) {
    if (values.empty()) return "{}";
    auto [at, isNew] = names_.emplace(values, fmt::format("kList{}", names_.size()));
    if (isNew) {
      text_ += fmt::format("constexpr std::string_view {}[] = {{", at->second);
      for (const std::string& value : values) text_ += stringLiteral(value) + ", ";
      text_ += "};\n";
    }
    return at->second;
  }
  const std::string& text() const { return text_; }

 private:
  std::map<std::vector<std::string>, std::string> names_;
  std::string text_;
};

std::string kindOf(const Field& field) {
  if (field.isMessage) {
    if (field.base == "apiextensions/v1.JSONSchemaPropsOrArray") return "JsonSchemaPropsOrArray";
    if (field.base == "apiextensions/v1.JSONSchemaPropsOrBool") return "JsonSchemaPropsOrBool";
    if (field.base == "apiextensions/v1.JSONSchemaPropsOrStringArray") return "JsonSchemaPropsOrStringArray";
    return "Message";
  }
  static const std::map<std::string, std::string> kKinds = {{"string", "String"}, {"bool", "Bool"},     {"int32", "Int32"},
                                                            {"int64", "Int64"},   {"uint64", "Uint64"}, {"double", "Double"},
                                                            {"bytes", "Bytes"},   {"any", "Json"},      {"JSON", "Json"}};
  auto kind = kKinds.find(field.base);
  return kind == kKinds.end() ? field.base : kind->second;
}

std::string flagsOf(const Field& field) {
  std::vector<std::string> flags;
  if (field.omitEmpty) flags.push_back("kOmitEmpty");
  if (field.omitZero) flags.push_back("kOmitZero");
  if (field.isInline) flags.push_back("kInline");
  if (field.required) flags.push_back("kRequired");
  if (field.pointerItems) flags.push_back("kPointerItems");
  return flags.empty() ? "0" : join(flags, " | ");
}

std::string shapeOf(Shape shape) {
  return shape == Shape::Value ? "Value" : shape == Shape::Pointer ? "Pointer" : shape == Shape::List ? "List" : "Map";
}

std::string listTypeOf(const Field& field) {
  return field.listType == "atomic" ? "Atomic" : field.listType == "set" ? "Set" : field.listType == "map" ? "Map" : "None";
}

// Go's struct tags call "$ref" and "x-kubernetes-list-type" by names without these marks in
// protobuf.
std::string protoNameOf(const Field& field) { return field.isInline ? field.cppName : field.json; }

std::string emitField(const Model& model, const std::string& structName, const Field& field, Lists& lists) {
  const Enum* declared = field.enumName.empty() ? nullptr : findEnum(model, field.enumName);
  std::vector<std::string> enumValues;
  if (declared && declared->closed) enumValues = declared->values;
  return fmt::format(
      "    {{{}, {}, Kind::{}, Shape::{}, ListType::{}, {}, {}, {}, offsetof({}, {}), {}, {}, {}, "
      "{}, {}, {}, {}, {}, {}, {}, {}}},\n",
      stringLiteral(field.json), stringLiteral(protoNameOf(field)), kindOf(field), shapeOf(field.shape), listTypeOf(field),
      field.mapType == "atomic", flagsOf(field), field.tag, structName, field.cppName,
      field.isMessage ? "&" + tableName(field.base) : "nullptr", lists.use(field.keys), stringLiteral(field.patch),
      stringLiteral(field.patchKey), stringLiteral(field.defaultJson), lists.use(enumValues), stringLiteral(field.format),
      stringLiteral(join(field.gates, ",")), stringLiteral(field.enumName), field.mapType == "granular",
      lists.use(field.validation));
}

std::string emitIndices(std::string_view name, const std::vector<size_t>& indices) {
  if (indices.empty()) return "";
  std::string out = fmt::format("constexpr uint16_t {}[] = {{", name);
  for (size_t index : indices) out += fmt::format("{}, ", index);
  return out + "};\n";
}

struct TypeText {
  std::string arrays;
  std::string table;
};

std::string offsetOfField(const Type& type, const std::string& structName, std::string_view base) {
  for (const Field& field : type.fields)
    if (field.json == "metadata" && field.base == base && field.shape == Shape::Value)
      return fmt::format("int32_t{{offsetof({}, {})}}", structName, field.cppName);
  return "-1";
}

TypeText emitType(const Model& model, const Package& package, const Type& type, Lists& lists) {
  std::string full = package.name + "." + type.name, table = tableName(full), cpp = cppTypeName(full);
  std::vector<size_t> byTag, byJson;
  std::string itemsField = "-1";
  std::string fields;
  for (size_t i = 0; i < type.fields.size(); ++i) {
    const Field& field = type.fields[i];
    if (field.tag != 0) byTag.push_back(i);
    if (!field.isInline) byJson.push_back(i);
    if (type.isKind && field.json == "items" && field.shape == Shape::List && type.name.ends_with("List"))
      itemsField = fmt::format("{}", i);
    fields += emitField(model, cpp, field, lists);
  }
  std::sort(byTag.begin(), byTag.end(), [&](size_t a, size_t b) { return type.fields[a].tag < type.fields[b].tag; });
  std::sort(byJson.begin(), byJson.end(), [&](size_t a, size_t b) { return type.fields[a].json < type.fields[b].json; });
  TypeText out;
  if (!fields.empty()) out.arrays = fmt::format("constexpr FieldInfo kFields_{}[] = {{\n{}}};\n", table, fields);
  out.arrays += emitIndices("kByTag_" + table, byTag) + emitIndices("kByJson_" + table, byJson);
  std::string group = type.isKind ? (type.group.empty() ? package.group : type.group) : "";
  out.table = fmt::format(
      "constinit const TypeInfo {} = {{{}, {}, {}, {}, {}, sizeof({}), alignof({}), {}, {}, {}, "
      "{}, {}, {}, {}, {}, {}, "
      "{}}};\n",
      table, stringLiteral(full), stringLiteral(package.openApi + "." + type.name), stringLiteral(group),
      stringLiteral(type.isKind ? package.version : ""), stringLiteral(type.isKind ? type.name : ""), cpp, cpp,
      offsetOfField(type, cpp, "meta/v1.ObjectMeta"), offsetOfField(type, cpp, "meta/v1.ListMeta"), itemsField, type.wrapped,
      type.atomic, fields.empty() ? "{}" : "kFields_" + table, byTag.empty() ? "{}" : "kByTag_" + table,
      byJson.empty() ? "{}" : "kByJson_" + table, type.isKind && !type.noTypeMeta, stringLiteral(type.unions));
  return out;
}

struct NamedType {
  std::string group, version, kind, full;
};

std::vector<NamedType> rootKinds(const Model& model) {
  std::vector<NamedType> out;
  for (const auto& [name, package] : model)
    for (const Type& type : package.types)
      if (type.isKind)
        out.push_back({type.group.empty() ? package.group : type.group, package.version, type.name, name + "." + type.name});
  return out;
}

std::string typePointer(const std::vector<NamedType>& kinds, const std::string& group, const std::string& version,
                        const std::string& kind) {
  for (const NamedType& candidate : kinds)
    if (candidate.group == group && candidate.version == version && candidate.kind == kind)
      return "&" + tableName(candidate.full);
  return "nullptr";
}

std::string emitResource(const std::vector<NamedType>& kinds, const Package& package, const Resource& resource, Lists& lists) {
  const std::string& kindGroup = resource.kindVersion.empty() ? package.group : resource.kindGroup;
  const std::string& kindVersion = resource.kindVersion.empty() ? package.version : resource.kindVersion;
  std::string listType =
      resource.subresource.empty() ? typePointer(kinds, kindGroup, kindVersion, resource.kind + "List") : "nullptr";
  return fmt::format("    {{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}},\n", stringLiteral(package.group),
                     stringLiteral(package.version), stringLiteral(resource.resource), stringLiteral(resource.subresource),
                     stringLiteral(resource.kind), stringLiteral(resource.singular), resource.namespaced,
                     lists.use(resource.verbs), lists.use(resource.shortNames), lists.use(resource.categories),
                     stringLiteral(resource.kindGroup), stringLiteral(resource.kindVersion), stringLiteral(resource.hash),
                     typePointer(kinds, kindGroup, kindVersion, resource.kind), listType, resource.deleteReturnsObject);
}

}  // namespace

std::string stringLiteral(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string emitTables(const Model& model, const Package& package) {
  Lists lists;
  std::string arrays, tables;
  for (const Type& type : package.types) {
    TypeText text = emitType(model, package, type, lists);
    arrays += text.arrays;
    tables += text.table;
  }
  return fmt::format(
      "// Generated from api/{0}.api. Do not edit.\n#include \"api/{0}.h\"\n\n#include "
      "<cstddef>\n\n"
      "namespace knarr::schema::tables {{\nnamespace {{\n{1}{2}}}  // namespace\n\n{3}}}  // "
      "namespace "
      "knarr::schema::tables\n",
      package.fileName(), lists.text(), arrays, tables);
}

std::string emitRegistry(const Model& model) {
  Lists lists;
  std::string externs, types, resources;
  for (const auto& [name, package] : model)
    for (const Type& type : package.types) {
      std::string table = tableName(name + "." + type.name);
      externs += fmt::format("extern const TypeInfo {};\n", table);
      types += fmt::format("    &{},\n", table);
    }
  std::vector<NamedType> kinds = rootKinds(model);
  for (const auto& [name, package] : model)
    for (const Resource& resource : package.resources) resources += emitResource(kinds, package, resource, lists);
  std::string byKind;
  std::sort(kinds.begin(), kinds.end(), [](const NamedType& a, const NamedType& b) {
    return std::tie(a.group, a.version, a.kind) < std::tie(b.group, b.version, b.kind);
  });
  for (const NamedType& kind : kinds) byKind += fmt::format("    &{},\n", tableName(kind.full));
  return fmt::format(
      "// Generated from api/*.api. Do not edit.\n#include \"schema/registry.h\"\n\nnamespace "
      "knarr::schema::tables "
      "{{\n{}namespace {{\n{}constexpr const TypeInfo* kTypes[] = {{\n{}}};\nconstexpr const "
      "TypeInfo* kTypesByKind[] = "
      "{{\n{}}};\nconstexpr ResourceInfo kResources[] = {{\n{}}};\n}}  // namespace\n\n"
      "constinit const Registry kRegistry = {{kTypes, kTypesByKind, kResources}};\n}}  // "
      "namespace "
      "knarr::schema::tables\n",
      externs, lists.text(), types, byKind, resources);
}

}  // namespace knarr::schema::generator
