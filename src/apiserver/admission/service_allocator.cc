#include "apiserver/admission/service_allocator.h"

#include <fmt/format.h>

#include <deque>
#include <map>
#include <set>

#include "api/core_v1.h"
#include "apiserver/ip_range.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

using apimachinery::FieldPath;
using schema::Str;

constexpr int32_t kNodePortFirst = 30000, kNodePortLast = 32767;
// Longer than a write takes from here to the cache; a number that was handed out for nothing comes back after it.
constexpr env::Duration kHandedOutFor = std::chrono::seconds(60);

bool needsNodePort(const corev1::ServiceSpec& spec) { return spec.type == "NodePort" || spec.type == "LoadBalancer"; }
bool allocatesNodePorts(const corev1::ServiceSpec& spec) {
  return spec.type == "NodePort" || (spec.type == "LoadBalancer" && spec.allocateLoadBalancerNodePorts.valueOr(true));
}
bool needsHealthCheckPort(const corev1::ServiceSpec& spec) {
  return spec.type == "LoadBalancer" && spec.externalTrafficPolicy == "Local";
}

// Numbers that were handed out and may not be in the cache yet, oldest first.
template <class T>
class HandedOut {
 public:
  void add(T value, env::Instant now) {
    if (values_.insert(value).second) order_.emplace_back(now, std::move(value));
  }
  void forgetOld(env::Instant now) {
    while (!order_.empty() && now - order_.front().first > kHandedOutFor) {
      values_.erase(order_.front().second);
      order_.pop_front();
    }
  }
  bool contains(const T& value) const { return values_.contains(value); }
  const std::deque<std::pair<env::Instant, T>>& oldestFirst() const { return order_; }

 private:
  std::set<T> values_;
  std::deque<std::pair<env::Instant, T>> order_;
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
    CO_TRY(co_await registry_.hub().waitFresh());
    auto& service = *static_cast<corev1::Service*>(attributes.object->root());
    Ref<corev1::Service> old(attributes.oldObject);
    if (old) keepServiceAllocations(*attributes.object, attributes.oldObject);
    Taken taken = takenByServices(fmt::format("{}/{}", attributes.nameSpace, service.metadata.name));
    now_ = registry_.env().clock.now();
    addresses_.forgetOld(now_);
    ports_.forgetOld(now_);
    CO_TRY(allocateAddress(*attributes.object, service, taken));
    CO_TRY(old ? updatePorts(service, *old, taken) : allocatePorts(service, taken));
    CO_TRY(allocateHealthCheckPort(service, old ? &old->spec : nullptr, taken));
    co_return Result<void>();
  }

 private:
  Taken takenByServices(const std::string& self) const {
    Taken out;
    for (const auto& [key, object] : registry_.find("", "v1", "services")->cache->objects()) {
      const corev1::ServiceSpec& spec = Ref<corev1::Service>(object)->spec;
      if (key != self) out.addresses.emplace(spec.clusterIP);
      for (const auto& port : spec.ports) out.ports.insert(port.nodePort);
      out.ports.insert(spec.healthCheckNodePort);
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
    addresses_.add(std::move(address), now_);
    return {};
  }

  // The first addresses stay free for those who choose theirs, as long as there are others. Source: KEP-3070.
  std::string freeAddress(const Taken& taken) {
    uint32_t size = range_->size();
    uint32_t reserved = std::min<uint32_t>(std::max<uint32_t>(16, size / 16), 256);
    uint32_t first = size > 2 * reserved ? reserved : 1, count = size - first - 1;
    auto free = [&](uint32_t offset) {
      std::string address = range_->at(offset);
      return taken.addresses.contains(address) || addresses_.contains(address) ? "" : address;
    };
    uint32_t start = static_cast<uint32_t>(registry_.env().random.below(count));
    for (uint32_t i = 0; i < count; ++i)
      if (std::string address = free(first + (start + i) % count); !address.empty()) return address;
    for (uint32_t offset = 1; offset < first; ++offset)
      if (std::string address = free(offset); !address.empty()) return address;
    // What was given back within the last minute, oldest first.
    for (const auto& [when, address] : addresses_.oldestFirst())
      if (!taken.addresses.contains(address)) return address;
    return "";
  }

  // A number that nothing has; 0 when there is none.
  int32_t freePort(Taken& taken) {
    int32_t span = kNodePortLast - kNodePortFirst + 1;
    int32_t start = static_cast<int32_t>(registry_.env().random.below(static_cast<uint64_t>(span)));
    for (int32_t k = 0; k < span; ++k) {
      int32_t candidate = kNodePortFirst + (start + k) % span;
      if (!ports_.contains(candidate) && taken.ports.insert(candidate).second) {
        ports_.add(candidate, now_);
        return candidate;
      }
    }
    for (const auto& [when, candidate] : ports_.oldestFirst())
      if (taken.ports.insert(candidate).second) return candidate;
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

  Result<int32_t> nextNodePort(Taken& taken) {
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
    if (!needsHealthCheckPort(spec) || (old && needsHealthCheckPort(*old))) return {};
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
  env::Instant now_{};
  HandedOut<std::string> addresses_;
  HandedOut<int32_t> ports_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> makeServiceAllocator(Registry& registry, const std::string& range) {
  return std::make_unique<ServiceAllocator>(registry, range);
}

}  // namespace knarr::apiserver
