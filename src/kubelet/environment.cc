#include "kubelet/environment.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "schema/quantity.h"

namespace knarr::kubelet {
namespace {

using corev1::ConfigMap;
using corev1::Container;
using corev1::EnvVar;
using corev1::Pod;
using corev1::Secret;
using schema::Ref;

// A value of a ConfigMap: text or binary data.
const schema::Str* valueIn(const Ref<ConfigMap>& map, schema::Str key) { return map->data.find(key); }

template <class T>
Ref<T> find(const std::map<std::string, Ref<T>, std::less<>>& objects, std::string_view name) {
  auto found = objects.find(name);
  return found == objects.end() ? Ref<T>() : found->second;
}

std::string quotedMapKey(std::string_view path, std::string_view prefix) {
  // metadata.labels['key']
  if (!path.starts_with(prefix) || !path.ends_with("']")) return "";
  std::string_view rest = path.substr(prefix.size());
  if (!rest.starts_with("['")) return "";
  return std::string(rest.substr(2, rest.size() - 4));
}

Result<void> addFrom(Variables& result, const corev1::EnvFromSource& source, const Pod& pod, const ReferencedObjects& objects) {
  if (source.configMapRef != nullptr) {
    std::string_view name = source.configMapRef->localObjectReference.name;
    Ref<ConfigMap> map = find(objects.configMaps, name);
    if (!map) {
      if (source.configMapRef->optional.valueOr(false)) return {};
      return fail(Reason::NotFound, fmt::format("configmap \"{}\" not found", name));
    }
    for (const auto& entry : map->data) result[fmt::format("{}{}", source.prefix, entry.key)] = entry.value;
  }
  if (source.secretRef != nullptr) {
    std::string_view name = source.secretRef->localObjectReference.name;
    Ref<Secret> secret = find(objects.secrets, name);
    if (!secret) {
      if (source.secretRef->optional.valueOr(false)) return {};
      return fail(Reason::NotFound, fmt::format("secret \"{}\" not found", name));
    }
    for (const auto& entry : secret->data) {
      result[fmt::format("{}{}", source.prefix, entry.key)] = entry.value.bytes;
    }
  }
  (void)pod;
  return {};
}

// Nothing: the variable is left out (an optional reference that is absent).
Result<std::optional<std::string>> fromConfigMap(const Pod& pod, const corev1::ConfigMapKeySelector& selector,
                                                 const ReferencedObjects& objects) {
  bool optional = selector.optional.valueOr(false);
  std::string_view name = selector.localObjectReference.name;
  Ref<ConfigMap> map = find(objects.configMaps, name);
  if (!map) {
    if (optional) return std::nullopt;
    return fail(Reason::NotFound, fmt::format("configmap \"{}\" not found", name));
  }
  const schema::Str* value = valueIn(map, selector.key);
  if (value != nullptr) return std::string(*value);
  if (optional) return std::nullopt;
  return fail(Reason::NotFound,
              fmt::format("couldn't find key {} in ConfigMap {}/{}", selector.key, pod.metadata.namespace_, name));
}

Result<std::optional<std::string>> fromSecret(const Pod& pod, const corev1::SecretKeySelector& selector,
                                              const ReferencedObjects& objects) {
  bool optional = selector.optional.valueOr(false);
  std::string_view name = selector.localObjectReference.name;
  Ref<Secret> secret = find(objects.secrets, name);
  if (!secret) {
    if (optional) return std::nullopt;
    return fail(Reason::NotFound, fmt::format("secret \"{}\" not found", name));
  }
  const schema::Bytes* value = secret->data.find(selector.key);
  if (value != nullptr) return std::string(value->bytes);
  if (optional) return std::nullopt;
  return fail(Reason::NotFound, fmt::format("couldn't find key {} in Secret {}/{}", selector.key, pod.metadata.namespace_, name));
}

const Container* containerNamed(const Pod& pod, std::string_view name) {
  for (const Container& container : pod.spec.containers) {
    if (container.name == name) return &container;
  }
  for (const Container& container : pod.spec.initContainers) {
    if (container.name == name) return &container;
  }
  return nullptr;
}

Result<std::optional<std::string>> fromSource(const Pod& pod, const Container& container, const corev1::EnvVarSource& source,
                                              const ReferencedObjects& objects, const EnvironmentInputs& inputs) {
  if (source.fieldRef != nullptr) return TRY(podField(pod, source.fieldRef->fieldPath, inputs));
  if (source.resourceFieldRef != nullptr) {
    const Container* from = &container;
    if (!source.resourceFieldRef->containerName.empty()) {
      from = containerNamed(pod, source.resourceFieldRef->containerName);
    }
    if (from == nullptr) {
      return fail(Reason::Invalid, fmt::format("container {} not found", source.resourceFieldRef->containerName));
    }
    return TRY(containerResource(*from, *source.resourceFieldRef, inputs));
  }
  if (source.configMapKeyRef != nullptr) return fromConfigMap(pod, *source.configMapKeyRef, objects);
  if (source.secretKeyRef != nullptr) return fromSecret(pod, *source.secretKeyRef, objects);
  return fail(Reason::Invalid, "the source of the variable is of no known kind");
}

std::string upperName(std::string_view name) {
  std::string out(name);
  for (char& c : out) c = c == '-' ? '_' : static_cast<char>(toupper(static_cast<unsigned char>(c)));
  return out;
}

}  // namespace

std::string expand(std::string_view text, const std::vector<const Variables*>& mappings) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    char next = text[i + 1];
    if (next == '$') {
      out += '$';
      ++i;
      continue;
    }
    size_t close = next == '(' ? text.find(')', i) : std::string_view::npos;
    if (close == std::string_view::npos) {
      out += text[i];
      continue;
    }
    std::string_view name = text.substr(i + 2, close - i - 2);
    const std::string* value = nullptr;
    for (const Variables* mapping : mappings) {
      auto found = mapping->find(name);
      if (value == nullptr && found != mapping->end()) value = &found->second;
    }
    out += value != nullptr ? std::string_view(*value) : text.substr(i, close + 1 - i);
    i = close;
  }
  return out;
}

