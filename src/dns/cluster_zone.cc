#include "dns/cluster_zone.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "base/strings.h"

namespace knarr::dns {
namespace {

using corev1::Service;
using discoveryv1::EndpointSlice;

// Source: schema 1.1.0, section 2.2.
constexpr std::string_view kSchemaVersion = "1.1.0";
constexpr uint32_t kSchemaVersionTtl = 28800;
// A negative answer is kept no longer than this.
constexpr uint32_t kNegativeTtlMax = 300;

bool isHeadless(const Service& service) { return service.spec.clusterIP.empty() || service.spec.clusterIP == "None"; }

// One reachable thing behind a name: a cluster address or an endpoint.
struct Target {
  Name name;
  IpAddress ip;
  uint16_t port = 0;  // 0: no port is meant
};

// "10-0-0-1" of 10.0.0.1. A text may not end in '-'.
std::string dashed(const IpAddress& ip) {
  std::string text = ip.text();
  for (char& c : text)
    if (c == '.' || c == ':') c = '-';
  if (text.ends_with('-')) text += '0';
  return text;
}

std::string endpointName(const discoveryv1::Endpoint& endpoint, const IpAddress& ip) {
  return endpoint.hostname && !endpoint.hostname.value.empty() ? toLower(*endpoint.hostname) : dashed(ip);
}

// The address of a pod name: three dashes and no two in a row are IPv4, anything else IPv6.
std::optional<IpAddress> addressOfPodLabel(std::string label) {
  bool v4 = std::count(label.begin(), label.end(), '-') == 3 && label.find("--") == std::string::npos;
  for (char& c : label)
    if (c == '-') c = v4 ? '.' : ':';
  return IpAddress::parse(label);
}

class Zone {
 public:
  Zone(const Question& question, const ZoneConfig& config, const ClusterView& view)
      : question_(question), config_(config), view_(view) {}

  ZoneAnswer answer() {
    Name folded = foldCase(question_.name);
    if (!isBelow(folded, config_.zone)) return reverse();
    auto all = labelsOf(folded);
    std::vector<std::string> labels(all.begin(), all.end() - static_cast<std::ptrdiff_t>(labelsOf(config_.zone).size()));
    if (labels.empty()) return apex();
    if (labels.size() == 1 && labels[0] == "dns-version") return version();
    if (labels.size() == 2 && labels[0] == "ns" && labels[1] == "dns") return addresses({{question_.name, config_.serviceIp}});
    std::string kind = labels.back();
    labels.pop_back();
    if (kind != "svc" && kind != "pod") return negative(kNxDomain);
    if (labels.empty()) return negative(kNoError);
    std::string nameSpace = labels.back();
    labels.pop_back();
    if (!view_.hasNamespace(nameSpace)) return negative(kNxDomain);
    if (labels.empty()) return negative(kNoError);
    std::string name = labels.back();
    labels.pop_back();
    if (kind == "pod") return pod(name, labels.size());
    return service(nameSpace, name, labels);
  }

 private:
  Name below(const std::vector<std::string>& labels) const {
    std::vector<std::string_view> all(labels.begin(), labels.end());
    for (std::string_view label : labelsOf(config_.zone)) all.push_back(label);
    return nameOf(all);
  }
  Name serviceName(const metav1::ObjectMeta& metadata) const {
    return below({std::string(metadata.name), std::string(metadata.namespace_), "svc"});
  }

  Record record(const Name& name, uint16_t type, std::string data) const {
    return {name, type, kClassIn, config_.ttl, std::move(data)};
  }
  Record addressRecord(const Name& name, const IpAddress& ip) const { return record(name, ip.v6 ? kAAAA : kA, addressData(ip)); }

  ZoneAnswer negative(uint16_t rcode) const {
    ZoneAnswer out;
    out.rcode = rcode;
    out.authority.push_back(zoneSoa(config_, view_.serial()));
    return out;
  }
  // The name exists: an answer without records of the type is NODATA.
  ZoneAnswer found(ZoneAnswer out) const {
    if (out.answers.empty()) out.authority.push_back(zoneSoa(config_, view_.serial()));
    return out;
  }

  // The addresses of the asked family, each once, under the asked name.
  ZoneAnswer addresses(const std::vector<Target>& targets) const {
    ZoneAnswer out;
    std::set<IpAddress> seen;
    for (const Target& target : targets) {
      bool wanted = question_.type == (target.ip.v6 ? kAAAA : kA);
      if (wanted && seen.insert(target.ip).second) out.answers.push_back(addressRecord(question_.name, target.ip));
    }
    return found(std::move(out));
  }

