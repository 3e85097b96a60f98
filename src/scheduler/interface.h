// The extension points of the scheduling framework, and what travels between them.
//
// A plugin is a class that derives from Plugin and from the points it serves. All points but bind are plain decisions: no I/O, no
// clock, no coroutine. Upstream counterpart: staging/src/k8s.io/kube-scheduler/framework/interface.go.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/core_v1.h"
#include "async/task.h"
#include "client/client.h"
#include "scheduler/cache.h"
#include "scheduler/node_info.h"

namespace knarr::scheduler {

constexpr int64_t kMaxNodeScore = 100;

enum class Code : uint8_t {
  kSuccess,
  kSkip,                          // the plugin has nothing to say about this pod
  kUnschedulable,                 // taking other pods away may help
  kUnschedulableAndUnresolvable,  // it would not
};
inline bool isRejected(Code code) { return code == Code::kUnschedulable || code == Code::kUnschedulableAndUnresolvable; }

// Reasons of one verdict. The views are of constants, or of text that lives in the pod's CycleState or its cached node: a node
// that is refused costs no allocation.
using Reasons = std::vector<std::string_view>;

// What happened in the cluster. Source: framework/types.go, ClusterEvent and ActionType.
enum class EventResource : uint8_t { kNode, kAssignedPod, kUnscheduledPod };
enum ActionType : uint32_t {
  kAdd = 1 << 0,
  kDelete = 1 << 1,
  kUpdateNodeAllocatable = 1 << 2,
  kUpdateNodeLabel = 1 << 3,
  kUpdateNodeTaint = 1 << 4,
  kUpdateNodeCondition = 1 << 5,
  kUpdateNodeAnnotation = 1 << 6,
  kUpdatePodLabel = 1 << 7,
  kUpdatePodScaleDown = 1 << 8,
  kUpdatePodToleration = 1 << 9,
  kUpdatePodSchedulingGatesEliminated = 1 << 10,
};
// Borrowed objects; null where the event has none (an added object has no former state, a deleted one no new state).
struct ClusterEvent {
  EventResource resource = EventResource::kNode;
  uint32_t action = 0;  // one ActionType
  const corev1::Pod* podBefore = nullptr;
  const corev1::Pod* pod = nullptr;
  const corev1::Node* nodeBefore = nullptr;
  const corev1::Node* node = nullptr;
};
// The events a plugin may be helped by: bits of ActionType per kind of object.
struct EventsToRegister {
  uint32_t node = 0;
  uint32_t pod = 0;  // assigned and unscheduled ones
};

// What plugins keep of one pod between the points of one attempt; each has the slot the framework gave it.
struct StateData {
  virtual ~StateData() = default;
};
class CycleState {
 public:
  explicit CycleState(size_t plugins) : data_(plugins) {}
  template <class T>
  T& write(size_t slot) {
    auto made = std::make_unique<T>();
    T& out = *made;
    data_[slot] = std::move(made);
    return out;
  }
  // What the plugin wrote in preFilter or preScore; null when it did not.
  template <class T>
  const T* read(size_t slot) const {
    return static_cast<const T*>(data_[slot].get());
  }

 private:
  std::vector<std::unique_ptr<StateData>> data_;
};

class Plugin {
 public:
  virtual ~Plugin() = default;
  virtual std::string_view name() const = 0;
  // Which events may make a pod schedulable that this plugin refused.
  virtual EventsToRegister eventsToRegister() const { return {}; }
  // The queueing hint: whether `event`, one of those registered, may help `pod`.
  virtual bool isSchedulableAfter(const corev1::Pod& pod, const ClusterEvent& event) const {
    (void)pod, (void)event;
    return true;
  }
  size_t slot = 0;  // in CycleState; set by the framework
};

// Whether a pod may enter the active queue; a message when not.
class PreEnqueuePlugin {
 public:
  virtual ~PreEnqueuePlugin() = default;
  virtual std::optional<std::string> preEnqueue(const corev1::Pod& pod) const = 0;
};

struct QueuedPod {
  int32_t priority = 0;
  uint64_t order = 0;  // grows with the time at which the pod came to the queue
};
class QueueSortPlugin {
 public:
  virtual ~QueueSortPlugin() = default;
  virtual bool less(const QueuedPod& a, const QueuedPod& b) const = 0;
};

// Once a pod, before the nodes are looked at. kSkip leaves the plugin's filter out for this pod.
struct PreFilterResult {
  Code code = Code::kSuccess;
  std::string message;  // of a rejection, which holds for every node
  // The only nodes worth looking at; nothing: all.
  std::optional<std::set<std::string>> nodeNames;
};
class PreFilterPlugin {
 public:
  virtual ~PreFilterPlugin() = default;
  virtual PreFilterResult preFilter(CycleState& state, const corev1::Pod& pod) const = 0;
};

// Whether the pod can run on a node. Reasons are appended when it cannot.
class FilterPlugin {
 public:
  virtual ~FilterPlugin() = default;
  virtual Code filter(const CycleState& state, const corev1::Pod& pod, const NodeInfo& node, Reasons& reasons) const = 0;
};

// Once a pod, when several nodes fit. kSkip leaves the plugin's score out for this pod.
class PreScorePlugin {
 public:
  virtual ~PreScorePlugin() = default;
  virtual Code preScore(CycleState& state, const corev1::Pod& pod, const Cache& cache) const = 0;
};

// How good a node is. After normalizeScore every score is 0 to kMaxNodeScore.
class ScorePlugin {
 public:
  virtual ~ScorePlugin() = default;
  virtual int64_t score(const CycleState& state, const corev1::Pod& pod, const NodeInfo& node) const = 0;
  virtual void normalizeScore(std::span<int64_t> scores) const { (void)scores; }
};

// Takes what the pod needs before it is bound; unreserve gives it back, also when reserve never ran.
class ReservePlugin {
 public:
  virtual ~ReservePlugin() = default;
  virtual std::optional<std::string> reserve(CycleState& state, const corev1::Pod& pod, const std::string& node) = 0;
  virtual void unreserve(const corev1::Pod& pod, const std::string& node) = 0;
};

// Writes the decision. The one point with I/O; `client` outlives the task.
class BindPlugin {
 public:
  virtual ~BindPlugin() = default;
  virtual async::Task<Result<void>> bind(client::Client* client, schema::Ref<corev1::Pod> pod, std::string node) const = 0;
};

// The highest raw score becomes 100; reversed: 0. Source: plugins/helper/normalize_score.go.
void defaultNormalizeScore(std::span<int64_t> scores, bool reverse);

}  // namespace knarr::scheduler
