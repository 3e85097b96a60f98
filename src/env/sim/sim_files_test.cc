#include <gtest/gtest.h>

#include "env/sim/sim.h"

namespace knarr::env {
namespace {

TEST(SimFiles, behavesLikeAFileSystem) {
  SimEnv world(1);
  Files& files = world.env().files;
  ASSERT_TRUE(files.makeDirectories("/var/lib/knarr/a"));
  EXPECT_EQ(files.writeFileAtomically("/absent/f", "x").error().reason(), Reason::NotFound);
  ASSERT_TRUE(files.writeFileAtomically("/var/lib/knarr/f", "one", 0600));
  ASSERT_TRUE(files.appendFile("/var/lib/knarr/f", "two"));
  EXPECT_EQ(*files.readFile("/var/lib/knarr/f"), "onetwo");
  EXPECT_EQ(files.status("/var/lib/knarr/f")->mode, 0600U);
  ASSERT_TRUE(files.symlink("knarr/f", "/var/lib/link"));
  EXPECT_EQ(*files.readFile("/var/lib/link"), "onetwo");
  EXPECT_EQ(files.status("/var/lib/link", false)->type, FileStatus::Symlink);
  EXPECT_EQ(*files.listDirectory("/var/lib/knarr"), (std::vector<std::string>{"a", "f"}));
  EXPECT_FALSE(files.removeFile("/var/lib/knarr"));
  ASSERT_TRUE(files.rename("/var/lib/knarr", "/var/lib/moved"));
  EXPECT_EQ(*files.readFile("/var/lib/moved/f"), "onetwo");
  EXPECT_FALSE(files.readFile("/var/lib/link"));
  EXPECT_FALSE(files.rename("/var/lib/moved", "/var/lib/moved/a/b"));
  ASSERT_TRUE(files.removeTree("/var/lib/moved"));
  EXPECT_EQ(files.readFile("/var/lib/moved/f").error().reason(), Reason::NotFound);
  EXPECT_EQ(files.readFile("/etc/../etc/./x").error().reason(), Reason::NotFound);
  ASSERT_TRUE(files.symlink("/tmp/loop", "/tmp/loop"));
  EXPECT_FALSE(files.readFile("/tmp/loop"));
}

TEST(SimFiles, crashKeepsWhatWasSyncedAndAtMostAPrefixOfTheRest) {
  std::set<size_t> sizes;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimEnv world(seed);
    SimHost& host = world.host("node");
    Files& files = host.env().files;
    ASSERT_TRUE(files.writeFileAtomically("/var/atomic", "whole"));
    ASSERT_TRUE(files.appendFile("/var/log/wal", "synced"));
    ASSERT_TRUE(files.syncFile("/var/log/wal"));
    ASSERT_TRUE(files.appendFile("/var/log/wal", std::string(1000, 'x')));
    host.crash();
    EXPECT_EQ(*files.readFile("/var/atomic"), "whole");
    std::string wal = *files.readFile("/var/log/wal");
    EXPECT_TRUE(wal.starts_with("synced"));
    EXPECT_LE(wal.size(), 1006U);
    sizes.insert(wal.size());
    world.faults().tornWrites = false;
    ASSERT_TRUE(files.appendFile("/var/log/wal", "gone"));
    ASSERT_TRUE(files.appendFile("/var/log/new", "gone"));
    host.crash();
    EXPECT_EQ(*files.readFile("/var/log/wal"), wal);
    EXPECT_FALSE(files.readFile("/var/log/new"));
  }
  EXPECT_GT(sizes.size(), 10U);
}

TEST(SimFiles, writesFailOnDemand) {
  SimEnv world(1);
  world.faults().failPerFileWrite = 1;
  EXPECT_FALSE(world.env().files.appendFile("/tmp/x", "x"));
  EXPECT_FALSE(world.env().files.writeFileAtomically("/tmp/x", "x"));
  world.faults().failPerFileWrite = 0;
  EXPECT_TRUE(world.env().files.appendFile("/tmp/x", "x"));
}

}  // namespace
}  // namespace knarr::env
