// Packets through the real kernel: a node with two pods on a bridge and a machine outside, each a network namespace of the
// test's.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "env/posix/posix.h"
#include "kube_proxy/rule_kernel.h"

namespace knarr::kube_proxy {
namespace {

constexpr int kServerPort = 8080;

sockaddr_in addressOf(const std::string& ip, int number) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(static_cast<uint16_t>(number));
  inet_pton(AF_INET, ip.c_str(), &out.sin_addr);
  return out;
}

// A thread that lives in a network namespace of its own and does there what it is told.
class Machine {
 public:
  Machine() {
    thread_ = std::thread([this] { live(); });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return tid_ != 0; });
  }
  ~Machine() {
    if (listener_ >= 0) shutdown(listener_, SHUT_RDWR);
    if (server_.joinable()) server_.join();
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
    if (listener_ >= 0) close(listener_);
  }
  bool isolated() const { return tid_ > 0; }
  std::string pid() const { return std::to_string(tid_); }
  std::string namespacePath() const { return fmt::format("/proc/{}/task/{}/ns/net", getpid(), tid_); }

  // Answers each connection with `name` and the address it came from.
  void serve(const std::string& name) {
    run([this, name] {
      listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in any = addressOf("0.0.0.0", kServerPort);
      EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&any), sizeof(any)), 0);
      EXPECT_EQ(listen(listener_, 64), 0);
      server_ = std::thread([fd = listener_, name] {
        for (;;) {
          sockaddr_in from{};
          socklen_t size = sizeof(from);
          int client = accept4(fd, reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC);
          if (client < 0) return;
          char text[INET_ADDRSTRLEN];
          std::string answer = name + " " + inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text));
          (void)!write(client, answer.data(), answer.size());
          close(client);
        }
      });
      return std::string();
    });
  }

  // The answer of whoever serves there; "refused", "silent" or an error number.
  static std::string askFromHere(const std::string& ip, int number) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in to = addressOf(ip, number);
    std::string out = "silent";
    pollfd ready{fd, POLLIN, 0};
    if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0 && errno == ECONNREFUSED) {
      out = "refused";
    } else if (poll(&ready, 1, 300) == 1) {
      char buffer[64];
      ssize_t got = read(fd, buffer, sizeof(buffer));
      int error = got < 0 ? errno : 0;
      // A refusal that comes while the connection is still being asked for stands in SO_ERROR only.
      socklen_t size = sizeof(error);
      if (error == EAGAIN) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
      out = got > 0                 ? std::string(buffer, static_cast<size_t>(got))
            : error == ECONNREFUSED ? "refused"
                                    : fmt::format("error {}", error);
    }
    close(fd);
    return out;
  }
  std::string ask(const std::string& ip, int number) {
    return run([ip, number] { return askFromHere(ip, number); });
  }
  std::string run(std::function<std::string()> job) {
    std::unique_lock lock(mutex_);
    job_ = std::move(job);
    answer_.reset();
    changed_.notify_all();
    changed_.wait(lock, [this] { return answer_.has_value(); });
    return *answer_;
  }

 private:
  void live() {
    int tid = unshare(CLONE_NEWNET) == 0 ? static_cast<int>(syscall(SYS_gettid)) : -1;
    std::unique_lock lock(mutex_);
    tid_ = tid;
    changed_.notify_all();
    for (;;) {
      changed_.wait(lock, [this] { return ending_ || job_; });
      if (ending_) return;
      auto job = std::exchange(job_, nullptr);
      answer_ = job();
      changed_.notify_all();
    }
  }
  std::thread thread_, server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int tid_ = 0;
  bool ending_ = false;
  std::function<std::string()> job_;
  std::optional<std::string> answer_;
  int listener_ = -1;
};

const char* const kNodeIp = "192.168.50.1";
const char* const kOutsideIp = "192.168.50.2";
const char* const kServiceIp = "10.96.0.20";

template <class T>
async::Task<void> store(async::Task<T> task, std::optional<T>* into, env::PosixEnv* loop) {
  *into = co_await std::move(task);
  loop->stop();
}

class PacketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root for network namespaces";
    if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "cannot make a network namespace";
    loop_ = env::makePosixEnv();
    if (!loop_->env().files.status("/usr/sbin/nft")) GTEST_SKIP() << "needs nft";
    gate_ = std::make_unique<async::Gate>(loop_->env().executor);
    RuleConfig config;
    config.podCidrs = {*IpPrefix::parse("10.244.0.0/24")};
    config.serviceCidrs = {*IpPrefix::parse("10.96.0.0/12")};
    config.nodePortAddresses = {*IpAddress::parse(kNodeIp)};
    config.nodeName = "n1";
    state_ = std::make_unique<RuleState>(config);
    kernel_ = makeNftRuleKernel(loop_->env(), config);
    for (auto* machine : {&podA_, &podB_, &outside_}) {
      *machine = std::make_unique<Machine>();
      if (!(*machine)->isolated()) GTEST_SKIP() << "cannot make a network namespace";
    }
    buildNode();
    podA_->serve("a");
    podB_->serve("b");
  }
  template <class T>
  T run(async::Task<T> task) {
    std::optional<T> out;
    gate_->spawn(store(std::move(task), &out, loop_.get()));
    loop_->run();
    return std::move(*out);
  }
  void ip(const std::string& words, Machine* inside = nullptr) {
    env::ProcessSpec spec;
    spec.argv = {"/sbin/ip"};
    for (size_t at = 0; at < words.size();) {
      size_t end = std::min(words.find(' ', at), words.size());
      spec.argv.push_back(words.substr(at, end - at));
      at = end + 1;
    }
    if (inside) spec.networkNamespacePath = inside->namespacePath();
    auto exit = run(async::runProcess(loop_->env(), std::move(spec)));
    ASSERT_TRUE(exit && exit->exitCode == 0) << "ip " << words << ": " << (exit ? exit->standardError : exit.error().describe());
  }
  void buildNode() {
    ip("link set lo up");
    ip("link add br0 type bridge nf_call_iptables 1");
    ip("addr add 10.244.0.1/24 dev br0");
    ip("link set br0 up");
    join(*podA_, "va", "10.244.0.2/24", "10.244.0.1");
    join(*podB_, "vb", "10.244.0.3/24", "10.244.0.1");
    for (const char* port : {"va", "vb"}) {
      ip(fmt::format("link set {} master br0", port));
      ip(fmt::format("link set {} type bridge_slave hairpin on", port));
    }
    join(*outside_, "vo", fmt::format("{}/24", kOutsideIp), kNodeIp);
    ip(fmt::format("addr add {}/24 dev vo", kNodeIp));
    ip(fmt::format("route add default via {}", kOutsideIp));
    auto forwards = run(forwarding());
    ASSERT_TRUE(forwards && forwards->exitCode == 0);
  }
  // /proc/sys shows the namespace of whoever opens it.
  async::Task<Result<env::ProcessExit>> forwarding() {
    env::ProcessSpec spec;
    spec.argv = {"/bin/sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"};
    return async::runProcess(loop_->env(), std::move(spec));
  }
  void join(Machine& machine, const std::string& port, const std::string& address, const std::string& gateway) {
    ip(fmt::format("link add {} type veth peer name eth0 netns {}", port, machine.pid()));
    ip(fmt::format("link set {} up", port));
    ip("link set lo up", &machine);
    ip("link set eth0 up", &machine);
    ip(fmt::format("addr add {} dev eth0", address), &machine);
    ip(fmt::format("route add default via {}", gateway), &machine);
  }

  static ServicePort service() {
    ServicePort out;
    out.name = {"d/web", "http", "tcp"};
    out.clusterIp = *IpAddress::parse(kServiceIp);
    out.port = 80;
    out.nodePort = 30080;
    return out;
  }
  // `pods` of "a" and "b"; upper case: said to be on another node.
  void put(const ServicePort& port, std::string_view pods) {
    std::map<PortName, std::vector<Endpoint>> endpoints;
    for (char pod : pods) {
      Endpoint e;
      e.ip = *IpAddress::parse(pod == 'a' || pod == 'A' ? "10.244.0.2" : "10.244.0.3");
      e.port = kServerPort;
      e.local = pod == 'a' || pod == 'b';
      endpoints[port.name].push_back(e);
    }
    state_->put(port.name.service, fragmentOf({port}, endpoints, state_->config(), ""));
    bool whole = std::exchange(fresh_, false);
    auto applied = run(kernel_->apply(whole ? state_->whole() : state_->changes()));
    ASSERT_TRUE(applied) << applied.error().describe();
    state_->commit(whole);
  }
  static std::map<std::string, int> count(const std::function<std::string()>& ask, int times = 40) {
    std::map<std::string, int> out;
    for (int i = 0; i < times; ++i) ++out[ask()];
    return out;
  }

  std::unique_ptr<env::PosixEnv> loop_;
  std::unique_ptr<async::Gate> gate_;
  std::unique_ptr<RuleState> state_;
  std::unique_ptr<RuleKernel> kernel_;
  std::unique_ptr<Machine> podA_, podB_, outside_;
  bool fresh_ = true;
};

