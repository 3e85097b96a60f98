// The client's side of one HTTP/1.1 connection: one request at a time. Private to this room.
#pragma once

#include "wire/http1_parser.h"
#include "wire/http_common.h"

namespace knarr::wire {

class Http1ClientConnection : public std::enable_shared_from_this<Http1ClientConnection> {
 public:
  Http1ClientConnection(env::Env environment, std::unique_ptr<env::Stream> stream, size_t headerBytesMax);

  // Sends the request; head is everything up to the body. A body stream needs chunked framing
  // announced in head.
  static async::Task<Result<void>> sendRequest(std::shared_ptr<Http1ClientConnection> self, std::string head, Bytes body,
                                               decltype(ClientRequest::bodyStream) bodyStream, async::StopToken stop);
  // The head of the final response.
  static async::Task<Result<Http1Head>> readHead(std::shared_ptr<Http1ClientConnection> self, bool skipBody,
                                                 async::StopToken stop);
  static async::Task<Result<std::optional<std::string>>> readChunk(std::shared_ptr<Http1ClientConnection> self,
                                                                   async::StopToken stop);
  const Headers& trailers() const { return parser_.trailers(); }
  // Some byte of the response arrived.
  bool answered() const { return answered_; }
  // The response is complete and the server keeps the connection.
  bool reusable() const { return reusable_ && !requestCut && parser_.complete() && input_.empty(); }
  // While idle: runs once when the server closes it or speaks out of turn.
  void whenBroken(env::Callback broken) { stream_->whenReadable(std::move(broken)); }
  // After 101: the stream from the first byte behind the response.
  std::unique_ptr<env::Stream> release();

  bool reused = false;         // served a request before
  bool requestCut = false;     // the server answered before it took the whole request
  std::shared_ptr<void> slot;  // its place among the pool's connections
  env::TimerId idleTimer = 0;

 private:
  static async::Task<Result<bool>> readMore(std::shared_ptr<Http1ClientConnection> self, async::StopToken stop);

  env::Env environment_;
  std::unique_ptr<env::Stream> stream_;
  Http1Parser parser_;
  std::string input_;
  bool answered_ = false;
  bool reusable_ = false;
};

}  // namespace knarr::wire
