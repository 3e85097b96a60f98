// DNS messages: no input harms, and what was accepted encodes to bytes that read as the same message. An accepted question is put
// to an empty cluster.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "dns/cluster_zone.h"
#include "dns/resolver.h"

using namespace knarr;

namespace {

class EmptyCluster : public dns::ClusterView {
 public:
  bool hasNamespace(std::string_view name) const override { return name == "default"; }
  schema::Ref<corev1::Service> service(std::string_view, std::string_view) const override { return {}; }
  std::vector<schema::Ref<discoveryv1::EndpointSlice>> slices(std::string_view, std::string_view) const override { return {}; }
  schema::Ref<corev1::Service> serviceWithIp(const IpAddress&) const override { return {}; }
  std::vector<schema::Ref<discoveryv1::EndpointSlice>> slicesWithIp(const IpAddress&) const override { return {}; }
  uint32_t serial() const override { return 1; }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto message = dns::parseMessage(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!message) return 0;
  ASSERT(dns::encodeMessage(*message, 512).size() <= dns::kMessageBytesMax);
  std::string whole = dns::encodeMessage(*message, dns::kMessageBytesMax);
  auto again = dns::parseMessage(whole);
  ASSERT(again.has_value());
  if (!again->truncated || message->truncated) ASSERT(dns::encodeMessage(*again, dns::kMessageBytesMax) == whole);
  if (dns::refuseByForm(*message)) return 0;
  dns::ZoneConfig config;
  config.zone = *dns::nameFromText("cluster.local");
  dns::ZoneAnswer answer = dns::answerFromCluster(message->questions[0], config, EmptyCluster());
  ASSERT(answer.kind != dns::ZoneAnswer::Done || !answer.answers.empty() || answer.authority.size() == 1);
  (void)dns::textOf(message->questions[0].name);
  return 0;
}