  // Priority 0; the weight is an equal share of 100. Source: coredns plugin/backend_lookup.go, SRV.
  ZoneAnswer srv(const std::vector<Target>& targets) const {
    ZoneAnswer out;
    std::set<std::tuple<Name, uint16_t>> seen;
    std::set<std::tuple<Name, IpAddress>> glued;
    size_t count = 0;
    for (const Target& target : targets) count += target.port != 0;
    auto weight = static_cast<uint16_t>(count == 0 ? 1 : std::max<size_t>(1, 100 / count));
    for (const Target& target : targets) {
      if (target.port == 0) continue;
      if (seen.emplace(target.name, target.port).second)
        out.answers.push_back(record(question_.name, kSRV, srvData(0, weight, target.port, target.name)));
      if (glued.emplace(target.name, target.ip).second) out.additional.push_back(addressRecord(target.name, target.ip));
    }
    return found(std::move(out));
  }

  ZoneAnswer version() const {
    ZoneAnswer out;
    if (question_.type == kTXT)
      out.answers.push_back({question_.name, kTXT, kClassIn, kSchemaVersionTtl, txtData(kSchemaVersion)});
    return found(std::move(out));
  }

  ZoneAnswer apex() const {
    ZoneAnswer out;
    if (question_.type == kSOA) {
      Record soa = zoneSoa(config_, view_.serial());
      soa.name = question_.name;
      out.answers.push_back(std::move(soa));
    }
    if (question_.type == kNS) {
      Ref<Service> self = view_.serviceWithIp(config_.serviceIp);
      Name name = self ? serviceName(self->metadata) : below({"ns", "dns"});
      out.answers.push_back(record(question_.name, kNS, name));
      out.additional.push_back(addressRecord(name, config_.serviceIp));
    }
    return found(std::move(out));
  }

  ZoneAnswer pod(const std::string& label, size_t extraLabels) const {
    auto ip = addressOfPodLabel(label);
    if (!ip || extraLabels > 2) return negative(kNxDomain);
    return addresses({{question_.name, *ip}});
  }

  // `extra` stands left of the Service: nothing, an endpoint, or port and protocol.
  ZoneAnswer service(const std::string& nameSpace, const std::string& name, const std::vector<std::string>& extra) const {
    if (extra.size() > 2) return negative(kNxDomain);
    Ref<Service> object = view_.service(nameSpace, name);
    if (!object) return negative(kNxDomain);
    if (object->spec.type == "ExternalName") return external(*object, !extra.empty());
    std::string portName, protocol, endpoint;
    if (extra.size() == 1) endpoint = extra[0];
    if (extra.size() == 2) {
      portName = extra[0].starts_with('_') ? extra[0].substr(1) : extra[0];
      protocol = extra[1].starts_with('_') ? extra[1].substr(1) : extra[1];
    }
    bool throughEndpoints = isHeadless(*object) || !endpoint.empty();
    std::vector<Target> targets = throughEndpoints ? endpointTargets(*object, endpoint, portName, protocol, extra.size() == 2)
                                                   : clusterTargets(*object, portName, protocol, extra.size() == 2);
    if (targets.empty()) return negative(kNxDomain);
    return question_.type == kSRV ? srv(targets) : addresses(targets);
  }

  static bool portMatches(schema::Str name, schema::Str protocol, const std::string& wantedName,
                          const std::string& wantedProtocol) {
    return equalsIgnoreCase(name, wantedName) &&
           equalsIgnoreCase(protocol.empty() ? schema::Str("TCP") : protocol, wantedProtocol);
  }

  std::vector<Target> clusterTargets(const Service& service, const std::string& portName, const std::string& protocol,
                                     bool byPort) const {
    std::vector<IpAddress> ips;
    for (schema::Str text : service.spec.clusterIPs)
      if (auto ip = IpAddress::parse(text)) ips.push_back(*ip);
    if (ips.empty())
      if (auto ip = IpAddress::parse(service.spec.clusterIP)) ips.push_back(*ip);
    std::vector<Target> out;
    Name name = serviceName(service.metadata);
    for (const IpAddress& ip : ips)
      for (const auto& port : service.spec.ports)
        if (!byPort || portMatches(port.name, port.protocol, portName, protocol))
          out.push_back({name, ip, static_cast<uint16_t>(port.port)});
    return out;
  }

