// Path items of resources, in the form of swagger 2.0.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "apimachinery/openapi/builder.h"
#include "base/strings.h"

namespace knarr::apimachinery::openapi {

using codec::Value;
using schema::FieldInfo;
using schema::Kind;
using schema::ResourceInfo;
using schema::Shape;
using schema::TypeInfo;

namespace {

std::string capitalised(std::string_view word) {
  std::string out(word);
  if (!out.empty()) out[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(out[0])));
  return out;
}

// "rbac.authorization.k8s.io" to "RbacAuthorization", "" to "Core".
std::string groupWords(std::string_view group) {
  if (group.empty()) return "Core";
  if (group.ends_with(".k8s.io")) group.remove_suffix(7);
  std::string out;
  for (std::string_view word : split(group, '.')) out += capitalised(word);
  return out;
}

std::string tagOf(std::string_view group) {
  std::string out = groupWords(group);
  out[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(out[0])));
  return out;
}

bool hasVerb(const ResourceInfo& resource, std::string_view verb) {
  return std::find(resource.verbs.begin(), resource.verbs.end(), verb) != resource.verbs.end();
}

class PathBuilder {
 public:
  PathBuilder(const GroupVersion& groupVersion, Definitions& definitions, ValueMaker& make)
      : gv_(groupVersion), definitions_(definitions), make_(make) {
    prefix_ = "/" + pathOf(gv_.group, gv_.version);
    words_ = groupWords(gv_.group) + capitalised(gv_.version);
    tag_ = tagOf(gv_.group) + "_" + std::string(gv_.version);
  }

  Value run() {
    addDiscovery();
    for (const ResourceInfo* resource : gv_.resources)
      if (resource->subresource.empty())
        addResource(*resource);
      else
        addSubresource(*resource);
    Value out = Value::emptyObject();
    for (auto& [path, item] : items_) {
      hoistCommonParameters(item);
      out.set(make_.arena(), path, item);
    }
    return out;
  }

 private:
  using Parameters = std::vector<Value>;

  Value& itemAt(const std::string& path) { return items_.try_emplace(path, Value::emptyObject()).first->second; }
  const ResourceInfo* parentOf(const ResourceInfo& subresource) const {
    for (const ResourceInfo* resource : gv_.resources)
      if (resource->subresource.empty() && resource->resource == subresource.resource) return resource;
    return &subresource;
  }

  // ---- parameters
  Value parameter(std::string_view in, std::string_view name, std::string_view type) {
    Value out = make_.object(
        {{"in", make_.text(in)}, {"name", make_.text(name)}, {"type", make_.text(type)}, {"uniqueItems", make_.flag(true)}});
    if (in == "path") out.set(make_.arena(), "required", make_.flag(true));
    return out;
  }
  Value body(const Value& ref, bool required) {
    Value out = make_.object({{"in", make_.text("body")}, {"name", make_.text("body")}, {"schema", ref}});
    if (required) out.set(make_.arena(), "required", make_.flag(true));
    return out;
  }
  // One query parameter per scalar field of an options kind.
  void addOptions(Parameters& out, const TypeInfo& options) {
    for (const FieldInfo& field : options.fields) {
      if (field.json == "preconditions" || schema::ListType::None != field.listType) {
        // Of list options only the plain lists of a few connect kinds are parameters.
        if (&options == &schema::typeInfoOf<metav1::DeleteOptions>() && field.json == "dryRun")
          out.push_back(parameter("query", "dryRun", "string"));
        if (options.kind.starts_with("Pod") && field.shape == Shape::List)
          out.push_back(parameter("query", field.json, typeOf(field)));
        continue;
      }
      if (std::string_view type = typeOf(field); !type.empty()) out.push_back(parameter("query", field.json, type));
    }
  }
  static std::string_view typeOf(const FieldInfo& field) {
    switch (field.kind) {
      case Kind::String:
        return "string";
      case Kind::Bool:
        return "boolean";
      case Kind::Int32:
      case Kind::Int64:
        return "integer";
      default:
        return "";
    }
  }
  void addPathParameters(Parameters& out, const ResourceInfo& resource, bool named, bool allNamespaces) {
    if (resource.namespaced && !allNamespaces) out.push_back(parameter("path", "namespace", "string"));
    if (named) out.push_back(parameter("path", "name", "string"));
  }

