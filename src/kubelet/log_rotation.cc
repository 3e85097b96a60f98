#include "kubelet/log_rotation.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"

namespace knarr::kubelet {

using async::Task;
namespace v1 = runtimev1;

namespace {

bool allDigits(std::string_view text) { return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos; }

std::string timestamp(int64_t unixSeconds) {
  CivilTime t = civilFromUnix(unixSeconds);
  return fmt::format("{:04}{:02}{:02}-{:02}{:02}{:02}", t.year, t.month, t.day, t.hour, t.minute, t.second);
}

// Removes what is too much beside the log, and puts the log aside. The path it has then.
Result<std::string> putAside(env::Files& files, const std::string& path, size_t filesMax, int64_t now) {
  size_t slash = path.rfind('/');
  std::string directory = path.substr(0, slash), base = path.substr(slash + 1) + ".";
  std::vector<std::string> rotated;
  for (const std::string& name : TRY(files.listDirectory(directory))) {
    if (!name.starts_with(base)) continue;
    if (name.ends_with(".tmp")) {
      (void)files.removeFile(directory + "/" + name);
    } else {
      rotated.push_back(name);
    }
  }
  for (const std::string& name : rotatedToRemove(std::move(rotated), filesMax)) {
    TRY(files.removeFile(directory + "/" + name));
  }
  std::string aside = path + "." + timestamp(now);
  TRY(files.rename(path, aside));
  return aside;
}

// The running container that writes the log; "" when there is none.
Task<std::string> writerOf(cri::RuntimeClient* runtime, LogPath log) {
  auto query = schema::newObject<v1::ListContainersRequest>();
  Arena& arena = query.arena();
  query->filter = arena.make<v1::ContainerFilter>();
  query->filter->state = arena.make<v1::ContainerStateValue>();
  query->filter->state->state = cri::kContainerRunning;
  schema::set(query->filter->labelSelector, arena, "io.kubernetes.pod.uid", log.podUid);
  schema::set(query->filter->labelSelector, arena, "io.kubernetes.container.name", log.container);
  auto list = co_await runtime->listContainers(std::move(query));
  if (!list) co_return "";
  for (const v1::Container& container : (*list)->containers) {
    std::string id(container.id);
    auto status = co_await runtime->containerStatus(id, false);
    if (status && (*status)->status != nullptr && (*status)->status->logPath == log.path) co_return id;
  }
  co_return "";
}

}  // namespace

std::vector<LogPath> findLargeLogs(env::Files& files, const std::string& podLogsDirectory, uint64_t bytesMax) {
  std::vector<LogPath> out;
  auto pods = files.listDirectory(podLogsDirectory);
  if (!pods) return out;
  for (const std::string& pod : *pods) {
    size_t uid = pod.rfind('_');
    if (uid == std::string::npos) continue;
    auto containers = files.listDirectory(podLogsDirectory + "/" + pod);
    if (!containers) continue;
    for (const std::string& container : *containers) {
      std::string directory = fmt::format("{}/{}/{}", podLogsDirectory, pod, container);
      auto names = files.listDirectory(directory);
      if (!names) continue;
      for (const std::string& name : *names) {
        if (!name.ends_with(".log") || !allDigits(std::string_view(name).substr(0, name.size() - 4))) continue;
        auto status = files.status(directory + "/" + name);
        if (status && status->sizeBytes >= bytesMax) {
          out.push_back({directory + "/" + name, pod.substr(uid + 1), container});
        }
      }
    }
  }
  return out;
}

std::vector<std::string> rotatedToRemove(std::vector<std::string> rotated, size_t filesMax) {
  std::sort(rotated.begin(), rotated.end());  // names carry their time
  size_t keep = filesMax > 2 ? filesMax - 2 : 0;
  if (rotated.size() <= keep) return {};
  rotated.resize(rotated.size() - keep);
  return rotated;
}

Task<void> rotateLogs(env::Env environment, cri::RuntimeClient* runtime, std::string podLogsDirectory, LogRotationLimits limits) {
  env::Files& files = environment.files;
  std::move_only_function<std::vector<LogPath>()> find = [&files, podLogsDirectory, limits] {
    return findLargeLogs(files, podLogsDirectory, limits.bytesMax);
  };
  std::vector<LogPath> large = co_await async::runBlocking<std::vector<LogPath>>(environment.executor, std::move(find));
  for (const LogPath& log : large) {
    std::string writer = co_await writerOf(runtime, log);
    if (writer.empty()) continue;  // the log of an ended container stays as it is
    int64_t now = environment.clock.unixSeconds();
    std::move_only_function<Result<std::string>()> work = [&files, path = log.path, limits, now] {
      return putAside(files, path, limits.filesMax, now);
    };
    auto aside = co_await async::runBlocking<Result<std::string>>(environment.executor, std::move(work));
    if (!aside) {
      logWarning("kubelet", "cannot rotate a log path={} error={}", log.path, aside.error().describe());
      continue;
    }
    auto reopened = co_await runtime->reopenContainerLog(writer);
    if (reopened) continue;
    logWarning("kubelet", "the runtime does not reopen a log path={} error={}", log.path, reopened.error().describe());
    (void)files.rename(*aside, log.path);
  }
}

}  // namespace knarr::kubelet
