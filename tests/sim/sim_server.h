// The API server as a process that can be killed: a SQLite store on a disk that keeps what it was told to keep, and the API
// server over it.
//
// A crash ends everything between two steps: what the server worked on vanishes, callers hear that the connection is gone,
// watches end, and the disk falls back to what was synced, with torn writes where the seed wants them. start() is the next
// process on the same disk.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "apiserver/apiserver.h"
#include "env/sim/sim.h"
#include "store/crash_disk_for_test.h"
#include "store/store.h"

namespace knarr::sim {

class SimServer {
 public:
  SimServer(env::SimEnv& sim, uint64_t seed, apiserver::ApiServerConfig config);
  ~SimServer();
  SimServer(const SimServer&) = delete;

  // Opens the store, starts the server. The caller runs the simulation until it ends; an error is the store's or the server's.
  async::Task<Result<void>> start();
  bool up() const { return incarnation_ != nullptr; }
  void crash(store::CrashDisk::Crash kind);
  // Lets the process die in the middle of what it will ask of its disk after `operations` more; dead() tells when, and
  // crash() is due then.
  void dieAfter(uint64_t operations) { disk_.dieAt(disk_.operations() + operations); }
  bool dead() const { return disk_.dead(); }
  // Ends in order.
  async::Task<void> stop();

  // A client that outlives crashes: while the server is down, and for what was under way when it went down, calls fail with
  // ServiceUnavailable, as over a broken connection.
  std::unique_ptr<client::Client> clientFor(apiserver::UserInfo user);

 private:
  class Session;
  class RemoteWatch;
  // What one life of the process owns, in the order in which it is destroyed backwards.
  struct Incarnation {
    std::unique_ptr<store::Store> store;
    std::unique_ptr<apiserver::ApiServer> server;
    std::map<std::string, std::unique_ptr<client::Client>> clients;  // by user
    std::map<uint64_t, std::shared_ptr<client::Watch>> watches;
    std::map<uint64_t, std::function<void()>> pending;  // tells a caller that the connection is gone
    std::unique_ptr<async::Gate> gate;                  // last: its tasks use all of the above
  };

  template <class R>
  static async::Task<R> request(SimServer* server, apiserver::UserInfo user,
                                std::move_only_function<async::Task<R>(client::Client&)> call);
  template <class R>
  static async::Task<void> serve(Incarnation* life, uint64_t id, async::Task<R> task, async::Promise<R> answer);
  client::Client& innerClient(const apiserver::UserInfo& user);

  env::SimEnv& sim_;
  apiserver::ApiServerConfig config_;
  store::CrashDisk disk_;
  std::unique_ptr<Incarnation> incarnation_;
  uint64_t lastId_ = 0;
};

}  // namespace knarr::sim
