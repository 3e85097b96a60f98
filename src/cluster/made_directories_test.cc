#include "cluster/made_directories.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "env/sim/sim.h"

namespace knarr::cluster {
namespace {

const std::string kRecord = "/data/knarr/directories";

class MadeDirectories : public testing::Test {
 protected:
  env::SimEnv world_{1};
  env::Files& files_ = world_.env().files;
};

TEST_F(MadeDirectories, onlyWhatWasAbsentGoes) {
  ASSERT_TRUE(files_.makeDirectories("/opt"));
  ASSERT_TRUE(files_.makeDirectories("/etc/cni"));
  ASSERT_TRUE(recordAbsentDirectories(files_, kRecord, {"/etc/cni/net.d", "/opt/cni/bin", "/data/knarr"}));
  for (const char* path : {"/etc/cni/net.d", "/opt/cni/bin", "/data/knarr"}) ASSERT_TRUE(files_.makeDirectories(path));
  // Again, as a second `up` does: what is there now was absent all the same.
  ASSERT_TRUE(recordAbsentDirectories(files_, kRecord, {"/etc/cni/net.d", "/opt/cni/bin", "/data/knarr"}));
  std::vector<std::string> made = recordedDirectories(files_, kRecord);
  EXPECT_LT(std::ranges::find(made, "/opt/cni/bin"), std::ranges::find(made, "/opt/cni"));
  ASSERT_TRUE(files_.removeTree("/data/knarr"));
  removeEmptyDirectories(files_, made);
  for (const char* path : {"/etc/cni/net.d", "/opt/cni", "/data"}) EXPECT_FALSE(files_.status(path)) << path;
  for (const char* path : {"/etc/cni", "/opt"}) EXPECT_TRUE(files_.status(path)) << path;
}

TEST_F(MadeDirectories, whatHoldsSomethingStays) {
  ASSERT_TRUE(recordAbsentDirectories(files_, kRecord, {"/opt/cni/bin"}));
  ASSERT_TRUE(files_.makeDirectories("/opt/cni/bin"));
  ASSERT_TRUE(files_.writeFileAtomically("/opt/cni/bin/macvlan", "somebody else's"));
  removeEmptyDirectories(files_, recordedDirectories(files_, kRecord));
  EXPECT_TRUE(files_.status("/opt/cni/bin/macvlan"));
}

TEST_F(MadeDirectories, withoutARecordNothingGoes) {
  ASSERT_TRUE(files_.makeDirectories("/opt/cni/bin"));
  removeEmptyDirectories(files_, recordedDirectories(files_, kRecord));
  EXPECT_TRUE(files_.status("/opt/cni/bin"));
}

}  // namespace
}  // namespace knarr::cluster
