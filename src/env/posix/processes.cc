#include "env/posix/processes.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <new>

#include "base/assert.h"

namespace knarr::env::posix {
namespace {

// The child runs a few system calls between clone and execve.
constexpr size_t kChildStackBytes = 64 << 10;

// All that the child needs, prepared by the parent: between clone and execve the child shares the
// parent's memory and must not allocate, lock or touch anything but this.
struct Launch {
  std::vector<char*> argv;
  std::vector<char*> environment;
  const char* workingDirectory = nullptr;
  int input = -1;
  int output = -1;
  int error = -1;
  int networkNamespace = -1;
  bool newSession = false;
  struct Failure* failure = nullptr;
};

// Written by the child when it cannot become the program; in memory that both see.
struct Failure {
  int errorNumber;
  const char* step;  // null: none
};

// ThreadSanitizer takes every clone for a fork and breaks when the memory is shared.
#if __has_feature(thread_sanitizer)
constexpr int kShareMemory = 0;
#else
constexpr int kShareMemory = CLONE_VM;
#endif

[[noreturn]] void giveUp(Launch& launch, const char* step) {
  launch.failure->errorNumber = errno;
  launch.failure->step = step;
  ::_exit(127);
}

__attribute__((no_sanitize("thread", "address"))) int runChild(void* argument) {
  Launch& launch = *static_cast<Launch*>(argument);
  // A handler of ours must not run in the child: it would work on the parent's memory.
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action{};
    action.sa_handler = SIG_DFL;
    (void)::sigaction(number, &action, nullptr);  // some may not be changed
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (launch.newSession && ::setsid() < 0) giveUp(launch, "setsid");
  if (launch.networkNamespace >= 0 && ::setns(launch.networkNamespace, CLONE_NEWNET) != 0)
    giveUp(launch, "enter network namespace");
  if (launch.workingDirectory && ::chdir(launch.workingDirectory) != 0) giveUp(launch, "enter working directory");
  if (::dup2(launch.input, 0) < 0 || ::dup2(launch.output, 1) < 0 || ::dup2(launch.error, 2) < 0)
    giveUp(launch, "connect standard streams");
  if (::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0) giveUp(launch, "close descriptors");
  ::execve(launch.argv[0], launch.argv.data(), launch.environment.data());
  giveUp(launch, "execute");
}

std::vector<char*> pointersTo(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

struct Pipe {
  Fd readEnd;
  Fd writeEnd;
};
Result<Pipe> makePipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failErrno("make a pipe", errno);
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}
// Above 2, so that dup2 onto 0, 1 and 2 in the child overwrites none of the sources.
Result<Fd> aboveStandard(Fd fd) {
  if (fd.get() > 2) return fd;
  Fd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!moved) return failErrno("duplicate a descriptor", errno);
  return moved;
}
void setNonBlocking(const Fd& fd) { ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK); }

// Starts the child; its process id, with `pidfd` filled.
Result<int> launchChild(Launch& launch, Fd& pidfd) {
  std::string what = "start " + std::string(launch.argv[0]);
  void* memory = ::mmap(nullptr, kChildStackBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return failErrno(what + ": map a stack", errno);
  // The stack grows down from the end; the failure sits at the beginning.
  auto* failure = new (memory) Failure{0, nullptr};
  launch.failure = failure;
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  int raw = -1;
  int processId = ::clone(runChild, static_cast<char*>(memory) + kChildStackBytes,
                          kShareMemory | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &launch, &raw);
  int errorNumber = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  Failure failed = *failure;
  ::munmap(memory, kChildStackBytes);
  if (processId < 0) return failErrno(what, errorNumber);
  pidfd = Fd(raw);
  if (failed.step) {
    ::waitpid(processId, nullptr, 0);
    return failErrno(what + ": " + failed.step, failed.errorNumber);
  }
  return processId;
}

}  // namespace

struct PosixProcesses::Child {
  std::move_only_function<void(ProcessExit)> exited;
  ProcessExit exit;
  size_t captureBytesMax = 0;
  Fd pidfd, input, output, error;
  uint64_t pidfdWatch = 0, inputWatch = 0, outputWatch = 0, errorWatch = 0;
  std::string standardInput;
  size_t fed = 0;
};

PosixProcesses::~PosixProcesses() {
  for (auto& [id, child] : children_) endWatches(*child);
}

void PosixProcesses::endWatches(Child& child) {
  loop_.unwatch(child.pidfd.get(), child.pidfdWatch);
  loop_.unwatch(child.input.get(), child.inputWatch);
  loop_.unwatch(child.output.get(), child.outputWatch);
  loop_.unwatch(child.error.get(), child.errorWatch);
}

