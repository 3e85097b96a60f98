// Probes, lifecycle handlers, security contexts. Source: pkg/apis/core/validation: validateProbe, ValidateSecurityContext, ...
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "apiserver/validation/pod_rules.h"
#include "base/strings.h"

namespace knarr::apiserver {

namespace {

constexpr int64_t kIdMax = 2147483647;

bool isHeaderName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

void checkHttpGet(FieldErrors& errors, const FieldPath& path, const corev1::HTTPGetAction& action) {
  requireText(errors, path.child("path"), action.path);
  checkPort(errors, path.child("port"), action.port);
  if (action.scheme != "HTTP" && action.scheme != "HTTPS")
    errors.push_back(notSupportedError(path.child("scheme"), action.scheme, {"HTTP", "HTTPS"}));
  for (const auto& header : action.httpHeaders)
    if (!isHeaderName(header.name))
      errors.push_back(
          invalidError(path.child("httpHeaders"), header.name,
                       "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for "
                       "validation is '[-A-Za-z0-9]+')"));
}

// The handlers of a probe or of a lifecycle moment: exactly one.
struct Handlers {
  const corev1::ExecAction* exec = nullptr;
  const corev1::HTTPGetAction* httpGet = nullptr;
  const corev1::TCPSocketAction* tcpSocket = nullptr;
  const corev1::GRPCAction* grpc = nullptr;
  const corev1::SleepAction* sleep = nullptr;
};

void checkHandlers(FieldErrors& errors, const FieldPath& path, const Handlers& handlers, int64_t graceSeconds) {
  int count = 0;
  // The first one is checked, further ones are refused.
  auto first = [&](const void* handler, std::string_view name) {
    if (!handler) return false;
    if (count++ == 0) return true;
    forbid(errors, path.child(name), "may not specify more than 1 handler type");
    return false;
  };
  if (first(handlers.exec, "exec") && handlers.exec->command.empty())
    errors.push_back(requiredError(path.child("exec").child("command")));
  if (first(handlers.httpGet, "httpGet")) checkHttpGet(errors, path.child("httpGet"), *handlers.httpGet);
  if (first(handlers.tcpSocket, "tcpSocket")) checkPort(errors, path.child("tcpSocket").child("port"), handlers.tcpSocket->port);
  if (first(handlers.grpc, "grpc")) checkPort(errors, path.child("grpc").child("port"), int64_t{handlers.grpc->port});
  if (first(handlers.sleep, "sleep") && (handlers.sleep->seconds < 0 || handlers.sleep->seconds > graceSeconds))
    errors.push_back(
        invalidError(path.child("sleep"), handlers.sleep->seconds,
                     fmt::format("must be non-negative and less than terminationGracePeriodSeconds ({})", graceSeconds)));
  if (count == 0) errors.push_back(requiredError(path, "must specify a handler type"));
}

void checkId(FieldErrors& errors, const FieldPath& path, const schema::Opt<int64_t>& id) {
  if (id && (*id < 0 || *id > kIdMax)) errors.push_back(invalidError(path, *id, "must be between 0 and 2147483647, inclusive"));
}

void checkSeccomp(FieldErrors& errors, const FieldPath& path, const corev1::SeccompProfile* profile) {
  if (!profile) return;
  FieldPath local = path.child("localhostProfile");
  if (profile->type == "Localhost") {
    if (!profile->localhostProfile)
      errors.push_back(requiredError(local, "must be set when seccomp type is Localhost"));
    else
      checkDescendingPath(errors, local, *profile->localhostProfile);
  } else {
    if (profile->localhostProfile)
      errors.push_back(invalidError(local, *profile->localhostProfile, "can only be set when seccomp type is Localhost"));
    if (profile->type.empty())
      errors.push_back(requiredError(path.child("type"), "type is required when seccompProfile is set"));
    else
      checkOneOf(errors, path.child("type"), profile->type, {"Localhost", "RuntimeDefault", "Unconfined"});
  }
}

void checkAppArmor(FieldErrors& errors, const FieldPath& path, const corev1::AppArmorProfile* profile) {
  if (!profile) return;
  constexpr size_t kProfileBytesMax = 4095;
  FieldPath local = path.child("localhostProfile");
  if (profile->type.empty())
    errors.push_back(requiredError(path.child("type"), "type is required when appArmorProfile is set"));
  else
    checkOneOf(errors, path.child("type"), profile->type, {"Localhost", "RuntimeDefault", "Unconfined"});
  if (profile->type == "Localhost") {
    std::string_view name = profile->localhostProfile.valueOr("");
    if (trim(name).empty())
      errors.push_back(requiredError(local, "must be set when AppArmor type is Localhost"));
    else if (trim(name) != name)
      errors.push_back(invalidError(local, name, "must not be padded with whitespace"));
    if (name.size() > kProfileBytesMax) errors.push_back(tooLongError(local, static_cast<int64_t>(kProfileBytesMax)));
  } else if (profile->localhostProfile) {
    errors.push_back(invalidError(local, *profile->localhostProfile, "can only be set when AppArmor type is Localhost"));
  }
}

bool isSysctlName(std::string_view name) {
  auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  std::string_view rest = name;
  for (;;) {
    size_t end = rest.find_first_of("./");
    std::string_view part = rest.substr(0, end);
    if (part.empty() || !alnum(part.front()) || !alnum(part.back())) return false;
    for (char c : part)
      if (!alnum(c) && c != '-' && c != '_') return false;
    if (end == std::string_view::npos) return true;
    rest = rest.substr(end + 1);
  }
}

void checkSysctls(FieldErrors& errors, const FieldPath& path, const corev1::PodSpec& spec) {
  constexpr size_t kSysctlBytesMax = 253;
  std::set<std::string_view> names;
  const auto& sysctls = spec.securityContext->sysctls;
  for (size_t i = 0; i < sysctls.size(); ++i) {
    Str name = sysctls[i].name;
    FieldPath at = path.index(i).child("name");
    if (name.empty())
      errors.push_back(requiredError(at));
    else if (name.size() > kSysctlBytesMax || !isSysctlName(name))
      errors.push_back(invalidError(at, name,
                                    "must have at most 253 characters and match regex "
                                    "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"));
    else if (!names.insert(name).second)
      errors.push_back(duplicateError(at, name));
    bool ipc = name == "kernel.sem" || name.starts_with("kernel.shm") || name.starts_with("kernel.msg") ||
               name.starts_with("fs.mqueue.");
    if (spec.hostNetwork && name.starts_with("net."))
      errors.push_back(invalidError(at, name, "may not be specified when 'hostNetwork' is true"));
    if (spec.hostIPC && ipc) errors.push_back(invalidError(at, name, "may not be specified when 'hostIPC' is true"));
  }
}

}  // namespace

void checkDescendingPath(FieldErrors& errors, const FieldPath& path, std::string_view text) {
  if (text.starts_with('/')) errors.push_back(invalidError(path, text, "must be a relative path"));
  for (std::string_view part : split(text, '/'))
    if (part == "..") {
      errors.push_back(invalidError(path, text, "must not contain '..'"));
      break;
    }
}

void checkProbe(FieldErrors& errors, const FieldPath& path, const corev1::Probe* probe, bool readiness) {
  if (!probe) return;
  const auto& handler = probe->probeHandler;
  checkHandlers(errors, path, {handler.exec, handler.httpGet, handler.tcpSocket, handler.grpc, nullptr}, 0);
  nonNegative(errors, path.child("initialDelaySeconds"), int64_t{probe->initialDelaySeconds});
  nonNegative(errors, path.child("timeoutSeconds"), int64_t{probe->timeoutSeconds});
  nonNegative(errors, path.child("periodSeconds"), int64_t{probe->periodSeconds});
  nonNegative(errors, path.child("successThreshold"), int64_t{probe->successThreshold});
  nonNegative(errors, path.child("failureThreshold"), int64_t{probe->failureThreshold});
  FieldPath grace = path.child("terminationGracePeriodSeconds");
  if (probe->terminationGracePeriodSeconds && *probe->terminationGracePeriodSeconds <= 0)
    errors.push_back(invalidError(grace, *probe->terminationGracePeriodSeconds, "must be greater than 0"));
  if (readiness && probe->terminationGracePeriodSeconds)
    errors.push_back(invalidError(grace, *probe->terminationGracePeriodSeconds, "must not be set for readinessProbes"));
  if (!readiness && probe->successThreshold != 1)
    errors.push_back(invalidError(path.child("successThreshold"), int64_t{probe->successThreshold}, "must be 1"));
}

void checkLifecycle(FieldErrors& errors, const FieldPath& path, const corev1::Lifecycle* lifecycle, int64_t graceSeconds) {
  if (!lifecycle) return;
  auto check = [&](std::string_view name, const corev1::LifecycleHandler* handler) {
    if (handler)
      checkHandlers(errors, path.child(name), {handler->exec, handler->httpGet, handler->tcpSocket, nullptr, handler->sleep},
                    graceSeconds);
  };
  check("postStart", lifecycle->postStart);
  check("preStop", lifecycle->preStop);
}

void checkPodSecurity(FieldErrors& errors, const FieldPath& path, const corev1::PodSpec& spec) {
  const corev1::PodSecurityContext* context = spec.securityContext;
  if (!context) return;
  checkId(errors, path.child("fsGroup"), context->fsGroup);
  checkId(errors, path.child("runAsUser"), context->runAsUser);
  checkId(errors, path.child("runAsGroup"), context->runAsGroup);
  for (size_t i = 0; i < context->supplementalGroups.size(); ++i)
    checkId(errors, path.child("supplementalGroups").index(i), schema::Opt<int64_t>{context->supplementalGroups[i], true});
  if (spec.shareProcessNamespace.valueOr(false) && spec.hostPID)
    errors.push_back(invalidValueError(path.child("shareProcessNamespace"), "true",
                                       "ShareProcessNamespace and HostPID cannot both be enabled"));
  checkSysctls(errors, path.child("sysctls"), spec);
  checkOneOf(errors, path.child("fsGroupChangePolicy"), context->fsGroupChangePolicy, {"Always", "OnRootMismatch"});
  checkSeccomp(errors, path.child("seccompProfile"), context->seccompProfile);
  checkAppArmor(errors, path.child("appArmorProfile"), context->appArmorProfile);
  checkOneOf(errors, path.child("supplementalGroupsPolicy"), context->supplementalGroupsPolicy, {"Merge", "Strict"});
  checkOneOf(errors, path.child("seLinuxChangePolicy"), context->seLinuxChangePolicy, {"Recursive"});
  if (spec.os && spec.os->name == "linux" && context->windowsOptions)
    forbid(errors, path.child("windowsOptions"), "windows options cannot be set for a linux pod");
}

void checkContainerSecurity(FieldErrors& errors, const FieldPath& path, const corev1::SecurityContext* context,
                            const corev1::PodSpec& spec) {
  if (!context) return;
  checkId(errors, path.child("runAsUser"), context->runAsUser);
  checkId(errors, path.child("runAsGroup"), context->runAsGroup);
  checkOneOf(errors, path.child("procMount"), context->procMount, {"Default", "Unmasked"});
  if (context->procMount && *context->procMount == "Unmasked" && spec.hostUsers.valueOr(true))
    errors.push_back(invalidError(path.child("procMount"), *context->procMount, "`hostUsers` must be false to use `Unmasked`"));
  checkSeccomp(errors, path.child("seccompProfile"), context->seccompProfile);
  checkAppArmor(errors, path.child("appArmorProfile"), context->appArmorProfile);
  if (spec.os && spec.os->name == "linux" && context->windowsOptions)
    forbid(errors, path.child("windowsOptions"), "windows options cannot be set for a linux pod");
  if (context->allowPrivilegeEscalation.valueOr(true)) return;
  if (context->privileged.valueOr(false))
    errors.push_back(invalidValueError(path, "{}", "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
  if (!context->capabilities) return;
  for (Str capability : context->capabilities->add)
    if (capability == "CAP_SYS_ADMIN")
      errors.push_back(
          invalidValueError(path, "{}", "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"));
}

}  // namespace knarr::apiserver
