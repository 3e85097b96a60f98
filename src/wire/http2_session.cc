#include "wire/http2_session.h"

#include "base/assert.h"
#include "base/strings.h"
#include "wire/io.h"

namespace knarr::wire {
namespace {

// What a peer may send ahead of its readers. Source: k8s.io/apiserver secure_serving.go (256 KiB
// per stream); golang.org/x/net/http2 (1 MiB per connection). Twice as much doubles what one client
// can make us hold.
constexpr uint32_t kStreamWindowBytes = 256 << 10;
constexpr int32_t kConnectionWindowBytes = 1 << 20;
constexpr size_t kReadBytes = 16 << 10;
// Read per turn of the loop, so that one busy connection leaves room for the others.
constexpr size_t kReadPerTurnBytes = 256 << 10;
// Frames are gathered up to this before a write.
constexpr size_t kOutputBytes = 64 << 10;

std::vector<nghttp2_nv> nameValuesOf(const Headers& fields, std::vector<std::string>& names) {
  names.clear();
  names.reserve(fields.fields().size());
  std::vector<nghttp2_nv> list;
  for (const Headers::Field& field : fields.fields()) {
    if (isConnectionField(field.name)) continue;
    names.push_back(toLower(field.name));
    nghttp2_nv nv{};
    nv.name = reinterpret_cast<uint8_t*>(names.back().data());
    nv.namelen = names.back().size();
    nv.value = reinterpret_cast<uint8_t*>(const_cast<char*>(field.value.data()));
    nv.valuelen = field.value.size();
    // Credentials are not entered into the compression table (RFC 7541, 7.1.3).
    nv.flags = names.back() == "authorization" ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
    list.push_back(nv);
  }
  return list;
}

}  // namespace

struct Http2Session::Callbacks {
  static Http2Session& session(void* user) { return *static_cast<Http2Session*>(user); }
  static Http2Stream* streamOf(nghttp2_session* raw, int32_t id) {
    return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(raw, id));
  }

