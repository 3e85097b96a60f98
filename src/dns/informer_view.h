// The cluster's objects out of informers, as the zone reads them.
#pragma once

#include "client/informer.h"
#include "dns/cluster_zone.h"
#include "env/env.h"

namespace knarr::dns {

class InformerView : public ClusterView {
 public:
  InformerView(env::Env environment, client::InformerFactory& informers);
  bool synced() const { return namespaces_.hasSynced() && services_.hasSynced() && slices_.hasSynced(); }

  bool hasNamespace(std::string_view name) const override;
  Ref<corev1::Service> service(std::string_view nameSpace, std::string_view name) const override;
  std::vector<Ref<discoveryv1::EndpointSlice>> slices(std::string_view nameSpace, std::string_view service) const override;
  Ref<corev1::Service> serviceWithIp(const IpAddress& ip) const override;
  std::vector<Ref<discoveryv1::EndpointSlice>> slicesWithIp(const IpAddress& ip) const override;
  uint32_t serial() const override { return serial_; }

 private:
  env::Env env_;
  client::Informer& namespaces_;
  client::Informer& services_;
  client::Informer& slices_;
  uint32_t serial_;
};

}  // namespace knarr::dns
