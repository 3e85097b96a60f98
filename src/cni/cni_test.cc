// The plugins: their pure parts, and the real programs against namespaces made here (root only).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "base/strings.h"
#include "cni/bridge/bridge.h"
#include "cni/bridge/masquerade.h"
#include "cni/host_local/range.h"
#include "cni/plugin/link.h"
#include "cni/plugin/nft.h"
#include "cni/portmap/portmap.h"

namespace knarr::cni {
namespace {

Json json(std::string_view text) {
  std::string error;
  auto value = parseJson(text, error);
  EXPECT_TRUE(value) << error;
  return value.value_or(Json());
}
Request requestOf(std::string config) {
  Request request;
  request.containerId = "c1";
  request.ifName = "eth0";
  request.network = "net";
  request.cniVersion = "1.0.0";
  request.config = json(config);
  return request;
}

TEST(Json, readsWhatRfc8259Allows) {
  Json value = json(R"({"a": [1, -2.5e3, true, null], "b": "x\"\u00e9\ud83d\ude00\n", "a2": {}})");
  EXPECT_EQ(value.at("a").items.size(), 4u);
  EXPECT_EQ(value.at("a").items[0].integer(), 1);
  EXPECT_FALSE(value.at("a").items[1].integer());
  EXPECT_EQ(value.at("b").string(), "x\"\xc3\xa9\xf0\x9f\x98\x80\n");
  EXPECT_TRUE(value.at("none").isNull());
}
TEST(Json, refusesTheRest) {
  for (const char* text :
       {"", "{", "[1,]", "{\"a\":}", "01x", "\"\x01\"", "\"\\q\"", "\"\\ud800\\u0041\"", "{} {}", "nul", "-", "1e"}) {
    std::string error;
    EXPECT_FALSE(parseJson(text, error)) << text;
    EXPECT_FALSE(error.empty());
  }
  std::string error;
  EXPECT_FALSE(parseJson(std::string(100, '['), error));
  EXPECT_NE(error.find("nested too deeply"), std::string::npos);
}

TEST(Address, countsInBothFamilies) {
  Subnet v4 = parseSubnet("10.244.1.7/24").value();
  EXPECT_EQ(v4.network().text(), "10.244.1.0");
  EXPECT_EQ(v4.last().text(), "10.244.1.255");
  EXPECT_TRUE(v4.contains(*parseIp("10.244.1.200")));
  EXPECT_FALSE(v4.contains(*parseIp("10.244.2.0")));
  Subnet v6 = parseSubnet("fd00::1:0/112").value();
  EXPECT_EQ(v6.last().text(), "fd00::1:ffff");
  EXPECT_EQ(parseSubnet("0.0.0.0/0")->last().text(), "255.255.255.255");
  for (const char* bad : {"10.0.0.1", "10.0.0.0/33", "10.0.0/8", "x/8", "fd00::/129", "10.0.0.0/-1", "10.0.0.0/8x"}) {
    EXPECT_FALSE(parseSubnet(bad)) << bad;
  }
}

TEST(HostLocalConfig, fillsDefaultsAndRefusesNonsense) {
  auto config = readHostLocalConfig(requestOf(R"({"ipam":{"subnet":"10.0.0.0/24","routes":[{"dst":"0.0.0.0/0"}]}})"));
  ASSERT_TRUE(config);
  EXPECT_EQ(rangeSetText(config->sets[0]), "10.0.0.1-10.0.0.254");
  EXPECT_EQ(config->sets[0][0].gateway.text(), "10.0.0.1");
  EXPECT_EQ(config->dataDirectory, "/var/lib/cni/networks/net");
  struct Row {
    const char* ipam;
    const char* message;
  };
  for (const Row& row :
       {Row{R"({})", "no IP ranges specified"}, Row{R"({"subnet":"10.0.0.0/31"})", "too small to allocate from"},
        Row{R"({"subnet":"10.0.0.7/24"})", "Network has host bits set"},
        Row{R"({"subnet":"10.0.0.0/24","rangeStart":"10.0.1.1"})", "not in network"},
        Row{R"({"subnet":"10.0.0.0/24","rangeStart":"10.0.0.9","rangeEnd":"10.0.0.8"})", "is after"},
        Row{R"({"ranges":[[{"subnet":"10.0.0.0/24"}],[{"subnet":"10.0.0.0/16"}]]})", "range set 0 overlaps with 1"},
        Row{R"({"ranges":[[{"subnet":"10.0.0.0/24"},{"subnet":"fd00::/64"}]]})", "mixed"}}) {
    auto refused = readHostLocalConfig(requestOf(std::string(R"({"ipam":)") + row.ipam + "}"));
    ASSERT_FALSE(refused) << row.ipam;
    EXPECT_NE(refused.error().message.find(row.message), std::string::npos) << refused.error().message;
  }
}

TEST(BridgeConfig, refusesWhatItCannotDo) {
  EXPECT_TRUE(readBridgeConfig(requestOf(R"({"isDefaultGateway":true,"ipam":{"type":"x"}})"))->isGateway);
  EXPECT_FALSE(readBridgeConfig(requestOf(R"({"hairpinMode":true,"promiscMode":true})")));
  EXPECT_FALSE(readBridgeConfig(requestOf(R"({"vlan":5})")));
  EXPECT_FALSE(readBridgeConfig(requestOf(R"({"mtu":70000})")));
  EXPECT_TRUE(readBridgeConfig(requestOf(R"({"vlan":0})")));
}

TEST(Masquerade, rulesAreFoundAgainByComment) {
  IpConfig ip{*parseSubnet("10.0.0.5/24"), std::nullopt, 2};
  std::string script = masqueradeScript({ip}, "a-b");
  EXPECT_NE(script.find("masq_checks ip saddr 10.0.0.5 ip daddr != 10.0.0.0/24 masquerade comment \"a-b\""), std::string::npos);
  EXPECT_EQ(ruleHandles("  ip saddr 1.2.3.4 masquerade comment \"a-b\" # handle 7\n"
                        "  ip saddr 1.2.3.5 masquerade comment \"a-c\" # handle 8\n",
                        "a-b"),
            std::vector<std::string>{"7"});
}

TEST(Portmap, rulesOfBothFamilies) {
  auto config = readPortmapConfig(requestOf(R"({"runtimeConfig":{"portMappings":[
      {"hostPort":8080,"containerPort":80,"protocol":"tcp"},
      {"HostPort":5353,"ContainerPort":53,"Protocol":"UDP","HostIP":"192.0.2.1"}]}})"));
  ASSERT_TRUE(config);
  std::string v4 = portmapScript(*config, *parseIp("10.0.0.5"), "c");
  EXPECT_NE(v4.find("hostports tcp dport 8080 dnat to 10.0.0.5:80 comment \"c\""), std::string::npos) << v4;
  EXPECT_NE(v4.find("hostip_hostports ip daddr 192.0.2.1 udp dport 5353 dnat to 10.0.0.5:53"), std::string::npos);
  std::string v6 = portmapScript(*config, *parseIp("fd00::5"), "c");
  EXPECT_NE(v6.find("dnat to [fd00::5]:80"), std::string::npos);
  EXPECT_EQ(v6.find("5353"), std::string::npos) << "an address of the other family is skipped";
  EXPECT_FALSE(readPortmapConfig(requestOf(R"({"runtimeConfig":{"portMappings":[{"hostPort":0,"containerPort":80}]}})")));
}

