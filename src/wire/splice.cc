#include "wire/splice.h"

#include <array>

namespace knarr::wire {
namespace {

constexpr size_t kSpliceBytes = 32 * 1024;

// Resumes when the stream can be read (written).
async::Task<void> readable(env::Env environment, env::Stream* stream, async::StopToken stop) {
  async::Promise<bool> ready(environment.executor);
  auto registration = stop.onStop([ready] { ready.set(true); });
  stream->whenReadable([ready] { ready.set(true); });
  co_await ready.get();
}
async::Task<void> writable(env::Env environment, env::Stream* stream, async::StopToken stop) {
  async::Promise<bool> ready(environment.executor);
  auto registration = stop.onStop([ready] { ready.set(true); });
  stream->whenWritable([ready] { ready.set(true); });
  co_await ready.get();
}

// Copies bytes from one stream to another until the source ends; then the target is told so.
async::Task<void> copyStream(env::Env environment, std::shared_ptr<env::Stream> from, std::shared_ptr<env::Stream> to,
                             std::shared_ptr<async::StopSource> stop) {
  std::array<char, kSpliceBytes> buffer;
  async::StopToken token = stop->token();
  while (!token.stopRequested()) {
    env::IoStep step = from->read(buffer);
    if (step.kind == env::IoStep::WouldBlock) {
      co_await readable(environment, from.get(), token);
      continue;
    }
    if (step.kind != env::IoStep::Done) break;
    size_t sent = 0;
    while (sent < step.bytes && !token.stopRequested()) {
      env::IoStep out = to->write(std::span<const char>(buffer).subspan(sent, step.bytes - sent));
      if (out.kind == env::IoStep::WouldBlock) {
        co_await writable(environment, to.get(), token);
      } else if (out.kind == env::IoStep::Done) {
        sent += out.bytes;
      } else {
        stop->requestStop();
        co_return;
      }
    }
  }
  to->shutdownWrite();
}

// The kubelet's end finishes the session; the client's end is only told on.
async::Task<void> splice(env::Env environment, std::shared_ptr<env::Stream> client, std::shared_ptr<env::Stream> kubelet) {
  auto stop = std::make_shared<async::StopSource>();
  async::Gate gate(environment.executor);
  gate.spawn(copyStream(environment, client, kubelet, stop));
  co_await copyStream(environment, kubelet, client, stop);
  stop->requestStop();
  co_await gate.close();
}

}  // namespace

async::Task<Result<void>> forwardUpgrade(env::Env environment, std::shared_ptr<ServerExchange> exchange, HttpClient* server,
                                         std::string target) {
  const Request& request = exchange->request();
  ClientRequest forward;
  forward.method = request.method;
  forward.target = std::move(target);
  for (std::string_view name :
       {"Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "X-Stream-Protocol-Version"})
    for (std::string_view value : request.headers.all(name)) forward.headers.add(std::string(name), std::string(value));
  UpgradeResponse answer = CO_TRY(co_await server->upgrade(std::move(forward), exchange->clientGone()));
  if (answer.status != 101) {
    Headers headers;
    headers.add("Content-Type", "text/plain; charset=utf-8");
    co_return co_await exchange->respond(answer.status, std::move(headers), std::move(answer.body));
  }
  Headers headers;
  for (std::string_view name : {"Upgrade", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "X-Stream-Protocol-Version"})
    for (std::string_view value : answer.headers.all(name)) headers.add(std::string(name), std::string(value));
  std::shared_ptr<env::Stream> client = CO_TRY(co_await exchange->upgrade(std::move(headers)));
  std::shared_ptr<env::Stream> upstream(std::move(answer.stream));
  co_await splice(environment, client, upstream);
  co_return Result<void>();
}

}  // namespace knarr::wire
