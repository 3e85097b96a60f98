// The printers of tables: every kind's cells fit its columns, also for objects that say nothing.
#include "apiserver/tables/tables.h"

#include <gtest/gtest.h>

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "api/resource_v1alpha3.h"
#include "apiserver/served_resources.h"
#include "codec/codec.h"
#include "codec/value.h"

namespace knarr::apiserver {
namespace {

TEST(Tables, emptyObjectsOfEveryKindFitTheirColumns) {
  size_t own = 0;
  for (const schema::ResourceInfo* info : servedResources({})) {
    if (!info->subresource.empty() || !info->type || info->type->metadataOffset < 0) continue;
    // Printers are asked for objects as they are stored.
    const schema::TypeInfo& type = hasStorage(*info) ? storageTypeOf(*info) : *info->type;
    const TablePrinter& printer = tablePrinterOf(type);
    schema::Ref<> object = schema::Mut<>(type).publish();
    TableCells cells = printer.cells(object, 0);
    // Addresses print their age without a column, as upstream's do.
    size_t expected = printer.columns.size() + (info->resource == "ipaddresses" ? 1 : 0);
    EXPECT_EQ(cells.size(), expected) << info->type->name;
    for (const std::string& cell : cells) {
      Arena arena;
      EXPECT_TRUE(codec::parseJsonValue(cell, arena)) << info->type->name << ": " << cell;
    }
    for (const TableColumn& column : printer.columns) EXPECT_NE(wordsOfColumn(column.name), "") << column.name;
    own += printer.columns.size() > 2 ? 1 : 0;
  }
  EXPECT_GE(own, 40u);
}

TEST(Tables, poolsAreSummedOnceTheyAreAnswered) {
  auto cellsOf = [](std::string_view json) {
    auto decoded = codec::decodeJson(schema::typeInfoOf<resourcev1alpha3::ResourcePoolStatusRequest>(), json);
    EXPECT_TRUE(decoded) << decoded.error().describe();
    schema::Ref<> request = std::move(decoded->object).publish();
    return tablePrinterOf(request.type()).cells(request, 70);
  };
  EXPECT_EQ(cellsOf(R"({"metadata":{"name":"r"},"spec":{"driver":"d"}})"),
            (TableCells{R"("r")", R"("d")", R"("-")", R"("-")", R"("-")", R"("-")", R"("-")", "0", R"("Pending")",
                        R"("\u003cnone\u003e")"}));
  EXPECT_EQ(cellsOf(R"({"metadata":{"name":"r"},"spec":{"driver":"d"},"status":{"poolCount":3,
      "pools":[{"driver":"d","poolName":"a","totalDevices":4,"availableDevices":1,"allocatedDevices":3,"unavailableDevices":0},
               {"driver":"d","poolName":"b","totalDevices":2,"availableDevices":2,"validationError":"x"}],
      "conditions":[{"type":"Complete","status":"True","lastTransitionTime":"1970-01-01T00:00:10Z"}]}})"),
            (TableCells{R"("r")", R"("d")", R"("6")", R"("3")", R"("3")", R"("0")", R"("1")", "3", R"x("Complete (2/3 pools)")x",
                        R"("60s")"}));
}

TEST(Tables, jobs) {
  auto decoded = codec::decodeJson(
      schema::typeInfoOf<batchv1::Job>(),
      R"({"metadata":{"name":"j"},"spec":{"parallelism":3},"status":{"succeeded":1,"startTime":"1970-01-01T00:00:10Z",
      "conditions":[{"type":"Suspended","status":"True"}]}})");
  ASSERT_TRUE(decoded);
  schema::Ref<> job = std::move(decoded->object).publish();
  TableCells cells = tablePrinterOf(job.type()).cells(job, 70);
  EXPECT_EQ(cells[1], "\"Suspended\"");
  EXPECT_EQ(cells[2], "\"1/1 of 3\"");
  EXPECT_EQ(cells[3], "\"60s\"");
}

TEST(Tables, claimsShowTheirVolumeOnlyWhenBound) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<corev1::PersistentVolumeClaim>(),
                                   R"({"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteMany"],"volumeName":"v"},
      "status":{"phase":"Bound","capacity":{"storage":"1Gi"},"accessModes":["ReadWriteMany","ReadWriteOnce"]}})");
  ASSERT_TRUE(decoded);
  schema::Ref<> claim = std::move(decoded->object).publish();
  TableCells cells = tablePrinterOf(claim.type()).cells(claim, 0);
  EXPECT_EQ(cells[1], "\"Bound\"");
  EXPECT_EQ(cells[3], "\"1Gi\"");
  EXPECT_EQ(cells[4], "\"RWO,RWX\"");
}

}  // namespace
}  // namespace knarr::apiserver
