// Crash and image back-off: 10 s doubling to a maximum, per key, dropped after twice the maximum
// without need. Source: pkg/kubelet (backOffPeriod, MaxContainerBackOff), client-go
// util/flowcontrol/backoff.go.
#pragma once

#include <map>
#include <string>

#include "env/env.h"

namespace knarr::kubelet {

class BackOff {
 public:
  BackOff(env::Duration initial, env::Duration max) : initial_(initial), max_(max) {}

  // How long after `lastNanos` (Unix) the next try must still wait at `nowNanos`; 0 when it may go
  // on. The wait counts from lastNanos, the end of the last try.
  int64_t remaining(const std::string& key, int64_t lastNanos, int64_t nowNanos) const {
    auto entry = entries_.find(key);
    if (entry == entries_.end() || expired(entry->second, lastNanos)) return 0;
    return std::max<int64_t>(0, lastNanos + entry->second.delay.count() - nowNanos);
  }
  // The delay that is in force; 0 for an unknown key.
  env::Duration delayOf(const std::string& key) const {
    auto entry = entries_.find(key);
    return entry == entries_.end() ? env::Duration{} : entry->second.delay;
  }
  // A try is made now: the next one waits longer. `lastNanos` as above.
  void advance(const std::string& key, int64_t lastNanos, int64_t nowNanos) {
    auto [entry, fresh] = entries_.try_emplace(key);
    if (fresh || expired(entry->second, lastNanos)) {
      entry->second.delay = initial_;
    } else {
      entry->second.delay = std::min(entry->second.delay * 2, max_);
    }
    entry->second.updatedNanos = nowNanos;
  }
  void forget(const std::string& key) { entries_.erase(key); }
  // Drops what is not needed any more; call it now and then.
  void collect(int64_t nowNanos) {
    std::erase_if(entries_, [&](const auto& e) { return expired(e.second, nowNanos); });
  }

 private:
  struct Entry {
    env::Duration delay{};
    int64_t updatedNanos = 0;
  };
  bool expired(const Entry& entry, int64_t atNanos) const { return atNanos - entry.updatedNanos > 2 * max_.count(); }
  env::Duration initial_, max_;
  std::map<std::string, Entry> entries_;
};

// Go's time.Duration text of whole seconds: "10s", "1m20s", "5m0s".
std::string durationText(env::Duration duration);

}  // namespace knarr::kubelet
