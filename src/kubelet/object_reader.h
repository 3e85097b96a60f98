// ObjectReader: ConfigMaps, Secrets and tokens that pods of this node refer to, remembered for a
// while. Upstream counterpart: pkg/kubelet/{configmap,secret} managers (mode Cache),
// pkg/kubelet/token.
#pragma once

#include <map>
#include <string>

#include "api/core_v1.h"
#include "async/async.h"
#include "client/client.h"

namespace knarr::kubelet {

class ObjectReader {
 public:
  ObjectReader(env::Env environment, client::Client& client) : env_(environment), client_(client) {}

  // NotFound when absent. An answer may be as old as kAgeMax unless `fresh`.
  async::Task<Result<schema::Ref<corev1::ConfigMap>>> configMap(std::string nameSpace, std::string name, bool fresh);
  async::Task<Result<schema::Ref<corev1::Secret>>> secret(std::string nameSpace, std::string name, bool fresh);
  // The runtime's handler of a RuntimeClass.
  async::Task<Result<std::string>> runtimeHandler(std::string runtimeClassName);
  // A token of the pod's service account, bound to the pod. Asked for again once 80 % of its life
  // or a day passed.
  async::Task<Result<std::string>> serviceAccountToken(schema::Ref<corev1::Pod> pod, std::string audience,
                                                       int64_t expirationSeconds);
  // Forgets the tokens of a pod that is gone.
  void forgetPod(std::string_view podUid);

 private:
  struct Entry {
    schema::Ref<> object;
    int64_t readAtNanos = 0;
  };
  struct Token {
    std::string token;
    int64_t refreshAtSeconds = 0;
    int64_t expiresAtSeconds = 0;
  };
  async::Task<Result<schema::Ref<>>> read(const schema::ResourceInfo& resource, std::string nameSpace, std::string name,
                                          bool fresh);

  env::Env env_;
  client::Client& client_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, Token> tokens_;  // "uid/audience/seconds"
};

}  // namespace knarr::kubelet