TEST(Result, isWrittenInTheVersionOfTheRequest) {
  AddResult result;
  result.ips.push_back({*parseSubnet("10.0.0.5/24"), *parseIp("10.0.0.1"), 2});
  EXPECT_NE(writeResult(result, "0.3.1").find("\"version\": \"4\""), std::string::npos);
  EXPECT_EQ(writeResult(result, "1.0.0").find("\"version\": \"4\""), std::string::npos);
  AddResult again = parseResult(json(writeResult(result, "1.0.0"))).value();
  EXPECT_EQ(again.ips[0].gateway->text(), "10.0.0.1");
  EXPECT_EQ(again.ips[0].interface, 2);
}

// Runs the built programs in a network namespace that plays the host, with pods as further
// namespaces.
class Plugins : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root for network namespaces";
    home_ = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    char name[] = "/tmp/knarr-cni-XXXXXX";
    directory_ = mkdtemp(name);
    if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "cannot make a network namespace";
    host_ = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    for (const char* pod : {"pod1", "pod2"}) makePod(pod);
  }
  void TearDown() override {
    if (host_ < 0) return;
    for (const char* pod : {"pod1", "pod2"}) umount2(netns(pod).c_str(), MNT_DETACH);
    setns(home_, CLONE_NEWNET);
    close(home_);
    close(host_);
    run({"/bin/rm", "-rf", directory_});
  }
  void makePod(const std::string& pod) {
    close(open(netns(pod).c_str(), O_WRONLY | O_CREAT, 0600));
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    ASSERT_EQ(mount("/proc/self/ns/net", netns(pod).c_str(), nullptr, MS_BIND, nullptr), 0);
    ASSERT_EQ(setns(host_, CLONE_NEWNET), 0);
  }
  std::string netns(const std::string& pod) { return directory_ + "/" + pod; }
  static ProgramResult run(const std::vector<std::string>& argv) { return runProgram(argv, {}, ""); }
  // Runs a tool inside a pod.
  ProgramResult inPod(const std::string& pod, std::vector<std::string> argv) {
    argv.insert(argv.begin(), {"/usr/bin/nsenter", "--net=" + netns(pod)});
    return run(argv);
  }
  ProgramResult call(const std::string& plugin, const std::string& command, const std::string& pod, const std::string& config,
                     const std::string& ifName = "eth0") {
    return runProgram({std::string(KNARR_CNI_DIRECTORY) + "/" + plugin},
                      {"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + pod, "CNI_NETNS=" + netns(pod), "CNI_IFNAME=" + ifName,
                       "CNI_PATH=" KNARR_CNI_DIRECTORY, "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=x"},
                      config);
  }
  std::string config(const std::string& more = "", const std::string& subnet = "10.9.0.0/29") {
    return R"({"cniVersion":"1.0.0","name":"testnet","type":"bridge","bridge":"br0","isDefaultGateway":true,)" + more +
           R"("ipam":{"type":"host-local","dataDir":")" + directory_ + R"(","ranges":[[{"subnet":")" + subnet + R"("}]]}})";
  }
  std::string withPrevious(const std::string& result) {
    std::string base = config();
    base.pop_back();
    return base + ",\"prevResult\":" + result + "}";
  }

  int home_ = -1, host_ = -1;
  std::string directory_;
};