  // ---- operations
  Value mediaTypes(bool watches) {
    Value out = Value::emptyArray();
    auto add = [&](std::string_view type) { out.append(make_.arena(), make_.text(type)); };
    add("application/json");
    add("application/yaml");
    if (!gv_.custom) add("application/vnd.kubernetes.protobuf");
    add("application/cbor");
    if (!watches) return out;
    add("application/json;stream=watch");
    if (!gv_.custom) add("application/vnd.kubernetes.protobuf;stream=watch");
    add("application/cbor-seq");
    return out;
  }
  Value patchTypes() {
    Value out = Value::emptyArray();
    auto add = [&](std::string_view type) { out.append(make_.arena(), make_.text(type)); };
    add("application/json-patch+json");
    add("application/merge-patch+json");
    if (!gv_.custom) add("application/strategic-merge-patch+json");
    add("application/apply-patch+yaml");
    add("application/apply-patch+cbor");
    return out;
  }
  Value responses(const Value& schema, std::initializer_list<std::string_view> codes) {
    static const std::map<std::string_view, std::string_view> kWords = {
        {"200", "OK"}, {"201", "Created"}, {"202", "Accepted"}, {"401", "Unauthorized"}};
    Value out = make_.object({{"401", make_.object({{"description", make_.text("Unauthorized")}})}});
    for (std::string_view code : codes)
      out.set(make_.arena(), code, make_.object({{"description", make_.text(kWords.at(code))}, {"schema", schema}}));
    return out;
  }
  struct Operation {
    std::string_view method, action;
    std::string id;
    Parameters parameters;
    Value consumes, produces, responses;
  };
  void add(const std::string& path, const ResourceInfo& resource, Operation operation) {
    bool ownGroup = resource.kindVersion.empty();
    Value gvk = make_.object({{"group", make_.text(ownGroup ? gv_.group : resource.kindGroup)},
                              {"version", make_.text(ownGroup ? gv_.version : resource.kindVersion)},
                              {"kind", make_.text(resource.kind)}});
    Value out = make_.object({{"operationId", make_.text(operation.id)},
                              {"tags", make_.list({make_.text(tag_)})},
                              {"schemes", make_.list({make_.text("https")})},
                              {"consumes", operation.consumes},
                              {"produces", operation.produces},
                              {"responses", operation.responses},
                              {"x-kubernetes-action", make_.text(operation.action)},
                              {"x-kubernetes-group-version-kind", gvk}});
    Value parameters = Value::emptyArray();
    std::sort(operation.parameters.begin(), operation.parameters.end(), [](const Value& a, const Value& b) {
      return std::pair(a.find("name")->string(), a.find("in")->string()) <
             std::pair(b.find("name")->string(), b.find("in")->string());
    });
    for (const Value& one : operation.parameters) parameters.append(make_.arena(), one);
    out.set(make_.arena(), "parameters", parameters);
    itemAt(path).set(make_.arena(), operation.method, out);
  }
  Value anyType() { return make_.list({make_.text("*/*")}); }

  // What all operations of a path share stands once at the path.
  void hoistCommonParameters(Value& item) {
    std::vector<Value*> lists;
    for (codec::Member& method : item.members()) lists.push_back(method.value.find("parameters"));
    if (lists.empty() || !lists[0]) return;
    Value common = Value::emptyArray();
    for (const Value& candidate : lists[0]->items()) {
      if (candidate.find("in")->string() == "body") continue;
      bool everywhere = std::all_of(lists.begin(), lists.end(), [&](const Value* list) {
        return std::find(list->items().begin(), list->items().end(), candidate) != list->items().end();
      });
      if (everywhere) common.append(make_.arena(), candidate);
    }
    for (codec::Member& method : item.members()) {
      Value rest = Value::emptyArray();
      for (const Value& parameter : method.value.find("parameters")->items())
        if (std::find(common.items().begin(), common.items().end(), parameter) == common.items().end())
          rest.append(make_.arena(), parameter);
      if (rest.size() == 0)
        method.value.erase("parameters");
      else
        *method.value.find("parameters") = rest;
    }
    if (common.size() != 0) item.set(make_.arena(), "parameters", common);
  }

  // ---- kinds of operations
  std::string idOf(std::string_view verb, const ResourceInfo& resource, std::string_view suffix,
                   bool allNamespaces = false) const {
    const ResourceInfo* parent = parentOf(resource);
    return fmt::format("{}{}{}{}{}", verb, words_, resource.namespaced && !allNamespaces ? "Namespaced" : "", parent->kind,
                       suffix);
  }
  void addPretty(Parameters& out) { out.push_back(parameter("query", "pretty", "string")); }

