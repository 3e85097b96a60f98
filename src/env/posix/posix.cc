#include "env/posix/posix.h"

#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/assert.h"
#include "base/log.h"
#include "env/posix/files.h"
#include "env/posix/loop.h"
#include "env/posix/network.h"
#include "env/posix/processes.h"
#include "env/xoshiro.h"

namespace knarr::env {
namespace posix {
namespace {

void fillFromKernel(void* into, size_t size) {
  auto* bytes = static_cast<uint8_t*>(into);
  while (size > 0) {
    ssize_t got = ::getrandom(bytes, size, 0);
    ASSERT(got > 0 || errno == EINTR);
    if (got <= 0) continue;
    bytes += got;
    size -= static_cast<size_t>(got);
  }
}

// The kernel for fill().
class PosixRandom final : public Random {
 public:
  PosixRandom() { fillFromKernel(generator_.state, sizeof generator_.state); }
  uint64_t next() override { return generator_.next(); }
  void fill(std::span<uint8_t> bytes) override { fillFromKernel(bytes.data(), bytes.size()); }

 private:
  Xoshiro256 generator_;
};

class PosixEnvironment final : public PosixEnv {
 public:
  PosixEnvironment() : network_(loop_), processes_(loop_) {
    ::signal(SIGPIPE, SIG_IGN);
    setLogClock([] { return SystemClock().unixNanos() / 1000; });
  }
  ~PosixEnvironment() override {
    for (auto& [watch, fd] : signals_) loop_.unwatch(fd.get(), watch);
  }
  Env env() override { return {clock_, loop_, random_, network_, files_, processes_}; }
  void run() override { loop_.run(); }
  void stop() override { loop_.stop(); }
  void onSignal(int signalNumber, std::function<void()> callback) override {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signalNumber);
    ::pthread_sigmask(SIG_BLOCK, &one, nullptr);
    Fd fd(::signalfd(-1, &one, SFD_CLOEXEC | SFD_NONBLOCK));
    ASSERT(fd);
    int raw = fd.get();
    uint64_t watch = loop_.watch(raw, [raw, callback = std::move(callback)](uint32_t) {
      signalfd_siginfo received;
      while (::read(raw, &received, sizeof received) == sizeof received) callback();
    });
    signals_.emplace_back(watch, std::move(fd));
  }

 private:
  SystemClock clock_;
  Loop loop_;
  PosixRandom random_;
  PosixNetwork network_;
  PosixFiles files_;
  PosixProcesses processes_;
  std::vector<std::pair<uint64_t, Fd>> signals_;
};

}  // namespace
}  // namespace posix

std::unique_ptr<PosixEnv> makePosixEnv() { return std::make_unique<posix::PosixEnvironment>(); }

}  // namespace knarr::env
