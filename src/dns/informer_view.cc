#include "dns/informer_view.h"

namespace knarr::dns {
namespace {

using corev1::Service;
using discoveryv1::EndpointSlice;

const std::string kServiceIndex = "dns-service";
const std::string kIpIndex = "dns-ip";

std::string canonical(schema::Str text) {
  auto ip = IpAddress::parse(text);
  return ip ? ip->text() : std::string();
}

std::vector<std::string> serviceIps(const Ref<>& object) {
  const corev1::ServiceSpec& spec = Ref<Service>(object)->spec;
  std::vector<std::string> out;
  for (schema::Str text : spec.clusterIPs)
    if (std::string ip = canonical(text); !ip.empty()) out.push_back(std::move(ip));
  if (out.empty())
    if (std::string ip = canonical(spec.clusterIP); !ip.empty()) out.push_back(std::move(ip));
  return out;
}

std::vector<std::string> sliceIps(const Ref<>& object) {
  std::vector<std::string> out;
  for (const auto& endpoint : Ref<EndpointSlice>(object)->endpoints)
    for (schema::Str text : endpoint.addresses)
      if (std::string ip = canonical(text); !ip.empty()) out.push_back(std::move(ip));
  return out;
}

std::vector<std::string> sliceService(const Ref<>& object) {
  const metav1::ObjectMeta& metadata = schema::metadataOf(object);
  return {client::keyOf(metadata.namespace_, schema::valueOf(metadata.labels, "kubernetes.io/service-name"))};
}

template <class T>
std::vector<Ref<T>> typed(const std::vector<Ref<>>& objects) {
  std::vector<Ref<T>> out;
  for (const Ref<>& object : objects) out.emplace_back(object);
  return out;
}

}  // namespace

InformerView::InformerView(env::Env environment, client::InformerFactory& informers)
    : env_(environment),
      namespaces_(informers.informer<corev1::Namespace>()),
      services_(informers.informer<Service>()),
      slices_(informers.informer<EndpointSlice>()),
      serial_(static_cast<uint32_t>(environment.clock.unixSeconds())) {
  services_.addIndex(kIpIndex, serviceIps);
  slices_.addIndex(kIpIndex, sliceIps);
  slices_.addIndex(kServiceIndex, sliceService);
  auto changed = [this] { serial_ = static_cast<uint32_t>(env_.clock.unixSeconds()); };
  for (client::Informer* informer : {&namespaces_, &services_, &slices_})
    informer->addHandler({[changed](const Ref<>&) { changed(); }, [changed](const Ref<>&, const Ref<>&) { changed(); },
                          [changed](const Ref<>&) { changed(); }});
}

bool InformerView::hasNamespace(std::string_view name) const { return static_cast<bool>(namespaces_.get(name)); }

Ref<Service> InformerView::service(std::string_view nameSpace, std::string_view name) const {
  return Ref<Service>(services_.get(nameSpace, name));
}

std::vector<Ref<EndpointSlice>> InformerView::slices(std::string_view nameSpace, std::string_view service) const {
  return typed<EndpointSlice>(slices_.byIndex(kServiceIndex, client::keyOf(nameSpace, service)));
}

Ref<Service> InformerView::serviceWithIp(const IpAddress& ip) const {
  auto found = services_.byIndex(kIpIndex, ip.text());
  return found.empty() ? Ref<Service>() : Ref<Service>(found.front());
}

std::vector<Ref<EndpointSlice>> InformerView::slicesWithIp(const IpAddress& ip) const {
  return typed<EndpointSlice>(slices_.byIndex(kIpIndex, ip.text()));
}

}  // namespace knarr::dns
