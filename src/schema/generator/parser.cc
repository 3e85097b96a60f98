// Reads the schema language. One statement a line; a field line is indented and belongs to the type
// above it.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <set>

#include "base/strings.h"
#include "schema/generator/model.h"

namespace knarr::schema::generator {
namespace {

const std::set<std::string, std::less<>> kBuiltins = {
    "string", "bool",      "int32",    "int64",    "uint64",      "double",       "bytes",    "any",
    "Time",   "MicroTime", "Duration", "Quantity", "IntOrString", "RawExtension", "FieldsV1", "JSON"};

// Words that C++ or a system header keeps for itself.
const std::set<std::string, std::less<>> kReserved = {
    "default", "namespace", "operator", "template", "protected", "private",  "public",  "enum",  "not",
    "class",   "delete",    "export",   "register", "continue",  "volatile", "short",   "long",  "static",
    "auto",    "bool",      "int",      "and",      "or",        "union",    "using",   "new",   "this",
    "linux",   "unix",      "major",    "minor",    "signed",    "unsigned", "mutable", "throw", "try"};

Unexpected lineError(std::string_view file, size_t line, std::string_view what) {
  return fail(Reason::Invalid, fmt::format("{}:{}: {}", file, line, what));
}

// Words separated by blanks; single quotes keep blanks inside a word and are removed.
std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> out;
  std::string word;
  bool inWord = false, quoted = false;
  for (char c : line) {
    if (c == '\'') {
      quoted = !quoted;
      inWord = true;
    } else if (c == ' ' && !quoted) {
      if (inWord) out.push_back(std::move(word));
      word.clear();
      inWord = false;
    } else {
      word += c;
      inWord = true;
    }
  }
  if (inWord) out.push_back(std::move(word));
  return out;
}

std::vector<std::string> commaList(std::string_view text) {
  std::vector<std::string> out;
  for (std::string_view piece : split(text, ',')) out.emplace_back(piece);
  return out;
}

// The value of "key=value" when `word` has that key.
bool attribute(std::string_view word, std::string_view key, std::string& value) {
  if (!word.starts_with(key) || word.size() <= key.size() || word[key.size()] != '=') return false;
  value = word.substr(key.size() + 1);
  return true;
}

// A JSON name as a C++ member: "x-kubernetes-list-type" to xKubernetesListType, "JSONSchemas" to
// jsonSchemas, "default" to default_.
std::string memberName(std::string_view json) {
  std::string out;
  bool upper = false;
  for (char c : json) {
    if (!std::isalnum(static_cast<unsigned char>(c))) {
      upper = !out.empty();
      continue;
    }
    out += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = false;
  }
  for (size_t i = 0; i < out.size() && std::isupper(static_cast<unsigned char>(out[i])); ++i) {
    bool lastOfRun = i + 1 < out.size() && std::islower(static_cast<unsigned char>(out[i + 1]));
    if (i > 0 && lastOfRun) break;
    out[i] = static_cast<char>(std::tolower(static_cast<unsigned char>(out[i])));
  }
  if (kReserved.contains(out)) out += '_';
  return out;
}

std::string qualified(std::string_view name, const Package& package) {
  return name.find('/') != std::string_view::npos || package.name.empty() ? std::string(name)
                                                                          : package.name + "." + std::string(name);
}

Result<void> parseFieldType(std::string_view text, const Package& package, Field& field) {
  if (text.starts_with("[]")) {
    field.shape = Shape::List;
    text.remove_prefix(2);
    if (text.starts_with("*")) {
      field.pointerItems = true;
      text.remove_prefix(1);
    }
  } else if (text.starts_with("map[string]")) {
    field.shape = Shape::Map;
    text.remove_prefix(11);
  } else if (text.starts_with("*")) {
    field.shape = Shape::Pointer;
    text.remove_prefix(1);
  }
  if (text.empty() || text.find_first_of("[]*") != std::string_view::npos)
    return fail(Reason::Invalid, fmt::format("type \"{}\" is not a scalar, a list, a map or a struct", text));
  field.isMessage = !kBuiltins.contains(text);
  field.base = field.isMessage ? qualified(text, package) : std::string(text);
  return {};
}

bool parseFieldAttribute(const std::string& word, const Package& package, Field& field) {
  std::string value;
  if (word.starts_with('=')) {
    auto tag = parseInt(std::string_view(word).substr(1));
    field.tag = tag && *tag > 0 && *tag < 65536 ? static_cast<int>(*tag) : 0;
    return field.tag != 0;
  }
  if (word == "omitempty") return field.omitEmpty = true;
  if (word == "omitzero") return field.omitZero = true;
  if (word == "required") return field.required = true;
  if (attribute(word, "list", field.listType) || attribute(word, "map", field.mapType) ||
      attribute(word, "patchKey", field.patchKey) || attribute(word, "patch", field.patch) ||
      attribute(word, "default", field.defaultJson) || attribute(word, "format", field.format))
    return true;
  if (attribute(word, "keys", value)) {
    field.keys = commaList(value);
  } else if (attribute(word, "enum", value)) {
    field.enumName = qualified(value, package);
  } else if (attribute(word, "gate", value)) {
    field.gates.push_back(value);
  } else if (attribute(word, "validation", value)) {
    field.validation.push_back(value);
  } else {
    return false;
  }
  return true;
}

Result<Field> parseField(const std::vector<std::string>& line, const Package& package) {
  if (line.size() < 2) return fail(Reason::Invalid, "a field needs a name and a type");
  Field field;
  auto parsedType = parseFieldType(line[1], package, field);
  if (!parsedType) return std::unexpected(std::move(parsedType).error());
  field.isInline = line[0] == "inline";
  if (field.isInline) {
    if (!field.isMessage) return fail(Reason::Invalid, "only a struct can be inlined");
    field.cppName = memberName(field.base.substr(field.base.rfind('.') + 1));
  } else {
    field.json = line[0];
    field.cppName = memberName(field.json);
  }
  for (size_t i = 2; i < line.size(); ++i)
    if (!parseFieldAttribute(line[i], package, field))
      return fail(Reason::Invalid, fmt::format("unknown field attribute \"{}\"", line[i]));
  return field;
}

Result<Type> parseType(const std::vector<std::string>& line) {
  if (line.size() < 2) return fail(Reason::Invalid, "a type needs a name");
  Type type;
  type.name = line[1];
  for (size_t i = 2; i < line.size(); ++i) {
    if (line[i] == "kind")
      type.isKind = true;
    else if (line[i] == "noTypeMeta")
      type.noTypeMeta = true;
    else if (line[i] == "atomic")
      type.atomic = true;
    else if (line[i] == "wrapped")
      type.wrapped = true;
    else if (!attribute(line[i], "group", type.group) && !attribute(line[i], "unions", type.unions))
      return fail(Reason::Invalid, fmt::format("unknown type attribute \"{}\"", line[i]));
  }
  return type;
}

Result<Resource> parseResource(const std::vector<std::string>& line) {
  if (line.size() < 3) return fail(Reason::Invalid, "a resource needs a name and a kind");
  Resource resource;
  size_t slash = line[1].find('/');
  resource.resource = line[1].substr(0, slash);
  if (slash != std::string::npos) resource.subresource = line[1].substr(slash + 1);
  resource.kind = line[2];
  for (size_t i = 3; i < line.size(); ++i) {
    std::string value;
    if (line[i] == "namespaced") {
      resource.namespaced = true;
    } else if (line[i] == "deleteReturnsObject") {
      resource.deleteReturnsObject = true;
    } else if (attribute(line[i], "short", value)) {
      resource.shortNames = commaList(value);
    } else if (attribute(line[i], "categories", value)) {
      resource.categories = commaList(value);
    } else if (attribute(line[i], "verbs", value)) {
      resource.verbs = commaList(value);
    } else if (attribute(line[i], "kindGV", value)) {
      resource.kindGroup = value.substr(0, value.find('/'));
      resource.kindVersion = value.substr(value.find('/') + 1);
    } else if (!attribute(line[i], "singular", resource.singular) && !attribute(line[i], "hash", resource.hash)) {
      return fail(Reason::Invalid, fmt::format("unknown resource attribute \"{}\"", line[i]));
    }
  }
  return resource;
}

Result<void> parseLine(std::string_view line, Package& package) {
  std::vector<std::string> word = words(line);
  if (line.starts_with("  ")) {
    if (package.types.empty()) return fail(Reason::Invalid, "a field stands before any type");
    package.types.back().fields.push_back(TRY(parseField(word, package)));
    return {};
  }
  if (word.size() < 2) return fail(Reason::Invalid, fmt::format("\"{}\" is no statement", line));
  if (word[0] == "package") {
    package.name = word[1];
  } else if (word[0] == "group") {
    package.group = word[1] == "\"\"" ? "" : word[1];
  } else if (word[0] == "version") {
    package.version = word[1];
  } else if (word[0] == "openapi") {
    package.openApi = word[1];
  } else if (word[0] == "enum" && word.size() > 3 && (word[2] == "open" || word[2] == "closed")) {
    package.enums.push_back({word[1], word[2] == "closed", {word.begin() + 3, word.end()}});
  } else if (word[0] == "type") {
    package.types.push_back(TRY(parseType(word)));
  } else if (word[0] == "resource") {
    package.resources.push_back(TRY(parseResource(word)));
  } else {
    return fail(Reason::Invalid, fmt::format("unknown statement \"{}\"", word[0]));
  }
  return {};
}

Result<void> checkEmbedding(const Model& model, const std::string& name, std::set<std::string>& open,
                            std::set<std::string>& done) {
  if (done.contains(name)) return {};
  if (!open.insert(name).second) return fail(Reason::Invalid, fmt::format("type {} embeds itself", name));
  for (const Field& field : findType(model, name)->fields) {
    if (!field.isMessage || field.shape != Shape::Value) continue;
    auto checked = checkEmbedding(model, field.base, open, done);
    if (!checked) return checked;
  }
  open.erase(name);
  done.insert(name);
  return {};
}

}  // namespace

