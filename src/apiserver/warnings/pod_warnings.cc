// Source: pkg/api/pod/warnings.go; the strategies of pkg/registry/{core,apps,batch}.
#include <fmt/format.h>

#include <map>
#include <set>

#include "api/apps_v1.h"
#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "apimachinery/validation.h"
#include "apiserver/warnings/warnings.h"
#include "base/strings.h"
#include "schema/quantity.h"

namespace knarr::apiserver {

using apimachinery::FieldPath;
using schema::Mut;
using schema::Ref;

namespace {

std::string_view deprecatedLabel(std::string_view key) {
  static const std::map<std::string_view, std::string_view> kTexts{
      {"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
      {"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
      {"failure-domain.beta.kubernetes.io/region", "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
      {"failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
      {"beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
      {"app.kubernetes.io/created-by", "deprecated since v1.9"},
      {"scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"},
      {"node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"}};
  auto found = kTexts.find(key);
  return found == kTexts.end() ? std::string_view() : found->second;
}

void warnOfTerm(Warnings& out, const FieldPath& path, const corev1::NodeSelectorTerm& term) {
  for (size_t i = 0; i < term.matchExpressions.size(); ++i) {
    std::string_view key = term.matchExpressions[i].key, text = deprecatedLabel(key);
    if (!text.empty())
      out.push_back(fmt::format("{}: {} is {}", path.child("matchExpressions").index(i).child("key").str(), key, text));
  }
}

template <class PodAffinity>
void warnOfPodTerms(Warnings& out, const FieldPath& path, const PodAffinity* affinity) {
  if (!affinity) return;
  auto lacksSelector = [&](const FieldPath& at, const corev1::PodAffinityTerm& term) {
    if (!term.labelSelector)
      out.push_back(fmt::format("{}: a null labelSelector results in matching no pod", at.child("labelSelector").str()));
  };
  const auto& required = affinity->requiredDuringSchedulingIgnoredDuringExecution;
  const auto& preferred = affinity->preferredDuringSchedulingIgnoredDuringExecution;
  for (size_t i = 0; i < required.size(); ++i)
    lacksSelector(path.child("requiredDuringSchedulingIgnoredDuringExecution").index(i), required[i]);
  for (size_t i = 0; i < preferred.size(); ++i)
    lacksSelector(path.child("preferredDuringSchedulingIgnoredDuringExecution").index(i).child("podAffinityTerm"),
                  preferred[i].podAffinityTerm);
}

void warnOfPlacement(Warnings& out, const FieldPath& path, const corev1::PodSpec& spec) {
  for (const auto& [key, value] : spec.nodeSelector)
    if (std::string_view text = deprecatedLabel(key); !text.empty())
      out.push_back(fmt::format("{}: {}", path.child("nodeSelector").key(key).str(), text));
  if (const auto* affinity = spec.affinity) {
    FieldPath at = path.child("affinity");
    if (const auto* node = affinity->nodeAffinity) {
      FieldPath nodePath = at.child("nodeAffinity");
      if (const auto* required = node->requiredDuringSchedulingIgnoredDuringExecution)
        for (size_t i = 0; i < required->nodeSelectorTerms.size(); ++i)
          warnOfTerm(out, nodePath.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms").index(i),
                     required->nodeSelectorTerms[i]);
      const auto& preferred = node->preferredDuringSchedulingIgnoredDuringExecution;
      for (size_t i = 0; i < preferred.size(); ++i)
        warnOfTerm(out, nodePath.child("preferredDuringSchedulingIgnoredDuringExecution").index(i).child("preference"),
                   preferred[i].preference);
    }
    warnOfPodTerms(out, at.child("podAffinity"), affinity->podAffinity);
    warnOfPodTerms(out, at.child("podAntiAffinity"), affinity->podAntiAffinity);
  }
  for (size_t i = 0; i < spec.topologySpreadConstraints.size(); ++i) {
    const auto& constraint = spec.topologySpreadConstraints[i];
    FieldPath at = path.child("topologySpreadConstraints").index(i);
    if (std::string_view text = deprecatedLabel(constraint.topologyKey); !text.empty())
      out.push_back(fmt::format("{}: {} is {}", at.child("topologyKey").str(), constraint.topologyKey, text));
    if (!constraint.labelSelector)
      out.push_back(fmt::format("{}: a null labelSelector results in matching no pod", at.child("labelSelector").str()));
  }
}

void warnOfAnnotations(Warnings& out, const FieldPath& path, const schema::StringMap& annotations) {
  struct Row {
    std::string_view key, text;
  };
  for (const Row& row :
       {Row{"scheduler.alpha.kubernetes.io/critical-pod",
            "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
        Row{"security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
        Row{"security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"}})
    if (annotations.find(row.key)) out.push_back(fmt::format("{}: {}", path.child("annotations").key(row.key).str(), row.text));
}

void warnOfVolumes(Warnings& out, const FieldPath& path, const corev1::PodSpec& spec) {
  for (size_t i = 0; i < spec.volumes.size(); ++i) {
    const auto& volume = spec.volumes[i];
    const corev1::VolumeSource& source = volume.volumeSource;
    FieldPath at = path.child("volumes").index(i);
    auto deprecated = [&](bool used, std::string_view name, std::string_view text) {
      if (used) out.push_back(fmt::format("{}: {}", at.child(name).str(), text));
    };
    deprecated(source.photonPersistentDisk, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+");
    deprecated(source.gitRepo, "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+");
    deprecated(source.scaleIO, "scaleIO", "deprecated in v1.16, non-functional in v1.22+");
    deprecated(source.flocker, "flocker", "deprecated in v1.22, non-functional in v1.25+");
    deprecated(source.storageos, "storageOS", "deprecated in v1.22, non-functional in v1.25+");
    deprecated(source.quobyte, "quobyte", "deprecated in v1.22, non-functional in v1.25+");
    deprecated(source.glusterfs, "glusterfs", "deprecated in v1.25, non-functional in v1.26+");
    deprecated(source.cephfs, "cephfs", "deprecated in v1.28, non-functional in v1.31+");
    deprecated(source.rbd, "rbd", "deprecated in v1.28, non-functional in v1.31+");
    if (source.projected && source.projected->sources.empty())
      out.push_back(fmt::format("volume {} (Projected) has no sources provided", quote(volume.name)));
  }
}

void warnOfBytes(Warnings& out, const FieldPath& path, const schema::Map<schema::Quantity>& amounts) {
  for (const auto& [name, quantity] : amounts) {
    if (name != "memory" && name != "ephemeral-storage") continue;
    auto amount = schema::parseQuantity(quantity.text);
    if (amount && amount->milliValue() % 1000 != 0)
      out.push_back(
          fmt::format("{}: fractional byte value {} is invalid, must be an integer", path.key(name).str(), quote(quantity.text)));
  }
}

void warnOfPod(Warnings& out, const FieldPath& path, const corev1::PodSpec& spec) {
  std::set<std::string_view> seen;
  for (size_t i = 0; i < spec.hostAliases.size(); ++i)
    if (std::string_view ip = spec.hostAliases[i].ip; !seen.insert(ip).second)
      out.push_back(fmt::format("{}: duplicate ip {}", path.child("hostAliases").index(i).child("ip").str(), quote(ip)));
  for (size_t i = 0; i < spec.hostAliases.size(); ++i)
    warnOfIp(out, path.child("hostAliases").index(i).child("ip"), spec.hostAliases[i].ip);
  if (spec.dnsConfig)
    for (size_t i = 0; i < spec.dnsConfig->nameservers.size(); ++i)
      warnOfIp(out, path.child("dnsConfig").child("nameservers").index(i), spec.dnsConfig->nameservers[i]);
  seen.clear();
  for (size_t i = 0; i < spec.imagePullSecrets.size(); ++i) {
    std::string_view name = spec.imagePullSecrets[i].name;
    std::string at = path.child("imagePullSecrets").index(i).child("name").str();
    if (name.empty())
      out.push_back(fmt::format("{}: invalid empty name \"\"", at));
    else if (!seen.insert(name).second)
      out.push_back(fmt::format("{}: duplicate name {}", at, quote(name)));
  }
  warnOfBytes(out, path.child("overhead"), spec.overhead);
  if (spec.terminationGracePeriodSeconds.valueOr(0) < 0)
    out.push_back(fmt::format("{}: must be >= 0; negative values are invalid and will be treated as 1",
                              path.child("terminationGracePeriodSeconds").str()));
}

// What the ports of all containers before this one were.
struct Ports {
  struct At {
    std::string path;
    const corev1::ContainerPort* port;
  };
  std::map<std::string, std::vector<At>> byNumber;
  std::map<std::string_view, std::string> byName;
};
// A pod has as many ports as its size allows; of one number, only the first few are compared with.
constexpr size_t kPortsOfOneNumberMax = 64;

void warnOfPort(Warnings& out, Ports& ports, const std::string& path, const corev1::ContainerPort& port) {
  if (!port.hostIP.empty() && port.hostPort == 0)
    out.push_back(fmt::format("{}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{}}}",
                              path, port.name, port.containerPort, port.protocol, port.hostIP));
  auto& others = ports.byNumber[fmt::format("{}/{}", port.containerPort, port.protocol)];
  for (const Ports::At& other : others) {
    bool sameHostPort = port.hostPort == other.port->hostPort;
    if (sameHostPort && port.hostIP == other.port->hostIP)
      out.push_back(fmt::format("{}: duplicate port definition with {}", path, other.path));
    else if (port.hostPort == 0 || other.port->hostPort == 0)
      out.push_back(fmt::format("{}: overlapping port definition with {}", path, other.path));
    else if (sameHostPort && port.hostIP.empty() != other.port->hostIP.empty())
      out.push_back(fmt::format("{}: dangerously ambiguous port definition with {}", path, other.path));
  }
  if (others.size() < kPortsOfOneNumberMax) others.push_back({path, &port});
  if (port.name.empty()) return;
  auto [first, fresh] = ports.byName.try_emplace(port.name, path);
  if (!fresh)
    out.push_back(fmt::format("{}: duplicate port name {} with {}, services and probes that select ports by name will use {}",
                              path, quote(port.name), first->second, first->second));
}

template <class Container>
void warnOfContainer(Warnings& out, Ports& ports, const FieldPath& path, const Container& container) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < container.env.size(); ++i) {
    const auto& variable = container.env[i];
    if (names.insert(variable.name).second) continue;
    // A value that adds to the one before it is meant.
    std::string reference = fmt::format("$({})", variable.name);
    std::string_view value = variable.value;
    if (variable.valueFrom || value == reference || value.find(reference) == std::string_view::npos)
      out.push_back(fmt::format("{}: hides previous definition of {}, which may be dropped when using apply",
                                path.child("env").index(i).str(), quote(variable.name)));
  }
  warnOfBytes(out, path.child("resources").child("limits"), container.resources.limits);
  warnOfBytes(out, path.child("resources").child("requests"), container.resources.requests);
  for (size_t i = 0; i < container.ports.size(); ++i)
    warnOfPort(out, ports, path.child("ports").index(i).str(), container.ports[i]);
}

void warnOfPodSpec(Warnings& out, const FieldPath& metadataPath, const schema::StringMap& annotations, const FieldPath& path,
                   const corev1::PodSpec& spec) {
  warnOfPlacement(out, path, spec);
  warnOfAnnotations(out, metadataPath, annotations);
  warnOfVolumes(out, path, spec);
  warnOfPod(out, path, spec);
  Ports ports;
  for (size_t i = 0; i < spec.initContainers.size(); ++i)
    warnOfContainer(out, ports, path.child("initContainers").index(i), spec.initContainers[i]);
  for (size_t i = 0; i < spec.containers.size(); ++i)
    warnOfContainer(out, ports, path.child("containers").index(i), spec.containers[i]);
  for (size_t i = 0; i < spec.ephemeralContainers.size(); ++i)
    warnOfContainer(out, ports, path.child("ephemeralContainers").index(i), spec.ephemeralContainers[i].ephemeralContainerCommon);
}

void warnOfTemplate(Warnings& out, const FieldPath& path, const corev1::PodTemplateSpec& pod) {
  warnOfPodSpec(out, path.child("metadata"), pod.metadata.annotations, path.child("spec"), pod.spec);
}

// A name that is no DNS label does not become a host name well.
void warnOfName(Warnings& out, std::string_view name, std::string_view use) {
  auto messages = apimachinery::isDns1123Label(name);
  if (!messages.empty())
    out.push_back(fmt::format(
        "metadata.name: this is used in {}, which can result in surprising behavior; a DNS label is recommended: [{}]", use,
        join(messages, " ")));
}

}  // namespace

Warnings podWarnings(const Mut<>& object, const Ref<>& old) {
  Warnings out;
  if (old) return out;
  const auto& pod = *static_cast<const corev1::Pod*>(object.root());
  warnOfName(out, pod.metadata.name, "the Pod's hostname");
  warnOfPodSpec(out, FieldPath("metadata"), pod.metadata.annotations, FieldPath("spec"), pod.spec);
  return out;
}

Warnings workloadWarnings(const Mut<>& object, const Ref<>& old) {
  Warnings out;
  const metav1::ObjectMeta& metadata = *schema::metadataOf(object.object());
  if (old && metadata.generation == schema::metadataOf(old).generation) return out;
  std::string_view kind = object.type().kind;
  bool named =
      kind == "Deployment" || kind == "ReplicaSet" || kind == "ReplicationController" || kind == "Job" || kind == "CronJob";
  if (named && !old) warnOfName(out, metadata.name, "Pod names and hostnames");
  FieldPath path = FieldPath("spec").child("template");
  const void* root = object.root();
  if (kind == "Deployment") warnOfTemplate(out, path, static_cast<const appsv1::Deployment*>(root)->spec.template_);
  if (kind == "ReplicaSet") warnOfTemplate(out, path, static_cast<const appsv1::ReplicaSet*>(root)->spec.template_);
  if (kind == "DaemonSet") warnOfTemplate(out, path, static_cast<const appsv1::DaemonSet*>(root)->spec.template_);
  if (kind == "Job") warnOfTemplate(out, path, static_cast<const batchv1::Job*>(root)->spec.template_);
  if (kind == "PodTemplate") warnOfTemplate(out, FieldPath("template"), static_cast<const corev1::PodTemplate*>(root)->template_);
  if (kind == "CronJob")
    warnOfTemplate(out, FieldPath("spec").child("jobTemplate").child("spec").child("template"),
                   static_cast<const batchv1::CronJob*>(root)->spec.jobTemplate.spec.template_);
  if (kind == "StatefulSet") {
    const auto& spec = static_cast<const appsv1::StatefulSet*>(root)->spec;
    warnOfTemplate(out, path, spec.template_);
    if (spec.revisionHistoryLimit.valueOr(0) < 0)
      out.emplace_back(
          "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended");
  }
  if (kind == "ReplicationController")
    if (const auto* pods = static_cast<const corev1::ReplicationController*>(root)->spec.template_)
      warnOfTemplate(out, path, *pods);
  return out;
}

}  // namespace knarr::apiserver
