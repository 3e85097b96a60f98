#include "apiserver/admission/service_allocator.h"

#include <fmt/format.h>

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "api/core_v1.h"
#include "apiserver/ip_range.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

using apimachinery::FieldPath;
using schema::Str;

constexpr int32_t kNodePortFirst = 30000, kNodePortLast = 32767;
bool needsNodePort(const corev1::ServiceSpec& spec) { return spec.type == "NodePort" || spec.type == "LoadBalancer"; }
bool allocatesNodePorts(const corev1::ServiceSpec& spec) {
  return spec.type == "NodePort" || (spec.type == "LoadBalancer" && spec.allocateLoadBalancerNodePorts.valueOr(true));
}

// The numbers of writes that are under way: no cache shows them yet.
class Claims {
 public:
  struct Claim {
    std::string owner, address;  // "NAMESPACE/NAME" of the Service
    std::set<int32_t> ports;
    uint64_t releasedAt = 0;  // 0: the write is under way
  };

  // Before the caches are waited for, and when they show all that was written by then: a write that was over before is seen
  // there.
  uint64_t begin() { return ++state_->now; }
  void settle(uint64_t began) {
    std::erase_if(state_->claims, [began](const auto& claim) { return claim->releasedAt != 0 && claim->releasedAt < began; });
  }
  // Stands until the result goes.
  std::shared_ptr<void> add(Claim claim) {
    auto made = std::make_shared<Claim>(std::move(claim));
    state_->claims.push_back(made);
    return {made.get(), [made, state = state_](void*) { made->releasedAt = ++state->now; }};
  }
  const std::vector<std::shared_ptr<Claim>>& all() const { return state_->claims; }

 private:
  struct State {
    uint64_t now = 0;  // counts what happens
    std::vector<std::shared_ptr<Claim>> claims;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// What the Services have, the one that is written included as far as ports go: its own are given back after the write.
struct Taken {
  std::set<std::string> addresses;  // of the others
  std::set<int32_t> ports;
};

class ServiceAllocator : public AdmissionPlugin {
 public:
  ServiceAllocator(Registry& registry, const std::string& range)
      : registry_(registry), range_(IpRange::parse(range)), cidr_(range) {}
  std::string_view name() const override { return "ServiceAllocator"; }

  Task<Result<void>> admit(const AdmissionAttributes& attributes) override {
    bool ours =
        attributes.resource->group.empty() && attributes.resource->resource == "services" && attributes.subresource.empty();
    if (!ours || attributes.operation == Operation::Delete) co_return Result<void>();
    if (!range_) co_return Unexpected(range_.error());
    uint64_t began = claims_.begin();
    CO_TRY(co_await registry_.hub().waitFresh());
    claims_.settle(began);
    auto& service = *static_cast<corev1::Service*>(attributes.object->root());
    Ref<corev1::Service> old(attributes.oldObject);
    if (old) keepServiceAllocations(*attributes.object, attributes.oldObject);
    std::string self = fmt::format("{}/{}", attributes.nameSpace, service.metadata.name);
    Taken taken = takenByServices(self);
    CO_TRY(allocateAddress(*attributes.object, service, taken));
    CO_TRY(old ? updatePorts(service, *old, taken) : allocatePorts(service, taken));
    CO_TRY(allocateHealthCheckPort(service, old ? &old->spec : nullptr, taken));
    attributes.held.push_back(claims_.add({std::move(self), std::string(service.spec.clusterIP), portsOf(service.spec), 0}));
    co_return Result<void>();
  }

 private:
  static std::set<int32_t> portsOf(const corev1::ServiceSpec& spec) {
    std::set<int32_t> out{spec.healthCheckNodePort};
    for (const auto& port : spec.ports) out.insert(port.nodePort);
    return out;
  }

  Taken takenByServices(const std::string& self) const {
    Taken out;
    for (const auto& [key, object] : registry_.find("", "v1", "services")->cache->objects()) {
      const corev1::ServiceSpec& spec = Ref<corev1::Service>(object)->spec;
      if (key != self) out.addresses.emplace(spec.clusterIP);
      out.ports.merge(portsOf(spec));
    }
    for (const auto& claim : claims_.all()) {
      if (claim->owner == self) continue;
      out.addresses.insert(claim->address);
      out.ports.insert(claim->ports.begin(), claim->ports.end());
    }
    return out;
  }