  void addList(const std::string& path, const ResourceInfo& resource, bool allNamespaces) {
    Operation op{"get",
                 "list",
                 idOf("list", resource, allNamespaces ? "ForAllNamespaces" : "", allNamespaces),
                 {},
                 anyType(),
                 mediaTypes(true),
                 responses(listRef(resource), {"200"})};
    addPathParameters(op.parameters, resource, false, allNamespaces);
    addOptions(op.parameters, schema::typeInfoOf<metav1::ListOptions>());
    addPretty(op.parameters);
    add(path, resource, std::move(op));
  }
  void addWatch(const std::string& path, const ResourceInfo& resource, bool named, bool allNamespaces) {
    std::string suffix = named ? "" : allNamespaces ? "ListForAllNamespaces" : "List";
    Operation op{"get",
                 named ? "watch" : "watchlist",
                 idOf("watch", resource, suffix, allNamespaces),
                 {},
                 anyType(),
                 mediaTypes(true),
                 responses(definitions_.refTo(schema::typeInfoOf<metav1::WatchEvent>()), {"200"})};
    addPathParameters(op.parameters, resource, named, allNamespaces);
    addOptions(op.parameters, schema::typeInfoOf<metav1::ListOptions>());
    addPretty(op.parameters);
    add(path, resource, std::move(op));
  }
  void addCreate(const std::string& path, const ResourceInfo& resource, std::string_view suffix, bool named) {
    Value ref = kindRef(resource);
    Operation op{"post",
                 "post",
                 idOf("create", resource, suffix),
                 {body(ref, true)},
                 anyType(),
                 mediaTypes(false),
                 responses(ref, {"200", "201", "202"})};
    addPathParameters(op.parameters, resource, named, false);
    addWriteParameters(op.parameters);
    add(path, resource, std::move(op));
  }
  void addWriteParameters(Parameters& out) {
    for (std::string_view name : {"dryRun", "fieldManager", "fieldValidation"}) out.push_back(parameter("query", name, "string"));
    addPretty(out);
  }
  void addRead(const std::string& path, const ResourceInfo& resource, std::string_view suffix) {
    Operation op{
        "get", "get", idOf("read", resource, suffix), {}, anyType(), mediaTypes(false), responses(kindRef(resource), {"200"})};
    addPathParameters(op.parameters, resource, true, false);
    addPretty(op.parameters);
    add(path, resource, std::move(op));
  }
  void addReplace(const std::string& path, const ResourceInfo& resource, std::string_view suffix) {
    Value ref = kindRef(resource);
    Operation op{"put",
                 "put",
                 idOf("replace", resource, suffix),
                 {body(ref, true)},
                 anyType(),
                 mediaTypes(false),
                 responses(ref, {"200", "201"})};
    addPathParameters(op.parameters, resource, true, false);
    addWriteParameters(op.parameters);
    add(path, resource, std::move(op));
  }
  void addPatch(const std::string& path, const ResourceInfo& resource, std::string_view suffix) {
    Operation op{"patch",
                 "patch",
                 idOf("patch", resource, suffix),
                 {body(definitions_.refTo(kPatchName), true)},
                 patchTypes(),
                 mediaTypes(false),
                 responses(kindRef(resource), {"200", "201"})};
    addPathParameters(op.parameters, resource, true, false);
    addWriteParameters(op.parameters);
    op.parameters.push_back(parameter("query", "force", "boolean"));
    add(path, resource, std::move(op));
  }
  void addDelete(const std::string& path, const ResourceInfo& resource) {
    Value answer = resource.deleteReturnsObject ? kindRef(resource) : statusRef();
    Operation op{"delete",  "delete",          idOf("delete", resource, ""),     {deleteBody()},
                 anyType(), mediaTypes(false), responses(answer, {"200", "202"})};
    addPathParameters(op.parameters, resource, true, false);
    addOptions(op.parameters, schema::typeInfoOf<metav1::DeleteOptions>());
    addPretty(op.parameters);
    add(path, resource, std::move(op));
  }
  void addDeleteCollection(const std::string& path, const ResourceInfo& resource) {
    Operation op{"delete",
                 "deletecollection",
                 fmt::format("delete{}Collection{}{}", words_, resource.namespaced ? "Namespaced" : "", resource.kind),
                 {deleteBody()},
                 anyType(),
                 mediaTypes(false),
                 responses(statusRef(), {"200"})};
    addPathParameters(op.parameters, resource, false, false);
    addOptions(op.parameters, schema::typeInfoOf<metav1::DeleteOptions>());
    for (const FieldInfo& field : schema::typeInfoOf<metav1::ListOptions>().fields)
      if (field.json != "watch" && field.json != "allowWatchBookmarks")
        op.parameters.push_back(parameter("query", field.json, typeOf(field)));
    addPretty(op.parameters);
    add(path, resource, std::move(op));
  }
  void addConnect(const std::string& path, const ResourceInfo& resource, std::string_view method, bool withPath) {
    Operation op{
        method, "connect", "", {}, anyType(), anyType(), responses(make_.object({{"type", make_.text("string")}}), {"200"})};
    const ResourceInfo* parent = parentOf(resource);
    op.id = fmt::format("connect{}{}{}{}{}{}", words_, capitalised(method), resource.namespaced ? "Namespaced" : "", parent->kind,
                        capitalised(resource.subresource), withPath ? "WithPath" : "");
    addPathParameters(op.parameters, resource, true, false);
    if (withPath) op.parameters.push_back(parameter("path", "path", "string"));
    addOptions(op.parameters, *resource.type);
    add(path, resource, std::move(op));
  }
  void addLog(const std::string& path, const ResourceInfo& resource) {
    Value produces = make_.list({make_.text("text/plain")});
    for (const Value& type : mediaTypes(false).items()) produces.append(make_.arena(), type);
    Operation op{"get",
                 "get",
                 idOf("read", resource, "Log"),
                 {},
                 anyType(),
                 produces,
                 responses(make_.object({{"type", make_.text("string")}}), {"200"})};
    addPathParameters(op.parameters, resource, true, false);
    addOptions(op.parameters, schema::typeInfoOf<corev1::PodLogOptions>());
    addPretty(op.parameters);
    add(path, resource, std::move(op));
  }

