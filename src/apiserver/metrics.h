// What the server counts about itself, in Prometheus's text form at /metrics.
//
// Labels come from what is served, so their number is bounded: a request for something unknown counts without a resource.
// Source: k8s.io/apiserver/pkg/endpoints/metrics, pkg/storage/etcd3/metrics; names and buckets are upstream's.
#pragma once

#include <array>
#include <map>
#include <string>

#include "apiserver/registry.h"
#include "env/env.h"

namespace knarr::apiserver {

// The labels of one kind of request.
struct RequestLabels {
  std::string group, version, resource, subresource, verb, scope;
  bool dryRun = false;
  friend auto operator<=>(const RequestLabels&, const RequestLabels&) = default;
};

class Metrics {
 public:
  explicit Metrics(env::Env environment);

  // Mutating requests are counted apart from those that only read.
  void begin(bool mutating) { ++inFlight_[mutating ? 1 : 0]; }
  void end(bool mutating) { --inFlight_[mutating ? 1 : 0]; }
  // A request that was answered; long-running ones (watches, streams) have no duration.
  void count(const RequestLabels& labels, int code, env::Duration took, bool longRunning);
  // The whole exposition.
  std::string text(const Registry& registry) const;

 private:
  static constexpr std::array<double, 23> kBuckets{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1,  1.25, 1.5, 2,
                                                   3,     4,     5,    6,   8,   10,  15,  20,  30, 45,   60};
  struct Histogram {
    std::array<uint64_t, kBuckets.size()> buckets{};
    uint64_t count = 0;
    double sum = 0;
  };
  void appendRequests(std::string& out) const;
  void appendObjects(std::string& out, const Registry& registry) const;
  void appendProcess(std::string& out) const;

  env::Env env_;
  int64_t startUnixSeconds_;
  int64_t inFlight_[2] = {0, 0};
  std::map<std::pair<RequestLabels, int>, uint64_t> requests_;
  std::map<RequestLabels, Histogram> durations_;
};

}  // namespace knarr::apiserver