std::string Package::fileName() const {
  std::string out = name;
  std::replace(out.begin(), out.end(), '/', '_');
  return out;
}

std::string Package::nameSpace() const {
  std::string out;
  for (char c : name)
    if (c != '/' && c != '_') out += c;
  return out;
}

Result<void> parsePackage(std::string_view fileName, std::string_view text, Model& model) {
  Package package;
  size_t number = 0;
  for (std::string_view line : split(text, '\n')) {
    ++number;
    std::string_view bare = trim(line);
    if (bare.empty() || bare.starts_with('#')) continue;
    auto parsed = parseLine(line, package);
    if (!parsed) return lineError(fileName, number, parsed.error().message());
  }
  if (package.name.empty()) return lineError(fileName, number, "the file names no package");
  std::string name = package.name;
  if (!model.emplace(name, std::move(package)).second)
    return lineError(fileName, 1, fmt::format("package {} is declared twice", name));
  return {};
}

const Type* findType(const Model& model, const std::string& fullName) {
  size_t dot = fullName.rfind('.');
  auto package = model.find(fullName.substr(0, dot));
  if (dot == std::string::npos || package == model.end()) return nullptr;
  for (const Type& type : package->second.types)
    if (fullName.compare(dot + 1, std::string::npos, type.name) == 0) return &type;
  return nullptr;
}

