// What becomes of an event before it is sent: equal ones are counted, similar ones share one object, and who tells too much
// about one object is cut off. Plain decisions; the recorder acts on them.
// Source: k8s.io/client-go/tools/record/events_cache.go (all figures).
#pragma once

#include <map>
#include <set>
#include <string>

#include "env/env.h"

namespace knarr::client {

// What an event is told apart by, each part as text.
struct EventIdentity {
  std::string about;  // the object
  std::string kind;   // type and reason
  std::string part;   // of the object; "" for the whole
  std::string message;
};

class EventCorrelator {
 public:
  struct Verdict {
    bool drop = false;      // the recorder has said enough about this object for now
    bool combined = false;  // stands for several messages: "(combined from similar events): ..."
    // Events of one key are one object in the API; its count goes up.
    std::string key;
  };
  Verdict judge(const EventIdentity& event, env::Instant now);

 private:
  struct Similar {
    std::set<std::string> messages;
    env::Instant last;
  };
  struct Budget {
    double tokens;
    env::Instant at;
  };
  bool spend(const std::string& about, env::Instant now);

  std::map<std::string, Similar> similar_;  // by about and kind
  std::map<std::string, Budget> budgets_;   // by about
};

}  // namespace knarr::client