  static int onBeginHeaders(nghttp2_session* raw, const nghttp2_frame* frame, void* user) {
    Http2Session& self = session(user);
    if (!self.options_.server || frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    auto stream = std::make_shared<Http2Stream>(self.environment_.executor);
    stream->id = frame->hd.stream_id;
    nghttp2_session_set_stream_user_data(raw, stream->id, stream.get());
    self.streams_[stream->id] = std::move(stream);
    return 0;
  }

  static int onHeader(nghttp2_session* raw, const nghttp2_frame* frame, const uint8_t* nameBytes, size_t nameSize,
                      const uint8_t* valueBytes, size_t valueSize, uint8_t, void* user) {
    Http2Session& self = session(user);
    Http2Stream* stream = streamOf(raw, frame->hd.stream_id);
    if (!stream || frame->hd.type != NGHTTP2_HEADERS) return 0;
    std::string_view name(reinterpret_cast<const char*>(nameBytes), nameSize);
    std::string value(reinterpret_cast<const char*>(valueBytes), valueSize);
    stream->headerBytes += nameSize + valueSize;
    if (stream->headerBytes > self.options_.headerBytesMax || ++stream->headerFields > self.options_.headerFieldsMax) {
      stream->headTooLarge = true;
      return 0;
    }
    if (name == ":method") {
      stream->method = std::move(value);
    } else if (name == ":path") {
      stream->target = std::move(value);
    } else if (name == ":authority") {
      stream->authority = std::move(value);
    } else if (name == ":status") {
      stream->status = static_cast<int>(parseInt(value).value_or(0));
    } else if (!name.starts_with(':')) {
      (stream->headComplete ? stream->trailers : stream->headers).add(std::string(name), std::move(value));
    }
    return 0;
  }

  static int onFrame(nghttp2_session* raw, const nghttp2_frame* frame, void* user) {
    Http2Session& self = session(user);
    if (frame->hd.type == NGHTTP2_GOAWAY) self.peerGoesAway_ = true;
    if (frame->hd.type == NGHTTP2_SETTINGS && self.onRoom) self.onRoom();
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK)) self.pingSent_ = false;
    Http2Stream* stream = streamOf(raw, frame->hd.stream_id);
    if (!stream || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)) return 0;
    bool first = frame->hd.type == NGHTTP2_HEADERS && !stream->headComplete;
    if (first && !self.options_.server && stream->status / 100 == 1) {
      // An interim response; the real one follows.
      stream->headers = {};
      stream->status = 0;
      return 0;
    }
    if (first) stream->headComplete = true;
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) stream->inEnded = true;
    stream->changed.notifyAll();
    if (first && self.options_.server && self.onRequest) self.onRequest(self.streams_.at(stream->id));
    return 0;
  }

  static int onData(nghttp2_session* raw, uint8_t, int32_t id, const uint8_t* bytes, size_t size, void*) {
    Http2Stream* stream = streamOf(raw, id);
    if (!stream || stream->ignoreInput) {
      nghttp2_session_consume(raw, id, size);
      return 0;
    }
    std::string_view piece(reinterpret_cast<const char*>(bytes), size);
    if (!stream->in.empty() && stream->in.back().size() + size <= kReadBytes) {
      stream->in.back() += piece;
    } else {
      stream->in.emplace_back(piece);
    }
    stream->changed.notifyAll();
    return 0;
  }

  static int onStreamClose(nghttp2_session*, int32_t id, uint32_t code, void* user) {
    Http2Session& self = session(user);
    auto found = self.streams_.find(id);
    if (found == self.streams_.end()) return 0;
    std::shared_ptr<Http2Stream> stream = std::move(found->second);
    self.streams_.erase(found);
    if (self.streams_.empty()) self.idleSince_ = self.environment_.clock.now();
    self.announceClose(std::move(stream), code);
    if (self.onRoom) self.onRoom();
    return 0;
  }

  static ssize_t readOutput(nghttp2_session* raw, int32_t id, uint8_t* into, size_t size, uint32_t* flags,
                            nghttp2_data_source* source, void*) {
    auto& stream = *static_cast<Http2Stream*>(source->ptr);
    size_t copied = 0;
    while (copied < size && !stream.out.empty()) {
      const std::string& piece = *stream.out.front();
      size_t count = std::min(size - copied, piece.size() - stream.outOffset);
      std::memcpy(into + copied, piece.data() + stream.outOffset, count);
      copied += count;
      stream.outOffset += count;
      if (stream.outOffset < piece.size()) break;
      stream.out.pop_front();
      stream.outOffset = 0;
    }
    stream.outBytes -= copied;
    stream.outProgress += copied;
    if (copied > 0) stream.changed.notifyAll();
    if (!stream.out.empty()) return static_cast<ssize_t>(copied);
    if (stream.outEnded) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!stream.outTrailers.empty()) {
        std::vector<std::string> names;
        std::vector<nghttp2_nv> list = nameValuesOf(stream.outTrailers, names);
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(raw, id, list.data(), list.size());
      }
      stream.outProgress += 1;
      stream.changed.notifyAll();
    } else if (copied == 0) {
      stream.deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(copied);
  }
};

Http2Session::Http2Session(env::Env environment, std::unique_ptr<env::Stream> stream, Http2SessionOptions options)
    : environment_(environment),
      stream_(std::move(stream)),
      options_(options),
      endedEvent_(environment.executor),
      lastRead_(environment.clock.now()),
      lastWrite_(lastRead_),
      idleSince_(lastRead_) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::onBeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::onHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::onFrame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::onData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::onStreamClose);
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  // A peer that makes us answer faster than it reads (PING, SETTINGS) is cut at this many answers.
  nghttp2_option_set_max_outbound_ack(option, 1000);
  nghttp2_option_set_peer_max_concurrent_streams(option, 100);
  int made = options_.server ? nghttp2_session_server_new2(&session_, callbacks, this, option)
                             : nghttp2_session_client_new2(&session_, callbacks, this, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  ASSERT(made == 0);
}

Http2Session::~Http2Session() {
  environment_.executor.cancelTimer(timer_);
  nghttp2_session_del(session_);
}

int Http2Session::submitSettings() {
  std::vector<nghttp2_settings_entry> settings = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindowBytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(options_.headerBytesMax)},
  };
  if (options_.server) {
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options_.streamsMax});
  } else {
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  }
  return nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
}

void Http2Session::start(std::string_view prefix) {
  ASSERT(submitSettings() == 0);
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindowBytes);
  if (!prefix.empty()) feed(prefix);
  flush();
  if (ended_) return;
  armRead();
  armTimer();
}

