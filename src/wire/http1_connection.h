// The two halves of a server's HTTP/1.1 connection: the connection itself and the exchange it hands
// to the handler. Private to this room.
#pragma once

#include "wire/http1_parser.h"
#include "wire/http1_server.h"

namespace knarr::wire::http1 {

// Smaller bodies are copied behind the header, so that a response is one write.
inline constexpr size_t kJoinBytesMax = 16 << 10;

class Connection;

class Exchange final : public ServerExchange {
 public:
  Exchange(std::shared_ptr<Connection> connection, Request request)
      : connection_(std::move(connection)), request_(std::move(request)) {}
  const Request& request() const override { return request_; }
  async::StopToken clientGone() const override { return gone_.token(); }
  async::Task<Result<std::optional<std::string>>> readChunk() override;
  async::Task<Result<void>> respond(int status, Headers headers, Bytes body) override;
  Result<void> startResponse(int status, Headers headers) override;
  async::Task<Result<void>> write(Bytes bytes) override;
  async::Task<Result<void>> finish(Headers trailers) override;
  async::Task<Result<std::unique_ptr<env::Stream>>> upgrade(Headers headers) override;
  bool responseStarted() const override { return status_ != 0; }
  int responseStatus() const override { return status_; }
  uint64_t responseBytes() const override { return responseBytes_; }

  bool finished() const { return finished_; }
  bool continueSent() const { return continueSent_; }
  void clientLeft() {
    if (!finished_ || status_ == 101) gone_.requestStop();  // an upgraded connection lives on
  }
  // The handler has ended: nothing may touch the connection through this exchange any more.
  void detach() { connection_.reset(); }

 private:
  Result<std::shared_ptr<Connection>> connection() const {
    if (!connection_) return fail(Reason::ServiceUnavailable, "the HTTP exchange is over");
    return connection_;
  }
  // The status line and fields; decides the framing.
  Result<std::string> makeHead(Connection& connection, int status, Headers& headers, std::optional<size_t> length);

  std::shared_ptr<Connection> connection_;
  Request request_;
  int status_ = 0;
  uint64_t responseBytes_ = 0;
  bool chunked_ = false;
  bool sendsBody_ = true;
  bool finished_ = false;
  std::optional<uint64_t> declared_;  // Content-Length of a streamed response
  bool continueSent_ = false;
  async::StopSource gone_;
};

class Connection final : public Http1ServerConnection, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ServerCore> core, std::unique_ptr<env::Stream> stream, ConnectionFacts facts)
      : core_(std::move(core)),
        facts_(std::move(facts)),
        stream_(std::move(stream)),
        parser_(Http1Parser::Kind::Request, core_->options.headerBytesMax, core_->options.headerFieldsMax),
        drained_(core_->environment.executor) {}

  async::Task<void> run() override { return runOn(shared_from_this()); }
  void drain() override {
    closing_ = true;
    drain_.requestStop();
  }
  void stopRequests() override {
    if (auto exchange = current_.lock()) exchange->clientLeft();
  }

  env::Env environment() const { return core_->environment; }
  const HttpServerOptions& options() const { return core_->options; }
  bool closing() const { return closing_; }
  void closeAfterThis() { closing_ = true; }
  Http1Parser& parser() { return parser_; }

  // Takes input for the body; false when the client is too slow or gone, with the reason in the
  // error.
  static async::Task<Result<void>> readMore(std::shared_ptr<Connection> self, env::Duration timeout);
  Result<void> feedInput();
  void watchForLeaving();

  void enqueue(std::string_view bytes) { output_ += bytes; }
  // Tries to send what is queued; the rest follows when the client takes it.
  void pump();
  static async::Task<Result<void>> flush(std::shared_ptr<Connection> self);
  static async::Task<Result<void>> send(std::shared_ptr<Connection> self, Bytes bytes);
  std::unique_ptr<env::Stream> release();
  size_t outputBytes() const { return output_.size(); }

 private:
  static async::Task<void> runOn(std::shared_ptr<Connection> self);
  static async::Task<Result<bool>> readHead(std::shared_ptr<Connection> self);
  static async::Task<bool> serveOne(std::shared_ptr<Connection> self);
  static async::Task<void> refuse(std::shared_ptr<Connection> self, Error error);
  static async::Task<bool> dropRestOfBody(std::shared_ptr<Connection> self);
  Result<Request> makeRequest();
  void onLeaveWatch();

  std::shared_ptr<ServerCore> core_;
  ConnectionFacts facts_;
  std::unique_ptr<env::Stream> stream_;  // null once upgraded
  Http1Parser parser_;
  std::string input_;
  std::string output_;
  bool pumping_ = false;  // waits for the stream to become writable
  bool broken_ = false;
  bool closing_ = false;
  async::Event drained_;
  async::StopSource drain_;
  // The frame of serveOne owns it; a strong reference here would close a circle.
  std::weak_ptr<Exchange> current_;
  bool inBody_ = false;  // a handler, or the drain after it, takes the body
};

}  // namespace knarr::wire::http1