Result<std::string> podField(const Pod& pod, std::string_view path, const EnvironmentInputs& inputs) {
  const metav1::ObjectMeta& meta = pod.metadata;
  if (path == "metadata.name") return std::string(meta.name);
  if (path == "metadata.namespace") return std::string(meta.namespace_);
  if (path == "metadata.uid") return std::string(meta.uid);
  if (path == "spec.nodeName") return std::string(pod.spec.nodeName);
  if (path == "spec.serviceAccountName") return std::string(pod.spec.serviceAccountName);
  if (path == "status.hostIP") return inputs.nodeIps.empty() ? "" : inputs.nodeIps[0];
  if (path == "status.hostIPs") return join(inputs.nodeIps, ",");
  const std::vector<std::string>& podIps = pod.spec.hostNetwork ? inputs.nodeIps : inputs.podIps;
  if (path == "status.podIP") return podIps.empty() ? "" : podIps[0];
  if (path == "status.podIPs") return join(podIps, ",");
  if (std::string key = quotedMapKey(path, "metadata.labels"); !key.empty()) {
    return std::string(schema::valueOf(meta.labels, key));
  }
  if (std::string key = quotedMapKey(path, "metadata.annotations"); !key.empty()) {
    return std::string(schema::valueOf(meta.annotations, key));
  }
  if (path == "metadata.labels" || path == "metadata.annotations") {
    std::string out;
    for (const auto& entry : path == "metadata.labels" ? meta.labels : meta.annotations) {
      if (!out.empty()) out += '\n';
      out += fmt::format("{}={}", entry.key, quote(entry.value));
    }
    return out;
  }
  return fail(Reason::Invalid, fmt::format("unsupported fieldPath: {}", path));
}