TEST_F(Plugins, bridgeConnectsPods) {
  for (const char* pod : {"pod1", "pod2"}) ASSERT_EQ(call("loopback", "ADD", pod, config(), "lo").exitCode, 0);
  ProgramResult first = call("bridge", "ADD", "pod1", config(R"("hairpinMode":true,"mtu":1400,)"));
  ASSERT_EQ(first.exitCode, 0) << first.output << first.errorOutput;
  AddResult result = parseResult(json(first.output)).value();
  ASSERT_EQ(result.interfaces.size(), 3u);
  EXPECT_EQ(result.interfaces[0].name, "br0");
  EXPECT_EQ(result.interfaces[2].sandbox, netns("pod1"));
  ASSERT_EQ(result.ips.size(), 1u);
  EXPECT_EQ(result.ips[0].address.text(), "10.9.0.2/29");
  EXPECT_EQ(result.ips[0].gateway->text(), "10.9.0.1");
  ProgramResult second = call("bridge", "ADD", "pod2", config());
  ASSERT_EQ(second.exitCode, 0) << second.output;
  EXPECT_NE(second.output.find("10.9.0.3/29"), std::string::npos);
  EXPECT_EQ(inPod("pod1", {"/bin/busybox", "ping", "-c", "1", "-W", "2", "10.9.0.3"}).exitCode, 0);
  EXPECT_EQ(inPod("pod2", {"/bin/busybox", "ping", "-c", "1", "-W", "2", "10.9.0.1"}).exitCode, 0);
  ProgramResult check = call("bridge", "CHECK", "pod1", withPrevious(first.output));
  EXPECT_EQ(check.exitCode, 0) << check.output;
  EXPECT_NE(call("bridge", "CHECK", "pod2", withPrevious(first.output)).exitCode, 0);
  EXPECT_NE(call("bridge", "ADD", "pod1", config()).exitCode, 0) << "a second ADD is refused";
  EXPECT_EQ(inPod("pod1", {"/bin/busybox", "ping", "-c", "1", "-W", "2", "10.9.0.3"}).exitCode, 0) << "and harms nothing";
  for (int i = 0; i < 2; ++i) EXPECT_EQ(call("bridge", "DEL", "pod1", config()).exitCode, 0) << "DEL is idempotent";
  EXPECT_NE(call("bridge", "CHECK", "pod1", withPrevious(first.output)).exitCode, 0);
  EXPECT_NE(access((directory_ + "/testnet/10.9.0.3").c_str(), F_OK), -1);
  EXPECT_EQ(access((directory_ + "/testnet/10.9.0.2").c_str(), F_OK), -1);
}

