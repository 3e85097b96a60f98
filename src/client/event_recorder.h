// EventRecorder: tells users what a component did, as core/v1 Events.
//
// Recording never blocks and never fails the caller: events wait in a bounded queue (1000, the oldest are kept and new ones
// dropped with a log line when it is full); equal events within ten minutes are counted in one object, and floods are cut off
// (event_correlator.h).
// Upstream counterpart: k8s.io/client-go/tools/record.
#pragma once

#include <map>
#include <string>

#include "client/client.h"

namespace knarr::client {

class EventRecorder {
 public:
  // component and host fill Event.source; component is also reportingController.
  EventRecorder(env::Env environment, Client& client, std::string component, std::string host);
  ~EventRecorder();
  // type is "Normal" or "Warning".
  void event(const Ref<>& about, std::string_view type, std::string_view reason, std::string message);
  // The same about a part of the object ("spec.containers{web}").
  void eventAbout(const Ref<>& about, std::string fieldPath, std::string_view type, std::string_view reason, std::string message);
  // Sends what is queued until stop. Run it in a Gate.
  async::Task<void> run(StopToken stop);

 private:
  struct Pending;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace knarr::client
