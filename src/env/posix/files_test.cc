#include <gtest/gtest.h>
#include <unistd.h>

#include "env/posix/posix.h"

namespace knarr::env {
namespace {

class PosixFilesTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(files.makeDirectories(root + "/a/b")); }
  void TearDown() override { EXPECT_TRUE(files.removeTree(root)); }
  std::unique_ptr<PosixEnv> real = makePosixEnv();
  Files& files = real->env().files;
  std::string root = testing::TempDir() + "knarr-files-" + std::to_string(::getpid());
};

TEST_F(PosixFilesTest, writeReadAppend) {
  std::string path = root + "/f";
  ASSERT_TRUE(files.writeFileAtomically(path, "one", 0600));
  ASSERT_TRUE(files.appendFile(path, "two"));
  ASSERT_TRUE(files.syncFile(path));
  EXPECT_EQ(*files.readFile(path), "onetwo");
  EXPECT_EQ(files.status(path)->mode, 0600U);
  EXPECT_EQ(files.status(path)->sizeBytes, 6U);
  ASSERT_TRUE(files.writeFileAtomically(path, std::string(100'000, 'x'), 0644));
  EXPECT_EQ(files.readFile(path)->size(), 100'000U);
  auto tooLarge = files.readFile(path, 99'999);
  ASSERT_FALSE(tooLarge);
  EXPECT_EQ(tooLarge.error().reason(), Reason::RequestEntityTooLarge);
  EXPECT_EQ(*files.listDirectory(root), (std::vector<std::string>{"a", "f"}));
}

TEST_F(PosixFilesTest, readsFilesWithoutASize) {
  auto text = files.readFile("/proc/self/status");
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("Pid:"), std::string::npos);
}

TEST_F(PosixFilesTest, absentIsNotFoundAndNamesThePath) {
  auto got = files.readFile(root + "/absent");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().reason(), Reason::NotFound);
  EXPECT_NE(got.error().message().find(root + "/absent"), std::string::npos);
  EXPECT_TRUE(files.removeTree(root + "/absent/deeper"));
  EXPECT_FALSE(files.removeFile(root + "/absent"));
}

TEST_F(PosixFilesTest, removeTreeDoesNotFollowLinks) {
  ASSERT_TRUE(files.writeFileAtomically(root + "/a/b/keep", "x"));
  ASSERT_TRUE(files.makeDirectories(root + "/doomed/deep"));
  ASSERT_TRUE(files.symlink(root + "/a", root + "/doomed/deep/link"));
  EXPECT_EQ(*files.readLink(root + "/doomed/deep/link"), root + "/a");
  ASSERT_TRUE(files.removeTree(root + "/doomed"));
  EXPECT_FALSE(files.status(root + "/doomed"));
  EXPECT_TRUE(files.status(root + "/a/b/keep"));
  EXPECT_FALSE(files.removeTree(root + "/a/.."));
}

TEST_F(PosixFilesTest, renameAndModes) {
  ASSERT_TRUE(files.writeFileAtomically(root + "/x", "1"));
  ASSERT_TRUE(files.rename(root + "/x", root + "/y"));
  ASSERT_TRUE(files.setMode(root + "/y", 0400));
  EXPECT_EQ(files.status(root + "/y")->mode, 0400U);
  EXPECT_EQ(files.status(root + "/a")->type, FileStatus::Directory);
  EXPECT_FALSE(files.makeDirectories(root + "/y/z"));
}

}  // namespace
}  // namespace knarr::env
