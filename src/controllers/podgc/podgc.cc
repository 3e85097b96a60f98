#include "controllers/podgc/podgc.h"

#include "base/log.h"

namespace knarr::controllers {
namespace {

using corev1::Node;
using corev1::Pod;

class PodGcController : public Controller {
 public:
  PodGcController(ControllerContext context, PodGcConfig config)
      : context_(context),
        config_(config),
        pods_(context.informers.informer<Pod>()),
        nodes_(context.informers.informer<Node>()) {}

  std::string_view name() const override { return "pod-garbage-collector-controller"; }

  Task<void> run(StopToken stop) override {
    do {
      co_await collect();
    } while (co_await async::sleepFor(context_.env, config_.period, stop));
  }

 private:
  // The four kinds in upstream's order; each looks at the cache anew.
  Task<void> collect() {
    co_await removeAll(terminatedBeyond(pods(), config_.terminatedMax), false);
    co_await removeAll(terminatingOutOfService(pods(), nodes()), false);
    co_await removeOrphans();
    co_await removeAll(terminatingUnscheduled(pods()), false);
  }

  PodList pods() const { return client::Lister<Pod>(pods_).list(); }
  std::vector<Ref<Node>> nodes() const { return client::Lister<Node>(nodes_).list(); }

  Task<void> removeOrphans() {
    std::set<std::string> missing = missingNodes(pods(), nodes());
    std::erase_if(missingSince_, [&](const auto& entry) { return !missing.contains(entry.first); });
    std::vector<std::string> due;
    env::Instant now = context_.env.clock.now();
    for (const std::string& node : missing) {
      auto since = missingSince_.try_emplace(node, now).first->second;
      if (now - since >= config_.quarantine) due.push_back(node);
    }
    for (size_t i = 0; i < due.size(); ++i) {
      // The cache may be behind: the API server has the last word.
      auto live = co_await client::get<Node>(context_.client, "", due[i]);
      if (live || !isNotFound(live.error())) continue;
      PodList orphans;
      for (const Ref<Pod>& pod : pods())
        if (pod->spec.nodeName == due[i]) orphans.push_back(pod);
      co_await removeAll(std::move(orphans), true);
    }
  }

  Task<void> removeAll(PodList doomed, bool orphaned) {
    for (size_t i = 0; i < doomed.size(); ++i) {
      auto done = co_await removePod(doomed[i], orphaned);
      if (!done) logWarning("podgc", "pod {} stays: {}", client::keyOf(doomed[i]), done.error().describe());
    }
  }

  Task<Result<void>> removePod(Ref<Pod> pod, bool orphaned) {
    std::string nameSpace(pod->metadata.namespace_), name(pod->metadata.name);
    std::string patch = failurePatch(*pod, orphaned, context_.env.clock.unixSeconds());
    if (!patch.empty()) {
      auto patched = co_await context_.client.patch(client::resourceOf<Pod>("status"), nameSpace, name,
                                                    client::PatchType::StrategicMerge, patch);
      if (!patched && isNotFound(patched.error())) co_return Result<void>();
      if (!patched) co_return Unexpected(std::move(patched).error());
    }
    client::DeleteOptions options;
    options.gracePeriodSeconds = 0;
    options.preconditionUid = std::string(pod->metadata.uid);
    auto gone = co_await client::remove<Pod>(context_.client, nameSpace, name, options);
    if (!gone && !isNotFound(gone.error())) co_return gone;
    co_return Result<void>();
  }

  ControllerContext context_;
  PodGcConfig config_;
  client::Informer& pods_;
  client::Informer& nodes_;
  std::map<std::string, env::Instant> missingSince_;
};

}  // namespace

std::unique_ptr<Controller> makePodGcController(ControllerContext context, PodGcConfig config) {
  return std::make_unique<PodGcController>(context, config);
}

}  // namespace knarr::controllers
