// resolv.conf, /etc/hosts and host names of pods.
// Upstream counterpart: pkg/kubelet/network/dns/dns.go, pkg/kubelet/kubelet_pods.go
// (managedHostsFileContent).
#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "kubelet/container_config.h"

namespace knarr::kubelet {
namespace {

// Limits of glibc's resolver as upstream validates them. Source: pkg/apis/core/validation MaxDNS*.
constexpr size_t kNameserversMax = 3;
constexpr size_t kSearchPathsMax = 32;
constexpr size_t kSearchCharactersMax = 2048;
constexpr size_t kHostNameMax = 63;

void addUnique(std::vector<std::string>& list, std::string_view item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.emplace_back(item);
}

std::vector<std::string> fields(std::string_view line) {
  std::vector<std::string> out;
  std::string word;
  for (char c : line) {
    if (c != ' ' && c != '\t' && c != '\r') {
      word += c;
    } else if (!word.empty()) {
      out.push_back(std::exchange(word, ""));
    }
  }
  if (!word.empty()) out.push_back(word);
  return out;
}

std::string_view optionName(std::string_view option) { return option.substr(0, option.find(':')); }

void setOption(std::vector<std::string>& options, std::string option) {
  for (std::string& present : options) {
    if (optionName(present) == optionName(option)) {
      present = std::move(option);
      return;
    }
  }
  options.push_back(std::move(option));
}

DnsSettings parseResolverFile(std::string_view text) {
  DnsSettings settings;
  for (std::string_view line : split(text, '\n')) {
    std::vector<std::string> words = fields(line);
    if (words.size() < 2 || words[0][0] == '#' || words[0][0] == ';') continue;
    if (words[0] == "nameserver") settings.servers.push_back(words[1]);
    if (words[0] == "options") {
      for (size_t i = 1; i < words.size(); ++i) setOption(settings.options, words[i]);
    }
    if (words[0] != "search") continue;
    settings.searches.clear();
    for (size_t i = 1; i < words.size(); ++i) {
      std::string_view path = words[i];
      if (path.size() > 1 && path.ends_with('.')) path.remove_suffix(1);
      if (path != ".") settings.searches.emplace_back(path);
    }
  }
  return settings;
}

void cut(DnsSettings& settings) {
  if (settings.servers.size() > kNameserversMax) settings.servers.resize(kNameserversMax);
  if (settings.searches.size() > kSearchPathsMax) settings.searches.resize(kSearchPathsMax);
  while (join(settings.searches, " ").size() > kSearchCharactersMax) settings.searches.pop_back();
}

}  // namespace

DnsSettings podDns(const corev1::Pod& pod, const KubeletConfig& config, std::string_view hostFile) {
  DnsSettings settings;
  schema::Str policy = pod.spec.dnsPolicy;
  bool cluster = policy == "ClusterFirstWithHostNet" || (policy == "ClusterFirst" && !pod.spec.hostNetwork);
  if (policy != "None") settings = parseResolverFile(hostFile);
  if (cluster && !config.clusterDns.empty()) {
    std::vector<std::string> hostSearches = std::move(settings.searches);
    settings = {};
    settings.servers = config.clusterDns;
    if (!config.clusterDomain.empty()) {
      settings.searches = {fmt::format("{}.svc.{}", pod.metadata.namespace_, config.clusterDomain),
                           fmt::format("svc.{}", config.clusterDomain), config.clusterDomain};
    }
    for (const std::string& path : hostSearches) addUnique(settings.searches, path);
    settings.options = {"ndots:5"};
  }
  if (pod.spec.dnsConfig != nullptr) {
    for (schema::Str server : pod.spec.dnsConfig->nameservers) addUnique(settings.servers, server);
    for (schema::Str path : pod.spec.dnsConfig->searches) addUnique(settings.searches, path);
    for (const corev1::PodDNSConfigOption& option : pod.spec.dnsConfig->options) {
      std::string text(option.name);
      if (option.value.present && !option.value.value.empty()) text += ":" + std::string(option.value.value);
      setOption(settings.options, std::move(text));
    }
  }
  cut(settings);
  return settings;
}

Result<HostName> podHostName(const corev1::Pod& pod, const std::string& clusterDomain) {
  HostName host;
  if (pod.spec.hostnameOverride.present) {
    host.name = std::string(pod.spec.hostnameOverride.value.substr(0, kHostNameMax));
    return host;
  }
  host.name = pod.spec.hostname.empty() ? pod.metadata.name : pod.spec.hostname;
  host.name = host.name.substr(0, kHostNameMax);
  while (host.name.ends_with('-') || host.name.ends_with('.')) host.name.pop_back();
  if (!pod.spec.subdomain.empty()) {
    host.domain = fmt::format("{}.{}.svc.{}", pod.spec.subdomain, pod.metadata.namespace_, clusterDomain);
  }
  if (pod.spec.setHostnameAsFQDN.valueOr(false) && !host.domain.empty()) {
    std::string full = host.name + "." + host.domain;
    constexpr size_t kKernelNameMax = 64;
    if (full.size() > kKernelNameMax) {
      return fail(Reason::Invalid, fmt::format("failed to construct FQDN from pod hostname and cluster domain, FQDN {} is "
                                               "too long ({} characters is the max, {} characters requested)",
                                               full, kKernelNameMax, full.size()));
    }
  }
  return host;
}

std::string hostsFile(const corev1::Pod& pod, const HostName& hostName, const std::vector<std::string>& podIps,
                      std::string_view hostFile) {
  std::string out;
  if (pod.spec.hostNetwork) {
    out = "# Kubernetes-managed hosts file (host network).\n";
    out += hostFile;
  } else {
    out =
        "# Kubernetes-managed hosts file.\n"
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\n"
        "fe00::0\tip6-mcastprefix\n"
        "fe00::1\tip6-allnodes\n"
        "fe00::2\tip6-allrouters\n";
    for (const std::string& ip : podIps) {
      if (hostName.domain.empty()) {
        out += fmt::format("{}\t{}\n", ip, hostName.name);
      } else {
        out += fmt::format("{}\t{}.{}\t{}\n", ip, hostName.name, hostName.domain, hostName.name);
      }
    }
  }
  if (pod.spec.hostAliases.empty()) return out;
  out += "\n# Entries added by HostAliases.\n";
  for (const corev1::HostAlias& alias : pod.spec.hostAliases) {
    out += alias.ip;
    for (schema::Str name : alias.hostnames) out += fmt::format("\t{}", name);
    out += '\n';
  }
  return out;
}

}  // namespace knarr::kubelet
