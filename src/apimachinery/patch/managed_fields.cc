#include "apimachinery/patch/managed_fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/meta_v1.h"
#include "base/strings.h"

namespace knarr::apimachinery {
namespace {

using codec::Value;

// Beyond this many Update entries the oldest are merged. Source: managedfields/internal/capmanagers.go.
constexpr size_t kUpdateManagersMax = 10;
constexpr std::string_view kAncient = "ancient-changes";

// Update entries first by time; Apply before Update. Source: managedfields.go, sortEncodedManagedFields.
bool before(const Manager& a, const Manager& b) {
  if (a.apply != b.apply) return a.apply;
  if (a.unixSeconds != b.unixSeconds) return a.unixSeconds < b.unixSeconds;
  if (a.name != b.name) return a.name < b.name;
  if (a.apiVersion != b.apiVersion) return a.apiVersion < b.apiVersion;
  return a.subresource < b.subresource;
}

Manager* findManager(Managers& managers, const Manager& identity) {
  for (Manager& manager : managers)
    if (manager.sameIdentity(identity)) return &manager;
  return nullptr;
}

void capManagers(Managers& managers) {
  std::vector<Manager*> updates;
  for (Manager& manager : managers)
    if (!manager.apply && manager.subresource.empty()) updates.push_back(&manager);
  if (updates.size() <= kUpdateManagersMax) return;
  std::sort(updates.begin(), updates.end(), [](const Manager* a, const Manager* b) { return before(*a, *b); });
  size_t surplus = updates.size() - kUpdateManagersMax + 1;
  Managers merged;
  for (size_t i = 0; i < surplus; ++i) {
    Manager ancient{std::string(kAncient), false, updates[i]->apiVersion, "", updates[i]->unixSeconds, {}};
    Manager* into = findManager(merged, ancient);
    if (!into) {
      merged.push_back(ancient);
      into = &merged.back();
    }
    into->fields = FieldSet::unite(into->fields, updates[i]->fields);
    into->text.clear();
    into->unixSeconds = std::max(into->unixSeconds, updates[i]->unixSeconds);
    updates[i]->fields = {};
  }
  std::erase_if(managers, [](const Manager& manager) { return manager.fields.empty(); });
  for (Manager& manager : merged) managers.push_back(std::move(manager));
}

void eraseEmpty(Managers& managers) {
  std::erase_if(managers, [](const Manager& manager) { return manager.fields.empty(); });
}

struct Conflict {
  const Manager* manager;
  FieldSet fields;
};

std::string managerText(const Manager& manager) {
  std::string text = quote(manager.name);
  if (!manager.subresource.empty()) text += fmt::format(" with subresource {}", quote(manager.subresource));
  if (!manager.apply) text += fmt::format(" using {}", manager.apiVersion);
  return text;
}

Error conflictOf(std::vector<Conflict> conflicts) {
  std::sort(conflicts.begin(), conflicts.end(),
            [](const Conflict& a, const Conflict& b) { return managerText(*a.manager) < managerText(*b.manager); });
  size_t count = 0;
  std::string lines, single;
  std::vector<Cause> causes;
  for (const Conflict& conflict : conflicts) {
    std::string who = managerText(*conflict.manager);
    lines += fmt::format("{}conflicts with {}:", lines.empty() ? "" : "\n", who);
    for (const std::string& path : conflict.fields.paths()) {
      ++count;
      lines += "\n- " + path;
      single = fmt::format("conflict with {}: {}", who, path);
      causes.push_back({"FieldManagerConflict", "conflict with " + who, path});
    }
  }
  Error error(Reason::Conflict, count == 1 ? "Apply failed with 1 conflict: " + single
                                           : fmt::format("Apply failed with {} conflicts: {}", count, lines));
  for (Cause& cause : causes) error.withCause(std::move(cause));
  return error;
}

// Takes what changed from every other manager; what they own of it is returned when it was changed, not removed.
std::vector<Conflict> takeFromOthers(Managers& managers, const Manager& writer, const Comparison& comparison, bool take) {
  std::vector<Conflict> conflicts;
  if (managers.empty() || (managers.size() == 1 && managers[0].sameIdentity(writer))) return conflicts;
  FieldSet changed = FieldSet::unite(comparison.modified, comparison.added);
  for (Manager& manager : managers) {
    if (manager.sameIdentity(writer)) continue;
    FieldSet theirs = FieldSet::intersect(manager.fields, changed);
    if (!theirs.empty()) conflicts.push_back({&manager, theirs});
    if (!take) continue;
    FieldSet gone = FieldSet::intersect(manager.fields, comparison.removed);
    if (theirs.empty() && gone.empty()) continue;
    manager.fields = FieldSet::subtract(FieldSet::subtract(manager.fields, theirs), gone);
    manager.text.clear();
  }
  return conflicts;
}

}  // namespace

Result<Managers> decodeManagers(const metav1::ObjectMeta& metadata) {
  Managers managers;
  for (const metav1::ManagedFieldsEntry& entry : metadata.managedFields) {
    if (entry.operation != "Apply" && entry.operation != "Update")
      return fail(Reason::BadRequest, "operation must be `Apply` or `Update`");
    if (entry.apiVersion.empty()) return fail(Reason::BadRequest, "apiVersion must not be empty");
    if (entry.fieldsType != "FieldsV1")
      return fail(Reason::BadRequest, fmt::format("invalid fieldsType {}", quote(entry.fieldsType)));
    Manager manager;
    manager.name = entry.manager;
    manager.apply = entry.operation == "Apply";
    manager.apiVersion = entry.apiVersion;
    manager.subresource = entry.subresource;
    manager.unixSeconds = entry.time ? entry.time.value.unixSeconds() : 0;
    manager.fields = TRY(FieldSet::fromJson(entry.fieldsV1.text));
    manager.text = entry.fieldsV1.text;
    managers.push_back(std::move(manager));
  }
  return managers;
}

void encodeManagers(Managers managers, metav1::ObjectMeta& metadata, Arena& arena) {
  eraseEmpty(managers);
  std::sort(managers.begin(), managers.end(), before);
  metadata.managedFields = {};
  for (const Manager& manager : managers) {
    metav1::ManagedFieldsEntry& entry = metadata.managedFields.append(arena);
    entry.manager = arena.copy(manager.name);
    entry.operation = manager.apply ? "Apply" : "Update";
    entry.apiVersion = arena.copy(manager.apiVersion);
    if (manager.unixSeconds != 0) entry.time = schema::Time::fromUnix(manager.unixSeconds);
    entry.fieldsType = "FieldsV1";
    entry.fieldsV1.text = arena.copy(manager.text.empty() ? manager.fields.toJson() : manager.text);
    entry.subresource = arena.copy(manager.subresource);
  }
}

// Source: managedfields/internal/stripmeta.go.
void stripMetadata(FieldSet& set) {
  if (!set.find("f:metadata") && !set.find("f:kind") && !set.find("f:apiVersion")) return;
  for (const char* name : {"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation",
                           "managedFields", "resourceVersion"})
    set.removeSubtree({"f:metadata", std::string("f:") + name});
  set.removeSubtree({"f:apiVersion"});
  set.removeSubtree({"f:kind"});
  if (const FieldSet::Node* metadata = set.find("f:metadata"); metadata && metadata->owned) {
    FieldSet children = metadata->children;
    set.removeSubtree({"f:metadata"});
    if (!children.empty()) set.child("f:metadata") = std::move(children);
  }
}

Result<Managers> trackUpdateFields(const schema::TypeInfo& type, Managers managers, const Value& live, const Value& next,
                                   const Manager& writer) {
  return trackChanges(std::move(managers), TRY(compareTyped(SchemaRef::ofType(type), live, next)), writer);
}

Managers trackChanges(Managers managers, Comparison comparison, const Manager& writer) {
  stripMetadata(comparison.added);
  stripMetadata(comparison.modified);
  stripMetadata(comparison.removed);
  if (comparison.same()) return managers;
  takeFromOthers(managers, writer, comparison, true);
  Manager* mine = findManager(managers, writer);
  FieldSet own = mine ? FieldSet::subtract(mine->fields, comparison.removed) : FieldSet();
  own = FieldSet::unite(std::move(own), FieldSet::unite(std::move(comparison.modified), std::move(comparison.added)));
  if (!mine) {
    managers.push_back(writer);
    mine = &managers.back();
  }
  mine->fields = std::move(own);
  mine->text.clear();
  mine->unixSeconds = writer.unixSeconds;
  eraseEmpty(managers);
  capManagers(managers);
  return managers;
}

Result<ApplyResult> applyConfiguration(const schema::TypeInfo& type, Managers managers, const Value& live, const Value& config,
                                       const Manager& applier, bool force, Arena& arena) {
  SchemaRef schema = SchemaRef::ofType(type);
  FieldSet wanted = TRY(toFieldSet(schema, config));
  stripMetadata(wanted);
  Value merged = TRY(mergeTyped(schema, live, config, arena));
  Manager* mine = findManager(managers, applier);
  FieldSet last = mine ? mine->fields : FieldSet();
  FieldSet owned = wanted;
  for (const Manager& manager : managers)
    if (!manager.sameIdentity(applier)) owned = FieldSet::unite(owned, manager.fields);
  Value pruned = last.empty() ? merged : removeTyped(schema, merged, last, owned, arena);
  Comparison comparison = TRY(compareTyped(schema, live, pruned));
  stripMetadata(comparison.added);
  stripMetadata(comparison.modified);
  stripMetadata(comparison.removed);
  auto conflicts = takeFromOthers(managers, applier, comparison, false);
  if (!conflicts.empty() && !force) return Unexpected(conflictOf(std::move(conflicts)));
  takeFromOthers(managers, applier, comparison, true);
  ApplyResult result;
  mine = findManager(managers, applier);
  bool sameOwnership = mine && mine->fields == wanted;
  result.changed = !comparison.same() || !sameOwnership;
  if (!mine) {
    managers.push_back(applier);
    mine = &managers.back();
  }
  int64_t keptTime = mine->unixSeconds;
  mine->fields = std::move(wanted);
  mine->text.clear();
  mine->unixSeconds = result.changed || keptTime == 0 ? applier.unixSeconds : keptTime;
  eraseEmpty(managers);
  result.object = pruned;
  result.managers = std::move(managers);
  return result;
}

}  // namespace knarr::apimachinery