// Source: the scenario vectors of the proxy's behaviour; the answer names the pod and the source it saw.
TEST_F(PacketTest, clusterPolicy) {
  put(service(), "ab");
  auto fromPod = count([this] { return podA_->ask(kServiceIp, 80); });
  EXPECT_EQ(fromPod.size(), 2u);
  EXPECT_TRUE(fromPod.contains("b 10.244.0.2")) << "the source is kept between pods";
  EXPECT_TRUE(fromPod.contains("a 10.244.0.1")) << "a pod that reaches itself sees the node";
  auto fromNode = count([] { return Machine::askFromHere(kServiceIp, 80); });
  EXPECT_EQ(fromNode,
            (std::map<std::string, int>{{"a 10.244.0.1", fromNode["a 10.244.0.1"]}, {"b 10.244.0.1", fromNode["b 10.244.0.1"]}}));
  auto fromOutside = count([this] { return outside_->ask(kNodeIp, 30080); });
  EXPECT_EQ(fromOutside.size(), 2u);
  EXPECT_TRUE(fromOutside.contains("a 10.244.0.1") && fromOutside.contains("b 10.244.0.1")) << "the node stands for the client";
  EXPECT_EQ(count([] { return Machine::askFromHere(kNodeIp, 30080); }).size(), 2u) << "the node's own port from the node";
}

TEST_F(PacketTest, changesAreFollowed) {
  put(service(), "ab");
  put(service(), "b");
  EXPECT_EQ(count([this] { return podA_->ask(kServiceIp, 80); }, 10), (std::map<std::string, int>{{"b 10.244.0.2", 10}}));
  put(service(), "");
  EXPECT_EQ(podA_->ask(kServiceIp, 80), "refused");
  EXPECT_EQ(Machine::askFromHere(kServiceIp, 80), "refused");
  EXPECT_EQ(outside_->ask(kNodeIp, 30080), "refused");
  EXPECT_EQ(podA_->ask(kServiceIp, 81), "refused") << "a known address, an unknown port";
  EXPECT_EQ(podA_->ask("10.96.9.9", 80), "silent") << "an address of no Service";
  put(service(), "a");
  EXPECT_EQ(podB_->ask(kServiceIp, 80), "a 10.244.0.3");
}

TEST_F(PacketTest, externalPolicyLocal) {
  ServicePort port = service();
  port.externalLocal = true;
  put(port, "aB");
  EXPECT_EQ(count([this] { return outside_->ask(kNodeIp, 30080); }, 15),
            (std::map<std::string, int>{{std::string("a ") + kOutsideIp, 15}}))
      << "only the pod here, and it sees the client";
  auto fromPod = count([this] { return podA_->ask(kNodeIp, 30080); });
  EXPECT_TRUE(fromPod.size() == 2 && fromPod.contains("a 10.244.0.1") && fromPod.contains("b 10.244.0.2"))
      << "pods reach all endpoints";
  put(port, "B");
  EXPECT_EQ(outside_->ask(kNodeIp, 30080), "silent") << "no endpoint here: dropped";
  EXPECT_EQ(podA_->ask(kNodeIp, 30080), "b 10.244.0.2");
  EXPECT_EQ(Machine::askFromHere(kNodeIp, 30080), "b 10.244.0.1");
}

TEST_F(PacketTest, internalPolicyLocal) {
  ServicePort port = service();
  port.internalLocal = true;
  port.nodePort = 0;
  put(port, "B");
  EXPECT_EQ(podA_->ask(kServiceIp, 80), "silent");
  put(port, "bA");
  EXPECT_EQ(podA_->ask(kServiceIp, 80), "b 10.244.0.2");
}

