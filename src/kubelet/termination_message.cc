#include "kubelet/termination_message.h"

#include <fmt/format.h>

#include "kubelet/logs.h"

namespace knarr::kubelet {

using async::Task;

namespace {

constexpr size_t kMessageBytesMax = 4096;
constexpr size_t kFileBytesMax = size_t{16} << 20;  // the container may have written anything
constexpr int64_t kLogLinesMax = 80;
constexpr size_t kLogBytesMax = 2048;

std::string readLast(env::Files& files, const std::string& path) {
  auto text = files.readFile(path, kFileBytesMax);
  if (!text)
    return isNotFound(text.error()) ? "" : fmt::format("Error on reading termination log {}: {}", path, text.error().message());
  if (text->size() > kMessageBytesMax) return text->substr(text->size() - kMessageBytesMax);
  return *text;
}

std::string messageOf(env::Files& files, const ContainerRecord& record) {
  std::string message;
  if (!record.terminationMessageHostPath.empty()) message = readLast(files, record.terminationMessageHostPath);
  bool fallBack =
      record.terminationMessagePolicy == "FallbackToLogsOnError" && record.exitCode != 0 && record.reason != "ContainerCannotRun";
  if (message.empty() && fallBack && !record.logPath.empty()) {
    auto log = files.readFile(record.logPath, kFileBytesMax);
    message = log ? lastLogText(*log, kLogLinesMax, kLogBytesMax)
                  : fmt::format("Error on reading termination message from logs: {}", log.error().message());
  }
  return message;
}

}  // namespace

std::string lastLogText(std::string_view logFile, int64_t lines, size_t bytesMax) {
  LogFormatter formatter{LogOptions()};
  std::string out;
  std::string_view rest = logFile.substr(tailOffset(logFile, lines));
  while (!rest.empty()) {
    size_t end = rest.find('\n');
    out += formatter.format(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return out.size() > bytesMax ? out.substr(out.size() - bytesMax) : out;
}

Task<void> addTerminationMessages(env::Env environment, RuntimePod* runtime) {
  bool any = false;
  for (const ContainerRecord& record : runtime->containers) any |= record.exited();
  if (!any) co_return;
  env::Files& files = environment.files;
  auto records = std::make_shared<std::vector<ContainerRecord>>(runtime->containers);
  std::move_only_function<bool()> work = [&files, records] {
    for (ContainerRecord& record : *records) {
      if (!record.exited()) continue;
      std::string message = messageOf(files, record);
      if (message.empty()) continue;
      record.message += (record.message.empty() ? "" : ": ") + message;
    }
    return true;
  };
  co_await async::runBlocking<bool>(environment.executor, std::move(work));
  runtime->containers = std::move(*records);
}

}  // namespace knarr::kubelet