Result<int> PosixProcesses::spawn(ProcessSpec spec, std::move_only_function<void(ProcessExit)> exited) {
  if (spec.argv.empty()) return fail(Reason::Invalid, "start a process: argv is empty; argv[0] is the program's path");
  Launch launch;
  launch.argv = pointersTo(spec.argv);
  launch.environment = pointersTo(spec.environment);
  if (!spec.workingDirectory.empty()) launch.workingDirectory = spec.workingDirectory.c_str();
  launch.newSession = spec.newSession;
  auto child = std::make_shared<Child>();
  Fd namespaceFd, input, output, error;
  if (!spec.networkNamespacePath.empty()) {
    namespaceFd = Fd(::open(spec.networkNamespacePath.c_str(), O_RDONLY | O_CLOEXEC));
    if (!namespaceFd) return failErrno("open network namespace " + spec.networkNamespacePath, errno);
    launch.networkNamespace = namespaceFd.get();
  }
  if (spec.standardInput.empty()) {
    input = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  } else {
    Pipe pipe = TRY(makePipe());
    input = std::move(pipe.readEnd);
    child->input = std::move(pipe.writeEnd);
  }
  if (!spec.outputPath.empty()) {
    output = Fd(::open(spec.outputPath.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!output) return failErrno("open " + spec.outputPath, errno);
    error = Fd(::fcntl(output.get(), F_DUPFD_CLOEXEC, 3));
  } else {
    Pipe outputPipe = TRY(makePipe());
    Pipe errorPipe = TRY(makePipe());
    output = std::move(outputPipe.writeEnd);
    error = std::move(errorPipe.writeEnd);
    child->output = std::move(outputPipe.readEnd);
    child->error = std::move(errorPipe.readEnd);
  }
  input = TRY(aboveStandard(std::move(input)));
  output = TRY(aboveStandard(std::move(output)));
  error = TRY(aboveStandard(std::move(error)));
  launch.input = input.get();
  launch.output = output.get();
  launch.error = error.get();
  int processId = TRY(launchChild(launch, child->pidfd));

  child->exited = std::move(exited);
  child->captureBytesMax = spec.captureBytesMax;
  child->standardInput = std::move(spec.standardInput);
  children_[processId] = child;
  Child* raw = child.get();  // the watches end before the child leaves children_
  if (child->output) {
    setNonBlocking(child->output);
    setNonBlocking(child->error);
    child->outputWatch = loop_.watch(child->output.get(), [raw](uint32_t) { collect(*raw, false); });
    child->errorWatch = loop_.watch(child->error.get(), [raw](uint32_t) { collect(*raw, true); });
  }
  if (child->input) {
    setNonBlocking(child->input);
    child->inputWatch = loop_.watch(child->input.get(), [this, raw](uint32_t) { feed(*raw); });
  }
  child->pidfdWatch = loop_.watch(child->pidfd.get(), [this, processId](uint32_t) { onExit(processId); });
  return processId;
}

void PosixProcesses::feed(Child& child) {
  while (child.fed < child.standardInput.size()) {
    ssize_t put = ::write(child.input.get(), child.standardInput.data() + child.fed, child.standardInput.size() - child.fed);
    if (put < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (put < 0) break;  // the child closed its input
    child.fed += static_cast<size_t>(put);
  }
  loop_.unwatch(child.input.get(), child.inputWatch);
  child.input.reset();
}

void PosixProcesses::collect(Child& child, bool error) {
  std::string& kept = error ? child.exit.standardError : child.exit.standardOutput;
  const Fd& fd = error ? child.error : child.output;
  char buffer[16 << 10];
  while (true) {
    ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    // What exceeds the bound is read and dropped, so that the child does not block on a full pipe.
    size_t room = child.captureBytesMax - std::min(child.captureBytesMax, kept.size());
    kept.append(buffer, std::min(room, static_cast<size_t>(got)));
  }
}

void PosixProcesses::onExit(int processId) {
  auto found = children_.find(processId);
  if (found == children_.end()) return;
  int status = 0;
  if (::waitpid(processId, &status, WNOHANG) != processId) return;
  std::shared_ptr<Child> child = found->second;
  // Grandchildren may hold the pipes open for ever: what is there now is the output.
  if (child->output) {
    collect(*child, false);
    collect(*child, true);
  }
  endWatches(*child);
  children_.erase(found);
  child->exit.exitCode = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  child->exited(std::move(child->exit));
}

Result<void> PosixProcesses::kill(int processId, int signalNumber) {
  if (processId == 0 || processId == -1)
    return fail(Reason::Invalid, "kill: process id " + std::to_string(processId) + " would signal other processes");
  auto found = children_.find(processId);
  int result = found != children_.end()
                   ? static_cast<int>(::syscall(SYS_pidfd_send_signal, found->second->pidfd.get(), signalNumber, nullptr, 0U))
                   : ::kill(processId, signalNumber);
  if (result == 0) return {};
  if (errno == ESRCH) return fail(Reason::NotFound, "kill process " + std::to_string(processId) + ": it does not exist");
  return failErrno("kill process " + std::to_string(processId), errno);
}

bool PosixProcesses::alive(int processId) {
  if (children_.contains(processId)) return true;
  return processId > 0 && (::kill(processId, 0) == 0 || errno == EPERM);
}

}  // namespace knarr::env::posix
