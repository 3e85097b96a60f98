// What every controller stands on: its surroundings, owner references, expectations, adoption, pods from templates.
//
// Upstream counterpart: pkg/controller/controller_utils.go, controller_ref_manager.go, lookup_cache.go.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "apimachinery/labels.h"
#include "client/client.h"
#include "client/event_recorder.h"
#include "client/informer.h"
#include "client/work_queue.h"
#include "env/env.h"

namespace knarr::controllers {

using async::StopToken;
using async::Task;
using client::Client;
using schema::Mut;
using schema::Ref;

// What a controller is given. Everything outlives the controller.
struct ControllerContext {
  env::Env env;
  Client& client;                      // writes under the controller's own identity
  client::InformerFactory& informers;  // shared by the controllers of one process
};

class Controller {
 public:
  virtual ~Controller() = default;
  virtual std::string_view name() const = 0;
  // Runs until stop; the informers it asked for in its constructor are started by the caller and are synced when run begins.
  virtual Task<void> run(StopToken stop) = 0;
};

// The usual run of a controller: `workers` loops over its queue, and its events if it writes any (`recorder` may be null),
// until stop and the end of what is under way. All that it is given outlives the task.
Task<void> runController(const ControllerContext* context, std::shared_ptr<client::WorkQueue> queue, int workers,
                         std::function<Task<Result<void>>(std::string key)> sync, client::EventRecorder* recorder,
                         StopToken stop);

// ---- owner references
const metav1::OwnerReference* controllerOf(const metav1::ObjectMeta& metadata);
// An owner reference with controller and blockOwnerDeletion set.
void setControllerReference(metav1::ObjectMeta& metadata, Arena& arena, const Ref<>& owner);
// Index of an informer: the uid of the controlling owner, "" for objects without one.
inline const std::string kControllerUidIndex = "controllerUID";
void addControllerUidIndex(client::Informer& informer);

// ---- pods
bool isPodActive(const corev1::Pod& pod);
bool isPodTerminating(const corev1::Pod& pod);
const corev1::PodCondition* podCondition(const corev1::Pod& pod, std::string_view type);
bool isPodReady(const corev1::Pod& pod);
// nowUnixSeconds decides whether a ready pod has been so for minReadySeconds.
bool isPodAvailable(const corev1::Pod& pod, int32_t minReadySeconds, int64_t nowUnixSeconds);
// The pod a workload's template describes, owned by it.
Mut<corev1::Pod> podFromTemplate(const corev1::PodTemplateSpec& podTemplate, const Ref<>& owner);

// ---- expectations
// What a controller has asked for and not yet seen, so that a sync on an old cache does not ask twice. Expire after five
// minutes. Source: controller_utils.go, UIDTrackingControllerExpectations.
class Expectations {
 public:
  explicit Expectations(const env::Clock& clock) : clock_(clock) {}
  bool satisfied(const std::string& owner) const;
  void expectCreations(const std::string& owner, int count);
  void expectDeletions(const std::string& owner, std::vector<std::string> keys);
  void creationObserved(const std::string& owner);
  void deletionObserved(const std::string& owner, const std::string& key);
  void forget(const std::string& owner) { byOwner_.erase(owner); }

 private:
  struct Entry {
    int creations = 0;
    std::vector<std::string> deletions;
    env::Instant since;
  };
  const env::Clock& clock_;
  std::map<std::string, Entry> byOwner_;
};

// ---- claiming
// What to do with one candidate of a selector and an owner.
enum class Claim : uint8_t { Ignore, Keep, Release, Adopt };
Claim decideClaim(const metav1::ObjectMeta& candidate, const metav1::ObjectMeta& owner,
                  const apimachinery::LabelSelector& selector);
// The candidates that belong to the owner after adopting and releasing. An adoption first makes sure that the owner is still
// the one we know.
Task<Result<std::vector<Ref<>>>> claimObjects(Client* client, const client::ResourceInfo* resource, Ref<> owner,
                                              std::vector<Ref<>> candidates, apimachinery::LabelSelector selector);

// A name for a label: the decimal text of a hash in the alphabet of generated names. Source: apimachinery/pkg/util/rand,
// SafeEncodeString.
std::string safeEncode(uint32_t hash);
// True when the error says that the namespace is going away.
bool isNamespaceTerminating(const Error& error);

}  // namespace knarr::controllers
