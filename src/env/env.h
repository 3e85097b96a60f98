// The doors to the world: time, chance, tasks, sockets, files, processes.
//
// All code above this floor gets an Env and touches the world through it only. env/posix is the
// real world; env/sim is one thread with a virtual clock and a seed, in which the same code replays
// exactly. One Env belongs to one event loop: every call and every callback happens on the loop's
// thread unless a method says otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knarr::env {

using Duration = std::chrono::nanoseconds;
// Nanoseconds on a clock that never goes back; its zero means nothing.
using Instant = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using Callback = std::move_only_function<void()>;

class Clock {
 public:
  virtual ~Clock() = default;
  // Time for deadlines and durations.
  virtual Instant now() const = 0;
  // Nanoseconds since 1970 UTC, for timestamps in objects; may jump.
  virtual int64_t unixNanos() const = 0;
  int64_t unixSeconds() const { return unixNanos() / 1'000'000'000; }
};

using TimerId = uint64_t;

class Executor {
 public:
  virtual ~Executor() = default;
  // Runs `callback` on the loop, after the current callback returns. Order of posting is kept in
  // the real world and chosen by the seed in the simulated one.
  virtual void post(Callback callback) = 0;
  // The same from any thread.
  virtual void postFromThread(Callback callback) = 0;
  // Runs `callback` on the loop at `when` or soon after. cancelTimer of a timer that fired or never
  // was is harmless.
  virtual TimerId at(Instant when, Callback callback) = 0;
  virtual void cancelTimer(TimerId timer) = 0;
  // Runs `work` on a pool thread (file I/O, fsync, fork), then `done` on the loop. The pool is
  // bounded; excess work waits in order. `work` must not touch anything that belongs to the loop.
  // In simulation both run on the loop.
  virtual void block(Callback work, Callback done) = 0;
};

class Random {
 public:
  virtual ~Random() = default;
  // Uniform 64 bits. Not for secrets.
  virtual uint64_t next() = 0;
  // Bytes fit for keys, tokens and identifiers.
  virtual void fill(std::span<uint8_t> bytes) = 0;
  // Uniform in [0, bound); bound > 0.
  uint64_t below(uint64_t bound) { return next() % bound; }
  // Uniform in [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
};
// n characters of the alphabet Kubernetes uses for generated names (no vowels, no 0 1 3).
// Source: k8s.io/apimachinery/pkg/util/rand.
std::string randomNameSuffix(Random& random, size_t n);
// RFC 4122 version 4, lower case.
std::string randomUuid(Random& random);

// What a non-blocking read or write did.
struct IoStep {
  enum Kind : uint8_t { Done, WouldBlock, Eof, Failed } kind = Done;
  size_t bytes = 0;     // with Done
  int errorNumber = 0;  // with Failed: an errno value
};

// A connected byte stream: TCP, Unix socket, pipe or terminal. Destroying it closes it.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual IoStep read(std::span<char> into) = 0;
  virtual IoStep write(std::span<const char> from) = 0;
  // One-shot: `ready` runs on the loop once a read (write) would not block, Eof and failure
  // included. A second call before that replaces the first; an empty callback takes the interest
  // back.
  virtual void whenReadable(Callback ready) = 0;
  virtual void whenWritable(Callback ready) = 0;
  // No more writes; the peer sees Eof.
  virtual void shutdownWrite() = 0;
  // "127.0.0.1:4711", "unix:/run/x.sock".
  virtual std::string peerAddress() const = 0;
  virtual std::string localAddress() const = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;
  virtual std::string address() const = 0;
};

// A bound UDP socket.
class DatagramSocket {
 public:
  virtual ~DatagramSocket() = default;
  virtual IoStep receive(std::span<char> into, std::string& from) = 0;
  virtual IoStep send(std::span<const char> bytes, std::string_view to) = 0;
  virtual void whenReadable(Callback ready) = 0;
  virtual std::string localAddress() const = 0;
};