bool Http2Session::accepts() const {
  return !ended_ && !draining_ && !peerGoesAway_ &&
         streams_.size() < nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) &&
         nghttp2_session_check_request_allowed(session_) != 0;
}

// ---- messages

Result<std::shared_ptr<Http2Stream>> Http2Session::request(const Headers& fields, bool hasBody) {
  if (ended_) return fail(Reason::ServiceUnavailable, "the HTTP/2 connection has ended: " + endReason_);
  auto stream = std::make_shared<Http2Stream>(environment_.executor);
  std::vector<std::string> names;
  std::vector<nghttp2_nv> list = nameValuesOf(fields, names);
  nghttp2_data_provider provider{};
  provider.source.ptr = stream.get();
  provider.read_callback = Callbacks::readOutput;
  int32_t id = nghttp2_submit_request(session_, nullptr, list.data(), list.size(), hasBody ? &provider : nullptr, stream.get());
  if (id < 0) return fail(Reason::ServiceUnavailable, std::string("HTTP/2 request: ") + nghttp2_strerror(id));
  stream->id = id;
  streams_[id] = stream;
  scheduleFlush();
  return stream;
}

Result<void> Http2Session::respond(Http2Stream& stream, const Headers& fields, bool hasBody) {
  if (ended_ || stream.closed) return fail(Reason::ServiceUnavailable, "the client closed the stream");
  std::vector<std::string> names;
  std::vector<nghttp2_nv> list = nameValuesOf(fields, names);
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = Callbacks::readOutput;
  int result = nghttp2_submit_response(session_, stream.id, list.data(), list.size(), hasBody ? &provider : nullptr);
  if (result != 0) return fail(Reason::InternalError, std::string("HTTP/2 response: ") + nghttp2_strerror(result));
  scheduleFlush();
  return {};
}

void Http2Session::sendContinue(Http2Stream& stream) {
  if (ended_ || stream.closed) return;
  std::vector<std::string> names;
  Headers fields{{":status", "100"}};
  std::vector<nghttp2_nv> list = nameValuesOf(fields, names);
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id, nullptr, list.data(), list.size(), nullptr);
  scheduleFlush();
}

void Http2Session::push(Http2Stream& stream, Bytes bytes) {
  if (stream.closed || bytes->empty()) return;
  stream.outBytes += bytes->size();
  stream.out.push_back(std::move(bytes));
  if (std::exchange(stream.deferred, false)) nghttp2_session_resume_data(session_, stream.id);
  scheduleFlush();
}

void Http2Session::endOutput(Http2Stream& stream, Headers trailers) {
  stream.outEnded = true;
  stream.outTrailers = std::move(trailers);
  if (stream.closed) return;
  if (std::exchange(stream.deferred, false)) nghttp2_session_resume_data(session_, stream.id);
  scheduleFlush();
}

std::optional<std::string> Http2Session::take(Http2Stream& stream) {
  if (stream.in.empty()) return std::nullopt;
  std::string piece = std::move(stream.in.front());
  stream.in.pop_front();
  if (!ended_) {
    nghttp2_session_consume(session_, stream.id, piece.size());
    scheduleFlush();
  }
  return piece;
}

void Http2Session::dropInput(Http2Stream& stream) {
  stream.ignoreInput = true;
  while (take(stream)) {
  }
}

void Http2Session::reset(Http2Stream& stream, uint32_t code) {
  if (stream.closed || ended_) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, code);
  scheduleFlush();
}

void Http2Session::drain() {
  if (ended_ || std::exchange(draining_, true)) return;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR, nullptr,
                        0);
  scheduleFlush();
}

void Http2Session::terminate(uint32_t code) {
  if (ended_) return;
  nghttp2_session_terminate_session(session_, code);
  scheduleFlush();
}

void Http2Session::announceClose(std::shared_ptr<Http2Stream> stream, uint32_t code) {
  stream->closed = true;
  stream->closeCode = code;
  if (code != NGHTTP2_NO_ERROR) {
    stream->out.clear();
    stream->outBytes = 0;
  }
  stream->changed.notifyAll();
  if (!stream->onClosed) return;
  // Users may call back into the session, which is busy now.
  environment_.executor.post([stream = std::move(stream)] {
    if (stream->onClosed) stream->onClosed();
  });
}

