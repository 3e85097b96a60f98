// Running other programs: the IPAM plugin, nft.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "base/strings.h"
#include "cni/plugin/plugin.h"

extern char** environ;

namespace knarr::cni {
namespace {

constexpr size_t kOutputBytesMax = size_t{4} << 20;

struct Pipe {
  int readEnd = -1, writeEnd = -1;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) == 0) {
      readEnd = ends[0];
      writeEnd = ends[1];
    }
  }
  ~Pipe() {
    closeEnd(readEnd);
    closeEnd(writeEnd);
  }
  static void closeEnd(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
};

// Feeds `input` and collects both outputs until all ends are closed.
void exchange(Pipe& in, Pipe& out, Pipe& err, const std::string& input, ProgramResult& result) {
  size_t written = 0;
  if (input.empty()) Pipe::closeEnd(in.writeEnd);
  while (in.writeEnd >= 0 || out.readEnd >= 0 || err.readEnd >= 0) {
    std::array<pollfd, 3> ends = {pollfd{in.writeEnd, POLLOUT, 0}, pollfd{out.readEnd, POLLIN, 0},
                                  pollfd{err.readEnd, POLLIN, 0}};
    if (poll(ends.data(), ends.size(), -1) < 0 && errno != EINTR) return;
    if (ends[0].revents != 0) {
      ssize_t n = write(in.writeEnd, input.data() + written, input.size() - written);
      if (n > 0) written += static_cast<size_t>(n);
      if (n < 0 || written == input.size()) Pipe::closeEnd(in.writeEnd);
    }
    auto collect = [](const pollfd& end, int& fd, std::string& into) {
      if (end.revents == 0) return;
      std::array<char, 4096> buffer;
      ssize_t n = read(fd, buffer.data(), buffer.size());
      if (n > 0 && into.size() < kOutputBytesMax) into.append(buffer.data(), static_cast<size_t>(n));
      if (n <= 0) Pipe::closeEnd(fd);
    };
    collect(ends[1], out.readEnd, result.output);
    collect(ends[2], err.readEnd, result.errorOutput);
  }
}

}  // namespace

ProgramResult runProgram(const std::vector<std::string>& argv, const std::vector<std::string>& environment,
                         const std::string& input) {
  ProgramResult result;
  Pipe in, out, err;
  std::vector<char*> arguments, variables;
  for (const std::string& text : argv) arguments.push_back(const_cast<char*>(text.c_str()));
  for (const std::string& text : environment) variables.push_back(const_cast<char*>(text.c_str()));
  arguments.push_back(nullptr);
  variables.push_back(nullptr);
  signal(SIGPIPE, SIG_IGN);
  pid_t child = vfork();
  if (child == 0) {
    dup2(in.readEnd, 0);
    dup2(out.writeEnd, 1);
    dup2(err.writeEnd, 2);
    execve(arguments[0], arguments.data(), variables.data());
    _exit(127);
  }
  if (child < 0) {
    result.exitCode = 127;
    result.errorOutput = std::string("fork: ") + strerror(errno);
    return result;
  }
  Pipe::closeEnd(in.readEnd);
  Pipe::closeEnd(out.writeEnd);
  Pipe::closeEnd(err.writeEnd);
  exchange(in, out, err, input, result);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  result.exitCode = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

Outcome<std::string> delegate(const Request& request, const std::string& type, const std::string& command) {
  if (type.find('/') != std::string::npos) {
    return refuse(kInvalidNetworkConfig, "invalid plugin name: " + type);
  }
  std::string program;
  for (std::string_view directory : split(request.path, ':')) {
    std::string candidate = std::string(directory) + "/" + type;
    if (!directory.empty() && access(candidate.c_str(), X_OK) == 0) {
      program = candidate;
      break;
    }
  }
  if (program.empty()) {
    return refuse(kInternal, "failed to find plugin \"" + type + "\" in path [" + request.path + "]");
  }
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with("CNI_COMMAND=")) environment.emplace_back(*variable);
  }
  environment.push_back("CNI_COMMAND=" + command);
  ProgramResult result = runProgram({program}, environment, request.standardInput);
  if (result.exitCode == 0) return result.output;
  std::string ignored;
  auto error = parseJson(result.output, ignored);
  if (error && !error->at("msg").isNull()) {
    return refuse(static_cast<int>(error->at("code").integer().value_or(kInternal)), std::string(error->at("msg").string()),
                  std::string(error->at("details").string()));
  }
  if (!result.errorOutput.empty()) {
    return refuse(kInternal,
                  "netplugin failed: " + jsonString(result.errorOutput) + ": exit status " + std::to_string(result.exitCode));
  }
  return refuse(kInternal, "netplugin failed with no error message: exit status " + std::to_string(result.exitCode));
}

}  // namespace knarr::cni