class Network {
 public:
  virtual ~Network() = default;
  // Addresses: "HOST:PORT" with a numeric host ("127.0.0.1:0", "[::1]:443") or "unix:PATH".
  // accept runs on the loop for each connection. A port in use fails with AlreadyExists and a
  // message that names it.
  virtual Result<std::unique_ptr<Listener>> listen(std::string_view address,
                                                   std::move_only_function<void(std::unique_ptr<Stream>)> accept) = 0;
  // connected runs once. The timeout covers the whole connect.
  virtual void connect(std::string_view address, Duration timeout,
                       std::move_only_function<void(Result<std::unique_ptr<Stream>>)> connected) = 0;
  virtual Result<std::unique_ptr<DatagramSocket>> bindDatagram(std::string_view address) = 0;
  // The numeric addresses of a host name, without port, in order of preference; a numeric host
  // gives itself. resolved runs once; NotFound for a name that does not exist.
  virtual void resolve(std::string_view host, std::move_only_function<void(Result<std::vector<std::string>>)> resolved) = 0;
};

struct FileStatus {
  enum Type : uint8_t { Regular, Directory, Symlink, Socket, Device, Other } type = Regular;
  uint64_t sizeBytes = 0;
  uint32_t mode = 0;  // permission bits
  uint64_t inode = 0;
  int64_t modifiedUnixNanos = 0;
};

struct FileSystemSize {
  uint64_t bytes = 0;
  uint64_t bytesAvailable = 0;  // to programs that are not root
  uint64_t inodes = 0;          // 0: the file system does not count them
  uint64_t inodesFree = 0;
};

// Whole-file operations. They block: short ones (configuration, tokens) may be called on the loop,
// the others belong into Executor::block. Paths are absolute; errors name the path.
class Files {
 public:
  virtual ~Files() = default;
  virtual Result<std::string> readFile(const std::string& path, size_t bytesMax = size_t{64} << 20) = 0;
  // Replaces the file in one step: a reader sees the old or the new bytes, also after a crash
  // (write aside, fsync, rename, fsync of the directory).
  virtual Result<void> writeFileAtomically(const std::string& path, std::string_view bytes, uint32_t mode = 0644) = 0;
  // Not durable until syncFile.
  virtual Result<void> appendFile(const std::string& path, std::string_view bytes, uint32_t mode = 0644) = 0;
  // Returns once the file's bytes are on stable storage.
  virtual Result<void> syncFile(const std::string& path) = 0;
  virtual Result<void> makeDirectories(const std::string& path, uint32_t mode = 0755) = 0;
  virtual Result<std::vector<std::string>> listDirectory(const std::string& path) = 0;
  virtual Result<FileStatus> status(const std::string& path, bool followLinks = true) = 0;
  // Of the file system that holds `path`.
  virtual Result<FileSystemSize> fileSystemSize(const std::string& path) = 0;
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<void> removeFile(const std::string& path) = 0;
  // Never follows links, never crosses a mount point. Absent is ok.
  virtual Result<void> removeTree(const std::string& path) = 0;
  virtual Result<void> symlink(const std::string& target, const std::string& path) = 0;
  virtual Result<std::string> readLink(const std::string& path) = 0;
  virtual Result<void> setMode(const std::string& path, uint32_t mode) = 0;
  virtual Result<void> setOwner(const std::string& path, int64_t uid, int64_t gid) = 0;
};

struct ProcessSpec {
  std::vector<std::string> argv;         // argv[0] is a path
  std::vector<std::string> environment;  // "NAME=value"; nothing is inherited
  std::string workingDirectory;          // "" keeps ours
  std::string standardInput;             // bytes fed to it, then Eof
  std::string outputPath;                // appended to, for stdout and stderr; "" captures instead
  std::string networkNamespacePath;      // "" keeps ours
  bool newSession = false;               // detached from our terminal and signals
  size_t captureBytesMax = size_t{1} << 20;
};
struct ProcessExit {
  int exitCode = 0;  // 128 + signal when killed
  std::string standardOutput;
  std::string standardError;
};
class Processes {
 public:
  virtual ~Processes() = default;
  // Starts a child; exited runs on the loop when it ends. Returns its process id.
  virtual Result<int> spawn(ProcessSpec spec, std::move_only_function<void(ProcessExit)> exited) = 0;
  virtual Result<void> kill(int processId, int signalNumber) = 0;
  virtual bool alive(int processId) = 0;
};

// Borrowed references; whoever builds the Env keeps its parts alive longer than every user.
struct Env {
  Clock& clock;
  Executor& executor;
  Random& random;
  Network& network;
  Files& files;
  Processes& processes;
};

}  // namespace knarr::env
