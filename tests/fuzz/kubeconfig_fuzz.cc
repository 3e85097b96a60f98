// A user's kubeconfig: no input harms; a cluster that is merged in twice stands there as if merged once, and taking it out again
// leaves a kubeconfig.
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "cluster/certificates.h"

using namespace knarr;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string kOurs =
      "clusters: [{name: knarr, cluster: {server: 'https://127.0.0.1:6443'}}]\n"
      "contexts: [{name: knarr, context: {cluster: knarr, user: knarr-admin}}]\n"
      "users: [{name: knarr-admin, user: {token: x}}]\n";
  std::string existing(reinterpret_cast<const char*>(data), size);
  auto merged = cluster::mergeKubeconfig(existing, kOurs, "knarr");
  if (!merged) return 0;
  auto again = cluster::mergeKubeconfig(*merged, kOurs, "knarr");
  ASSERT(again && *again == *merged);
  ASSERT(cluster::removeFromKubeconfig(*merged, "knarr").has_value());
  return 0;
}
