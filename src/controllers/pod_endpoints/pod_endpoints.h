// What pods contribute to the endpoints of a Service: addresses, ports, host names, and when they changed.
//
// The Endpoints and the EndpointSlice controller stand on it, so that both tell the same story.
// Upstream counterpart: k8s.io/endpointslice/util, trigger_time_tracker.go.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "client/informer.h"
#include "controllers/frame/frame.h"

namespace knarr::controllers {

inline constexpr std::string_view kHeadlessLabel = "service.kubernetes.io/headless";
inline constexpr std::string_view kTriggerTimeAnnotation = "endpoints.kubernetes.io/last-change-trigger-time";

// Whether the pod stands among the endpoints at all: not finished, with an address, and not leaving unless that is wanted.
bool shouldPodBeInEndpoints(const corev1::Pod& pod, bool includeTerminating);
// The number that a Service port means in this pod; nothing when no container has a port of that name and protocol.
std::optional<int32_t> findPodPort(const corev1::Pod& pod, const corev1::ServicePort& port);
// Whether the pod's host name names its endpoint: the Service is its subdomain.
bool shouldSetHostname(const corev1::Pod& pod, const corev1::Service& service);
// A Service without an address of its own.
bool isHeadless(const corev1::Service& service);
inline bool isIpv6Address(std::string_view address) { return address.find(':') != std::string_view::npos; }
// All addresses of the pod, podIP alone when podIPs is empty.
std::vector<schema::Str> podAddresses(const corev1::Pod& pod);
// Whether the change matters to endpoints: readiness, addresses, leaving, host name, or labels.
bool podChangeMatters(const corev1::Pod& before, const corev1::Pod& after);
// Keys of the Services that select the pod with these labels.
std::vector<std::string> servicesSelecting(const client::Informer& services, const corev1::Pod& pod);
// The pods of the namespace that the Service selects, in key order.
std::vector<Ref<corev1::Pod>> podsSelected(const client::Informer& pods, const corev1::Service& service);
// A reference to the pod, its texts in the arena.
corev1::ObjectReference* podReference(Arena& arena, const corev1::Pod& pod);

// The keys of all Services a pod event concerns. `before` may be null.
std::set<std::string> servicesToSync(const client::Informer& services, const Ref<corev1::Pod>& before,
                                     const Ref<corev1::Pod>& after);

// When the change that a sync publishes happened. State: per Service, the times seen last.
class TriggerTimeTracker {
 public:
  // RFC 3339, or "" when this sync publishes no new change. The first sync of a Service gives its creation.
  std::string computeLastChange(const std::string& key, const corev1::Service& service,
                                const std::vector<Ref<corev1::Pod>>& pods);
  void forget(const std::string& key) { byService_.erase(key); }

 private:
  struct Seen {
    int64_t service = 0;
    std::map<std::string, int64_t> pods;
  };
  std::map<std::string, Seen> byService_;
};

}  // namespace knarr::controllers
