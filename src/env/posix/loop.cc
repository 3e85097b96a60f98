#include "env/posix/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "base/assert.h"

namespace knarr::env::posix {
namespace {

// Four threads keep a disk with several requests in flight busy; more only wait for the same
// device.
constexpr size_t kPoolThreadsMax = 4;
// Events taken from the kernel in one call; the rest comes with the next turn.
constexpr int kEventsPerTurn = 128;
constexpr uint64_t kWakeUpId = 0;

int64_t readClock(clockid_t id) {
  timespec time{};
  clock_gettime(id, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

void Fd::reset() {
  if (number_ >= 0) ::close(std::exchange(number_, -1));
}

Instant SystemClock::now() const { return Instant(Duration(readClock(CLOCK_MONOTONIC))); }
int64_t SystemClock::unixNanos() const { return readClock(CLOCK_REALTIME); }

Loop::Loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)), wakeUp_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), pool_(kPoolThreadsMax) {
  ASSERT(epoll_ && wakeUp_);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeUpId;
  ASSERT(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wakeUp_.get(), &event) == 0);
}

Loop::~Loop() {
  pool_.end();
  // Callbacks may own things whose destructors cancel timers; empty the containers while the loop
  // still answers.
  std::vector<Callback> posted = std::move(posted_);
  posted.clear();
  auto timers = std::move(timers_);
  timers.clear();
  auto watches = std::move(watches_);
  watches.clear();
  auto fromThreads = std::move(fromThreads_);
  fromThreads.clear();
}

void Loop::post(Callback callback) { posted_.push_back(std::move(callback)); }

void Loop::postFromThread(Callback callback) {
  bool first;
  {
    std::lock_guard lock(fromThreadsMutex_);
    first = fromThreads_.empty();
    fromThreads_.push_back(std::move(callback));
  }
  if (first) wake();
}

TimerId Loop::at(Instant when, Callback callback) {
  TimerId id = ++lastTimer_;
  timers_.emplace(std::pair(when, id), std::move(callback));
  timerInstants_.emplace(id, when);
  return id;
}

void Loop::cancelTimer(TimerId timer) {
  auto found = timerInstants_.find(timer);
  if (found == timerInstants_.end()) return;
  auto node = timers_.extract(std::pair(found->second, timer));
  timerInstants_.erase(found);
  // `node` dies here, after both tables forgot the timer: its callback's destructor may call back.
}

void Loop::block(Callback work, Callback done) {
  pool_.submit([this, work = std::move(work), done = std::move(done)]() mutable {
    work();
    work = nullptr;
    postFromThread(std::move(done));
  });
}

void Loop::wake() {
  uint64_t one = 1;
  // A full counter means the loop has a wake-up waiting already.
  [[maybe_unused]] ssize_t written = ::write(wakeUp_.get(), &one, sizeof one);
}

void Loop::stop() {
  stopRequested_.store(true);
  wake();
}

void Loop::run() {
  while (!stopRequested_.exchange(false)) {
    runTimers();
    runPosted();
    if (stopRequested_.load()) continue;
    poll();
  }
}

void Loop::runTimers() {
  if (timers_.empty()) return;
  Instant now = clock_.now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    auto node = timers_.extract(timers_.begin());
    timerInstants_.erase(node.key().second);
    node.mapped()();
  }
}

void Loop::runPosted() {
  // Callbacks posted meanwhile wait for the next turn, so that sockets and timers are not starved.
  std::vector<Callback> batch;
  batch.swap(posted_);
  for (Callback& callback : batch) {
    callback();
    callback = nullptr;
  }
}

void Loop::takeFromThreads() {
  uint64_t count;
  [[maybe_unused]] ssize_t got = ::read(wakeUp_.get(), &count, sizeof count);
  std::vector<Callback> batch;
  {
    std::lock_guard lock(fromThreadsMutex_);
    batch.swap(fromThreads_);
  }
  for (Callback& callback : batch) posted_.push_back(std::move(callback));
}

void Loop::poll() {
  timespec timeout{};
  const timespec* wait = &timeout;
  if (posted_.empty()) {
    if (timers_.empty()) {
      wait = nullptr;
    } else {
      Duration left = std::max(Duration(0), timers_.begin()->first.first - clock_.now());
      timeout.tv_sec = left.count() / 1'000'000'000;
      timeout.tv_nsec = left.count() % 1'000'000'000;
    }
  }
  epoll_event events[kEventsPerTurn];
  int count = epoll_pwait2(epoll_.get(), events, kEventsPerTurn, wait, nullptr);
  ASSERT(count >= 0 || errno == EINTR);
  for (int i = 0; i < count; ++i) {
    if (events[i].data.u64 == kWakeUpId) {
      takeFromThreads();
      continue;
    }
    uint64_t id = events[i].data.u64;  // a copy: the kernel's array is packed
    auto found = watches_.find(id);
    if (found == watches_.end()) continue;  // unwatched by an earlier event of this turn
    std::shared_ptr<std::function<void(uint32_t)>> handler = found->second;
    (*handler)(events[i].events);
  }
}

uint64_t Loop::watch(int fd, std::function<void(uint32_t events)> onEvents) {
  uint64_t id = ++lastWatch_;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = id;
  ASSERT(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  watches_.emplace(id, std::make_shared<std::function<void(uint32_t)>>(std::move(onEvents)));
  return id;
}

void Loop::unwatch(int fd, uint64_t watchId) {
  if (watches_.erase(watchId) > 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

}  // namespace knarr::env::posix
