#include "cluster/certificates.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "cluster/node_network.h"
#include "codec/codec.h"
#include "codec/value.h"

namespace knarr::cluster {
namespace {

constexpr int64_t kYearSeconds = 365 * 86400;
constexpr int64_t kAuthorityYears = 10;
// Certificates begin a little in the past: clocks of client and server differ.
constexpr int64_t kSkewSeconds = 300;

struct Made {
  env::Env env;
  std::string directory;

  Result<std::string> file(const std::string& name, const std::function<Result<std::string>()>& make, uint32_t mode) const {
    std::string path = directory + "/" + name;
    auto have = env.files.readFile(path);
    if (have) return *have;
    if (!isNotFound(have.error())) return have;
    std::string text = TRY(make());
    TRY(env.files.writeFileAtomically(path, text, mode));
    return text;
  }

  // A pair is one file: half a pair is never seen.
  Result<wire::KeyAndCertificate> pair(const std::string& name,
                                       const std::function<Result<wire::KeyAndCertificate>()>& make) const {
    std::string both = TRY(file(
        name + ".pem",
        [&]() -> Result<std::string> {
          auto fresh = TRY(make());
          return fresh.certificatePem + fresh.privateKeyPem;
        },
        0600));
    size_t key = both.find("-----BEGIN PRIVATE KEY-----");
    if (key == std::string::npos)
      return fail(Reason::Invalid,
                  fmt::format("{}/{}.pem holds no private key: remove the file and run `knarr up` again", directory, name));
    return wire::KeyAndCertificate{both.substr(0, key), both.substr(key)};
  }
};

std::string entry(const std::string& listName, const std::string& name, const std::string& member, const std::string& body) {
  return fmt::format("{}:\n- name: {}\n  {}:\n{}", listName, name, member, body);
}

}  // namespace

Result<Certificates> ensureCertificates(env::Env environment, const ClusterConfig& config) {
  Made made{environment, config.configDirectory + "/pki"};
  TRY(environment.files.makeDirectories(made.directory, 0700));
  int64_t now = environment.clock.unixSeconds();
  Certificates out;
  out.authority = TRY(made.pair("ca", [&] {
    return wire::makeCertificateAuthority("kubernetes", now - kSkewSeconds, now + kAuthorityYears * kYearSeconds);
  }));
  auto issue = [&](const std::string& name, wire::CertificateSpec spec) -> Result<wire::KeyAndCertificate> {
    spec.notBeforeUnixSeconds = now - kSkewSeconds;
    spec.notAfterUnixSeconds = now + kYearSeconds;
    return made.pair(name, [&] { return wire::issueCertificate(out.authority, spec); });
  };
  wire::CertificateSpec server;
  server.commonName = "kube-apiserver";
  server.dnsNames = {
      "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + config.clusterDomain,
      "localhost",  config.nodeName};
  server.ipAddresses = {"127.0.0.1", "::1", config.nodeIp, TRY(serviceAddress(config, kApiServiceOffset)).text()};
  server.serverAuth = true;
  out.apiServer = TRY(issue("apiserver", server));
  wire::CertificateSpec kubelet;
  kubelet.commonName = "system:node:" + config.nodeName;
  kubelet.organizations = {"system:nodes"};
  kubelet.dnsNames = {config.nodeName};
  kubelet.ipAddresses = {config.nodeIp, "127.0.0.1"};
  kubelet.serverAuth = true;
  out.kubeletServer = TRY(issue("kubelet", kubelet));
  wire::CertificateSpec kubeletClient;
  kubeletClient.commonName = "kube-apiserver-kubelet-client";
  kubeletClient.organizations = {"kubeadm:cluster-admins"};
  kubeletClient.clientAuth = true;
  out.kubeletClient = TRY(issue("apiserver-kubelet-client", kubeletClient));
  wire::CertificateSpec admin;
  admin.commonName = "kubernetes-admin";
  admin.organizations = {"system:masters"};
  admin.clientAuth = true;
  out.admin = TRY(issue("admin", admin));
  out.serviceAccountKeyPem = TRY(made.file("sa.key", [] { return wire::makeRsaKey(); }, 0600));
  return out;
}

std::string kubeconfigText(const ClusterConfig& config, const Certificates& certificates, const wire::KeyAndCertificate& user,
                           const std::string& userName) {
  const std::string& name = config.name;
  std::string cluster = fmt::format("    certificate-authority-data: {}\n    server: https://127.0.0.1:{}\n",
                                    base64Encode(certificates.authority.certificatePem), config.apiPort);
  std::string credentials = fmt::format("    client-certificate-data: {}\n    client-key-data: {}\n",
                                        base64Encode(user.certificatePem), base64Encode(user.privateKeyPem));
  std::string context = fmt::format("    cluster: {}\n    user: {}\n", name, userName);
  return "apiVersion: v1\nkind: Config\n" + entry("clusters", name, "cluster", cluster) +
         entry("contexts", name, "context", context) + fmt::format("current-context: {}\npreferences: {{}}\n", name) +
         entry("users", userName, "user", credentials);
}

namespace {

using codec::Value;

Result<Value> parseKubeconfig(const std::string& text, Arena& arena) {
  if (trim(text).empty()) {
    Value empty = Value::emptyObject();
    empty.set(arena, "apiVersion", Value::ofString("v1"));
    empty.set(arena, "kind", Value::ofString("Config"));
    return empty;
  }
  auto json = codec::yamlToJson(text);
  if (!json) return fail(Reason::Invalid, "the kubeconfig is not YAML: " + json.error().message());
  Value value = TRY(codec::parseJsonValue(*json, arena));
  if (!value.isObject()) return fail(Reason::Invalid, "the kubeconfig is not a YAML map");
  return value;
}

void removeNamed(Value& config, std::string_view list, std::string_view name) {
  Value* entries = config.find(list);
  if (!entries || !entries->isArray()) return;
  for (size_t i = entries->size(); i-- > 0;) {
    const Value* have = entries->items()[i].find("name");
    if (have && have->stringOr() == name) entries->eraseAt(i);
  }
}

std::string userOf(const std::string& name) { return name + "-admin"; }

}  // namespace

Result<std::string> mergeKubeconfig(const std::string& existing, const std::string& ours, const std::string& name) {
  Arena arena;
  Value config = TRY(parseKubeconfig(existing, arena));
  Value from = TRY(parseKubeconfig(ours, arena));
  for (const auto& [list, entryName] :
       {std::pair{"clusters", name}, std::pair{"contexts", name}, std::pair{"users", userOf(name)}}) {
    removeNamed(config, list, entryName);
    Value* into = config.find(list);
    if (!into || !into->isArray()) into = &config.set(arena, list, Value::emptyArray());
    if (const Value* entries = from.find(list); entries && entries->isArray())
      for (const Value& item : entries->items()) into->append(arena, item);
  }
  config.set(arena, "current-context", Value::ofString(arena.copy(name)));
  return codec::jsonToYaml(codec::toJson(config));
}

Result<std::string> removeFromKubeconfig(const std::string& existing, const std::string& name) {
  Arena arena;
  Value config = TRY(parseKubeconfig(existing, arena));
  removeNamed(config, "clusters", name);
  removeNamed(config, "contexts", name);
  removeNamed(config, "users", userOf(name));
  if (const Value* current = config.find("current-context"); current && current->stringOr() == name)
    config.set(arena, "current-context", Value::ofString(""));
  return codec::jsonToYaml(codec::toJson(config));
}

}  // namespace knarr::cluster