  static Unexpected invalid(const corev1::Service& service, apimachinery::FieldError error) {
    return Unexpected(apimachinery::invalidStatus("", "Service", service.metadata.name, {std::move(error)}));
  }

  Result<void> checkAddress(const corev1::Service& service, const Taken& taken) const {
    std::string_view ip = service.spec.clusterIP;
    uint32_t offset = range_->offsetOf(ip);
    std::string why;
    if (offset >= range_->size())
      why = "the provided network does not match the current range";
    else if (offset == 0 || offset == range_->size() - 1)
      why = fmt::format("the provided IP ({}) is not in the valid range. The range of valid IPs is {}", ip, cidr_);
    else if (taken.addresses.contains(std::string(ip)))
      why = "provided IP is already allocated";
    if (why.empty()) return {};
    return invalid(service, apimachinery::invalidValueError(FieldPath("spec").child("clusterIPs"), fmt::format("[\"{}\"]", ip),
                                                            fmt::format("failed to allocate IP {}: {}", ip, why)));
  }

  Result<void> allocateAddress(Mut<>& object, corev1::Service& service, const Taken& taken) {
    corev1::ServiceSpec& spec = service.spec;
    if (spec.type == "ExternalName") return {};
    if (spec.clusterIPs.empty() && !spec.clusterIP.empty()) spec.clusterIPs.append(object.arena()) = spec.clusterIP;
    if (spec.clusterIP.empty() && !spec.clusterIPs.empty()) spec.clusterIP = spec.clusterIPs[0];
    if (!spec.ipFamilyPolicy) spec.ipFamilyPolicy = Str("SingleStack");
    if (spec.ipFamilies.empty()) spec.ipFamilies.append(object.arena()) = "IPv4";
    if (spec.clusterIP == "None") return {};
    if (!spec.clusterIP.empty()) return checkAddress(service, taken);
    std::string address = freeAddress(taken);
    if (address.empty())
      return fail(Reason::InternalError,
                  fmt::format("Internal error occurred: failed to allocate a serviceIP for Service {}: range is full",
                              quote(service.metadata.name)));
    spec.clusterIP = object.str(address);
    spec.clusterIPs.append(object.arena()) = spec.clusterIP;
    return {};
  }

  // The first addresses stay free for those who choose theirs, as long as there are others. Source: KEP-3070.
  std::string freeAddress(const Taken& taken) const {
    uint32_t size = range_->size();
    uint32_t reserved = std::min<uint32_t>(std::max<uint32_t>(16, size / 16), 256);
    uint32_t first = size > 2 * reserved ? reserved : 1, count = size - first - 1;
    auto free = [&](uint32_t offset) {
      std::string address = range_->at(offset);
      return taken.addresses.contains(address) ? "" : address;
    };
    uint32_t start = static_cast<uint32_t>(registry_.env().random.below(count));
    for (uint32_t i = 0; i < count; ++i)
      if (std::string address = free(first + (start + i) % count); !address.empty()) return address;
    for (uint32_t offset = 1; offset < first; ++offset)
      if (std::string address = free(offset); !address.empty()) return address;
    return "";
  }

  // A number that nothing has; 0 when there is none.
  int32_t freePort(Taken& taken) const {
    int32_t span = kNodePortLast - kNodePortFirst + 1;
    int32_t start = static_cast<int32_t>(registry_.env().random.below(static_cast<uint64_t>(span)));
    for (int32_t k = 0; k < span; ++k) {
      int32_t candidate = kNodePortFirst + (start + k) % span;
      if (taken.ports.insert(candidate).second) return candidate;
    }
    return 0;
  }

  static Result<void> takePort(int32_t port, Taken& taken) {
    if (port < kNodePortFirst || port > kNodePortLast)
      return fail(Reason::Invalid, fmt::format("provided port is not in the valid range. The range of valid ports is {}-{}",
                                               kNodePortFirst, kNodePortLast));
    if (!taken.ports.insert(port).second) return fail(Reason::Invalid, "provided port is already allocated");
    return {};
  }

