#include "env/posix/network.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "env/posix/socket_address.h"

namespace knarr::env::posix {
namespace {

// The kernel's queue of connections not yet accepted; net.core.somaxconn lowers it.
constexpr int kBacklog = 4096;
// Connections taken per readiness event, so that a flood of them leaves room for the others' work.
constexpr int kAcceptsPerTurn = 64;
// With no descriptor left, accepting is tried again after this long.
constexpr Duration kAcceptPause = std::chrono::milliseconds(100);

IoStep stepFromErrno() {
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {IoStep::WouldBlock};
  return {IoStep::Failed, 0, errno};
}

template <class Get>
std::string addressOf(int fd, Get get) {
  SocketAddress address;
  address.length = sizeof address.storage;
  if (get(fd, address.pointer(), &address.length) != 0) return "";
  return formatSocketAddress(address);
}
std::string localAddressOf(int fd) { return addressOf(fd, getsockname); }
std::string peerAddressOf(int fd) { return addressOf(fd, getpeername); }

// One direction's readiness: the edge seen since the last WouldBlock, and who waits for the next.
struct Direction {
  bool ready = true;  // unknown counts as ready: the next call tells
  Callback waiting;
};

class FdStream final : public Stream {
 public:
  FdStream(Loop& loop, Fd fd) : loop_(loop), fd_(std::move(fd)), state_(std::make_shared<State>()) {
    watch_ = loop_.watch(fd_.get(), [state = state_, &executor = loop_](uint32_t events) {
      if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) signal(executor, state, &State::readable);
      if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) signal(executor, state, &State::writable);
    });
  }
  ~FdStream() override {
    state_->closed = true;
    state_->readable.waiting = nullptr;
    state_->writable.waiting = nullptr;
    loop_.unwatch(fd_.get(), watch_);
  }

  IoStep read(std::span<char> into) override {
    if (into.empty()) return {IoStep::Done};
    ssize_t got = ::read(fd_.get(), into.data(), into.size());
    if (got > 0) return {IoStep::Done, static_cast<size_t>(got)};
    if (got == 0) return {IoStep::Eof};
    IoStep step = stepFromErrno();
    if (step.kind == IoStep::WouldBlock) state_->readable.ready = false;
    // A terminal whose other side is gone answers EIO.
    if (step.errorNumber == EIO) return {IoStep::Eof};
    return step;
  }
  IoStep write(std::span<const char> from) override {
    if (from.empty()) return {IoStep::Done};
    ssize_t put = ::write(fd_.get(), from.data(), from.size());
    if (put >= 0) return {IoStep::Done, static_cast<size_t>(put)};
    IoStep step = stepFromErrno();
    if (step.kind == IoStep::WouldBlock) state_->writable.ready = false;
    return step;
  }
  void whenReadable(Callback ready) override { arm(&State::readable, std::move(ready)); }
  void whenWritable(Callback ready) override { arm(&State::writable, std::move(ready)); }
  void shutdownWrite() override { ::shutdown(fd_.get(), SHUT_WR); }
  std::string peerAddress() const override { return peerAddressOf(fd_.get()); }
  std::string localAddress() const override { return localAddressOf(fd_.get()); }

 private:
  // Shared with callbacks already posted, which may outlive the stream.
  struct State {
    Direction readable;
    Direction writable;
    bool closed = false;
  };
  static void signal(Executor& executor, const std::shared_ptr<State>& state, Direction State::* which) {
    Direction& direction = (*state).*which;
    direction.ready = true;
    if (!direction.waiting) return;
    executor.post([state, which] {
      Callback waiting = std::exchange(((*state).*which).waiting, nullptr);
      if (waiting && !state->closed) waiting();
    });
  }
  void arm(Direction State::* which, Callback ready) {
    Direction& direction = (*state_).*which;
    direction.waiting = std::move(ready);
    if (direction.ready) signal(loop_, state_, which);
  }

  Loop& loop_;
  Fd fd_;
  std::shared_ptr<State> state_;
  uint64_t watch_ = 0;
};

// Source: Go's net package: no delay, keep-alive probes every 15 s, so that a dead peer is noticed
// after some minutes.
void setTcpOptions(int fd, int family) {
  if (family == AF_UNIX) return;
  int one = 1;
  int seconds = 15;
  // A socket that refuses is only slower, or notices later.
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
}

