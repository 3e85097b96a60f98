#include "kubelet/logs.h"

#include <fmt/format.h>

#include "base/strings.h"

namespace knarr::kubelet {

using async::Task;

namespace {
constexpr size_t kLogBytesMax = size_t{256} << 20;  // a file that is rotated at 10 MiB is far below it
constexpr auto kFollowPeriod = std::chrono::milliseconds(250);

// RFC 3339 with nine digits.
std::string fixedTimestamp(int64_t unixNanos) {
  std::string text = formatRfc3339(unixNanos / 1'000'000'000);
  text.pop_back();
  return fmt::format("{}.{:09}Z", text, unixNanos % 1'000'000'000);
}
}  // namespace

// Source: pkg/kubelet/kubelet_pods.go validateContainerLogStatus.
Result<std::string> containerToLog(const corev1::Pod& pod, std::string_view container, bool previous) {
  const corev1::ContainerStatus* status = nullptr;
  for (const auto* list :
       {&pod.status.containerStatuses, &pod.status.initContainerStatuses, &pod.status.ephemeralContainerStatuses}) {
    for (const corev1::ContainerStatus& each : *list) {
      if (each.name == container) status = &each;
    }
  }
  if (status == nullptr) {
    return fail(Reason::BadRequest, fmt::format("container \"{}\" in pod \"{}\" is not available", container, pod.metadata.name));
  }
  auto bare = [](schema::Str id) {
    size_t scheme = id.find("://");
    return std::string(scheme == schema::Str::npos ? id : id.substr(scheme + 3));
  };
  const corev1::ContainerStateTerminated* last = status->lastState.terminated;
  if (previous) {
    if (last != nullptr && !last->containerID.empty()) return bare(last->containerID);
    return fail(Reason::BadRequest,
                fmt::format("previous terminated container \"{}\" in pod \"{}\" not found", container, pod.metadata.name));
  }
  if (status->state.running != nullptr) return bare(status->containerID);
  if (status->state.terminated != nullptr && !status->state.terminated->containerID.empty()) {
    return bare(status->state.terminated->containerID);
  }
  if (last != nullptr && !last->containerID.empty()) return bare(last->containerID);
  if (status->state.waiting != nullptr) {
    std::string_view reason = status->state.waiting->reason;
    bool image = reason == "ErrImagePull" || reason == "ImagePullBackOff";
    if (image) {
      return fail(Reason::BadRequest, fmt::format("container \"{}\" in pod \"{}\" is waiting to "
                                                  "start: trying and failing to pull image",
                                                  container, pod.metadata.name));
    }
    return fail(Reason::BadRequest,
                fmt::format("container \"{}\" in pod \"{}\" is waiting to start: {}", container, pod.metadata.name, reason));
  }
  return fail(Reason::BadRequest,
              fmt::format("container \"{}\" in pod \"{}\" is waiting to start - no logs yet", container, pod.metadata.name));
}

std::optional<LogLine> parseLogLine(std::string_view line) {
  LogLine out;
  size_t first = line.find(' ');
  if (first == std::string_view::npos) return std::nullopt;
  out.timestamp = line.substr(0, first);
  auto time = parseRfc3339(out.timestamp);
  if (!time) return std::nullopt;
  out.unixNanos = time->seconds * 1'000'000'000 + time->nanos;
  size_t second = line.find(' ', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  std::string_view stream = line.substr(first + 1, second - first - 1);
  if (stream != "stdout" && stream != "stderr") return std::nullopt;
  out.standardError = stream == "stderr";
  size_t third = line.find(' ', second + 1);
  std::string_view tags = line.substr(second + 1, third == std::string_view::npos ? third : third - second - 1);
  out.partial = tags.substr(0, tags.find(':')) == "P";
  out.text = third == std::string_view::npos ? std::string_view() : line.substr(third + 1);
  return out;
}

std::string LogFormatter::format(std::string_view line) {
  std::optional<LogLine> parsed = parseLogLine(line);
  if (!parsed || left_ == 0) return "";
  if (options_.sinceUnixNanos && parsed->unixNanos < *options_.sinceUnixNanos) return "";
  std::string out;
  if (options_.timestamps && !inPartial_) out = fixedTimestamp(parsed->unixNanos) + " ";
  out += parsed->text;
  if (!parsed->partial) out += '\n';
  inPartial_ = parsed->partial;
  if (left_ > 0) {
    if (static_cast<int64_t>(out.size()) > left_) out.resize(static_cast<size_t>(left_));
    left_ -= static_cast<int64_t>(out.size());
  }
  return out;
}

size_t tailOffset(std::string_view text, int64_t lines) {
  if (lines <= 0) return text.size();
  size_t at = text.size();
  if (at > 0 && text[at - 1] == '\n') --at;
  while (lines > 0) {
    size_t end = at == 0 ? std::string_view::npos : text.rfind('\n', at - 1);
    if (end == std::string_view::npos) return 0;
    at = end;
    --lines;
  }
  return at + 1;
}

Task<Result<void>> readLogFile(env::Env environment, std::string path, LogOptions options, LogSink sink,
                               std::function<Task<bool>()> running) {
  LogFormatter formatter(options);
  size_t offset = 0;
  uint64_t inode = 0;
  bool first = true;
  while (true) {
    // Asked before the file is read: what was written before the end is not missed.
    bool alive = options.follow && co_await running();
    auto status = environment.files.status(path);
    if (!status) {
      if (first || !isNotFound(status.error()) || !alive) co_return Unexpected(std::move(status).error());
    } else {
      if (inode != 0 && (status->inode != inode || status->sizeBytes < offset)) offset = 0;  // rotated
      inode = status->inode;
    }
    if (status && status->sizeBytes > offset) {
      env::Files& files = environment.files;
      std::move_only_function<Result<std::string>()> read = [&files, path] { return files.readFile(path, kLogBytesMax); };
      std::string text = CO_TRY(co_await async::runBlocking<Result<std::string>>(environment.executor, std::move(read)));
      if (first && options.tailLines) offset = tailOffset(text, *options.tailLines);
      std::string out;
      while (offset < text.size() && !formatter.done()) {
        size_t end = text.find('\n', offset);
        if (end == std::string::npos) {
          if (alive) break;  // the rest of the line is still to come
          end = text.size();
        }
        out += formatter.format(std::string_view(text).substr(offset, end - offset));
        offset = std::min(end + 1, text.size());
      }
      if (!out.empty() && !co_await sink(std::move(out))) co_return Result<void>();
    }
    first = false;
    if (!alive || formatter.done()) co_return Result<void>();
    co_await async::sleepFor(environment, kFollowPeriod);
  }
}

}  // namespace knarr::kubelet
