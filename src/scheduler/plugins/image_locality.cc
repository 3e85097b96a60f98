// ImageLocality: a node that has the pod's images starts it sooner. An image counts the more, the more nodes have it, so that a
// single node does not draw all pods. Source: plugins/imagelocality/image_locality.go.
#include <algorithm>

#include "scheduler/plugins/plugins.h"

namespace knarr::scheduler {
namespace {

// Below 23 MiB nothing is gained; 1000 MiB a container are the most that counts.
constexpr int64_t kImageBytesMin = int64_t{23} << 20, kImageBytesMaxPerContainer = int64_t{1000} << 20;

struct PodImages : StateData {
  struct Image {
    std::string name;
    double spread;  // share of the nodes that have it
  };
  std::vector<Image> images;
  int64_t containers = 0;
};

// "web" means "web:latest".
std::string normalizedImageName(schema::Str name) {
  size_t slash = name.rfind('/'), colon = name.rfind(':');
  bool tagged = colon != schema::Str::npos && (slash == schema::Str::npos || colon > slash);
  return std::string(name) + (tagged ? "" : ":latest");
}

class ImageLocality : public Plugin, public PreScorePlugin, public ScorePlugin {
 public:
  std::string_view name() const override { return "ImageLocality"; }
  // Skipped when no node has any of the images: all would score 0.
  Code preScore(CycleState& state, const corev1::Pod& pod, const Cache& cache) const override {
    auto& wanted = state.write<PodImages>(slot);
    auto add = [&](schema::Str image) {
      std::string name = normalizedImageName(image);
      int64_t having = cache.nodesWithImage(name);
      if (having > 0)
        wanted.images.push_back({std::move(name), static_cast<double>(having) / static_cast<double>(cache.nodeCount())});
    };
    for (const auto* containers : {&pod.spec.initContainers, &pod.spec.containers})
      for (const auto& container : *containers) {
        add(container.image);
        ++wanted.containers;
      }
    for (const auto& volume : pod.spec.volumes)
      if (volume.volumeSource.image) add(volume.volumeSource.image->reference);
    return wanted.images.empty() ? Code::kSkip : Code::kSuccess;
  }
  int64_t score(const CycleState& state, const corev1::Pod&, const NodeInfo& node) const override {
    const PodImages& wanted = *state.read<PodImages>(slot);
    int64_t bytes = 0;
    for (const auto& image : wanted.images)
      bytes += static_cast<int64_t>(static_cast<double>(node.imageBytes(image.name)) * image.spread);
    int64_t most = kImageBytesMaxPerContainer * wanted.containers;
    return kMaxNodeScore * (std::clamp(bytes, kImageBytesMin, most) - kImageBytesMin) / (most - kImageBytesMin);
  }
};

}  // namespace

std::unique_ptr<Plugin> makeImageLocality() { return std::make_unique<ImageLocality>(); }

}  // namespace knarr::scheduler
