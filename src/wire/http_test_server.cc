#include "wire/http_test_server.h"

#include "base/strings.h"
#include "wire/io.h"

namespace knarr::wire {
namespace {

using namespace std::chrono_literals;
using async::Task;

struct Counted {
  int& count;
  explicit Counted(int& c) : count(c) { ++count; }
  ~Counted() { --count; }
};

Task<void> echoRaw(env::Env e, std::unique_ptr<env::Stream> stream) {
  char buffer[4096];
  while (true) {
    env::IoStep step = stream->read(buffer);
    if (step.kind == env::IoStep::WouldBlock) {
      co_await waitReady(e, stream.get(), Direction::Read, e.clock.now() + 1min);
    } else if (step.kind != env::IoStep::Done) {
      co_return;
    } else {
      std::string text(buffer, step.bytes);
      (void)co_await writeAll(e, stream.get(), text, 10s);
    }
  }
}

Task<void> waitForClientToLeave(env::Env e, std::shared_ptr<ServerNotes> notes, std::shared_ptr<ServerExchange> exchange) {
  (void)exchange->startResponse(200, {{"Content-Type", "application/json"}});
  (void)co_await exchange->write("first\n");
  if (!co_await async::sleepFor(e, 1h, exchange->clientGone())) ++notes->gone;
}

}  // namespace

Task<void> handleForTest(env::Env e, std::shared_ptr<ServerNotes> notes, std::shared_ptr<ServerExchange> exchange) {
  Counted counted(notes->running);
  const Request& request = exchange->request();
  std::string path(request.path());
  Headers plain{{"Content-Type", "text/plain"}};
  if (path == "/hello") {
    (void)co_await exchange->respond(200, plain, std::string("hello"));
  } else if (path == "/echo") {
    auto body = co_await exchange->readBody(10 << 20);
    if (!body) {
      notes->failed = body.error().message();
      (void)co_await exchange->respond(body.error().code(), plain, body.error().message());
      co_return;
    }
    (void)co_await exchange->respond(200, plain, std::move(*body));
  } else if (path == "/small-body") {
    auto body = co_await exchange->readBody(10);
    int status = body ? 200 : body.error().code();
    (void)co_await exchange->respond(status, plain, std::to_string(status));
  } else if (path == "/stream") {
    int64_t count = parseInt(request.query()).value_or(1);
    (void)exchange->startResponse(200, plain);
    for (int64_t i = 0; i < count; ++i) {
      if (!co_await exchange->write("piece " + std::to_string(i) + "\n")) co_return;
      co_await async::sleepFor(e, 1ms);
    }
    (void)co_await exchange->finish({{"x-trailer", "done"}});
  } else if (path == "/big") {
    (void)co_await exchange->respond(200, plain, std::string(3'000'000, 'b'));
  } else if (path == "/watch") {
    co_await waitForClientToLeave(e, notes, exchange);
  } else if (path == "/cut") {
    (void)exchange->startResponse(200, plain);
    (void)co_await exchange->write("half");
  } else if (path == "/upgrade") {
    auto stream = co_await exchange->upgrade({{"Upgrade", "test"}});
    if (!stream) {
      (void)co_await exchange->respond(stream.error().code(), plain, stream.error().message());
      co_return;
    }
    co_await echoRaw(e, std::move(*stream));
  } else if (path == "/whoami") {
    std::string who = request.tlsPeer ? request.tlsPeer->commonName : "nobody";
    (void)co_await exchange->respond(200, plain, who + " " + std::string(httpVersionName(request.version)));
  } else if (path == "/fields") {
    std::string text;
    for (const Headers::Field& field : request.headers.fields()) text += toLower(field.name) + "=" + field.value + "\n";
    (void)co_await exchange->respond(200, plain, std::move(text));
  } else if (path != "/nothing") {
    (void)co_await exchange->respond(404, plain, std::string("no such path\n"));
  }
}

Handler makeTestHandler(env::Env e, std::shared_ptr<ServerNotes> notes) {
  return [e, notes](std::shared_ptr<ServerExchange> exchange) { return handleForTest(e, notes, std::move(exchange)); };
}

namespace {

Task<void> talk(env::Env e, std::string address, std::vector<std::string> pieces, env::Duration patience, std::string* got,
                bool* done) {
  auto stream = co_await async::connect(e, address, 5s);
  if (!stream) {
    *done = true;
    co_return;
  }
  for (const std::string& piece : pieces) {
    if (!co_await writeAll(e, stream->get(), piece, 10s)) break;
    co_await async::sleepFor(e, 10ms);
  }
  char buffer[4096];
  while (true) {
    env::IoStep step = (*stream)->read(buffer);
    if (step.kind == env::IoStep::Done) {
      got->append(buffer, step.bytes);
    } else if (step.kind != env::IoStep::WouldBlock ||
               !co_await waitReady(e, stream->get(), Direction::Read, e.clock.now() + patience)) {
      break;
    }
  }
  *done = true;
}

}  // namespace

std::string talkRaw(env::SimEnv& world, const std::string& address, const std::vector<std::string>& pieces,
                    env::Duration patience) {
  std::string got;
  bool done = false;
  async::Gate gate(world.env().executor);
  gate.spawn(talk(world.env(), address, pieces, patience, &got, &done));
  EXPECT_TRUE(world.runUntil([&] { return done; }, 1h));
  return got;
}

}  // namespace knarr::wire
