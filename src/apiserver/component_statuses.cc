#include "apiserver/component_statuses.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

using Probe = ApiServerConfig::ComponentProbe;

Task<Result<Ref<>>> statusOf(const Probe& probe) {
  Result<std::string> health = co_await probe.probe();
  Mut<corev1::ComponentStatus> status = schema::newObject<corev1::ComponentStatus>();
  status->metadata.name = status.str(probe.name);
  auto& condition = status->conditions.append(status.arena());
  condition.type = "Healthy";
  condition.status = health ? "True" : "False";
  if (health)
    condition.message = status.str(*health);
  else
    condition.error = status.str(health.error().message());
  co_return std::move(status).publish();
}

Task<Result<void>> answer(HttpCallPtr call, const RequestInfo& info, const std::vector<Probe>& probes) {
  const schema::ResourceInfo& resource = *schema::findResource("", "v1", "componentstatuses");
  if (info.verb != "get" && info.verb != "list")
    co_return fail(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
  call->negotiated = CO_TRY(negotiate(call->exchange->request().headers.get("Accept"), false, true, true));
  call->negotiationDone = true;
  if (info.verb == "get") {
    auto found = std::find_if(probes.begin(), probes.end(), [&](const Probe& probe) { return probe.name == info.name; });
    if (found == probes.end())
      co_return Unexpected(Error(Reason::NotFound, fmt::format("componentstatus {} not found", quote(info.name)))
                               .withDetails({"", "componentstatus", info.name, "", 0}));
    Ref<> status = CO_TRY(co_await statusOf(*found));
    co_await respondObject(call, 200, std::move(status), "", 0);
    co_return Result<void>();
  }
  ServedResource served;
  served.info = &resource;
  ListResult list;
  for (const Probe& probe : probes) list.items.push_back(CO_TRY(co_await statusOf(probe)));
  std::sort(list.items.begin(), list.items.end(),
            [](const Ref<>& a, const Ref<>& b) { return schema::metadataOf(a).name < schema::metadataOf(b).name; });
  co_await respondList(call, served, std::move(list), "", 0);
  co_return Result<void>();
}

}  // namespace

Task<void> handleComponentStatuses(HttpCallPtr call, RequestInfo info, std::vector<Probe> probes) {
  call->context->warnings.emplace_back("v1 ComponentStatus is deprecated in v1.19+");
  auto done = co_await answer(call, info, probes);
  if (!done && !call->exchange->responseStarted()) co_await respondError(call, std::move(done).error());
}

}  // namespace knarr::apiserver
