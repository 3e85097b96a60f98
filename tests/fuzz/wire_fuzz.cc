// libFuzzer target: bytes from outside against the HTTP server (both protocols), the response
// parser, the WebSocket decoder and the SPDY decoder. The first byte chooses; the rest is the input. Time, order and
// delivery come from a fixed seed.
#include <cstdlib>

#include "base/log.h"
#include "env/sim/sim.h"
#include "wire/http1_parser.h"
#include "wire/http_test_server.h"
#include "wire/spdy_frames.h"
#include "wire/websocket_frames.h"

namespace knarr::wire {
namespace {

void fuzzServer(std::string_view bytes, bool http2) {
  env::SimEnv world(7);
  env::Env e = world.env();
  auto notes = std::make_shared<ServerNotes>();
  HttpServer server(e, {}, makeTestHandler(e, notes));
  std::string address = *server.listen("127.0.0.1:0");
  std::unique_ptr<env::Stream> client;
  std::string input = http2 ? "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" : "";
  input += bytes;
  e.network.connect(address, std::chrono::seconds(1), [&](Result<std::unique_ptr<env::Stream>> stream) {
    client = std::move(*stream);
    client->write(input);
  });
  world.runFor(std::chrono::seconds(1));
  client.reset();
  world.runFor(std::chrono::minutes(5));
  // Whatever was sent: once the client is gone nothing of it remains.
  if (server.connections() != 0 || notes->running != 0) std::abort();
}

void fuzzResponse(std::string_view bytes) {
  Http1Parser parser(Http1Parser::Kind::Response, 64 << 10, 256);
  while (!bytes.empty() && !parser.complete()) {
    std::string_view piece = bytes.substr(0, 7);
    auto used = parser.feed(piece);
    if (!used) return;
    if (*used == 0 || *used > piece.size()) std::abort();
    bytes.remove_prefix(*used);
    if (parser.takeBody().size() > piece.size()) std::abort();  // decoding only shrinks
  }
  (void)parser.feedEof();
}

void fuzzWebSocket(std::string_view bytes, bool mask) {
  WebSocketDecoder decoder(mask, 1000);
  for (size_t at = 0; at < bytes.size(); at += 5) {
    decoder.feed(bytes.substr(at, 5));
    while (true) {
      auto frame = decoder.next();
      if (!frame) return;
      if (!*frame) break;
      if ((*frame)->payload.size() > 1000) std::abort();
    }
  }
}

// Pieces of DATA never exceed what was fed; a header block keeps its bound however well it was compressed.
void fuzzSpdy(std::string_view bytes) {
  SpdyDecoder decoder;
  for (size_t at = 0; at < bytes.size(); at += 5) {
    decoder.feed(bytes.substr(at, 5));
    while (true) {
      auto frame = decoder.next();
      if (!frame) return;
      if (!*frame) break;
      if ((*frame)->data.size() > 5 || (*frame)->headers.bytes() > (512 << 10)) std::abort();
    }
  }
}

// What the encoder makes of headers and data is what the decoder gives.
void fuzzSpdyRoundTrip(std::string_view bytes) {
  SpdyEncoder encoder;
  SpdyDecoder decoder;
  SpdyFrame frame;
  frame.type = SpdyFrameType::SynStream;
  frame.stream = 1;
  for (size_t at = 0; at < bytes.size() && frame.headers.fields().size() < 100; at += 16)
    frame.headers.add("h" + std::to_string(at), std::string(bytes.substr(at, 16)));
  for (int i = 0; i < 2; ++i) {
    decoder.feed(encoder.encode(frame));
    auto got = decoder.next();
    if (!got || !*got) std::abort();
    for (const Headers::Field& field : frame.headers.fields()) {
      std::string joined;
      std::vector<std::string_view> pieces = (*got)->headers.all(field.name);
      for (size_t k = 0; k < pieces.size(); ++k) joined += (k == 0 ? "" : std::string(1, '\0')) + std::string(pieces[k]);
      if (joined != field.value) std::abort();
    }
  }
}

}  // namespace
}  // namespace knarr::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace knarr::wire;
  static const bool kQuiet = [] {
    knarr::setLogSink([](std::string_view) {});
    return true;
  }();
  if (size == 0 || !kQuiet) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 7) {
    case 0:
      fuzzServer(bytes, false);
      break;
    case 1:
      fuzzServer(bytes, true);
      break;
    case 2:
      fuzzResponse(bytes);
      break;
    case 3:
      fuzzSpdy(bytes);
      break;
    case 4:
      fuzzSpdyRoundTrip(bytes);
      break;
    default:
      fuzzWebSocket(bytes, data[0] % 7 == 5);
  }
  return 0;
}
