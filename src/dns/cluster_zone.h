// The cluster's zone: what Services, EndpointSlices and Namespaces answer to a question.
//
// A plain function over a view of the objects. Source: Kubernetes DNS-based service discovery, schema 1.1.0, and what CoreDNS's
// kubernetes plugin does where the schema is silent.
#pragma once

#include <string>
#include <vector>

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "dns/message.h"
#include "schema/object.h"

namespace knarr::dns {

using schema::Ref;

// The objects, as the zone reads them. Names in lower case.
class ClusterView {
 public:
  virtual ~ClusterView() = default;
  virtual bool hasNamespace(std::string_view name) const = 0;
  // Null when absent.
  virtual Ref<corev1::Service> service(std::string_view nameSpace, std::string_view name) const = 0;
  virtual std::vector<Ref<discoveryv1::EndpointSlice>> slices(std::string_view nameSpace, std::string_view service) const = 0;
  // The Service with this cluster address, null when none.
  virtual Ref<corev1::Service> serviceWithIp(const IpAddress& ip) const = 0;
  // Slices with an endpoint of this address.
  virtual std::vector<Ref<discoveryv1::EndpointSlice>> slicesWithIp(const IpAddress& ip) const = 0;
  // Unix time of the last change seen.
  virtual uint32_t serial() const = 0;
};

struct ZoneConfig {
  Name zone;              // "cluster.local."
  uint32_t ttl = 30;      // seconds, of every record; the stock configuration of clusters has 30
  IpAddress serviceIp{};  // of the DNS Service itself
};

struct ZoneAnswer {
  enum Kind : uint8_t {
    Done,     // the answer is complete
    NotOurs,  // the question goes to the next server
    Chase,    // an ExternalName: the answer begins with the CNAME, and chaseTo's records of the asked type follow
  } kind = Done;
  uint16_t rcode = kNoError;
  std::vector<Record> answers, authority, additional;
  Name chaseTo = {};
};

ZoneAnswer answerFromCluster(const Question& question, const ZoneConfig& config, const ClusterView& view);
// The SOA that negative answers carry.
Record zoneSoa(const ZoneConfig& config, uint32_t serial);

}  // namespace knarr::dns
