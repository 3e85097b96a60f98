// Pieces that the printers of several groups share.
#pragma once

#include <string>

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "apiserver/tables/tables.h"

namespace knarr::apiserver {

std::string textCell(std::string_view text);
std::string numberCell(int64_t number);
std::string orNone(std::string_view text);  // "<none>" when empty, as a cell
std::string containersCell(const corev1::PodSpec& spec);
std::string imagesCell(const corev1::PodSpec& spec);
std::string labelsText(const schema::StringMap& labels);
std::string selectorCell(const metav1::LabelSelector* selector);

const TablePrinter* coreTablePrinter(std::string_view kind);
const TablePrinter* coreVolumeTablePrinter(std::string_view kind);
const TablePrinter* groupTablePrinter(std::string_view group, std::string_view kind);
const TablePrinter* appsTablePrinter(std::string_view kind);
const TablePrinter* youngTablePrinter(std::string_view group, std::string_view kind);
const TablePrinter* otherTablePrinter(std::string_view group, std::string_view kind);

}  // namespace knarr::apiserver