Result<std::string> containerResource(const Container& container, const corev1::ResourceFieldSelector& selector,
                                      const EnvironmentInputs& inputs) {
  schema::Amount divisor = schema::amountOf(selector.divisor);
  if (divisor.isZero()) divisor = schema::Amount::fromInt64(1);
  std::string_view resource = selector.resource;
  bool limits = resource.starts_with("limits.");
  std::string_view name =
      limits || resource.starts_with("requests.") ? resource.substr(resource.find('.') + 1) : std::string_view();
  bool known = name == "cpu" || name == "memory" || name == "ephemeral-storage" || name.starts_with("hugepages-");
  if (!known) return fail(Reason::Invalid, fmt::format("unsupported container resource : {}", resource));
  const auto& map = limits ? container.resources.limits : container.resources.requests;
  const schema::Quantity* quantity = map.find(name);
  schema::Amount amount = quantity == nullptr ? schema::Amount() : schema::amountOf(*quantity);
  if (limits && amount.isZero()) {
    if (name == "cpu") amount = schema::Amount::fromMilli(inputs.nodeCpuMilli);
    if (name == "memory") amount = schema::Amount::fromInt64(inputs.nodeMemoryBytes);
  }
  if (name == "cpu") {
    int64_t unit = std::max<int64_t>(divisor.milliValue(), 1);
    return std::to_string((amount.milliValue() + unit - 1) / unit);
  }
  int64_t unit = std::max<int64_t>(divisor.value(), 1);
  return std::to_string((amount.value() + unit - 1) / unit);
}

Result<Variables> containerEnvironment(const Pod& pod, const Container& container, const ReferencedObjects& objects,
                                       const EnvironmentInputs& inputs) {
  Variables result;
  for (const corev1::EnvFromSource& source : container.envFrom) TRY(addFrom(result, source, pod, objects));
  for (const EnvVar& variable : container.env) {
    std::string name(variable.name);
    if (variable.valueFrom == nullptr) {
      result[name] = expand(variable.value, {&result, &inputs.services});
      continue;
    }
    std::optional<std::string> value = TRY(fromSource(pod, container, *variable.valueFrom, objects, inputs));
    if (value) result[name] = std::move(*value);
  }
  for (const auto& [name, value] : inputs.services) result.try_emplace(name, value);
  return result;
}

Variables serviceVariables(const std::vector<Ref<corev1::Service>>& services) {
  Variables out;
  for (const Ref<corev1::Service>& service : services) {
    std::string_view ip = service->spec.clusterIP;
    if (ip.empty() || ip == "None" || service->spec.ports.empty()) continue;
    std::string prefix = upperName(service->metadata.name);
    std::string host = ip.find(':') != std::string_view::npos ? fmt::format("[{}]", ip) : std::string(ip);
    out[prefix + "_SERVICE_HOST"] = ip;
    out[prefix + "_SERVICE_PORT"] = std::to_string(service->spec.ports[0].port);
    bool first = true;
    for (const corev1::ServicePort& port : service->spec.ports) {
      std::string protocol = port.protocol.empty() ? "TCP" : std::string(port.protocol);
      if (!port.name.empty()) out[prefix + "_SERVICE_PORT_" + upperName(port.name)] = std::to_string(port.port);
      std::string url = fmt::format("{}://{}:{}", toLower(protocol), host, port.port);
      if (first) out[prefix + "_PORT"] = url;
      first = false;
      std::string base = fmt::format("{}_PORT_{}_{}", prefix, port.port, upperName(protocol));
      out[base] = url;
      out[base + "_PROTO"] = toLower(protocol);
      out[base + "_PORT"] = std::to_string(port.port);
      out[base + "_ADDR"] = ip;
    }
  }
  return out;
}

ReferencedNames environmentReferences(const Container& container) {
  ReferencedNames names;
  for (const corev1::EnvFromSource& source : container.envFrom) {
    if (source.configMapRef != nullptr) names.configMaps.emplace_back(source.configMapRef->localObjectReference.name);
    if (source.secretRef != nullptr) names.secrets.emplace_back(source.secretRef->localObjectReference.name);
  }
  for (const EnvVar& variable : container.env) {
    if (variable.valueFrom == nullptr) continue;
    if (auto* map = variable.valueFrom->configMapKeyRef) names.configMaps.emplace_back(map->localObjectReference.name);
    if (auto* secret = variable.valueFrom->secretKeyRef) names.secrets.emplace_back(secret->localObjectReference.name);
  }
  return names;
}

}  // namespace knarr::kubelet
