// Look-ups over the generated registry.
#include "schema/registry.h"

#include <algorithm>
#include <tuple>
#include <vector>

namespace knarr::schema {
namespace {

using tables::kRegistry;

auto kindKey(const TypeInfo& type) { return std::tie(type.group, type.version, type.kind); }

// Every API group serves these kinds of meta/v1 as its own.
// Source: k8s.io/apimachinery/pkg/apis/meta/v1 AddToGroupVersion.
bool isInEveryGroup(std::string_view kind) {
  constexpr std::string_view kKinds[] = {"WatchEvent",    "ListOptions",   "GetOptions",  "DeleteOptions",
                                         "CreateOptions", "UpdateOptions", "PatchOptions"};
  return std::find(std::begin(kKinds), std::end(kKinds), kind) != std::end(kKinds);
}

const TypeInfo* findExactType(std::string_view group, std::string_view version, std::string_view kind) {
  auto key = std::tie(group, version, kind);
  auto at = std::lower_bound(kRegistry.typesByKind.begin(), kRegistry.typesByKind.end(), key,
                             [](const TypeInfo* type, const auto& wanted) { return kindKey(*type) < wanted; });
  return at != kRegistry.typesByKind.end() && kindKey(**at) == key ? *at : nullptr;
}

// Sorted look-up tables over constant data; made once, on first use.
template <class Key, class Value>
struct Sorted {
  std::vector<std::pair<Key, const Value*>> entries;

  void sort() {
    // Entries of one key stay in declaration order: they point into one array.
    std::sort(entries.begin(), entries.end());
  }
  const Value* find(const Key& key) const {
    auto at = std::lower_bound(entries.begin(), entries.end(), key,
                               [](const auto& entry, const Key& wanted) { return entry.first < wanted; });
    return at != entries.end() && at->first == key ? at->second : nullptr;
  }
};

using Name = std::string_view;
using Names3 = std::tuple<Name, Name, Name>;
using Names4 = std::tuple<Name, Name, Name, Name>;

const Sorted<Name, TypeInfo>& typesByName() {
  static const Sorted<Name, TypeInfo> sorted = [] {
    Sorted<Name, TypeInfo> out;
    for (const TypeInfo* type : kRegistry.types) out.entries.emplace_back(type->name, type);
    out.sort();
    return out;
  }();
  return sorted;
}

const Sorted<Names4, ResourceInfo>& resourcesByName() {
  static const Sorted<Names4, ResourceInfo> sorted = [] {
    Sorted<Names4, ResourceInfo> out;
    for (const ResourceInfo& resource : kRegistry.resources)
      out.entries.emplace_back(Names4(resource.group, resource.version, resource.resource, resource.subresource), &resource);
    out.sort();
    return out;
  }();
  return sorted;
}

const Sorted<Names3, ResourceInfo>& resourcesByKind() {
  static const Sorted<Names3, ResourceInfo> sorted = [] {
    Sorted<Names3, ResourceInfo> out;
    for (const ResourceInfo& resource : kRegistry.resources)
      if (resource.subresource.empty())
        out.entries.emplace_back(Names3(resource.group, resource.version, resource.kind), &resource);
    out.sort();
    return out;
  }();
  return sorted;
}

}  // namespace

std::span<const TypeInfo* const> allTypes() { return kRegistry.types; }
std::span<const ResourceInfo> allResources() { return kRegistry.resources; }

const TypeInfo* findType(std::string_view group, std::string_view version, std::string_view kind) {
  if (const TypeInfo* exact = findExactType(group, version, kind)) return exact;
  return isInEveryGroup(kind) ? findExactType("", "v1", kind) : nullptr;
}

const TypeInfo* findTypeByName(std::string_view name) { return typesByName().find(name); }

const ResourceInfo* findResource(std::string_view group, std::string_view version, std::string_view resource,
                                 std::string_view subresource) {
  return resourcesByName().find(Names4(group, version, resource, subresource));
}

const ResourceInfo* findResourceOfKind(std::string_view group, std::string_view version, std::string_view kind) {
  return resourcesByKind().find(Names3(group, version, kind));
}

}  // namespace knarr::schema