  static Result<void> takeNodePort(const corev1::Service& service, size_t index, int32_t port, Taken& taken) {
    auto done = takePort(port, taken);
    if (done) return {};
    return invalid(service, apimachinery::invalidError(FieldPath("spec").child("ports").index(index).child("nodePort"),
                                                       int64_t{port}, done.error().message()));
  }

  Result<int32_t> nextNodePort(Taken& taken) const {
    if (int32_t port = freePort(taken); port != 0) return port;
    return fail(Reason::InternalError, "Internal error occurred: failed to allocate a nodePort: range is full");
  }

  // Ports of one number (DNS over TCP and UDP) share a node port. Source: alloc.go, initNodePorts.
  Result<void> allocatePorts(corev1::Service& service, Taken& taken) {
    corev1::ServiceSpec& spec = service.spec;
    if (!needsNodePort(spec)) return {};
    std::map<int32_t, int32_t> byNumber;
    for (size_t i = 0; i < spec.ports.size(); ++i) {
      auto& port = spec.ports[i];
      if (port.nodePort == 0 && !allocatesNodePorts(spec)) continue;
      auto [shared, first] = byNumber.try_emplace(port.port, 0);
      if (first) {
        for (const auto& other : spec.ports)
          if (shared->second == 0 && other.port == port.port) shared->second = other.nodePort;
        if (shared->second != 0)
          TRY(takeNodePort(service, i, shared->second, taken));
        else
          shared->second = TRY(nextNodePort(taken));
        port.nodePort = shared->second;
      } else if (port.nodePort == 0) {
        port.nodePort = shared->second;
      } else if (port.nodePort != shared->second) {
        TRY(takeNodePort(service, i, port.nodePort, taken));
      }
    }
    return {};
  }

  // Source: alloc.go, updateNodePorts.
  Result<void> updatePorts(corev1::Service& service, const corev1::Service& old, Taken& taken) {
    corev1::ServiceSpec& spec = service.spec;
    if (!needsNodePort(spec)) return {};
    std::set<int32_t> own;
    for (const auto& port : old.spec.ports) own.insert(port.nodePort);
    std::set<std::pair<Str, int32_t>> seen;
    for (size_t i = 0; i < spec.ports.size(); ++i) {
      auto& port = spec.ports[i];
      if (port.nodePort == 0 && !allocatesNodePorts(spec)) continue;
      if (port.nodePort == 0)
        port.nodePort = TRY(nextNodePort(taken));
      else if (own.insert(port.nodePort).second)
        TRY(takeNodePort(service, i, port.nodePort, taken));
      if (!seen.emplace(port.protocol, port.nodePort).second)
        return fail(Reason::InternalError,
                    fmt::format("Internal error occurred: duplicate nodePort: {{{} {}}}", port.protocol, port.nodePort));
    }
    return {};
  }

  Result<void> allocateHealthCheckPort(corev1::Service& service, const corev1::ServiceSpec* old, Taken& taken) {
    corev1::ServiceSpec& spec = service.spec;
    if (!needsHealthCheck(spec) || (old && needsHealthCheck(*old))) return {};
    int32_t asked = spec.healthCheckNodePort;
    if (asked != 0) {
      auto done = takePort(asked, taken);
      if (done) return {};
      return fail(Reason::InternalError,
                  fmt::format("Internal error occurred: failed to allocate requested HealthCheck NodePort {}: {}", asked,
                              done.error().message()));
    }
    spec.healthCheckNodePort = freePort(taken);
    if (spec.healthCheckNodePort != 0) return {};
    return fail(Reason::InternalError, "Internal error occurred: failed to allocate a HealthCheck NodePort 0: range is full");
  }

  Registry& registry_;
  Result<IpRange> range_;
  std::string cidr_;
  Claims claims_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> makeServiceAllocator(Registry& registry, const std::string& range) {
  return std::make_unique<ServiceAllocator>(registry, range);
}

}  // namespace knarr::apiserver
