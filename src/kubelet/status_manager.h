// StatusManager: writes pod statuses to the API, and deletes pods whose end it has written.
//
// Statuses are remembered per pod; only what changed is sent. One task sends, so that writes of one
// pod keep their order. Upstream counterpart: pkg/kubelet/status/status_manager.go.
#pragma once

#include <map>
#include <set>
#include <string>

#include "api/core_v1.h"
#include "async/async.h"
#include "client/client.h"

namespace knarr::kubelet {

class StatusManager {
 public:
  StatusManager(env::Env environment, client::Client& client);
  ~StatusManager();

  // `pod` carries the new status.
  void set(schema::Ref<corev1::Pod> pod);
  // The pod as the API has it, with the status that was set last; and conditions that others own
  // from the API.
  schema::Ref<corev1::Pod> withLatestStatus(const schema::Ref<corev1::Pod>& apiPod) const;
  // The worker is finished: the pod's end is written, and a pod that is to be deleted is deleted.
  void terminated(schema::Ref<corev1::Pod> pod);
  bool isTerminated(const std::string& podUid) const;
  // The API's object changed: what it shows may have to be written again.
  void reconcile(const schema::Ref<corev1::Pod>& apiPod);
  void forget(const std::string& podUid);

  // Sends until stop; a full pass over what could not be sent every 10 s.
  async::Task<void> run(async::StopToken stop);

 private:
  struct Entry {
    schema::Ref<corev1::Pod> pod;  // newest status
    bool dirty = false;
    bool failed = false;  // to be tried again with the next full pass
    bool finished = false;
  };
  async::Task<void> sync(std::string podUid);
  async::Task<Result<bool>> write(schema::Ref<corev1::Pod> pod, bool finished);

  env::Env env_;
  client::Client& client_;
  std::map<std::string, Entry> entries_;
  async::Event changed_;
};

// What is sent for a pod: `status` of the kubelet merged into the API's object. Pure; a terminal
// phase is held back while containers still run, and one that the API shows already is never left, whoever
// wrote it. Null when nothing differs.
schema::Mut<corev1::Pod> mergePodStatus(const schema::Ref<corev1::Pod>& apiPod, const corev1::PodStatus& status,
                                        bool couldHaveRunningContainers);
// The API's object with the kubelet's own status; conditions of others and a terminal phase are the API's.
// Source: kubelet_pods.go, generateAPIPodStatus ("pods are not allowed to transition out of terminal phases").
schema::Mut<corev1::Pod> withOwnStatus(const schema::Ref<corev1::Pod>& apiPod, const corev1::PodStatus& own);
// PodScheduled, Ready and the like.
bool isKubeletCondition(std::string_view type);

}  // namespace knarr::kubelet
