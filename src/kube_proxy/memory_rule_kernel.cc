// The kernel's rules in memory: refuses what the kernel refuses, and changes nothing then.
#include <fmt/format.h>

#include "base/strings.h"
#include "kube_proxy/rule_kernel.h"

namespace knarr::kube_proxy {
namespace {

Unexpected refused(std::string what) { return fail(Reason::Invalid, std::move(what)); }

// Names that a rule or a verdict sends packets to.
std::vector<std::string> targetsOf(std::string_view rule) {
  std::vector<std::string> out;
  auto words = split(rule, ' ');
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] != "goto" && words[i] != "jump") continue;
    std::string_view target = words[i + 1];
    if (target.ends_with(',')) target.remove_suffix(1);
    out.emplace_back(target);
  }
  return out;
}

}  // namespace

Result<void> MemoryRuleKernel::change(Table& table, const RuleTransaction& transaction) {
  if (transaction.replace) {
    table = {};
    table.layout = transaction.layout;
    for (const std::string& chain : fixedChains()) table.chains[chain];
  }
  for (const auto& [set, seconds] : transaction.addAffinitySets) table.affinitySets.insert(set);
  for (const auto& [chain, rules] : transaction.setChains) table.chains[chain] = rules;
  for (const ElementKey& key : transaction.removeElements)
    if (table.elements.erase(key) == 0) return refused(fmt::format("no element {} in {}", key.key, key.set));
  for (const auto& [key, value] : transaction.addElements) {
    if (!fixedSets().contains(key.set)) return refused(fmt::format("no set {}", key.set));
    auto [at, fresh] = table.elements.emplace(key, value);
    if (!fresh && at->second != value) return refused(fmt::format("element {} of {} exists", key.key, key.set));
  }
  for (const std::string& chain : transaction.emptyChains) {
    auto found = table.chains.find(chain);
    if (found == table.chains.end()) return refused("no chain " + chain);
    found->second.clear();
  }
  for (const std::string& set : transaction.removeAffinitySets)
    if (table.affinitySets.erase(set) == 0) return refused("no set " + set);
  for (const std::string& chain : transaction.removeChains)
    if (table.chains.erase(chain) == 0) return refused("no chain " + chain);
  for (const auto& [chain, rules] : table.chains)
    for (const std::string& rule : rules)
      for (const std::string& target : targetsOf(rule))
        if (!table.chains.contains(target)) return refused(fmt::format("chain {} goes to {}, which is not there", chain, target));
  for (const auto& [key, value] : table.elements)
    for (const std::string& target : targetsOf(value))
      if (!table.chains.contains(target))
        return refused(fmt::format("element {} goes to {}, which is not there", key.key, target));
  return {};
}

async::Task<Result<void>> MemoryRuleKernel::apply(RuleTransaction transaction) {
  if (failuresLeft > 0) {
    --failuresLeft;
    co_return fail(Reason::InternalError, "the kernel refuses");
  }
  if (!table_ && !transaction.replace) co_return refused("no table");
  Table next = table_.value_or(Table{});
  CO_TRY(change(next, transaction));
  table_ = std::move(next);
  ++applied;
  replaced += transaction.replace;
  if (!transaction.replace) elementsTouched += transaction.addElements.size() + transaction.removeElements.size();
  co_return Result<void>();
}

async::Task<Result<RuleListing>> MemoryRuleKernel::list() {
  if (!table_) co_return fail(Reason::NotFound, "no table");
  RuleListing out;
  out.layout = table_->layout;
  out.elements = table_->elements;
  out.affinitySets = table_->affinitySets;
  for (const auto& [chain, rules] : table_->chains) out.chains.insert(chain);
  co_return out;
}

async::Task<Result<void>> MemoryRuleKernel::removeTable() {
  table_.reset();
  co_return Result<void>();
}

async::Task<Result<int>> MemoryRuleKernel::forgetUdpFlows(std::function<bool(const UdpFlow&)> isStale) {
  size_t before = udpFlows.size();
  std::erase_if(udpFlows, isStale);
  co_return static_cast<int>(before - udpFlows.size());
}

}  // namespace knarr::kube_proxy
