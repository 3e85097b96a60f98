// DefaultBinder: writes the pod's binding. Source: plugins/defaultbinder/default_binder.go.
#include "scheduler/plugins/plugins.h"

namespace knarr::scheduler {
namespace {

class DefaultBinder : public Plugin, public BindPlugin {
 public:
  std::string_view name() const override { return "DefaultBinder"; }
  async::Task<Result<void>> bind(client::Client* client, schema::Ref<corev1::Pod> pod, std::string node) const override {
    auto binding = schema::newObject<corev1::Binding>();
    binding->metadata.name = binding.str(pod->metadata.name);
    binding->metadata.namespace_ = binding.str(pod->metadata.namespace_);
    binding->metadata.uid = binding.str(pod->metadata.uid);
    binding->target.kind = "Node";
    binding->target.name = binding.str(node);
    auto made = co_await client->create(client::resourceOf<corev1::Pod>("binding"), std::string(pod->metadata.namespace_),
                                        std::string(pod->metadata.name), std::move(binding));
    if (!made) co_return Unexpected(std::move(made).error());
    co_return Result<void>();
  }
};

}  // namespace

std::unique_ptr<Plugin> makeDefaultBinder() { return std::make_unique<DefaultBinder>(); }

}  // namespace knarr::scheduler
