// The environment of a container: $(VAR) expansion, references to fields, resources, ConfigMaps and
// Secrets, and the variables that announce services. Pure: what it refers to is given. Upstream
// counterpart: pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables), pkg/kubelet/envvars,
// third_party/forked/golang/expansion.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "base/result.h"
#include "schema/object.h"

namespace knarr::kubelet {

using Variables = std::map<std::string, std::string, std::less<>>;

// Replaces $(NAME) from the given maps, first match wins; $$ is $, what is unknown or malformed
// stays as it is.
std::string expand(std::string_view text, const std::vector<const Variables*>& mappings);

// ConfigMaps and Secrets that the pod refers to, by name, null when absent.
struct ReferencedObjects {
  std::map<std::string, schema::Ref<corev1::ConfigMap>, std::less<>> configMaps;
  std::map<std::string, schema::Ref<corev1::Secret>, std::less<>> secrets;
};

struct EnvironmentInputs {
  std::vector<std::string> nodeIps;
  std::vector<std::string> podIps;
  // Node allocatable: what an unset limit counts as.
  int64_t nodeCpuMilli = 0;
  int64_t nodeMemoryBytes = 0;
  Variables services;
};

// Errors become CreateContainerConfigError.
Result<Variables> containerEnvironment(const corev1::Pod& pod, const corev1::Container& container,
                                       const ReferencedObjects& objects, const EnvironmentInputs& inputs);

// "metadata.name", "status.podIP", "metadata.labels['x']"... Source: pkg/fieldpath, pkg/api/v1/pod.
Result<std::string> podField(const corev1::Pod& pod, std::string_view path, const EnvironmentInputs& inputs);
// "limits.cpu" of a container, divided and rounded up.
Result<std::string> containerResource(const corev1::Container& container, const corev1::ResourceFieldSelector& selector,
                                      const EnvironmentInputs& inputs);

// WEB_SERVICE_HOST and the like for services with a cluster IP.
Variables serviceVariables(const std::vector<schema::Ref<corev1::Service>>& services);

// Names of the ConfigMaps and Secrets that environments of the pod's containers use.
struct ReferencedNames {
  std::vector<std::string> configMaps, secrets;
};
ReferencedNames environmentReferences(const corev1::Container& container);

}  // namespace knarr::kubelet