class FdListener final : public Listener {
 public:
  FdListener(Loop& loop, Fd fd, SocketAddress address, std::move_only_function<void(std::unique_ptr<Stream>)> accept)
      : loop_(loop), fd_(std::move(fd)), family_(address.family()), state_(std::make_shared<State>()) {
    address_ = localAddressOf(fd_.get());
    if (family_ == AF_UNIX) unixPath_ = reinterpret_cast<sockaddr_un&>(address.storage).sun_path;
    state_->accept = std::move(accept);
    state_->listener = this;
    watch_ = loop_.watch(fd_.get(), [state = state_](uint32_t) { state->listener->acceptSome(state); });
  }
  ~FdListener() override {
    state_->listener = nullptr;
    loop_.cancelTimer(pause_);
    loop_.unwatch(fd_.get(), watch_);
    if (!unixPath_.empty()) ::unlink(unixPath_.c_str());
  }
  std::string address() const override { return address_; }

 private:
  struct State {
    std::move_only_function<void(std::unique_ptr<Stream>)> accept;
    FdListener* listener = nullptr;
  };

  void acceptSome(std::shared_ptr<State> state) {
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      Fd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) return;
        if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) continue;
        pause_ = loop_.at(SystemClock().now() + kAcceptPause, [state] {
          if (state->listener) state->listener->acceptSome(state);
        });
        return;
      }
      setTcpOptions(fd.get(), family_);
      state->accept(std::make_unique<FdStream>(loop_, std::move(fd)));
      if (!state->listener) return;  // closed by its own callback
    }
    loop_.post([state] {
      if (state->listener) state->listener->acceptSome(state);
    });
  }

  Loop& loop_;
  Fd fd_;
  int family_;
  std::string address_;
  std::string unixPath_;
  std::shared_ptr<State> state_;
  uint64_t watch_ = 0;
  TimerId pause_ = 0;
};

// A connect in progress owns itself until it has reported.
struct Connecting {
  Loop& loop;
  Fd fd;
  std::string text;
  uint64_t watch = 0;
  TimerId timer = 0;
  std::move_only_function<void(Result<std::unique_ptr<Stream>>)> connected;

  void finish(int errorNumber) {
    loop.unwatch(fd.get(), watch);
    loop.cancelTimer(timer);
    auto report = std::exchange(connected, nullptr);
    if (!report) return;
    if (errorNumber == ETIMEDOUT) {
      report(fail(Reason::Timeout, "connect to " + text + ": timed out"));
    } else if (errorNumber != 0) {
      report(fail(Reason::ServiceUnavailable, "connect to " + text + ": " + std::strerror(errorNumber)));
    } else {
      report(std::make_unique<FdStream>(loop, std::move(fd)));
    }
  }
};

class FdDatagramSocket final : public DatagramSocket {
 public:
  FdDatagramSocket(Loop& loop, Fd fd) : loop_(loop), fd_(std::move(fd)), state_(std::make_shared<Direction>()) {
    watch_ = loop_.watch(fd_.get(), [state = state_, &executor = loop_](uint32_t events) {
      if (events & (EPOLLIN | EPOLLERR)) signal(executor, state);
    });
  }
  ~FdDatagramSocket() override {
    state_->waiting = nullptr;
    loop_.unwatch(fd_.get(), watch_);
  }
  IoStep receive(std::span<char> into, std::string& from) override {
    SocketAddress address;
    address.length = sizeof address.storage;
    ssize_t got = ::recvfrom(fd_.get(), into.data(), into.size(), 0, address.pointer(), &address.length);
    if (got < 0) {
      IoStep step = stepFromErrno();
      if (step.kind == IoStep::WouldBlock) state_->ready = false;
      return step;
    }
    from = formatSocketAddress(address);
    return {IoStep::Done, static_cast<size_t>(got)};
  }
  IoStep send(std::span<const char> bytes, std::string_view to) override {
    auto address = parseSocketAddress(to);
    if (!address) return {IoStep::Failed, 0, EINVAL};
    ssize_t put = ::sendto(fd_.get(), bytes.data(), bytes.size(), 0, address->pointer(), address->length);
    if (put < 0) return stepFromErrno();
    return {IoStep::Done, static_cast<size_t>(put)};
  }
  void whenReadable(Callback ready) override {
    state_->waiting = std::move(ready);
    if (state_->ready) signal(loop_, state_);
  }
  std::string localAddress() const override { return localAddressOf(fd_.get()); }

 private:
  static void signal(Executor& executor, const std::shared_ptr<Direction>& state) {
    state->ready = true;
    if (!state->waiting) return;
    executor.post([state] {
      if (Callback waiting = std::exchange(state->waiting, nullptr)) waiting();
    });
  }
  Loop& loop_;
  Fd fd_;
  std::shared_ptr<Direction> state_;
  uint64_t watch_ = 0;
};

// A Unix socket file whose server is gone refuses connections; it may be removed. Anything else is
// left alone.
void removeStaleUnixSocket(const SocketAddress& address) {
  auto* path = reinterpret_cast<const sockaddr_un&>(address.storage).sun_path;
  struct stat status{};
  if (path[0] == '\0' || ::lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode)) return;
  Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(probe.get(), address.pointer(), address.length) != 0 && errno == ECONNREFUSED) ::unlink(path);
}

