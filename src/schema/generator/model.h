// The schema language in memory: what api/*.api says, before it becomes C++. The language is
// described in schema/README.md.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knarr::schema::generator {

enum class Shape { Value, Pointer, List, Map };

struct Field {
  std::string json;  // "" when inlined
  std::string cppName;
  std::string base;  // a built-in kind ("string", "Time") or a full type name ("core/v1.Pod")
  bool isMessage = false;
  Shape shape = Shape::Value;
  int tag = 0;
  bool omitEmpty = false, omitZero = false, required = false, isInline = false, pointerItems = false;
  std::string listType, mapType, patch, patchKey, defaultJson, enumName, format;
  std::vector<std::string> keys, gates, validation;
};

struct Type {
  std::string name;   // "Pod"
  std::string group;  // of a root kind, when it is not the package's
  bool isKind = false, noTypeMeta = false, atomic = false, wrapped = false;
  std::string unions;
  std::vector<Field> fields;
};

struct Enum {
  std::string name;
  bool closed = false;
  std::vector<std::string> values;
};

struct Resource {
  std::string resource, subresource, kind, singular, hash, kindGroup, kindVersion;
  bool namespaced = false, deleteReturnsObject = false;
  std::vector<std::string> verbs, shortNames, categories;
};

struct Package {
  std::string name;  // "core/v1"
  std::string group, version, openApi;
  std::vector<Enum> enums;
  std::vector<Resource> resources;
  std::vector<Type> types;

  std::string fileName() const;   // "core_v1"
  std::string nameSpace() const;  // "corev1"
};

// All packages by name.
using Model = std::map<std::string, Package>;

// Reads one schema file into `model`. Errors name the file and the line.
Result<void> parsePackage(std::string_view fileName, std::string_view text, Model& model);
// Checks what spans files: every named type and enum exists, embedded types do not recurse.
Result<void> checkModel(const Model& model);

// Null when there is none.
const Type* findType(const Model& model, const std::string& fullName);
const Enum* findEnum(const Model& model, const std::string& fullName);

// The generated texts.
std::string emitHeader(const Model& model, const Package& package);
std::string emitTables(const Model& model, const Package& package);
std::string emitRegistry(const Model& model);

// "core/v1.Pod" to "core_v1_Pod", the name of its table.
std::string tableName(std::string_view fullName);
// "core/v1.Pod" to "corev1::Pod".
std::string cppTypeName(std::string_view fullName);
std::string stringLiteral(std::string_view text);

}  // namespace knarr::schema::generator