void Http2Session::close(std::string reason) {
  if (std::exchange(ended_, true)) return;
  endReason_ = std::move(reason);
  environment_.executor.cancelTimer(timer_);
  stream_->shutdownWrite();
  stream_.reset();
  auto streams = std::move(streams_);
  streams_.clear();
  for (auto& [id, stream] : streams) announceClose(std::move(stream), NGHTTP2_CANCEL);
  endedEvent_.set();
  if (onRoom) onRoom();
}

// ---- bytes

void Http2Session::armRead() {
  stream_->whenReadable([weak = weak_from_this()] {
    if (auto self = weak.lock(); self && !self->ended_) self->onReadable();
  });
}

void Http2Session::onReadable() {
  char buffer[kReadBytes];
  for (size_t total = 0; total < kReadPerTurnBytes && !ended_;) {
    env::IoStep step = stream_->read(buffer);
    if (step.kind == env::IoStep::WouldBlock) break;
    if (step.kind != env::IoStep::Done) return close("the peer closed the connection");
    lastRead_ = environment_.clock.now();
    total += step.bytes;
    feed(std::string_view(buffer, step.bytes));
  }
  if (ended_) return;
  flush();
  if (!ended_) armRead();
}

void Http2Session::feed(std::string_view bytes) {
  auto keep = shared_from_this();
  ssize_t used = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (used >= 0) return;
  flush();  // nghttp2 may have queued a GOAWAY that says why
  close(std::string("HTTP/2 protocol error: ") + nghttp2_strerror(static_cast<int>(used)));
}

void Http2Session::scheduleFlush() {
  if (std::exchange(flushScheduled_, true)) return;
  environment_.executor.post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->flushScheduled_ = false;
    if (!self->ended_) self->flush();
  });
}

void Http2Session::flush() {
  if (ended_ || writeBlocked_) return;
  while (true) {
    while (output_.size() < kOutputBytes) {
      const uint8_t* bytes = nullptr;
      ssize_t size = nghttp2_session_mem_send(session_, &bytes);
      if (size < 0) return close(std::string("HTTP/2: ") + nghttp2_strerror(static_cast<int>(size)));
      if (size == 0) break;
      output_.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    }
    if (output_.empty()) {
      output_ = {};  // an idle connection keeps no buffer
      break;
    }
    env::IoStep step = stream_->write(output_);
    if (step.kind == env::IoStep::Done) {
      output_.erase(0, step.bytes);
      lastWrite_ = environment_.clock.now();
      continue;
    }
    if (step.kind != env::IoStep::WouldBlock) return close("the peer closed the connection");
    writeBlocked_ = true;
    lastWrite_ = environment_.clock.now();
    stream_->whenWritable([weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self || self->ended_) return;
      self->writeBlocked_ = false;
      self->flush();
    });
    return;
  }
  closeIfOver();
}

void Http2Session::closeIfOver() {
  bool over = nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
  if (over || ((draining_ || peerGoesAway_) && streams_.empty())) close("the connection was ended with GOAWAY");
}

// ---- time

env::Instant Http2Session::nextDeadline() const {
  env::Instant next = pingSent_ ? pingSentAt_ + options_.pingTimeout : lastRead_ + options_.pingInterval;
  if (writeBlocked_) next = std::min(next, lastWrite_ + options_.writeStallTimeout);
  if (streams_.empty()) next = std::min(next, idleSince_ + options_.idleTimeout);
  return next;
}

void Http2Session::armTimer() {
  // Deadlines only move away while things go well, so a timer may fire early and is set anew.
  timer_ = environment_.executor.at(nextDeadline(), [weak = weak_from_this()] {
    if (auto self = weak.lock(); self && !self->ended_) self->onTimer();
  });
}

void Http2Session::onTimer() {
  env::Instant now = environment_.clock.now();
  if (pingSent_ && now >= pingSentAt_ + options_.pingTimeout && lastRead_ <= pingSentAt_)
    return close("the peer did not answer a ping");
  if (writeBlocked_ && now >= lastWrite_ + options_.writeStallTimeout) return close("the peer took no byte in time");
  if (streams_.empty() && now >= idleSince_ + options_.idleTimeout) {
    drain();
  } else if (pingSent_ && lastRead_ > pingSentAt_) {
    pingSent_ = false;
  } else if (!pingSent_ && now >= lastRead_ + options_.pingInterval) {
    pingSent_ = true;
    pingSentAt_ = now;
    nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  }
  flush();
  if (!ended_) armTimer();
}

}  // namespace knarr::wire
