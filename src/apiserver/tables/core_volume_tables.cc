// Columns of volumes, claims, quotas, templates and component statuses. Source: pkg/printers/internalversion/printers.go.
#include <fmt/format.h>

#include <map>

#include "api/core_v1.h"
#include "apiserver/tables/cells.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

using schema::Ref;
using schema::Str;

const TableColumn kName{"Name", "string", "name"};
const TableColumn kAge{"Age"};
constexpr std::string_view kClassAnnotation = "volume.beta.kubernetes.io/storage-class";

std::string modesText(const schema::List<Str>& modes) {
  std::vector<std::string> out;
  for (auto [mode, text] : {std::pair{"ReadWriteOnce", "RWO"}, std::pair{"ReadOnlyMany", "ROX"},
                            std::pair{"ReadWriteMany", "RWX"}, std::pair{"ReadWriteOncePod", "RWOP"}})
    if (std::find(modes.begin(), modes.end(), Str(mode)) != modes.end()) out.emplace_back(text);
  return join(out, ",");
}

Str classOf(const schema::StringMap& annotations, Str field) {
  const Str* annotated = annotations.find(kClassAnnotation);
  return annotated ? *annotated : field;
}

std::string storageOf(const schema::Map<schema::Quantity>& list) {
  const schema::Quantity* storage = list.find("storage");
  return storage ? std::string(storage->text) : std::string("0");
}

TableCells volumeCells(const Ref<>& object, int64_t now) {
  Ref<corev1::PersistentVolume> volume(object);
  const auto& spec = volume->spec;
  std::string claim = spec.claimRef ? fmt::format("{}/{}", spec.claimRef->namespace_, spec.claimRef->name) : "";
  return {textCell(volume->metadata.name),
          textCell(storageOf(spec.capacity)),
          textCell(modesText(spec.accessModes)),
          textCell(spec.persistentVolumeReclaimPolicy),
          textCell(volume->metadata.deletionTimestamp ? Str("Terminating") : volume->status.phase),
          textCell(claim),
          textCell(classOf(volume->metadata.annotations, spec.storageClassName)),
          textCell(spec.volumeAttributesClassName.valueOr("<unset>")),
          textCell(volume->status.reason),
          ageCell(volume->metadata.creationTimestamp, now),
          textCell(spec.volumeMode.valueOr("<unset>"))};
}

TableCells claimCells(const Ref<>& object, int64_t now) {
  Ref<corev1::PersistentVolumeClaim> claim(object);
  bool bound = !claim->spec.volumeName.empty();
  return {textCell(claim->metadata.name),
          textCell(claim->metadata.deletionTimestamp ? Str("Terminating") : claim->status.phase),
          textCell(claim->spec.volumeName),
          textCell(bound ? storageOf(claim->status.capacity) : ""),
          textCell(bound ? modesText(claim->status.accessModes) : ""),
          textCell(classOf(claim->metadata.annotations, claim->spec.storageClassName.valueOr(""))),
          textCell(claim->spec.volumeAttributesClassName.valueOr("<unset>")),
          ageCell(claim->metadata.creationTimestamp, now),
          textCell(claim->spec.volumeMode.valueOr("<unset>"))};
}

TableCells quotaCells(const Ref<>& object, int64_t now) {
  Ref<corev1::ResourceQuota> quota(object);
  std::vector<std::string> requests, limits;
  for (const auto& [name, hard] : quota->status.hard) {
    const schema::Quantity* used = quota->status.used.find(name);
    std::string text = fmt::format("{}: {}/{}", name, used && !used->text.empty() ? used->text : Str("0"), hard.text);
    (name.substr(0, name.find('.')) == "limits" ? limits : requests).push_back(std::move(text));
  }
  return {textCell(quota->metadata.name), textCell(join(requests, ", ")), textCell(join(limits, ", ")),
          ageCell(quota->metadata.creationTimestamp, now)};
}

TableCells templateCells(const Ref<>& object, int64_t) {
  Ref<corev1::PodTemplate> pod(object);
  return {textCell(pod->metadata.name), containersCell(pod->template_.spec), imagesCell(pod->template_.spec),
          textCell(labelsText(pod->template_.metadata.labels))};
}

TableCells componentCells(const Ref<>& object, int64_t) {
  Ref<corev1::ComponentStatus> component(object);
  std::string_view status = "Unknown";
  Str message, error;
  for (const auto& condition : component->conditions)
    if (condition.type == "Healthy") {
      status = condition.status == "True" ? "Healthy" : "Unhealthy";
      message = condition.message;
      error = condition.error;
    }
  return {textCell(component->metadata.name), textCell(status), textCell(message), textCell(error)};
}

}  // namespace

const TablePrinter* coreVolumeTablePrinter(std::string_view kind) {
  static const std::map<std::string_view, TablePrinter> kPrinters{
      {"PersistentVolume",
       {{kName,
         {"Capacity"},
         {"Access Modes"},
         {"Reclaim Policy"},
         {"Status"},
         {"Claim"},
         {"StorageClass"},
         {"VolumeAttributesClass"},
         {"Reason"},
         kAge,
         {"VolumeMode", "string", "", 1}},
        volumeCells}},
      {"PersistentVolumeClaim",
       {{kName,
         {"Status"},
         {"Volume"},
         {"Capacity"},
         {"Access Modes"},
         {"StorageClass"},
         {"VolumeAttributesClass"},
         kAge,
         {"VolumeMode", "string", "", 1}},
        claimCells}},
      {"ResourceQuota", {{kName, {"Request"}, {"Limit"}, kAge}, quotaCells}},
      {"PodTemplate", {{kName, {"Containers"}, {"Images"}, {"Pod Labels"}}, templateCells}},
      {"ComponentStatus", {{kName, {"Status"}, {"Message"}, {"Error"}}, componentCells}},
  };
  auto found = kPrinters.find(kind);
  return found == kPrinters.end() ? nullptr : &found->second;
}

}  // namespace knarr::apiserver