TEST_F(Plugins, bridgeRollsBackWhatFailed) {
  // br0 exists and is no bridge.
  Netlink::open()->createVeth("br0", "other", host_, 0, "").value();
  ProgramResult failed = call("bridge", "ADD", "pod1", config());
  EXPECT_NE(failed.exitCode, 0);
  EXPECT_NE(failed.output.find("already exists but is not a bridge"), std::string::npos) << failed.output;
  EXPECT_EQ(access((directory_ + "/testnet/10.9.0.2").c_str(), F_OK), -1) << "the address was given back";
}

TEST_F(Plugins, bridgeMasqueradesWithNft) {
  if (access("/usr/sbin/nft", X_OK) != 0) GTEST_SKIP() << "needs nft";
  ProgramResult added = call("bridge", "ADD", "pod1", config(R"("ipMasq":true,)"));
  ASSERT_EQ(added.exitCode, 0) << added.output;
  std::vector<std::string> list = {"/usr/sbin/nft", "list", "ruleset"};
  EXPECT_NE(run(list).output.find("ip saddr 10.9.0.2 ip daddr != 10.9.0.0/29 masquerade"), std::string::npos);
  EXPECT_EQ(call("bridge", "DEL", "pod1", config(R"("ipMasq":true,)")).exitCode, 0);
  EXPECT_EQ(run(list).output.find("10.9.0.2"), std::string::npos);
}

TEST_F(Plugins, portmapForwardsHostPorts) {
  if (findNft().empty()) GTEST_SKIP() << "needs nft";
  Netlink host = Netlink::open().value();
  ASSERT_TRUE(host.setFlags(host.link("lo").value()->index, 1 /* IFF_UP */, 0));
  ProgramResult bridge = call("bridge", "ADD", "pod1", config());
  ASSERT_EQ(bridge.exitCode, 0) << bridge.output;
  ASSERT_EQ(call("bridge", "ADD", "pod2", config()).exitCode, 0);
  std::string ports =
      R"({"cniVersion":"1.0.0","name":"testnet","type":"portmap","runtimeConfig":{"portMappings":[
      {"hostPort":8080,"containerPort":80,"protocol":"tcp"}]},"prevResult":)" +
      bridge.output + "}";
  ProgramResult added = call("portmap", "ADD", "pod1", ports);
  ASSERT_EQ(added.exitCode, 0) << added.output;
  EXPECT_EQ(parseResult(json(added.output))->ips[0].address.text(), "10.9.0.2/29") << "the result passes through";
  pid_t server = fork();
  if (server == 0) {
    int pod = open(netns("pod1").c_str(), O_RDONLY);
    setns(pod, CLONE_NEWNET);
    execl("/bin/busybox", "busybox", "httpd", "-f", "-p", "80", "-h", directory_.c_str(), nullptr);
    _exit(1);
  }
  auto ask = [](const char* address) -> std::vector<std::string> {
    return {"/bin/bash", "-c",
            std::string("exec 3<>/dev/tcp/") + address + "/8080; printf 'GET /none HTTP/1.0\\r\\n\\r\\n' >&3; timeout 2 cat <&3"};
  };
  auto answers = [&](const ProgramResult& result) { return result.output.find(" 404 ") != std::string::npos; };
  bool byGateway = false, byLoopback = false;
  for (int attempt = 0; attempt < 50 && !(byGateway && byLoopback); ++attempt) {
    byGateway = answers(inPod("pod2", ask("10.9.0.1")));
    byLoopback = answers(run(ask("127.0.0.1")));
  }
  kill(server, SIGKILL);
  waitpid(server, nullptr, 0);
  EXPECT_TRUE(byGateway) << inPod("pod2", ask("10.9.0.1")).errorOutput;
  EXPECT_TRUE(byLoopback);
  EXPECT_EQ(call("portmap", "CHECK", "pod1", ports).exitCode, 0);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(call("portmap", "DEL", "pod1", ports).exitCode, 0);
  EXPECT_NE(call("portmap", "CHECK", "pod1", ports).exitCode, 0);
  EXPECT_EQ(run({"/usr/sbin/nft", "list", "ruleset"}).output.find("8080"), std::string::npos);
  EXPECT_NE(call("portmap", "ADD", "pod1", config()).exitCode, 0) << "it must be chained";
  std::string wrong = R"({"cniVersion":"1.0.0","name":"testnet","runtimeConfig":{"portMappings":[{"hostPort":0}]}})";
  EXPECT_EQ(call("portmap", "DEL", "pod1", wrong).exitCode, 0) << "what cannot be added can be removed";
}