  std::vector<Target> endpointTargets(const Service& service, const std::string& wanted, const std::string& portName,
                                      const std::string& protocol, bool byPort) const {
    std::vector<Target> out;
    for (const auto& slice : view_.slices(service.metadata.namespace_, service.metadata.name)) {
      for (const auto& endpoint : slice->endpoints) {
        if (!endpoint.conditions.ready.valueOr(true)) continue;
        for (schema::Str text : endpoint.addresses) {
          auto ip = IpAddress::parse(text);
          if (!ip) continue;
          std::string name = endpointName(endpoint, *ip);
          if (!wanted.empty() && wanted != name) continue;
          Name full = below({name, std::string(service.metadata.name), std::string(service.metadata.namespace_), "svc"});
          // A headless Service without ports has addresses and no SRV.
          if (slice->ports.empty() && !byPort) out.push_back({full, *ip});
          for (const auto& port : slice->ports)
            if (!byPort || portMatches(port.name.valueOr(""), port.protocol.valueOr("TCP"), portName, protocol))
              out.push_back({full, *ip, static_cast<uint16_t>(port.port.valueOr(0))});
        }
      }
    }
    return out;
  }

  ZoneAnswer external(const Service& service, bool hasExtraLabels) const {
    if (hasExtraLabels || IpAddress::parse(service.spec.externalName)) return negative(kNxDomain);
    auto target = nameFromText(service.spec.externalName);
    if (!target) return negative(kNxDomain);
    bool address = question_.type == kA || question_.type == kAAAA;
    if (!address && question_.type != kCNAME) return found({});
    ZoneAnswer out;
    out.answers.push_back(record(question_.name, kCNAME, *target));
    if (address) {
      out.kind = ZoneAnswer::Chase;
      out.chaseTo = *target;
    }
    return out;
  }

  // Addresses that are not the cluster's are somebody else's to name.
  ZoneAnswer reverse() const {
    ZoneAnswer out;
    out.kind = ZoneAnswer::NotOurs;
    auto ip = addressOfReverseName(question_.name);
    if (!ip || question_.type != kPTR) return out;
    std::vector<Record> names;
    if (Ref<Service> service = view_.serviceWithIp(*ip)) {
      names.push_back(record(question_.name, kPTR, serviceName(service->metadata)));
    } else {
      std::set<Name> seen;
      for (const auto& slice : view_.slicesWithIp(*ip)) {
        schema::Str serviceLabel = schema::valueOf(slice->metadata.labels, "kubernetes.io/service-name");
        if (serviceLabel.empty()) continue;
        for (const auto& endpoint : slice->endpoints) {
          if (!endpoint.conditions.ready.valueOr(true)) continue;
          bool here = std::any_of(endpoint.addresses.begin(), endpoint.addresses.end(),
                                  [&](schema::Str text) { return IpAddress::parse(text) == ip; });
          Name name =
              below({endpointName(endpoint, *ip), std::string(serviceLabel), std::string(slice->metadata.namespace_), "svc"});
          if (here && seen.insert(name).second) names.push_back(record(question_.name, kPTR, name));
        }
      }
    }
    if (names.empty()) return out;
    out.kind = ZoneAnswer::Done;
    out.answers = std::move(names);
    return out;
  }

  const Question& question_;
  const ZoneConfig& config_;
  const ClusterView& view_;
};

}  // namespace

Record zoneSoa(const ZoneConfig& config, uint32_t serial) {
  auto below = [&](const char* first, const char* second) {
    std::vector<std::string_view> labels{first};
    if (*second) labels.push_back(second);
    for (std::string_view label : labelsOf(config.zone)) labels.push_back(label);
    return nameOf(labels);
  };
  // Source: coredns plugin/backend_lookup.go, SOA.
  Soa soa{below("ns", "dns"), below("hostmaster", ""), serial, 7200, 1800, 86400, config.ttl};
  return {config.zone, kSOA, kClassIn, std::min(config.ttl, kNegativeTtlMax), soaData(soa)};
}

ZoneAnswer answerFromCluster(const Question& question, const ZoneConfig& config, const ClusterView& view) {
  return Zone(question, config, view).answer();
}

}  // namespace knarr::dns
