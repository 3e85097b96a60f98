#include "kubelet/resources.h"

#include <algorithm>

#include "schema/quantity.h"

namespace knarr::kubelet {
namespace {

using schema::Amount;
using Resources = schema::Map<schema::Quantity>;

Amount amount(const Resources& resources, std::string_view name) {
  const schema::Quantity* quantity = resources.find(name);
  return quantity == nullptr ? Amount() : schema::amountOf(*quantity);
}

struct QosTally {
  bool anything = false;   // some non-zero request or limit
  bool guaranteed = true;  // each container has equal requests and limits of both
  void add(const corev1::ResourceRequirements& resources) {
    for (std::string_view name : {"cpu", "memory"}) {
      Amount limit = amount(resources.limits, name), request = amount(resources.requests, name);
      if (!limit.isZero() || !request.isZero()) anything = true;
      if (request.isZero()) request = limit;  // a missing request is the limit
      if (limit.isZero() || !(limit == request)) guaranteed = false;
    }
  }
};

}  // namespace

bool isSidecar(const corev1::Container& container) {
  return container.restartPolicy.present && container.restartPolicy.value == "Always";
}

std::string qosClassOf(const corev1::Pod& pod) {
  if (!pod.status.qosClass.empty()) return std::string(pod.status.qosClass);
  QosTally tally;
  if (pod.spec.resources != nullptr) {
    tally.add(*pod.spec.resources);
  } else {
    for (const corev1::Container& container : pod.spec.initContainers) tally.add(container.resources);
    for (const corev1::Container& container : pod.spec.containers) tally.add(container.resources);
  }
  if (!tally.anything) return "BestEffort";
  return tally.guaranteed ? "Guaranteed" : "Burstable";
}

int64_t cpuMilliOf(const Resources& resources) { return amount(resources, "cpu").milliValue(); }
int64_t memoryBytesOf(const Resources& resources) { return amount(resources, "memory").value(); }

int64_t cpuSharesOf(int64_t milliCpu) {
  if (milliCpu <= 0) return 2;
  return std::clamp<int64_t>(milliCpu * 1024 / 1000, 2, 262144);
}

int64_t cpuQuotaOf(int64_t milliCpu, int64_t period) {
  if (milliCpu <= 0) return 0;
  return std::max<int64_t>(milliCpu * period / 1000, 1000);
}

int64_t oomScoreAdjust(const corev1::Pod& pod, const corev1::Container& container, int64_t nodeMemoryBytes) {
  if (pod.spec.priorityClassName == "system-node-critical") return -997;
  std::string qos = qosClassOf(pod);
  if (qos == "Guaranteed") return -997;
  if (qos == "BestEffort" || nodeMemoryBytes <= 0) return 1000;
  int64_t request = memoryBytesOf(container.resources.requests);
  int64_t score = 1000 - 1000 * request / nodeMemoryBytes;
  score = std::max<int64_t>(score, 3);  // above every Guaranteed pod
  return score == 1000 ? 999 : score;   // below every BestEffort pod
}

std::string podCgroup(const corev1::Pod& pod, const std::string& cgroupRoot) {
  std::string qos = qosClassOf(pod);
  std::string parent = cgroupRoot + "/kubepods/";
  if (qos == "Burstable") parent += "burstable/";
  if (qos == "BestEffort") parent += "besteffort/";
  return parent + "pod" + std::string(pod.metadata.uid);
}

}  // namespace knarr::kubelet