const Enum* findEnum(const Model& model, const std::string& fullName) {
  size_t dot = fullName.rfind('.');
  auto package = model.find(fullName.substr(0, dot));
  if (dot == std::string::npos || package == model.end()) return nullptr;
  for (const Enum& candidate : package->second.enums)
    if (fullName.compare(dot + 1, std::string::npos, candidate.name) == 0) return &candidate;
  return nullptr;
}

Result<void> checkModel(const Model& model) {
  for (const auto& [name, package] : model) {
    for (const Type& type : package.types) {
      std::set<std::string> members;
      for (const Field& field : type.fields) {
        std::string where = fmt::format("{}.{} field {}", name, type.name, field.cppName);
        if (field.isMessage && !findType(model, field.base))
          return fail(Reason::Invalid, fmt::format("{}: no type {}", where, field.base));
        if (!field.enumName.empty() && !findEnum(model, field.enumName))
          return fail(Reason::Invalid, fmt::format("{}: no enum {}", where, field.enumName));
        if (!members.insert(field.cppName).second) return fail(Reason::Invalid, fmt::format("{} is declared twice", where));
      }
    }
  }
  std::set<std::string> open, done;
  for (const auto& [name, package] : model)
    for (const Type& type : package.types) {
      auto checked = checkEmbedding(model, name + "." + type.name, open, done);
      if (!checked) return checked;
    }
  return {};
}

}  // namespace knarr::schema::generator