TEST_F(PacketTest, affinity) {
  ServicePort port = service();
  port.affinitySeconds = 60;
  put(port, "ab");
  auto answers = count([this] { return outside_->ask(kNodeIp, 30080); }, 15);
  ASSERT_EQ(answers.size(), 1u);
  bool onA = answers.begin()->first.starts_with("a");
  put(port, onA ? "b" : "a");
  EXPECT_NE(outside_->ask(kNodeIp, 30080), answers.begin()->first) << "an endpoint that is gone is not remembered";
  put(port, "ab");
  auto later = count([this] { return outside_->ask(kNodeIp, 30080); }, 15);
  EXPECT_EQ(later.size(), 1u);
  EXPECT_NE(later.begin()->first, answers.begin()->first) << "the record of the second endpoint survived the change";
  port.affinitySeconds = 0;
  put(port, "ab");
  EXPECT_EQ(count([this] { return outside_->ask(kNodeIp, 30080); }).size(), 2u);
}

TEST_F(PacketTest, affinityEnds) {
  ServicePort port = service();
  port.affinitySeconds = 1;
  put(port, "ab");
  std::set<std::string> seen;
  // The set forgets a client a second after its last connection; the kernel's clock is the subject here.
  for (int i = 0; i < 12 && seen.size() < 2; ++i) {
    seen.insert(outside_->ask(kNodeIp, 30080));
    outside_->run([] {
      timespec pause{1, 300'000'000};
      nanosleep(&pause, nullptr);
      return std::string();
    });
  }
  EXPECT_EQ(seen.size(), 2u);
}

TEST_F(PacketTest, balancerAddressAndSourceRanges) {
  ServicePort port = service();
  port.loadBalancerIps = {*IpAddress::parse("192.0.2.5")};
  port.externalIps = {*IpAddress::parse("192.0.2.6")};
  port.sourceRanges = {*IpPrefix::parse("10.244.0.0/24")};
  put(port, "ab");
  EXPECT_EQ(outside_->ask("192.0.2.5", 80), "silent") << "outside the ranges";
  EXPECT_NE(outside_->ask("192.0.2.6", 80), "silent") << "ranges guard only the balancer's address";
  EXPECT_NE(outside_->ask(kNodeIp, 30080), "silent");
  EXPECT_NE(podA_->ask("192.0.2.5", 80), "silent");
  port.sourceRanges.push_back(*IpPrefix::parse("192.168.50.2/32"));
  put(port, "ab");
  EXPECT_NE(outside_->ask("192.0.2.5", 80), "silent");
}

TEST_F(PacketTest, udpFlowsAreForgotten) {
  ServicePort port = service();
  port.name.protocol = "udp";
  put(port, "a");
  podB_->run([] {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in to = addressOf(kServiceIp, 80);
    EXPECT_EQ(sendto(fd, "x", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 1);
    close(fd);
    return std::string();
  });
  auto seen = std::make_shared<std::atomic<int>>(0);
  auto none = run(kernel_->forgetUdpFlows([seen](const UdpFlow& flow) {
    bool ours = flow.originalDestination.text() == kServiceIp && flow.originalPort == 80;
    if (ours && flow.replySource.text() == "10.244.0.2" && flow.replyPort == kServerPort) ++*seen;
    return false;
  }));
  ASSERT_TRUE(none) << none.error().describe();
  EXPECT_EQ(*none, 0);
  EXPECT_EQ(*seen, 1) << "the flow is seen as it is";
  for (int expected : {1, 0}) {
    auto forgotten = run(kernel_->forgetUdpFlows([](const UdpFlow& flow) { return flow.originalPort == 80; }));
    ASSERT_TRUE(forgotten) << forgotten.error().describe();
    EXPECT_EQ(*forgotten, expected);
  }
}

TEST_F(PacketTest, aRemovedTableLeavesNothing) {
  put(service(), "ab");
  ASSERT_TRUE(run(kernel_->removeTable()));
  EXPECT_EQ(run(kernel_->list()).error().reason(), Reason::NotFound);
}

}  // namespace
}  // namespace knarr::kube_proxy
