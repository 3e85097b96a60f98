// One HTTP/2 connection of either role: nghttp2 frames, an env stream carries. Private to this
// room.
//
// Received body bytes wait in their stream until they are taken, and only then the peer may send
// more: a stream holds at most kStreamWindowBytes, a connection kConnectionWindowBytes. Output
// waits per stream until the peer's window and the socket take it.
#pragma once

#include <nghttp2/nghttp2.h>

#include <map>

#include "wire/http_common.h"

namespace knarr::wire {

struct Http2Stream {
  explicit Http2Stream(env::Executor& executor) : changed(executor) {}
  int32_t id = 0;
  // The peer's message.
  std::string method, target, authority;
  int status = 0;
  Headers headers;
  Headers trailers;
  size_t headerBytes = 0;
  size_t headerFields = 0;
  bool headTooLarge = false;
  bool headComplete = false;
  std::deque<std::string> in;
  bool inEnded = false;  // all of it arrived
  bool ignoreInput = false;
  // Ours.
  std::deque<Bytes> out;
  size_t outOffset = 0;  // within the first piece
  size_t outBytes = 0;
  bool outEnded = false;
  Headers outTrailers;
  bool deferred = false;
  uint64_t outProgress = 0;  // grows whenever a byte left
  // The end of the stream: NO_ERROR when both directions ended.
  bool closed = false;
  uint32_t closeCode = 0;
  async::Event changed;            // anything above
  std::function<void()> onClosed;  // runs from the loop
};

struct Http2SessionOptions {
  bool server = true;
  size_t headerBytesMax = 64 << 10;
  size_t headerFieldsMax = 256;
  uint32_t streamsMax = 250;
  env::Duration idleTimeout{};
  env::Duration pingInterval{};
  env::Duration pingTimeout{};
  env::Duration writeStallTimeout{};
};

class Http2Session : public std::enable_shared_from_this<Http2Session> {
 public:
  Http2Session(env::Env environment, std::unique_ptr<env::Stream> stream, Http2SessionOptions options);
  Http2Session(const Http2Session&) = delete;
  ~Http2Session();

  // Server: called for each request whose head is complete.
  std::function<void(std::shared_ptr<Http2Stream>)> onRequest;

  // Client: a further request may be accepted now, or the session has ended. Must not call back.
  std::function<void()> onRoom;

  void start(std::string_view prefix);
  bool ended() const { return ended_; }
  const std::string& endReason() const { return endReason_; }
  async::Event& endedEvent() { return endedEvent_; }
  size_t openStreams() const { return streams_.size(); }
  // Client: may take another request.
  bool accepts() const;

  // Client. fields begin with the pseudo header fields.
  Result<std::shared_ptr<Http2Stream>> request(const Headers& fields, bool hasBody);
  // Server. fields begin with :status.
  Result<void> respond(Http2Stream& stream, const Headers& fields, bool hasBody);
  // Server: the interim response 100.
  void sendContinue(Http2Stream& stream);
  void push(Http2Stream& stream, Bytes bytes);
  void endOutput(Http2Stream& stream, Headers trailers);
  // The next received piece; nothing when there is none now.
  std::optional<std::string> take(Http2Stream& stream);
  // Gives back what was received and ignores the rest.
  void dropInput(Http2Stream& stream);
  void reset(Http2Stream& stream, uint32_t code);
  // GOAWAY: present streams go on, no new ones.
  void drain();
  // GOAWAY with an error, then the end.
  void terminate(uint32_t code);
  void close(std::string reason);
  // Hands what is queued to the socket. Not from a callback of this session.
  void flushNow() { flush(); }

 private:
  struct Callbacks;
  void onReadable();
  void armRead();
  void feed(std::string_view bytes);
  void flush();
  void scheduleFlush();
  void closeIfOver();
  void announceClose(std::shared_ptr<Http2Stream> stream, uint32_t code);
  void armTimer();
  void onTimer();
  env::Instant nextDeadline() const;
  int submitSettings();

  env::Env environment_;
  std::unique_ptr<env::Stream> stream_;
  const Http2SessionOptions options_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, std::shared_ptr<Http2Stream>> streams_;
  std::string output_;
  bool writeBlocked_ = false;
  bool flushScheduled_ = false;
  bool draining_ = false;
  bool peerGoesAway_ = false;
  bool ended_ = false;
  std::string endReason_;
  async::Event endedEvent_;
  env::TimerId timer_ = 0;
  env::Instant lastRead_{};
  env::Instant lastWrite_{};  // last progress of a blocked write
  env::Instant idleSince_{};
  bool pingSent_ = false;
  env::Instant pingSentAt_{};
};

}  // namespace knarr::wire