  // ---- resources
  Value kindRef(const ResourceInfo& resource) { return definitions_.refTo(*resource.type); }
  Value listRef(const ResourceInfo& resource) { return definitions_.refTo(*resource.listType); }
  Value statusRef() { return definitions_.refTo(schema::typeInfoOf<metav1::Status>()); }
  Value deleteBody() { return body(definitions_.refTo(schema::typeInfoOf<metav1::DeleteOptions>()), false); }

  void addResource(const ResourceInfo& resource) {
    std::string scope = resource.namespaced ? "/namespaces/{namespace}/" : "/";
    std::string collection = prefix_ + scope + std::string(resource.resource), item = collection + "/{name}";
    std::string everywhere = prefix_ + "/" + std::string(resource.resource);
    std::string watched = prefix_ + "/watch" + scope + std::string(resource.resource);
    if (hasVerb(resource, "list")) {
      addList(collection, resource, false);
      if (resource.namespaced) addList(everywhere, resource, true);
    }
    if (hasVerb(resource, "create")) addCreate(collection, resource, "", false);
    if (hasVerb(resource, "deletecollection")) addDeleteCollection(collection, resource);
    if (hasVerb(resource, "get")) addRead(item, resource, "");
    if (hasVerb(resource, "update")) addReplace(item, resource, "");
    if (hasVerb(resource, "patch")) addPatch(item, resource, "");
    if (hasVerb(resource, "delete")) addDelete(item, resource);
    if (!hasVerb(resource, "watch")) return;
    addWatch(watched, resource, false, false);
    addWatch(watched + "/{name}", resource, true, false);
    if (resource.namespaced) addWatch(prefix_ + "/watch/" + std::string(resource.resource), resource, false, true);
  }

  void addSubresource(const ResourceInfo& resource) {
    std::string scope = resource.namespaced ? "/namespaces/{namespace}/" : "/";
    std::string path = prefix_ + scope + std::string(resource.resource) + "/{name}/" + std::string(resource.subresource);
    std::string suffix = capitalised(resource.subresource);
    if (resource.subresource == "log") return addLog(path, resource);
    if (resource.kind.ends_with("Options")) {
      if (resource.subresource != "proxy") {
        addConnect(path, resource, "get", false);
        return addConnect(path, resource, "post", false);
      }
      for (std::string_view method : {"delete", "get", "head", "options", "patch", "post", "put"}) {
        addConnect(path, resource, method, false);
        addConnect(path + "/{path}", resource, method, true);
      }
      return;
    }
    if (hasVerb(resource, "create")) addCreate(path, resource, suffix, true);
    if (hasVerb(resource, "get")) addRead(path, resource, suffix);
    if (hasVerb(resource, "update")) addReplace(path, resource, suffix);
    if (hasVerb(resource, "patch")) addPatch(path, resource, suffix);
  }

  // GET of the group version itself: its resources.
  void addDiscovery() {
    Value types = mediaTypes(false);
    Value operation =
        make_.object({{"operationId", make_.text("get" + words_ + "APIResources")},
                      {"tags", make_.list({make_.text(tag_)})},
                      {"schemes", make_.list({make_.text("https")})},
                      {"consumes", types},
                      {"produces", types},
                      {"parameters", Value::emptyArray()},
                      {"responses", responses(definitions_.refTo(schema::typeInfoOf<metav1::APIResourceList>()), {"200"})}});
    itemAt(prefix_ + "/").set(make_.arena(), "get", operation);
  }

  const GroupVersion& gv_;
  Definitions& definitions_;
  ValueMaker& make_;
  std::string prefix_, words_, tag_;
  std::map<std::string, Value> items_;
};

}  // namespace

Value buildPaths(const GroupVersion& groupVersion, Definitions& definitions, ValueMaker& make) {
  return PathBuilder(groupVersion, definitions, make).run();
}

}  // namespace knarr::apimachinery::openapi
