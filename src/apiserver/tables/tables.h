// Server-side tables: what `kubectl get` prints, one printer per kind.
//
// Source: pkg/printers/internalversion/printers.go (columns, cells), apimachinery's duration package (ages).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "schema/object.h"

namespace knarr::apiserver {

struct TableColumn {
  std::string_view name;
  std::string_view type = "string";
  std::string_view format = "";
  int priority = 0;
};

// A cell is JSON text ("\"web\"", "3", "true").
using TableCells = std::vector<std::string>;

struct TablePrinter {
  std::vector<TableColumn> columns;
  // now: seconds since 1970, for ages.
  TableCells (*cells)(const schema::Ref<>& object, int64_t now) = nullptr;
  // Row conditions as JSON, "" for none; null when the kind has none.
  std::string (*conditions)(const schema::Ref<>& object) = nullptr;
};
// What a column shows, in a sentence; "" for a name that no printer has.
std::string_view wordsOfColumn(std::string_view name);
// The printer of a kind; Name and Created At for kinds without one.
const TablePrinter& tablePrinterOf(const schema::TypeInfo& type);

// "5d3h" as upstream prints durations.
std::string humanDuration(int64_t seconds);
std::string ageCell(const schema::Time& since, int64_t now);

}  // namespace knarr::apiserver
