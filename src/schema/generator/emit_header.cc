// The generated header of one package: constants of its enums, plain structs, and their typeInfoOf.
#include <fmt/format.h>

#include <cctype>
#include <functional>
#include <set>

#include "schema/generator/model.h"

namespace knarr::schema::generator {
namespace {

std::string packageOf(std::string_view fullName) { return std::string(fullName.substr(0, fullName.rfind('.'))); }

std::string nameSpaceOf(std::string_view package) {
  Package named;
  named.name = package;
  return named.nameSpace();
}

std::string builtinType(std::string_view base) {
  if (base == "string") return "schema::Str";
  if (base == "int32" || base == "int64" || base == "uint64") return fmt::format("{}_t", base);
  if (base == "bool" || base == "double") return std::string(base);
  if (base == "bytes") return "schema::Bytes";
  if (base == "any" || base == "RawExtension" || base == "FieldsV1" || base == "JSON") return "schema::RawJson";
  return fmt::format("schema::{}", base);
}

std::string memberType(const Package& package, const Field& field) {
  std::string base = !field.isMessage                        ? builtinType(field.base)
                     : packageOf(field.base) == package.name ? field.base.substr(field.base.rfind('.') + 1)
                                                             : cppTypeName(field.base);
  switch (field.shape) {
    case Shape::Value:
      return base;
    case Shape::Pointer:
      // A raw JSON value has a nil of its own.
      if (base == "schema::RawJson") return base;
      return field.isMessage ? base + "*" : fmt::format("schema::Opt<{}>", base);
    case Shape::List:
      return fmt::format("schema::List<{}>", base);
    case Shape::Map:
      return base == "schema::Str" ? "schema::StringMap" : fmt::format("schema::Map<{}>", base);
  }
  return base;
}

// The name of an enum value: "kubernetes.io/tls" to KubernetesIoTls, "" to None, "*" to All,
// "SIGRTMIN+1" to SIGRTMIN_Plus1. Signal names end in _ because they are macros of <csignal>.
std::string constantName(std::string_view value) {
  if (value.empty()) return "None";
  if (value == "*") return "All";
  std::string out;
  if (value.starts_with("SIG")) {
    for (char c : value) out += c == '+' ? "_Plus" : c == '-' ? "_Minus" : std::string(1, c);
    return out + "_";
  }
  bool upper = true;
  for (char c : value) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_') {
      upper = true;
      continue;
    }
    out += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = false;
  }
  if (std::isdigit(static_cast<unsigned char>(out[0]))) out.insert(out.begin(), 'V');
  return out;
}

std::string emitEnum(const Enum& declared, bool isAlsoType) {
  std::string out = fmt::format("namespace {}{} {{\n", declared.name, isAlsoType ? "Values" : "");
  std::set<std::string> names;
  for (const std::string& value : declared.values) {
    std::string name = constantName(value);
    while (!names.insert(name).second) name += '_';
    out += fmt::format("inline constexpr schema::Str {} = {};\n", name, stringLiteral(value));
  }
  return out + "}\n";
}

std::string emitStruct(const Package& package, const Type& type) {
  std::string out = fmt::format("struct {} {{\n", type.name);
  for (const Field& field : type.fields) {
    std::string initial = memberType(package, field) == "schema::Str" ? "" : "{}";
    out += fmt::format("  {} {}{};\n", memberType(package, field), field.cppName, initial);
  }
  return out + "};\n";
}

// Embedded structs before those that embed them; otherwise the order of the file.
std::vector<const Type*> embeddingOrder(const Model& model, const Package& package) {
  std::vector<const Type*> out;
  std::set<const Type*> done;
  std::function<void(const Type&)> visit = [&](const Type& type) {
    if (!done.insert(&type).second) return;
    for (const Field& field : type.fields)
      if (field.isMessage && field.shape == Shape::Value && packageOf(field.base) == package.name)
        visit(*findType(model, field.base));
    out.push_back(&type);
  };
  for (const Type& type : package.types) visit(type);
  return out;
}

}  // namespace

std::string cppTypeName(std::string_view fullName) {
  return fmt::format("{}::{}", nameSpaceOf(packageOf(fullName)), fullName.substr(fullName.rfind('.') + 1));
}

std::string tableName(std::string_view fullName) {
  std::string out;
  for (char c : fullName) out += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return out;
}

std::string emitHeader(const Model& model, const Package& package) {
  std::string out = fmt::format("// Generated from api/{}.api. Do not edit.\n#pragma once\n\n", package.fileName());
  std::set<std::string> includes;
  for (const Type& type : package.types)
    for (const Field& field : type.fields)
      if (field.isMessage && packageOf(field.base) != package.name) includes.insert(model.at(packageOf(field.base)).fileName());
  for (const std::string& include : includes) out += fmt::format("#include \"api/{}.h\"\n", include);
  out += "#include \"schema/type_info.h\"\n#include \"schema/values.h\"\n\n";
  out += fmt::format("namespace knarr::{} {{\n\n", package.nameSpace());
  if (package.name == "meta/v1") out += "using schema::Duration;\nusing schema::MicroTime;\nusing schema::Time;\n\n";
  for (const Type& type : package.types) out += fmt::format("struct {};\n", type.name);
  out += '\n';
  for (const Enum& declared : package.enums)
    out += emitEnum(declared, findType(model, package.name + "." + declared.name) != nullptr);
  for (const Type* type : embeddingOrder(model, package)) out += '\n' + emitStruct(package, *type);
  out += fmt::format("\n}}  // namespace knarr::{}\n\nnamespace knarr::schema {{\nnamespace tables {{\n", package.nameSpace());
  for (const Type& type : package.types)
    out += fmt::format("extern const TypeInfo {};\n", tableName(package.name + "." + type.name));
  out += "}\n";
  for (const Type& type : package.types) {
    std::string full = package.name + "." + type.name;
    out += fmt::format("template <>\ninline const TypeInfo& typeInfoOf<{}>() {{ return tables::{}; }}\n", cppTypeName(full),
                       tableName(full));
  }
  return out + "}  // namespace knarr::schema\n";
}

}  // namespace knarr::schema::generator