TEST_F(Plugins, hostLocalGoesRoundAndRunsOut) {
  std::string small = config("", "10.9.1.0/29");  // .2 to .6
  std::vector<std::string> given;
  for (int i = 0; i < 6; ++i) {
    ProgramResult result = call("host-local", "ADD", "pod" + std::to_string(i), small);
    if (result.exitCode != 0) {
      EXPECT_NE(result.output.find("no IP addresses available in range set: 10.9.1.1-10.9.1.6"), std::string::npos);
      EXPECT_EQ(json(result.output).at("code").integer(), 999);
      continue;
    }
    given.push_back(parseResult(json(result.output))->ips[0].address.ip.text());
  }
  EXPECT_EQ(given, (std::vector<std::string>{"10.9.1.2", "10.9.1.3", "10.9.1.4", "10.9.1.5", "10.9.1.6"}));
  EXPECT_EQ(call("host-local", "DEL", "pod1", small).exitCode, 0);
  EXPECT_EQ(call("host-local", "CHECK", "pod2", small).exitCode, 0);
  EXPECT_NE(call("host-local", "CHECK", "pod1", small).exitCode, 0);
  ProgramResult reused = call("host-local", "ADD", "pod9", small);
  EXPECT_NE(reused.output.find("10.9.1.3"), std::string::npos) << "wraps to the free one";
}

TEST_F(Plugins, errorsAreJsonWithCodes) {
  std::string bridge = std::string(KNARR_CNI_DIRECTORY) + "/bridge";
  auto codeOf = [&](const std::vector<std::string>& environment, const std::string& input) {
    return json(runProgram({bridge}, environment, input).output).at("code").integer().value_or(-1);
  };
  std::vector<std::string> full = {"CNI_COMMAND=ADD", "CNI_CONTAINERID=c", "CNI_NETNS=/none", "CNI_IFNAME=eth0",
                                   "CNI_PATH=/none"};
  EXPECT_EQ(codeOf({"CNI_COMMAND=ADD"}, "{}"), 4);
  EXPECT_EQ(codeOf({"CNI_COMMAND=HOP"}, "{}"), 4);
  EXPECT_EQ(codeOf(full, "{"), 6);
  EXPECT_EQ(codeOf(full, R"({"cniVersion":"1.0.0"})"), 7);
  EXPECT_EQ(codeOf(full, R"({"cniVersion":"2.0.0","name":"n"})"), 1);
  ProgramResult version = runProgram({bridge}, {"CNI_COMMAND=VERSION"}, "");
  EXPECT_EQ(version.exitCode, 0);
  EXPECT_EQ(json(version.output).at("supportedVersions").items.size(), 5u);
}

TEST_F(Plugins, delSucceedsWhenTheNamespaceIsGone) {
  ASSERT_EQ(call("bridge", "ADD", "pod1", config()).exitCode, 0);
  umount2(netns("pod1").c_str(), MNT_DETACH);
  unlink(netns("pod1").c_str());
  ProgramResult removed = call("bridge", "DEL", "pod1", config());
  EXPECT_EQ(removed.exitCode, 0) << removed.output;
  EXPECT_EQ(access((directory_ + "/testnet/10.9.0.2").c_str(), F_OK), -1);
}

}  // namespace
}  // namespace knarr::cni
