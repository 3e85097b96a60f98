#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "env/posix/posix.h"

namespace knarr::env {
namespace {

class PosixProcessesTest : public testing::Test {
 protected:
  ProcessExit runToEnd(ProcessSpec spec) {
    ProcessExit result;
    auto started = processes.spawn(std::move(spec), [&](ProcessExit exit) {
      result = std::move(exit);
      real->stop();
    });
    EXPECT_TRUE(started) << started.error().message();
    if (started) real->run();
    return result;
  }
  std::unique_ptr<PosixEnv> real = makePosixEnv();
  Processes& processes = real->env().processes;
};

ProcessSpec shell(std::string script) {
  ProcessSpec spec;
  spec.argv = {"/bin/sh", "-c", std::move(script)};
  return spec;
}

TEST_F(PosixProcessesTest, capturesBothStreamsAndTheCode) {
  ProcessExit exit = runToEnd(shell("echo out; echo err >&2; exit 3"));
  EXPECT_EQ(exit.exitCode, 3);
  EXPECT_EQ(exit.standardOutput, "out\n");
  EXPECT_EQ(exit.standardError, "err\n");
}

TEST_F(PosixProcessesTest, feedsInputAndBoundsOutput) {
  ProcessSpec spec = shell("cat");
  spec.standardInput = std::string(300'000, 'x');
  spec.captureBytesMax = 200'000;
  ProcessExit exit = runToEnd(std::move(spec));
  EXPECT_EQ(exit.exitCode, 0);
  EXPECT_EQ(exit.standardOutput.size(), 200'000U);
}

TEST_F(PosixProcessesTest, inheritsNothing) {
  ::setenv("KNARR_SECRET", "x", 1);
  ProcessSpec spec = shell("echo \"[$KNARR_SECRET][$GIVEN]\"; pwd; ls /proc/self/fd | wc -l");
  spec.environment = {"GIVEN=yes", "PATH=/usr/bin:/bin"};
  spec.workingDirectory = "/usr";
  // ls itself opens the directory it lists: 0, 1, 2 and that one.
  EXPECT_EQ(runToEnd(std::move(spec)).standardOutput, "[][yes]\n/usr\n4\n");
}

TEST_F(PosixProcessesTest, killedIsReportedAs128PlusSignal) {
  ProcessExit result;
  auto id = processes.spawn(shell("read x; sleep 1000"), [&](ProcessExit exit) {
    result = exit;
    real->stop();
  });
  ASSERT_TRUE(id);
  EXPECT_TRUE(processes.alive(*id));
  ASSERT_TRUE(processes.kill(*id, SIGKILL));
  real->run();
  EXPECT_EQ(result.exitCode, 128 + SIGKILL);
  EXPECT_FALSE(processes.alive(*id));
  EXPECT_EQ(processes.kill(*id, SIGKILL).error().reason(), Reason::NotFound);
}

TEST_F(PosixProcessesTest, absentProgramFailsAtOnce) {
  ProcessSpec spec;
  spec.argv = {"/absent/program"};
  auto started = processes.spawn(std::move(spec), [](ProcessExit) { FAIL(); });
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().reason(), Reason::NotFound);
  EXPECT_NE(started.error().message().find("/absent/program"), std::string::npos);
}

TEST_F(PosixProcessesTest, outputFileIsAppendedTo) {
  Files& files = real->env().files;
  std::string path = testing::TempDir() + "knarr-out-" + std::to_string(::getpid());
  for (int i = 0; i < 2; ++i) {
    ProcessSpec spec = shell("echo line");
    spec.outputPath = path;
    spec.newSession = true;
    EXPECT_EQ(runToEnd(std::move(spec)).standardOutput, "");
  }
  EXPECT_EQ(*files.readFile(path), "line\nline\n");
  EXPECT_TRUE(files.removeFile(path));
}

TEST_F(PosixProcessesTest, entersANetworkNamespace) {
  ProcessSpec spec = shell("readlink /proc/self/ns/net");
  spec.environment = {"PATH=/usr/bin:/bin"};
  spec.networkNamespacePath = "/proc/self/ns/net";
  ProcessExit exit;
  auto started = processes.spawn(std::move(spec), [&](ProcessExit e) {
    exit = std::move(e);
    real->stop();
  });
  if (!started) GTEST_SKIP() << "needs root: " << started.error().message();
  real->run();
  EXPECT_EQ(exit.standardOutput, *real->env().files.readLink("/proc/self/ns/net") + "\n");
}

// After it the process runs as before, whatever of it the kernel has to read back.
TEST_F(PosixProcessesTest, filePagesComeBackWhenTheyAreUsed) {
  int child = 0;
  auto started = processes.spawn(shell("exec sleep 60"), [](ProcessExit) {});
  ASSERT_TRUE(started);
  child = *started;
  if (auto released = releaseFilePages(child); !released) GTEST_SKIP() << released.error().message();
  EXPECT_TRUE(processes.alive(child));
  EXPECT_TRUE(releaseFilePages(static_cast<int>(::getpid())));
  EXPECT_EQ(runToEnd(shell("exit 4")).exitCode, 4);
  EXPECT_TRUE(processes.kill(child, SIGKILL));
  constexpr int kNobody = 1 << 30;
  auto nobody = releaseFilePages(kNobody);
  ASSERT_FALSE(nobody);
  EXPECT_NE(nobody.error().message().find("process 1073741824"), std::string::npos);
}

}  // namespace
}  // namespace knarr::env