Unexpected bindFailed(std::string_view what, std::string_view address, int errorNumber) {
  std::string message = std::string(what) + " " + std::string(address) + ": " + std::strerror(errorNumber);
  if (errorNumber == EADDRINUSE) {
    return fail(Reason::AlreadyExists, message + "; another program uses it: stop that program or choose another port");
  }
  if (errorNumber == EACCES || errorNumber == EPERM) return fail(Reason::Forbidden, message);
  return fail(Reason::InternalError, message);
}

}  // namespace

Result<std::unique_ptr<Listener>> PosixNetwork::listen(std::string_view address,
                                                       std::move_only_function<void(std::unique_ptr<Stream>)> accept) {
  SocketAddress parsed = TRY(parseSocketAddress(address));
  Fd fd(::socket(parsed.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return failErrno("listen on " + std::string(address), errno);
  int one = 1;
  if (parsed.family() == AF_UNIX) {
    removeStaleUnixSocket(parsed);
  } else {
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  }
  if (::bind(fd.get(), parsed.pointer(), parsed.length) != 0 || ::listen(fd.get(), kBacklog) != 0)
    return bindFailed("listen on", address, errno);
  return std::make_unique<FdListener>(loop_, std::move(fd), parsed, std::move(accept));
}

void PosixNetwork::connect(std::string_view address, Duration timeout,
                           std::move_only_function<void(Result<std::unique_ptr<Stream>>)> connected) {
  auto connecting = std::make_shared<Connecting>(loop_, Fd(), std::string(address));
  connecting->connected = std::move(connected);
  auto parsed = parseSocketAddress(address);
  if (!parsed) {
    loop_.post([connecting, error = parsed.error()]() mutable { connecting->connected(std::unexpected(std::move(error))); });
    return;
  }
  connecting->fd = Fd(::socket(parsed->family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int errorNumber = 0;
  if (!connecting->fd) {
    errorNumber = errno;
  } else {
    setTcpOptions(connecting->fd.get(), parsed->family());
    if (::connect(connecting->fd.get(), parsed->pointer(), parsed->length) != 0) errorNumber = errno;
  }
  if (errorNumber != EINPROGRESS) {
    loop_.post([connecting, errorNumber] { connecting->finish(errorNumber); });
    return;
  }
  connecting->timer = loop_.at(SystemClock().now() + timeout, [connecting] { connecting->finish(ETIMEDOUT); });
  connecting->watch = loop_.watch(connecting->fd.get(), [connecting](uint32_t events) {
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return;
    int failure = 0;
    socklen_t size = sizeof failure;
    if (::getsockopt(connecting->fd.get(), SOL_SOCKET, SO_ERROR, &failure, &size) != 0) failure = errno;
    connecting->finish(failure);
  });
}

Result<std::unique_ptr<DatagramSocket>> PosixNetwork::bindDatagram(std::string_view address) {
  SocketAddress parsed = TRY(parseSocketAddress(address));
  Fd fd(::socket(parsed.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return failErrno("bind " + std::string(address), errno);
  if (::bind(fd.get(), parsed.pointer(), parsed.length) != 0) return bindFailed("bind", address, errno);
  return std::make_unique<FdDatagramSocket>(loop_, std::move(fd));
}

void PosixNetwork::resolve(std::string_view host, std::move_only_function<void(Result<std::vector<std::string>>)> resolved) {
  auto answer = std::make_shared<Result<std::vector<std::string>>>();
  // getaddrinfo follows the system's configuration (hosts file, resolv.conf) and blocks.
  loop_.block(
      [answer, name = std::string(host)] {
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* list = nullptr;
        int failure = ::getaddrinfo(name.c_str(), nullptr, &hints, &list);
        if (failure != 0) {
          bool absent = failure == EAI_NONAME || failure == EAI_NODATA;
          *answer = fail(absent ? Reason::NotFound : Reason::ServiceUnavailable,
                         "resolve host name " + name + ": " + ::gai_strerror(failure));
          return;
        }
        std::vector<std::string> addresses;
        for (addrinfo* one = list; one; one = one->ai_next) {
          char text[NI_MAXHOST];
          if (::getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0)
            addresses.emplace_back(text);
        }
        ::freeaddrinfo(list);
        *answer = std::move(addresses);
      },
      [answer, resolved = std::move(resolved)]() mutable { resolved(std::move(*answer)); });
}

std::unique_ptr<Stream> makeFdStream(Loop& loop, Fd fd) { return std::make_unique<FdStream>(loop, std::move(fd)); }

}  // namespace knarr::env::posix
