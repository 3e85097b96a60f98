// The parts of a pod spec, and what the parts of their validation share.
#pragma once

#include <set>
#include <string_view>

#include "apiserver/validation/rules.h"

namespace knarr::apiserver {

// What the rules of a part need to know of the whole.
struct PodFacts {
  const corev1::PodSpec* spec = nullptr;
  // Of a Pod, not of a template: templates tolerate what their owner fills in.
  bool isPod = false;
  std::map<std::string_view, const corev1::Volume*> volumes;  // the valid ones, by name
};

void checkVolumes(FieldErrors& errors, const FieldPath& path, PodFacts& facts);
// Regular, init and ephemeral containers of the spec at `path`.
void checkContainers(FieldErrors& errors, const FieldPath& path, const PodFacts& facts);
void checkProbe(FieldErrors& errors, const FieldPath& path, const corev1::Probe* probe, bool readiness);
void checkLifecycle(FieldErrors& errors, const FieldPath& path, const corev1::Lifecycle* lifecycle, int64_t graceSeconds);
void checkPodSecurity(FieldErrors& errors, const FieldPath& path, const corev1::PodSpec& spec);
void checkContainerSecurity(FieldErrors& errors, const FieldPath& path, const corev1::SecurityContext* context,
                            const corev1::PodSpec& spec);
// A relative path that stays below its folder; "" when it is one.
void checkDescendingPath(FieldErrors& errors, const FieldPath& path, std::string_view text);
void checkResourceField(FieldErrors& errors, const FieldPath& path, const corev1::ResourceFieldSelector& selector, bool volume);
// A field of the pod; `allowed` are those of its use (environment or volume).
void checkObjectField(FieldErrors& errors, const FieldPath& path, const corev1::ObjectFieldSelector& selector,
                      const Words& allowed);

}  // namespace knarr::apiserver
