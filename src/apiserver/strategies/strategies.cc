// Where strategies are looked up. Source of all of them: pkg/registry/<group>/<resource>/strategy.go.
#include "apiserver/strategies/strategies.h"

namespace knarr::apiserver {

const Strategy& strategyOf(const schema::ResourceInfo& resource) {
  static const StrategyTable kTable = [] {
    StrategyTable table;
    addCoreStrategies(table);
    addGroupStrategies(table);
    return table;
  }();
  static const Strategy kPlain;
  std::string key = resource.group.empty() ? std::string(resource.resource)
                                           : std::string(resource.group) + "/" + std::string(resource.resource);
  auto found = kTable.find(key);
  return found == kTable.end() ? kPlain : found->second;
}

}  // namespace knarr::apiserver
