// What is left in a namespace after a round of deletion, and how the namespace tells so. Plain functions.
//
// Source: pkg/controller/namespace/deletion/namespaced_resources_deleter.go, status_condition_utils.go.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "controllers/frame/frame.h"

namespace knarr::controllers {

struct Remaining {
  std::map<std::string, int> resources;   // "pods." or "deployments.apps" to count
  std::map<std::string, int> finalizers;  // to count of the objects that have it
  std::vector<std::string> errors;
  int64_t estimateSeconds = 0;  // until the next look; 0: nothing to wait for

  bool anything() const { return !resources.empty(); }
  // Counts what is left of one resource. `estimate` is how long its objects may take to end; without it, only finalizers may hold
  // them back, and objects without any are an error.
  void add(const client::ResourceInfo& resource, const std::string& nameSpace, const std::vector<Ref<>>& left, int64_t estimate);
};

// Seconds that the pods may take to end: the longest grace period of those that run, none once it has passed since the
// namespace's deletion. Times are Unix seconds.
int64_t estimateGracefulTermination(const std::vector<Ref<>>& pods, int64_t deletedAt, int64_t now);

// All five conditions of a namespace that is being emptied.
void setConditions(Mut<corev1::Namespace>& ns, const Remaining& remaining, int64_t now);

}  // namespace knarr::controllers
