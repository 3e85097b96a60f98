// Pod Lifecycle Event Generator: notices what changes in the runtime without the kubelet having asked for it, and wakes the
// workers of the pods concerned.
//
// The runtime's lists are compared with the last ones (relist): every second, as upstream's generic PLEG does; or, when the
// runtime sends events, at once after each event, and otherwise every ten seconds for what events have missed. An event may
// come before the lists show it, so lists are read again until they do.
// Upstream counterpart: pkg/kubelet/pleg/generic.go, evented.go.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "async/async.h"
#include "contracts/cri/cri.h"
#include "env/env.h"
#include "kubelet/runtime_pod.h"

namespace knarr::kubelet {

// Uids of pods whose sandboxes or containers differ. Pure.
std::vector<std::string> changedPods(const RuntimeSummary& before, const RuntimeSummary& after);

// Events that the lists do not show yet, and when to look again. Plain data; time comes from the caller.
class AwaitedEvents {
 public:
  // More than kAwaitedMax are not kept: the lists tell of them in time.
  void add(const cri::RuntimeEvent& event, env::Instant now);
  // What has been read shows: uids of pods that are to be woken although their lists may not have changed.
  std::vector<std::string> settle(const RuntimeSummary& summary, env::Instant now);
  // When the lists are to be read again; nothing while no event is awaited.
  std::optional<env::Instant> due() const;

 private:
  struct Awaited {
    cri::RuntimeEvent::Kind kind;
    env::Instant since, due;
    env::Duration backOff;
  };
  std::map<std::pair<std::string, int>, Awaited> awaited_;  // by id and kind
};

class Pleg {
 public:
  // `wake`: a pod's uid. `setHealthy`: whether the runtime was listed within three minutes.
  Pleg(env::Env environment, cri::RuntimeClient& runtime, env::Duration relistPeriod,
       std::function<void(const std::string&)> wake, std::function<void(bool)> setHealthy);

  // Both run until stop.
  async::Task<void> relist(async::StopToken stop);
  async::Task<void> followEvents(async::StopToken stop);

  const RuntimeSummary& summary() const { return summary_; }
  bool listed() const { return listed_; }  // at least once

 private:
  void onEvent(const cri::RuntimeEvent& event);
  env::Instant nextRelist() const;

  env::Env env_;
  cri::RuntimeClient& runtime_;
  env::Duration relistPeriod_;
  std::function<void(const std::string&)> wake_;
  std::function<void(bool)> setHealthy_;
  RuntimeSummary summary_;
  bool listed_ = false;
  AwaitedEvents awaited_;
  std::optional<env::Instant> streamOpenSince_;
  async::Event changed_;  // of when the next relist is due
};

}  // namespace knarr::kubelet
