// PrioritySort: higher priority first, then who came first. Source: plugins/queuesort/priority_sort.go.
#include "scheduler/plugins/plugins.h"

namespace knarr::scheduler {
namespace {

class PrioritySort : public Plugin, public QueueSortPlugin {
 public:
  std::string_view name() const override { return "PrioritySort"; }
  bool less(const QueuedPod& a, const QueuedPod& b) const override {
    return a.priority != b.priority ? a.priority > b.priority : a.order < b.order;
  }
};

}  // namespace

std::unique_ptr<Plugin> makePrioritySort() { return std::make_unique<PrioritySort>(); }

}  // namespace knarr::scheduler
