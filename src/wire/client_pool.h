// The connections of one HttpClient. Dials run by themselves and put what they made into the pool;
// requests wait for a connection, whoever dialed it. Private to this room.
#pragma once

#include "wire/http1_client.h"
#include "wire/http2_session.h"

namespace knarr::wire {

// A connection for one request: one of both.
struct Lease {
  std::shared_ptr<Http2Session> http2;
  std::shared_ptr<Http1ClientConnection> http1;
};

class ClientPool : public std::enable_shared_from_this<ClientPool> {
 public:
  ClientPool(env::Env environment, HttpClientOptions options);

  env::Env environment() const { return environment_; }
  const HttpClientOptions& options() const { return options_; }
  const std::string& authority() const { return options_.authority; }
  async::Gate* gate() const { return gate_.get(); }

  // fresh: no connection that was used before. Timeout on stop.
  static async::Task<Result<Lease>> acquire(std::shared_ptr<ClientPool> self, bool fresh, async::StopToken stop);
  // A new connection outside the pool, for upgrades.
  static async::Task<Result<std::unique_ptr<env::Stream>>> dial(std::shared_ptr<ClientPool> self, bool http1Only, bool* http2);
  // Takes a connection back whose response was read to its end.
  void giveBack(std::shared_ptr<Http1ClientConnection> connection);
  void closeIdle();
  void shutDown();

 private:
  struct Counted;
  static async::Task<void> dialIntoPool(std::shared_ptr<ClientPool> self, std::unique_ptr<Counted> dialing);
  bool mayDial() const;
  std::optional<Lease> takeReady(bool fresh);
  void addSession(std::unique_ptr<env::Stream> stream);
  void dropIdle(const Http1ClientConnection* connection);

  env::Env environment_;
  HttpClientOptions options_;
  std::string host_;  // of the address; "" for a Unix socket
  std::string port_;
  std::vector<std::shared_ptr<Http1ClientConnection>> idle_;
  std::vector<std::shared_ptr<Http1ClientConnection>> fresh_;  // dialed, not yet used
  std::vector<std::shared_ptr<Http2Session>> sessions_;
  size_t http1Open_ = 0;
  size_t dialing_ = 0;
  size_t waiting_ = 0;
  bool speaksHttp1_ = false;  // the last connection did
  uint64_t failures_ = 0;
  std::optional<Error> lastFailure_;
  async::Event changed_;
  std::unique_ptr<async::Gate> gate_;
};

}  // namespace knarr::wire
