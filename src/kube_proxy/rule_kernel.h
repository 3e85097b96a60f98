// RuleKernel: the kernel's packet rules and connections, as far as the proxy needs them.
//
// Two twins: nft and ctnetlink (makeNftRuleKernel), and memory (MemoryRuleKernel), which refuses what the kernel refuses. One
// contract test holds both.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "async/async.h"
#include "env/env.h"
#include "kube_proxy/rule_set.h"

namespace knarr::kube_proxy {

// A tracked UDP connection, as it began and as it answers.
struct UdpFlow {
  IpAddress originalDestination;
  int originalPort = 0;
  IpAddress replySource;
  int replyPort = 0;
};

class RuleKernel {
 public:
  virtual ~RuleKernel() = default;
  // All of the transaction or nothing.
  virtual async::Task<Result<void>> apply(RuleTransaction transaction) = 0;
  // NotFound when there is no table.
  virtual async::Task<Result<RuleListing>> list() = 0;
  // Absent is ok.
  virtual async::Task<Result<void>> removeTable() = 0;
  // Forgets the UDP connections that `isStale` names; tells how many. `isStale` runs on any thread.
  virtual async::Task<Result<int>> forgetUdpFlows(std::function<bool(const UdpFlow&)> isStale) = 0;
};

// Runs the program nft; `networkNamespacePath` "" is our own.
std::unique_ptr<RuleKernel> makeNftRuleKernel(env::Env environment, RuleConfig config, std::string networkNamespacePath = "");

class MemoryRuleKernel : public RuleKernel {
 public:
  async::Task<Result<void>> apply(RuleTransaction transaction) override;
  async::Task<Result<RuleListing>> list() override;
  async::Task<Result<void>> removeTable() override;
  async::Task<Result<int>> forgetUdpFlows(std::function<bool(const UdpFlow&)> isStale) override;

  std::vector<UdpFlow> udpFlows;
  int failuresLeft = 0;  // so many calls of apply fail from now on
  int applied = 0;
  int replaced = 0;            // of those, how many made the table anew
  size_t elementsTouched = 0;  // added and removed, whole tables left out

 private:
  struct Table {
    std::string layout;
    std::map<ElementKey, std::string> elements;
    std::map<std::string, std::vector<std::string>> chains;
    std::set<std::string> affinitySets;
  };
  static Result<void> change(Table& table, const RuleTransaction& transaction);
  std::optional<Table> table_;
};

}  // namespace knarr::kube_proxy
