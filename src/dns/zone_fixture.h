// A cluster for tests of the zone: Services, slices and Namespaces from JSON, and answers as text.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "codec/codec.h"
#include "dns/cluster_zone.h"

namespace knarr::dns {

template <class T>
Ref<T> objectFrom(const std::string& json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
  EXPECT_TRUE(decoded) << json << ": " << (decoded ? "" : decoded.error().describe());
  return schema::Mut<T>(std::move(decoded->object)).publish();
}

class ListedCluster : public ClusterView {
 public:
  std::vector<Ref<corev1::Service>> services;
  std::vector<Ref<discoveryv1::EndpointSlice>> allSlices;
  std::vector<std::string> namespaces;

  void addService(const std::string& name, const std::string& spec) {
    services.push_back(objectFrom<corev1::Service>(
        fmt::format(R"({{"metadata":{{"namespace":"testns","name":"{}"}},"spec":{{{}}}}})", name, spec)));
  }
  void addSlice(const std::string& service, const std::string& endpoints, const std::string& ports, const char* type = "IPv4") {
    allSlices.push_back(objectFrom<discoveryv1::EndpointSlice>(fmt::format(
        R"({{"metadata":{{"namespace":"testns","name":"{0}-{3}","labels":{{"kubernetes.io/service-name":"{0}"}}}},"addressType":"{4}",
                        "endpoints":[{1}],"ports":[{2}]}})",
        service, endpoints, ports, allSlices.size(), type)));
  }

  bool hasNamespace(std::string_view name) const override {
    return std::find(namespaces.begin(), namespaces.end(), name) != namespaces.end();
  }
  Ref<corev1::Service> service(std::string_view nameSpace, std::string_view name) const override {
    for (const auto& one : services)
      if (one->metadata.namespace_ == nameSpace && one->metadata.name == name) return one;
    return {};
  }
  std::vector<Ref<discoveryv1::EndpointSlice>> slices(std::string_view nameSpace, std::string_view of) const override {
    std::vector<Ref<discoveryv1::EndpointSlice>> out;
    for (const auto& slice : allSlices)
      if (slice->metadata.namespace_ == nameSpace && schema::valueOf(slice->metadata.labels, "kubernetes.io/service-name") == of)
        out.push_back(slice);
    return out;
  }
  Ref<corev1::Service> serviceWithIp(const IpAddress& ip) const override {
    for (const auto& one : services)
      for (schema::Str text : one->spec.clusterIPs)
        if (IpAddress::parse(text) == ip) return one;
    return {};
  }
  std::vector<Ref<discoveryv1::EndpointSlice>> slicesWithIp(const IpAddress& ip) const override {
    std::vector<Ref<discoveryv1::EndpointSlice>> out;
    for (const auto& slice : allSlices)
      for (const auto& endpoint : slice->endpoints)
        if (!endpoint.addresses.empty() && IpAddress::parse(endpoint.addresses[0]) == ip) out.push_back(slice);
    return out;
  }
  uint32_t serial() const override { return 17; }
};

inline std::string recordText(const Record& record) {
  std::string head = fmt::format("{} {} ", textOf(record.name), record.ttl);
  auto u16 = [&](size_t at) { return static_cast<uint8_t>(record.rdata[at]) << 8 | static_cast<uint8_t>(record.rdata[at + 1]); };
  switch (record.type) {
    case kA:
    case kAAAA: {
      IpAddress ip;
      ip.v6 = record.type == kAAAA;
      for (char c : record.rdata) ip.value = ip.value << 8 | static_cast<uint8_t>(c);
      return head + (ip.v6 ? "AAAA " : "A ") + ip.text();
    }
    case kSRV:
      return head + fmt::format("SRV {} {} {} {}", u16(0), u16(2), u16(4), textOf(record.rdata.substr(6)));
    case kCNAME:
      return head + "CNAME " + textOf(record.rdata);
    case kPTR:
      return head + "PTR " + textOf(record.rdata);
    case kNS:
      return head + "NS " + textOf(record.rdata);
    case kTXT:
      return head + "TXT \"" + record.rdata.substr(1) + "\"";
    case kSOA:
      return head + "SOA";
    default:
      return head + fmt::format("TYPE{}", record.type);
  }
}

inline std::vector<std::string> recordTexts(const std::vector<Record>& records) {
  std::vector<std::string> out;
  for (const Record& record : records) out.push_back(recordText(record));
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace knarr::dns
