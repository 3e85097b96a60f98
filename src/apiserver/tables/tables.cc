#include "apiserver/tables/tables.h"

#include <fmt/format.h>

#include "apimachinery/labels.h"
#include "apiserver/tables/cells.h"
#include "base/strings.h"
#include "codec/codec.h"

namespace knarr::apiserver {

std::string textCell(std::string_view text) { return codec::quoteJson(text); }
std::string numberCell(int64_t number) { return fmt::format("{}", number); }
std::string orNone(std::string_view text) { return textCell(text.empty() ? "<none>" : text); }

std::string containersCell(const corev1::PodSpec& spec) {
  std::vector<std::string> names;
  for (const auto& container : spec.containers) names.emplace_back(container.name);
  return textCell(join(names, ","));
}

std::string imagesCell(const corev1::PodSpec& spec) {
  std::vector<std::string> images;
  for (const auto& container : spec.containers) images.emplace_back(container.image);
  return textCell(join(images, ","));
}

std::string labelsText(const schema::StringMap& labels) {
  std::vector<std::string> pairs;
  for (const auto& [key, value] : labels) pairs.push_back(fmt::format("{}={}", key, value));
  return pairs.empty() ? "<none>" : join(pairs, ",");
}

std::string selectorCell(const metav1::LabelSelector* selector) {
  auto parsed = apimachinery::LabelSelector::from(selector);
  return textCell(parsed ? parsed->str() : "<invalid>");
}

// Source: k8s.io/apimachinery/pkg/util/duration, HumanDuration.
std::string humanDuration(int64_t seconds) {
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return fmt::format("{}s", seconds);
  int64_t minutes = seconds / 60;
  if (minutes < 10) return seconds % 60 == 0 ? fmt::format("{}m", minutes) : fmt::format("{}m{}s", minutes, seconds % 60);
  if (minutes < 180) return fmt::format("{}m", minutes);
  int64_t hours = minutes / 60;
  if (hours < 8) return minutes % 60 == 0 ? fmt::format("{}h", hours) : fmt::format("{}h{}m", hours, minutes % 60);
  if (hours < 48) return fmt::format("{}h", hours);
  int64_t days = hours / 24;
  if (days < 8) return hours % 24 == 0 ? fmt::format("{}d", days) : fmt::format("{}d{}h", days, hours % 24);
  if (days < 730) return fmt::format("{}d", days);
  int64_t years = days / 365;
  if (days < 2920) return days % 365 == 0 ? fmt::format("{}y", years) : fmt::format("{}y{}d", years, days % 365);
  return fmt::format("{}y", years);
}

std::string ageCell(const schema::Time& since, int64_t now) {
  return textCell(since.isZero() ? "<unknown>" : humanDuration(now - since.unixSeconds()));
}

namespace {
const TablePrinter& defaultPrinter() {
  static const TablePrinter kPrinter{{{"Name", "string", "name"}, {"Created At", "date"}},
                                     [](const schema::Ref<>& object, int64_t) -> TableCells {
                                       const metav1::ObjectMeta& metadata = schema::metadataOf(object);
                                       return {textCell(metadata.name),
                                               textCell(formatRfc3339(metadata.creationTimestamp.unixSeconds()))};
                                     },
                                     nullptr};
  return kPrinter;
}
}  // namespace

const TablePrinter& tablePrinterOf(const schema::TypeInfo& type) {
  const TablePrinter* printer = nullptr;
  if (type.group.empty()) {
    printer = coreTablePrinter(type.kind);
    if (!printer) printer = coreVolumeTablePrinter(type.kind);
  }
  if (!printer && type.group == "apps") printer = appsTablePrinter(type.kind);
  if (!printer) printer = otherTablePrinter(type.group, type.kind);
  if (!printer) printer = groupTablePrinter(type.group, type.kind);
  if (!printer) printer = youngTablePrinter(type.group, type.kind);
  return printer ? *printer : defaultPrinter();
}

}  // namespace knarr::apiserver
