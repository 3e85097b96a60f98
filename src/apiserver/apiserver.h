// The API server: the pipeline from a request to the store and back, over HTTPS for the world and by direct calls for the
// components of the same process.
//
//   auto server = ApiServer(env, store, config);
//   co_await server.start();                       // loads the cache, makes the bootstrap objects
//   server.listen("127.0.0.1:6443");               // from then on over HTTPS
//   auto client = server.clientFor(user);          // near: same pipeline, no sockets, no encoding
//
// Upstream counterpart: cmd/kube-apiserver and k8s.io/apiserver.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apiserver/user.h"
#include "async/async.h"
#include "client/client.h"
#include "env/env.h"
#include "store/store.h"
#include "wire/tls.h"

namespace knarr::apiserver {

struct ApiServerConfig {
  wire::TlsServerConfig tls;  // its clientCaPem is the CA of client certificates
  std::string serviceAccountIssuer = "https://kubernetes.default.svc.cluster.local";
  std::string serviceAccountKeyPem;                   // signs tokens
  std::vector<std::string> serviceAccountPublicKeys;  // further keys that verify
  std::string advertiseAddress = "192.0.2.1";         // in the kubernetes Service's endpoints; no loopback address
  int securePort = 6443;
  std::string serviceClusterIpRange = "10.96.0.0/12";
  // How the server reaches kubelets (logs, exec): the CA of their certificates and our client certificate.
  wire::TlsClientConfig kubeletClient;
  // Parts of the cluster that componentstatuses asks after, besides the store ("etcd-0"): "ok", or what is wrong.
  struct ComponentProbe {
    std::string name;
    std::function<async::Task<Result<std::string>>()> probe;
  };
  std::vector<ComponentProbe> componentProbes;
  // How often the store is compacted; zero for never. Upstream's --etcd-compaction-interval.
  env::Duration compactionInterval = std::chrono::minutes(5);
  // Groups and versions to serve, "apps/v1"; empty serves defaultServedGroupVersions().
  std::vector<std::string> servedGroupVersions;
};

// Every group and version of the vocabulary but those of aggregated servers, of each group the preferred version first. Server,
// simulation and tests give this one list.
std::vector<std::string> defaultServedGroupVersions();

class ApiServer {
 public:
  ApiServer(env::Env environment, store::Store& store, ApiServerConfig config);
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;

  // Loads the watch cache and makes the objects that every cluster has (namespaces, RBAC, the kubernetes Service).
  async::Task<Result<void>> start();
  // AlreadyExists when the port is in use. Returns the bound address.
  Result<std::string> listen(const std::string& address);
  // A client with an identity; it lives at most as long as the server. `userAgent` is what its program sends of itself; writes
  // are managed under the part before a slash.
  std::unique_ptr<client::Client> clientFor(UserInfo user, std::string userAgent = "knarr");
  // Ends listening and every watch, lets requests finish for `grace`.
  async::Task<void> stop(env::Duration grace);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace knarr::apiserver
