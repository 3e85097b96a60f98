#include "kubelet/http_get.h"

#include <fmt/format.h>

#include <array>

#include "base/strings.h"

namespace knarr::kubelet {

using async::Task;

namespace {

constexpr size_t kAnswerBytesMax = 64 * 1024;
constexpr size_t kBodyBytesMax = 10 * 1024;  // Source: pkg/probe/http maxRespBodyLength

Error timedOut(const std::string& address) {
  return Error(Reason::Timeout,
               fmt::format("context deadline exceeded while talking to {}", address));
}

// Wakes the event at the deadline; disarmed when it goes.
class Deadline {
 public:
  Deadline(env::Env environment, env::Duration after, async::Event& event)
      : env_(environment), at_(environment.clock.now() + after) {
    timer_ = env_.executor.at(at_, [&event] { event.set(); });
  }
  ~Deadline() { env_.executor.cancelTimer(timer_); }
  bool passed() const { return env_.clock.now() >= at_; }

 private:
  env::Env env_;
  env::Instant at_;
  env::TimerId timer_ = 0;
};

Result<HttpGetAnswer> parse(const std::string& text, const std::string& address) {
  if (!text.starts_with("HTTP/1.") || text.size() < 12) {
    return fail(Reason::InternalError, fmt::format("malformed HTTP response from {}", address));
  }
  auto status = parseInt(std::string_view(text).substr(9, 3));
  if (!status || *status < 100 || *status > 599) {
    return fail(Reason::InternalError, fmt::format("malformed HTTP status from {}", address));
  }
  HttpGetAnswer answer;
  answer.status = static_cast<int>(*status);
  size_t body = text.find("\r\n\r\n");
  if (body != std::string::npos) answer.body = text.substr(body + 4, kBodyBytesMax);
  return answer;
}

}  // namespace

Task<Result<HttpGetAnswer>> httpGet(env::Env environment, HttpGetRequest request,
                                    env::Duration timeout) {
  async::Event wake(environment.executor);
  Deadline deadline(environment, timeout, wake);
  std::unique_ptr<env::Stream> stream =
      CO_TRY(co_await async::connect(environment, request.address, timeout));
  std::string out = fmt::format(
      "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nAccept: */*\r\nConnection: close\r\n",
      request.path, request.host, request.userAgent);
  for (const auto& [name, value] : request.headers) out += fmt::format("{}: {}\r\n", name, value);
  out += "\r\n";
  size_t written = 0;
  std::string in;
  std::array<char, 4096> buffer;
  while (true) {
    if (deadline.passed()) co_return Unexpected(timedOut(request.address));
    bool writing = written < out.size();
    env::IoStep step =
        writing ? stream->write(std::span<const char>(out).subspan(written)) : stream->read(buffer);
    if (step.kind == env::IoStep::Failed)
      co_return failErrno("GET from " + request.address, step.errorNumber);
    if (step.kind == env::IoStep::Eof) break;
    if (step.kind == env::IoStep::Done) {
      if (writing) {
        written += step.bytes;
      } else {
        in.append(buffer.data(), step.bytes);
      }
      // The status line and enough of the body are all that counts.
      if (in.size() >= kAnswerBytesMax) break;
      continue;
    }
    auto ready = [&wake] { wake.notifyAll(); };
    if (writing) {
      stream->whenWritable(ready);
    } else {
      stream->whenReadable(ready);
    }
    co_await wake.wait();
  }
  co_return parse(in, request.address);
}

Task<Result<void>> tcpConnect(env::Env environment, std::string address, env::Duration timeout) {
  CO_TRY(co_await async::connect(environment, address, timeout));
  co_return Result<void>();
}

}  // namespace knarr::kubelet
