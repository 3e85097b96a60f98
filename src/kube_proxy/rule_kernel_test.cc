// One contract for both kernels; the real one in a network namespace of the test's own.
#include "kube_proxy/rule_kernel.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "env/posix/posix.h"

namespace knarr::kube_proxy {
namespace {

RuleConfig config() {
  RuleConfig out;
  out.serviceCidrs = {*IpPrefix::parse("10.96.0.0/12")};
  out.nodePortAddresses = {*IpAddress::parse("192.168.50.1")};
  out.nodeName = "n1";
  return out;
}

template <class T>
async::Task<void> store(async::Task<T> task, std::optional<T>* into, env::PosixEnv* loop) {
  *into = co_await std::move(task);
  loop->stop();
}

ServicePort port(const std::string& service, const char* ip, int number, const char* protocol = "tcp") {
  ServicePort out;
  out.name = {service, "p", protocol};
  out.clusterIp = *IpAddress::parse(ip);
  out.port = number;
  return out;
}

// `last` are the last bytes of 10.244.0.x.
std::map<PortName, std::vector<Endpoint>> endpoints(const ServicePort& of, std::initializer_list<int> last) {
  std::map<PortName, std::vector<Endpoint>> out;
  for (int i : last) {
    Endpoint e;
    e.ip = *IpAddress::parse(fmt::format("10.244.0.{}", i));
    e.port = 8080;
    e.local = true;
    out[of.name].push_back(e);
  }
  return out;
}

class KernelTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    bool real = GetParam();
    if (real && geteuid() != 0) GTEST_SKIP() << "needs root for network namespaces";
    // Before the loop makes its threads, so that they and their children are inside too.
    if (real && unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "cannot make a network namespace";
    loop_ = env::makePosixEnv();
    if (real && !loop_->env().files.status("/usr/sbin/nft")) GTEST_SKIP() << "needs nft";
    if (real)
      kernel_ = makeNftRuleKernel(loop_->env(), config());
    else
      kernel_ = std::make_unique<MemoryRuleKernel>();
    gate_ = std::make_unique<async::Gate>(loop_->env().executor);
  }
  template <class T>
  T run(async::Task<T> task) {
    std::optional<T> out;
    gate_->spawn(store(std::move(task), &out, loop_.get()));
    loop_->run();
    return std::move(*out);
  }
  void put(const std::string& service, Fragment fragment) { state_.put(service, std::move(fragment)); }
  // One transaction, and what the kernel holds then must be what was wanted.
  void sync(bool whole = false) {
    auto applied = run(kernel_->apply(whole ? state_.whole() : state_.changes()));
    ASSERT_TRUE(applied) << applied.error().describe();
    state_.commit(whole);
    auto listed = run(kernel_->list());
    ASSERT_TRUE(listed) << listed.error().describe();
    EXPECT_EQ(listed->elements, state_.whole().addElements);
    for (const auto& [chain, rules] : state_.whole().setChains) EXPECT_TRUE(listed->chains.contains(chain)) << chain;
  }

