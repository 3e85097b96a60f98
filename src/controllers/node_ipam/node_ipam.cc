#include "controllers/node_ipam/node_ipam.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "controllers/node_ipam/cidr_set.h"

namespace knarr::controllers {
namespace {

using corev1::Node;

constexpr int kWorkers = 4;
constexpr int kPatchTries = 3;  // Source: range_allocator.go, cidrUpdateRetries.

std::vector<IpPrefix> podCidrsOf(const Node& node) {
  std::vector<IpPrefix> out;
  for (schema::Str text : node.spec.podCIDRs)
    if (auto prefix = IpPrefix::parse(text)) out.push_back(*prefix);
  if (node.spec.podCIDRs.empty())
    if (auto prefix = IpPrefix::parse(node.spec.podCIDR)) out.push_back(*prefix);
  return out;
}

bool hasPodCidr(const Node& node) { return !node.spec.podCIDR.empty() || !node.spec.podCIDRs.empty(); }

std::string podCidrPatch(const std::vector<IpPrefix>& prefixes) {
  std::vector<std::string> quoted;
  for (const IpPrefix& prefix : prefixes) quoted.push_back(fmt::format("\"{}\"", prefix.text()));
  return fmt::format("{{\"spec\":{{\"podCIDR\":{},\"podCIDRs\":[{}]}}}}", quoted.front(), fmt::join(quoted, ","));
}

class NodeIpamController : public Controller {
 public:
  NodeIpamController(ControllerContext context, NodeIpamConfig config)
      : context_(context),
        config_(std::move(config)),
        nodes_(context.informers.informer<Node>()),
        queue_(std::make_shared<client::WorkQueue>(context.env, "node-ipam")),
        recorder_(context.env, context.client, "cidrAllocator", "") {
    nodes_.addHandler({[this](const Ref<>& node) { queue_->add(client::keyOf(node)); },
                       [this](const Ref<>&, const Ref<>& node) { queue_->add(client::keyOf(node)); },
                       [this](const Ref<>& node) { nodeDeleted(Ref<Node>(node)); }});
  }

  std::string_view name() const override { return "node-ipam-controller"; }

  Task<void> run(StopToken stop) override {
    if (auto ready = prepare(); !ready) {
      // Giving out addresses beside a node whose range is unknown would give them twice.
      logError("node-ipam", "no pod addresses are given to nodes: {}", ready.error().describe());
      co_return;
    }
    co_await runController(
        &context_, queue_, kWorkers, [this](std::string key) { return sync(std::move(key)); }, &recorder_, stop);
  }

 private:
  Result<void> prepare() {
    for (const IpPrefix& cluster : config_.clusterCidrs) {
      int mask = std::max(cluster.length, cluster.address.v6 ? config_.nodeMaskV6 : config_.nodeMaskV4);
      sets_.push_back(TRY(CidrSet::make(cluster, mask)));
      for (const IpPrefix& service : config_.serviceCidrs)
        if (cluster.overlaps(service)) TRY(sets_.back().occupy(service));
    }
    prepared_ = true;
    for (const Ref<>& object : nodes_.list()) {
      Ref<Node> node(object);
      auto done = occupy(*node);
      if (!done) return Unexpected(std::move(done).error().withContext(fmt::format("the range of node {}", node->metadata.name)));
    }
    return {};
  }

  CidrSet* setFor(const IpPrefix& prefix) {
    for (CidrSet& set : sets_)
      if (set.range().address.v6 == prefix.address.v6) return &set;
    return nullptr;
  }

  Result<void> occupy(const Node& node) {
    for (const IpPrefix& prefix : podCidrsOf(node)) {
      CidrSet* set = setFor(prefix);
      if (!set)
        return fail(Reason::Invalid, fmt::format("node {} has the range {} of a family that the cluster has not",
                                                 node.metadata.name, prefix.text()));
      TRY(set->occupy(prefix));
    }
    return {};
  }

