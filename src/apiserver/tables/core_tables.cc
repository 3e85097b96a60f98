#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "apiserver/tables/cells.h"
#include "base/strings.h"

namespace knarr::apiserver {

const TablePrinter& podTablePrinter();

namespace {

using schema::Ref;

std::string joinSet(const std::set<std::string>& words) {
  return join(std::vector<std::string>(words.begin(), words.end()), ",");
}

std::string nodeStatus(const corev1::Node& node) {
  std::string status = "Unknown";
  for (const auto& condition : node.status.conditions)
    if (condition.type == "Ready")
      status = condition.status == "True" ? "Ready" : condition.status == "False" ? "NotReady" : "Unknown";
  // Upstream prints NotReady for False and Unknown alike when the condition is there.
  for (const auto& condition : node.status.conditions)
    if (condition.type == "Ready" && condition.status != "True") status = "NotReady";
  return node.spec.unschedulable ? status + ",SchedulingDisabled" : status;
}

std::string nodeRoles(const corev1::Node& node) {
  constexpr std::string_view kRolePrefix = "node-role.kubernetes.io/";
  std::set<std::string> roles;
  for (const auto& [key, value] : node.metadata.labels) {
    if (key.starts_with(kRolePrefix) && key.size() > kRolePrefix.size()) roles.emplace(key.substr(kRolePrefix.size()));
    if (key == "kubernetes.io/role" && !value.empty()) roles.emplace(value);
  }
  return roles.empty() ? "<none>" : joinSet(roles);
}

std::string nodeAddress(const corev1::Node& node, std::string_view type) {
  for (const auto& address : node.status.addresses)
    if (address.type == type) return std::string(address.address);
  return "<none>";
}

TableCells nodeCells(const Ref<>& object, int64_t now) {
  Ref<corev1::Node> node(object);
  const auto& about = node->status.nodeInfo;
  auto orUnknown = [](std::string_view text) { return std::string(text.empty() ? "<unknown>" : text); };
  std::string kernel = orUnknown(about.kernelVersion);
  if (!about.kernelVersion.empty() && !about.architecture.empty()) kernel += fmt::format(" ({})", about.architecture);
  return {textCell(node->metadata.name),
          textCell(nodeStatus(*node)),
          textCell(nodeRoles(*node)),
          ageCell(node->metadata.creationTimestamp, now),
          textCell(about.kubeletVersion),
          textCell(nodeAddress(*node, "InternalIP")),
          textCell(nodeAddress(*node, "ExternalIP")),
          textCell(orUnknown(about.osImage)),
          textCell(kernel),
          textCell(orUnknown(about.containerRuntimeVersion))};
}

std::string servicePorts(const corev1::Service& service) {
  std::vector<std::string> ports;
  for (const auto& port : service.spec.ports)
    ports.push_back(port.nodePort > 0 ? fmt::format("{}:{}/{}", port.port, port.nodePort, port.protocol)
                                      : fmt::format("{}/{}", port.port, port.protocol));
  return ports.empty() ? "<none>" : join(ports, ",");
}

std::string serviceExternal(const corev1::Service& service) {
  std::vector<std::string> external;
  for (schema::Str ip : service.spec.externalIPs) external.emplace_back(ip);
  if (service.spec.type == "ClusterIP" || service.spec.type == "NodePort")
    return external.empty() ? "<none>" : join(external, ",");
  if (service.spec.type == "ExternalName") return std::string(service.spec.externalName);
  if (service.spec.type != "LoadBalancer") return "<unknown>";
  std::set<std::string> ingress;
  for (const auto& one : service.status.loadBalancer.ingress) ingress.emplace(one.ip.empty() ? one.hostname : one.ip);
  std::vector<std::string> all(ingress.begin(), ingress.end());
  all.insert(all.end(), external.begin(), external.end());
  return all.empty() ? "<pending>" : join(all, ",");
}

TableCells serviceCells(const Ref<>& object, int64_t now) {
  Ref<corev1::Service> service(object);
  std::string_view ip =
      service->spec.clusterIPs.empty() ? std::string_view(service->spec.clusterIP) : service->spec.clusterIPs[0];
  return {textCell(service->metadata.name),
          textCell(service->spec.type),
          orNone(ip),
          textCell(serviceExternal(*service)),
          textCell(servicePorts(*service)),
          ageCell(service->metadata.creationTimestamp, now),
          textCell(labelsText(service->spec.selector))};
}

TableCells eventCells(const Ref<>& object, int64_t now) {
  Ref<corev1::Event> event(object);
  auto ago = [&](int64_t unixSeconds) { return humanDuration(now - unixSeconds); };
  std::string first = !event->firstTimestamp.isZero() ? ago(event->firstTimestamp.unixSeconds())
                      : !event->eventTime.isZero()    ? ago(event->eventTime.unixMicros() / 1'000'000)
                                                      : "<unknown>";
  std::string last = event->lastTimestamp.isZero() ? first : ago(event->lastTimestamp.unixSeconds());
  int64_t count = event->count == 0 ? 1 : event->count;
  if (event->series) {
    last = ago(event->series->lastObservedTime.unixMicros() / 1'000'000);
    count = event->series->count;
  }
  const auto& about = event->involvedObject;
  std::string target = toLower(about.kind);
  if (!about.name.empty()) target += fmt::format("/{}", about.name);
  std::string source(event->source.component.empty() ? event->reportingComponent : event->source.component);
  std::string_view host = event->source.host.empty() ? event->reportingInstance : event->source.host;
  if (!host.empty()) source += fmt::format(", {}", host);
  return {textCell(last),
          textCell(event->type),
          textCell(event->reason),
          textCell(target),
          textCell(about.fieldPath),
          textCell(source),
          textCell(trim(event->message)),
          textCell(first),
          numberCell(count),
          textCell(event->metadata.name)};
}

TableCells endpointsCells(const Ref<>& object, int64_t now) {
  Ref<corev1::Endpoints> endpoints(object);
  std::vector<std::string> all;
  for (const auto& subset : endpoints->subsets) {
    for (const auto& address : subset.addresses) {
      bool v6 = address.ip.find(':') != std::string_view::npos;
      if (subset.ports.empty()) all.emplace_back(address.ip);
      for (const auto& port : subset.ports)
        all.push_back(v6 ? fmt::format("[{}]:{}", address.ip, port.port) : fmt::format("{}:{}", address.ip, port.port));
    }
  }
  std::string text =
      all.empty() ? "<none>"
                  : join(std::vector<std::string>(all.begin(), all.begin() + std::min<ptrdiff_t>(3, std::ssize(all))), ",");
  if (all.size() > 3) text += fmt::format(" + {} more...", all.size() - 3);
  return {textCell(endpoints->metadata.name), textCell(text), ageCell(endpoints->metadata.creationTimestamp, now)};
}

TableCells namespaceCells(const Ref<>& object, int64_t now) {
  Ref<corev1::Namespace> ns(object);
  return {textCell(ns->metadata.name), textCell(ns->status.phase), ageCell(ns->metadata.creationTimestamp, now)};
}
TableCells secretCells(const Ref<>& object, int64_t now) {
  Ref<corev1::Secret> secret(object);
  return {textCell(secret->metadata.name), textCell(secret->type), numberCell(static_cast<int64_t>(secret->data.size())),
          ageCell(secret->metadata.creationTimestamp, now)};
}
TableCells configMapCells(const Ref<>& object, int64_t now) {
  Ref<corev1::ConfigMap> map(object);
  return {textCell(map->metadata.name), numberCell(static_cast<int64_t>(map->data.size() + map->binaryData.size())),
          ageCell(map->metadata.creationTimestamp, now)};
}
TableCells nameAndAge(const Ref<>& object, int64_t now) {
  const metav1::ObjectMeta& metadata = schema::metadataOf(object);
  return {textCell(metadata.name), ageCell(metadata.creationTimestamp, now)};
}
TableCells replicationControllerCells(const Ref<>& object, int64_t now) {
  Ref<corev1::ReplicationController> rc(object);
  std::string containers = "\"\"", images = "\"\"";
  if (rc->spec.template_) {
    containers = containersCell(rc->spec.template_->spec);
    images = imagesCell(rc->spec.template_->spec);
  }
  return {textCell(rc->metadata.name),
          numberCell(rc->spec.replicas.valueOr(0)),
          numberCell(rc->status.replicas),
          numberCell(rc->status.readyReplicas),
          ageCell(rc->metadata.creationTimestamp, now),
          containers,
          images,
          textCell(labelsText(rc->spec.selector))};
}

const std::map<std::string, TablePrinter, std::less<>>& corePrinters() {
  static const std::map<std::string, TablePrinter, std::less<>> kPrinters{
      {"Pod", podTablePrinter()},
      {"Node",
       {{{"Name", "string", "name"},
         {"Status"},
         {"Roles"},
         {"Age"},
         {"Version"},
         {"Internal-IP", "string", "", 1},
         {"External-IP", "string", "", 1},
         {"OS-Image", "string", "", 1},
         {"Kernel-Version", "string", "", 1},
         {"Container-Runtime", "string", "", 1}},
        nodeCells}},
      {"Service",
       {{{"Name", "string", "name"},
         {"Type"},
         {"Cluster-IP"},
         {"External-IP"},
         {"Port(s)"},
         {"Age"},
         {"Selector", "string", "", 1}},
        serviceCells}},
      {"Event",
       {{{"Last Seen"},
         {"Type"},
         {"Reason"},
         {"Object"},
         {"Subobject", "string", "", 1},
         {"Source", "string", "", 1},
         {"Message"},
         {"First Seen", "string", "", 1},
         {"Count", "string", "", 1},
         {"Name", "string", "name", 1}},
        eventCells}},
      {"Endpoints", {{{"Name", "string", "name"}, {"Endpoints"}, {"Age"}}, endpointsCells}},
      {"Namespace", {{{"Name", "string", "name"}, {"Status"}, {"Age"}}, namespaceCells}},
      {"Secret", {{{"Name", "string", "name"}, {"Type"}, {"Data"}, {"Age"}}, secretCells}},
      {"ConfigMap", {{{"Name", "string", "name"}, {"Data"}, {"Age"}}, configMapCells}},
      {"ServiceAccount", {{{"Name", "string", "name"}, {"Age"}}, nameAndAge}},
      {"ReplicationController",
       {{{"Name", "string", "name"},
         {"Desired", "integer"},
         {"Current", "integer"},
         {"Ready", "integer"},
         {"Age"},
         {"Containers", "string", "", 1},
         {"Images", "string", "", 1},
         {"Selector", "string", "", 1}},
        replicationControllerCells}},
  };
  return kPrinters;
}

}  // namespace

const TablePrinter* coreTablePrinter(std::string_view kind) {
  auto found = corePrinters().find(kind);
  return found == corePrinters().end() ? nullptr : &found->second;
}

}  // namespace knarr::apiserver