  std::unique_ptr<env::PosixEnv> loop_;
  std::unique_ptr<RuleKernel> kernel_;
  std::unique_ptr<async::Gate> gate_;
  RuleState state_{config()};
};

TEST_P(KernelTest, holdsWhatItWasGiven) {
  EXPECT_EQ(run(kernel_->list()).error().reason(), Reason::NotFound);
  ASSERT_TRUE(run(kernel_->removeTable())) << "absent is ok";
  ServicePort a = port("d/a", "10.96.0.1", 80), b = port("d/b", "10.96.0.2", 53, "udp");
  a.nodePort = 30080;
  put("d/a", fragmentOf({a}, endpoints(a, {2, 3, 4}), state_.config(), ""));
  put("d/b", fragmentOf({b}, {}, state_.config(), ""));
  sync(true);
  b.affinitySeconds = 60;
  b.nodePort = 30053;
  b.externalLocal = true;
  put("d/b", fragmentOf({b}, endpoints(b, {5, 6}), state_.config(), ""));
  put("d/a", fragmentOf({a}, endpoints(a, {2, 4}), state_.config(), ""));
  sync();
  put("d/b", fragmentOf({b}, endpoints(b, {6}), state_.config(), ""));
  sync();
  EXPECT_TRUE(state_.hasStaleChains());
  sync();
  EXPECT_FALSE(state_.hasStaleChains());
  ServicePort guarded = a;
  guarded.loadBalancerIps = {*IpAddress::parse("192.0.2.1")};
  guarded.sourceRanges = {*IpPrefix::parse("10.0.0.0/8"), *IpPrefix::parse("192.168.0.1/32")};
  put("d/a", fragmentOf({guarded}, endpoints(a, {2}), state_.config(), ""));
  auto applied = run(kernel_->apply(state_.changes()));
  ASSERT_TRUE(applied) << applied.error().describe();
  state_.commit(false);
  put("d/a", {});
  put("d/b", {});
  sync();
  EXPECT_TRUE(run(kernel_->list())->elements.empty());
  sync(true);
  ASSERT_TRUE(run(kernel_->removeTable()));
  EXPECT_EQ(run(kernel_->list()).error().reason(), Reason::NotFound);
}

// What another life of the proxy left behind is made right without making it anew.
TEST_P(KernelTest, repairKeepsClients) {
  ServicePort a = port("d/a", "10.96.0.1", 80), b = port("d/b", "10.96.0.2", 81), gone = port("d/gone", "10.96.0.3", 82);
  b.affinitySeconds = gone.affinitySeconds = 600;
  a.loadBalancerIps = {*IpAddress::parse("192.0.2.1")};
  a.sourceRanges = {*IpPrefix::parse("10.0.0.0/8")};
  put("d/a", fragmentOf({a}, endpoints(a, {2, 3}), state_.config(), ""));
  put("d/b", fragmentOf({b}, endpoints(b, {4}), state_.config(), ""));
  put("d/gone", fragmentOf({gone}, endpoints(gone, {6}), state_.config(), ""));
  auto made = run(kernel_->apply(state_.whole()));
  ASSERT_TRUE(made) << made.error().describe();
  std::string set = fragmentOf({b}, endpoints(b, {4}), state_.config(), "").affinitySets.begin()->first;
  std::string table = config().tableText();
  auto remembers = [&] {
    return std::system(fmt::format("nft get element {} {} '{{ 10.244.9.9 }}' >/dev/null 2>&1", table, set).c_str()) == 0;
  };
  if (GetParam()) {
    ASSERT_EQ(std::system(fmt::format("nft add element {} {} '{{ 10.244.9.9 }}'", table, set).c_str()), 0);
    ASSERT_TRUE(remembers());
  }
  auto listed = run(kernel_->list());
  ASSERT_TRUE(listed) << listed.error().describe();
  EXPECT_EQ(listed->layout, layoutOf(config()));
  EXPECT_EQ(listed->affinitySets.size(), 2u);

  state_ = RuleState(config());
  put("d/a", fragmentOf({a}, endpoints(a, {3, 5, 7}), state_.config(), ""));
  put("d/b", fragmentOf({b}, endpoints(b, {4}), state_.config(), ""));
  RuleTransaction repair = state_.repair(*listed);
  EXPECT_FALSE(repair.replace);
  auto applied = run(kernel_->apply(std::move(repair)));
  ASSERT_TRUE(applied) << applied.error().describe();
  state_.commit(false);
  EXPECT_TRUE(state_.hasStaleChains()) << "chains of the Service that is gone";
  sync();
  EXPECT_FALSE(state_.hasStaleChains());
  listed = run(kernel_->list());
  EXPECT_EQ(listed->affinitySets, std::set<std::string>{set});
  if (GetParam()) EXPECT_TRUE(remembers());
  EXPECT_TRUE(state_.repair(*listed).addElements.empty()) << "it is as it should be";
}

TEST_P(KernelTest, refusesAsAWhole) {
  ServicePort a = port("d/a", "10.96.0.1", 80);
  put("d/a", fragmentOf({a}, endpoints(a, {2}), state_.config(), ""));
  sync(true);
  auto before = run(kernel_->list())->elements;
  std::vector<RuleTransaction> bad(5);
  bad[0].removeElements = {{"endpoints-tcp", "10.96.0.9 . 1 . 0"}};
  bad[1].addElements[{"service-ips", "10.96.0.9 . tcp . 1"}] = "goto nowhere";
  bad[2].removeChains = {"nowhere"};
  bad[3].addElements[{"service-ips", "10.96.0.1 . tcp . 80"}] = "goto reject-chain";
  bad[4].setChains["x"] = {"goto nowhere"};
  for (RuleTransaction& one : bad) {
    one.addElements[{"cluster-ips", "10.96.0.77"}] = "";
    EXPECT_FALSE(run(kernel_->apply(one)));
    EXPECT_EQ(run(kernel_->list())->elements, before);
  }
}

INSTANTIATE_TEST_SUITE_P(Twins, KernelTest, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "nft" : "memory"; });

}  // namespace
}  // namespace knarr::kube_proxy