  void release(const std::vector<IpPrefix>& prefixes) {
    for (const IpPrefix& prefix : prefixes)
      if (CidrSet* set = setFor(prefix)) (void)set->release(prefix);
  }

  void nodeDeleted(const Ref<Node>& node) {
    if (!prepared_) return;
    release(podCidrsOf(*node));
    // Somebody may wait for what just became free.
    for (const Ref<>& other : nodes_.list())
      if (!hasPodCidr(*Ref<Node>(other))) queue_->add(client::keyOf(other));
  }

  Task<Result<void>> sync(std::string key) {
    Ref<Node> node(nodes_.get(key));
    if (!node) co_return Result<void>();
    if (hasPodCidr(*node)) co_return occupy(*node);
    // The cache may be behind our own write; a part taken for nothing could be the last one.
    auto live = co_await client::get<Node>(context_.client, "", key);
    if (!live && isNotFound(live.error())) co_return Result<void>();
    if (!live) co_return Unexpected(std::move(live).error());
    if (hasPodCidr(**live)) co_return occupy(**live);
    std::vector<IpPrefix> prefixes;
    for (CidrSet& set : sets_) {
      auto part = set.allocateNext();
      if (!part) {
        release(prefixes);
        tell(node, "CIDRNotAvailable");
        co_return fail(Reason::NotFound, fmt::format("failed to allocate cidr from cluster cidr {}: {}", set.range().text(),
                                                     part.error().message()));
      }
      prefixes.push_back(*part);
    }
    co_return co_await assign(node, std::move(prefixes));
  }

  Task<Result<void>> assign(Ref<Node> node, std::vector<IpPrefix> prefixes) {
    std::string name(node->metadata.name);
    Result<Ref<Node>> patched;
    for (int attempt = 0; attempt < kPatchTries; ++attempt) {
      auto fresh = co_await client::get<Node>(context_.client, "", name);
      if (fresh && hasPodCidr(**fresh)) {
        // Somebody was faster, or an earlier try of ours did get through.
        if (podCidrsOf(**fresh) != prefixes) release(prefixes);
        co_return occupy(**fresh);
      }
      if (!fresh && isNotFound(fresh.error())) {
        release(prefixes);
        co_return Result<void>();
      }
      patched =
          co_await client::patch<Node>(context_.client, "", name, client::PatchType::StrategicMerge, podCidrPatch(prefixes));
      if (patched) co_return Result<void>();
    }
    tell(node, "CIDRAssignmentFailed");
    // After a time-out the node may have the range; it stays marked, and the next sync reads what is so.
    bool unknown = patched.error().reason() == Reason::Timeout || patched.error().reason() == Reason::ServerTimeout;
    if (!unknown) release(prefixes);
    co_return Unexpected(std::move(patched).error());
  }

  void tell(const Ref<Node>& node, std::string_view what) {
    recorder_.event(node, "Normal", what, fmt::format("Node {} status is now: {}", node->metadata.name, what));
  }

  ControllerContext context_;
  NodeIpamConfig config_;
  client::Informer& nodes_;
  std::shared_ptr<client::WorkQueue> queue_;
  client::EventRecorder recorder_;
  std::vector<CidrSet> sets_;
  bool prepared_ = false;
};

}  // namespace

Result<void> validateNodeIpam(const NodeIpamConfig& config) {
  if (config.clusterCidrs.empty() || config.clusterCidrs.size() > 2)
    return fail(Reason::Invalid, fmt::format("one or two cluster CIDRs are needed, not {}", config.clusterCidrs.size()));
  if (config.clusterCidrs.size() == 2 && config.clusterCidrs[0].address.v6 == config.clusterCidrs[1].address.v6)
    return fail(Reason::Invalid, "two cluster CIDRs must be of different families");
  return {};
}

std::unique_ptr<Controller> makeNodeIpamController(ControllerContext context, NodeIpamConfig config) {
  return std::make_unique<NodeIpamController>(context, std::move(config));
}

}  // namespace knarr::controllers
