// The server in the simulated world: an API server, name servers of the host, and clients over UDP and TCP.
#include "dns/dns.h"

#include "apiserver/apiserver.h"
#include "base/log.h"
#include "dns/resolver.h"
#include "dns/stream_io.h"
#include "dns/zone_fixture.h"
#include "env/sim/sim.h"
#include "store/store.h"
#include "wire/pki.h"

namespace knarr::dns {
namespace {

using namespace std::chrono_literals;
using async::Task;

// A name server of the outside: answers over UDP (cut when asked to) and TCP, counts, and can be silent.
class OutsideServer {
 public:
  OutsideServer(env::Env environment, const std::string& address) : env_(environment), gate_(environment.executor) {
    socket_ = std::move(*environment.network.bindDatagram(address));
    listener_ = std::move(*environment.network.listen(address, [this](std::unique_ptr<env::Stream> stream) {
      gate_.spawn(serve(this, std::shared_ptr<env::Stream>(std::move(stream))));
    }));
    arm();
  }
  ~OutsideServer() { socket_->whenReadable({}); }
  bool silent = false, truncates = false;
  uint16_t rcode = kNoError;
  int asked = 0, askedOverTcp = 0;

 private:
  void arm() {
    socket_->whenReadable([this] {
      std::string from;
      for (env::IoStep step; (step = socket_->receive(buffer_, from)).kind == env::IoStep::Done;) {
        ++asked;
        if (silent) continue;
        Message answer = answerTo(*parseMessage(std::string_view(buffer_).substr(0, step.bytes)));
        if (truncates) {
          answer.answers.clear();
          answer.truncated = true;
        }
        socket_->send(encodeMessage(answer, 1232), from);
      }
      arm();
    });
  }
  static Task<void> serve(OutsideServer* self, std::shared_ptr<env::Stream> stream) {
    auto bytes = co_await readMessage(self->env_, stream, self->env_.clock.now() + 5s, {});
    if (!bytes || self->silent) co_return;
    ++self->askedOverTcp;
    co_await writeMessage(self->env_, stream, encodeMessage(self->answerTo(*parseMessage(*bytes)), kMessageBytesMax),
                          self->env_.clock.now() + 5s);
  }
  Message answerTo(const Message& query) const {
    Message out = answerWith(query, rcode);
    out.recursionAvailable = true;
    if (rcode == kNoError && query.questions[0].type == kA)
      out.answers.push_back({query.questions[0].name, kA, kClassIn, 20, addressData(*IpAddress::parse("93.184.216.34"))});
    return out;
  }
  env::Env env_;
  std::string buffer_ = std::string(kMessageBytesMax, '\0');
  std::unique_ptr<env::DatagramSocket> socket_;
  std::unique_ptr<env::Listener> listener_;
  async::Gate gate_;
};

class DnsTest : public ::testing::Test {
 protected:
  using Texts = std::vector<std::string>;
  DnsTest() : sim_(21), gate_(sim_.env().executor), outside_(sim_.env(), "127.0.0.1:53"), second_(sim_.env(), "127.0.0.2:53") {
    setLogLevel(LogLevel::Error);
    store_ = store::makeMemoryStore(sim_.env(), {}, 300us);
    apiserver::ApiServerConfig config;
    config.serviceAccountKeyPem = *wire::makeEcKey();
    config.servedGroupVersions = {"v1", "discovery.k8s.io/v1", "rbac.authorization.k8s.io/v1"};
    server_ = std::make_unique<apiserver::ApiServer>(sim_.env(), *store_, config);
    run(start(server_.get()));
    admin_ = server_->clientFor({"admin", "", {"system:masters"}, {}});
    EXPECT_TRUE(sim_.env().files.makeDirectories("/etc"));
    resolvConf("nameserver 127.0.0.1\n");
    DnsConfig dnsConfig;
    dnsConfig.listen = {"127.0.0.1:10053"};
    dnsConfig.serviceIp = *IpAddress::parse("10.96.0.10");
    dns_ = std::make_unique<DnsServer>(sim_.env(), *admin_, dnsConfig);
    EXPECT_TRUE(dns_->listen());
    client_ = std::move(*sim_.env().network.bindDatagram("127.0.0.1:0"));
  }
  ~DnsTest() override {
    stop_.requestStop();
    EXPECT_TRUE(sim_.runUntil([&] { return gate_.running() == 0; }, 1min)) << "the server does not stop";
    run(stop(server_.get()));
  }
  void serve() {
    gate_.spawn(dns_->run(stop_.token()));
    sim_.runFor(2s);
  }
  void resolvConf(const std::string& text) { EXPECT_TRUE(sim_.env().files.writeFileAtomically("/etc/resolv.conf", text)); }
  static Task<void> start(apiserver::ApiServer* server) { EXPECT_TRUE(co_await server->start()); }
  static Task<void> stop(apiserver::ApiServer* server) { co_await server->stop(1s); }
  static Task<void> mark(Task<void> task, bool* done) {
    co_await std::move(task);
    *done = true;
  }
  void run(Task<void> task) {
    async::Gate own(sim_.env().executor);
    bool done = false;
    own.spawn(mark(std::move(task), &done));
    ASSERT_TRUE(sim_.runUntil([&] { return done; }, 1min));
  }
  template <class T>
  static Task<void> create(client::Client* client, Ref<T> object) {
    auto made = co_await client::create<T>(*client, std::string(object->metadata.namespace_), schema::edit(object));
    EXPECT_TRUE(made) << (made ? "" : made.error().describe());
  }
  template <class T>
  void make(const std::string& json) {
    run(create<T>(admin_.get(), objectFrom<T>(json)));
  }
  Message query(const std::string& name, uint16_t type) {
    Message out;
    out.id = ++lastId_;
    out.recursionDesired = true;
    out.questions.push_back({*nameFromText(name), type, kClassIn});
    return out;
  }
  // The answer within `patience`; nothing when there is none.
  std::optional<Message> send(std::string bytes, env::Duration patience = 7s) {
    client_->send(bytes, "127.0.0.1:10053");
    std::string buffer(kMessageBytesMax, '\0'), from;
    env::IoStep step;
    if (!sim_.runUntil([&] { return (step = client_->receive(buffer, from)).kind == env::IoStep::Done; }, patience))
      return std::nullopt;
    auto answer = parseMessage(std::string_view(buffer).substr(0, step.bytes));
    EXPECT_TRUE(answer);
    return *answer;
  }
  std::optional<Message> ask(const std::string& name, uint16_t type) { return send(encodeMessage(query(name, type), 512)); }
  Texts texts(const std::optional<Message>& answer) { return answer ? recordTexts(answer->answers) : Texts{"no answer"}; }

  env::SimEnv sim_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<client::Client> admin_;
  async::StopSource stop_;
  std::unique_ptr<DnsServer> dns_;
  std::unique_ptr<env::DatagramSocket> client_;
  async::Gate gate_;
  OutsideServer outside_, second_;
  uint16_t lastId_ = 0;
};

TEST_F(DnsTest, answersForTheClusterAndForwardsTheRest) {
  serve();
  EXPECT_EQ(texts(ask("kubernetes.default.svc.cluster.local", kA)),
            Texts{"kubernetes.default.svc.cluster.local. 30 A 10.96.0.1"});
  auto negative = ask("nothing.default.svc.cluster.local", kA);
  ASSERT_TRUE(negative);
  EXPECT_EQ(negative->rcode, kNxDomain);
  EXPECT_TRUE(negative->authoritative && negative->recursionDesired);
  EXPECT_EQ(negative->authority.size(), 1u);
  EXPECT_EQ(outside_.asked, 0);
  EXPECT_EQ(texts(ask("www.example.com", kA)), Texts{"www.example.com. 20 A 93.184.216.34"});
  auto again = ask("WWW.example.com", kA);
  EXPECT_EQ(outside_.asked, 1) << "kept";
  ASSERT_TRUE(again);
  EXPECT_EQ(textOf(again->questions[0].name), "WWW.example.com.");
  EXPECT_EQ(texts(ask("1.0.96.10.in-addr.arpa", kPTR)),
            Texts{"1.0.96.10.in-addr.arpa. 30 PTR kubernetes.default.svc.cluster.local."});
}

TEST_F(DnsTest, followsChanges) {
  serve();
  EXPECT_EQ(ask("db.default.svc.cluster.local", kA)->rcode, kNxDomain);
  make<corev1::Service>(
      R"({"metadata":{"name":"db","namespace":"default"},"spec":{"clusterIP":"None","ports":[{"name":"sql","port":5432}]}})");
  make<discoveryv1::EndpointSlice>(
      R"({"metadata":{"name":"db-1","namespace":"default","labels":{"kubernetes.io/service-name":"db"}},"addressType":"IPv4",
          "endpoints":[{"addresses":["10.244.0.7"],"hostname":"db-0"}],"ports":[{"name":"sql","port":5432,"protocol":"TCP"}]})");
  sim_.runFor(1s);
  EXPECT_EQ(texts(ask("db.default.svc.cluster.local", kA)), Texts{"db.default.svc.cluster.local. 30 A 10.244.0.7"});
  EXPECT_EQ(texts(ask("db-0.db.default.svc.cluster.local", kA)), Texts{"db-0.db.default.svc.cluster.local. 30 A 10.244.0.7"});
}

TEST_F(DnsTest, servfailUntilSynced) {
  auto early = ask("kubernetes.default.svc.cluster.local", kA);
  ASSERT_TRUE(early);
  EXPECT_EQ(early->rcode, kServFail);
  EXPECT_EQ(texts(ask("www.example.com", kA)).size(), 1u) << "the rest is forwarded";
  serve();
  EXPECT_EQ(ask("kubernetes.default.svc.cluster.local", kA)->rcode, kNoError);
}

TEST_F(DnsTest, externalNames) {
  make<corev1::Service>(
      R"({"metadata":{"name":"out","namespace":"default"},"spec":{"type":"ExternalName","externalName":"www.example.com"}})");
  make<corev1::Service>(
      R"({"metadata":{"name":"in","namespace":"default"},"spec":{"type":"ExternalName","externalName":"kubernetes.default.svc.cluster.local"}})");
  make<corev1::Service>(
      R"({"metadata":{"name":"self","namespace":"default"},"spec":{"type":"ExternalName","externalName":"self.default.svc.cluster.local"}})");
  serve();
  EXPECT_EQ(texts(ask("out.default.svc.cluster.local", kA)),
            (Texts{"out.default.svc.cluster.local. 30 CNAME www.example.com.", "www.example.com. 20 A 93.184.216.34"}));
  EXPECT_EQ(texts(ask("in.default.svc.cluster.local", kA)),
            (Texts{"in.default.svc.cluster.local. 30 CNAME kubernetes.default.svc.cluster.local.",
                   "kubernetes.default.svc.cluster.local. 30 A 10.96.0.1"}));
  for (const char* name : {"out.default.svc.cluster.local", "self.default.svc.cluster.local"}) {
    auto answer = ask(name, name[0] == 'o' ? kAAAA : kA);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->rcode, kNoError);
    EXPECT_TRUE(answer->answers.empty()) << name << " leads nowhere";
    EXPECT_EQ(answer->authority.size(), 1u);
  }
}

TEST_F(DnsTest, outsideFailures) {
  serve();
  outside_.silent = true;
  auto started = sim_.env().clock.now();
  auto answer = ask("www.example.com", kA);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->rcode, kServFail);
  EXPECT_LE(sim_.env().clock.now() - started, 6s);
  resolvConf("# two servers\nnameserver 127.0.0.1\n nameserver\t127.0.0.2 \nsearch x\n");
  sim_.runFor(31s);
  EXPECT_EQ(texts(ask("two.example.com", kA)), Texts{"two.example.com. 20 A 93.184.216.34"}) << "the second one answers";
  outside_.silent = false;
  outside_.rcode = kServFail;
  EXPECT_EQ(texts(ask("three.example.com", kA)), Texts{"three.example.com. 20 A 93.184.216.34"});
  resolvConf("");
  sim_.runFor(31s);
  EXPECT_EQ(ask("four.example.com", kA)->rcode, kServFail) << "no server at all";
}

TEST_F(DnsTest, truncatedAnswersAreAskedForOverTcp) {
  serve();
  outside_.truncates = true;
  EXPECT_EQ(texts(ask("www.example.com", kA)), Texts{"www.example.com. 20 A 93.184.216.34"});
  EXPECT_EQ(outside_.askedOverTcp, 1);
}

TEST_F(DnsTest, loopsEnd) {
  serve();
  // The outside server hands the question back to us with the number we asked under.
  outside_.silent = true;
  auto socket = std::move(*sim_.env().network.bindDatagram("127.0.0.3:53"));
  resolvConf("nameserver 127.0.0.3\n");
  client_->send(encodeMessage(query("www.example.com", kA), 512), "127.0.0.1:10053");
  std::string buffer(2000, '\0'), from;
  env::IoStep step;
  ASSERT_TRUE(sim_.runUntil([&] { return (step = socket->receive(buffer, from)).kind == env::IoStep::Done; }, 1s));
  auto returned = send(buffer.substr(0, step.bytes), 1s);
  ASSERT_TRUE(returned);
  EXPECT_EQ(returned->rcode, kServFail);
}

TEST_F(DnsTest, hostileInput) {
  serve();
  EXPECT_FALSE(send("short", 100ms));
  Message response = query("kubernetes.default.svc.cluster.local", kA);
  response.response = true;
  EXPECT_FALSE(send(encodeMessage(response, 512), 100ms)) << "an answer is not answered";
  EXPECT_FALSE(send(std::string(12, '\xff'), 100ms));
  EXPECT_EQ(send(std::string("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12))->rcode, kFormErr);
  Message two = query("a.example.com", kA);
  two.questions.push_back(two.questions[0]);
  EXPECT_EQ(send(encodeMessage(two, 512))->rcode, kFormErr);
  Message notify = query("a.example.com", kA);
  notify.opcode = 4;
  EXPECT_EQ(send(encodeMessage(notify, 512))->rcode, kNotImp);
  Message version = query("a.example.com", kA);
  version.edns = Edns{1232, 1, false};
  EXPECT_EQ(send(encodeMessage(version, 512))->rcode, kBadVers);
  EXPECT_EQ(ask("cluster.local", kAXFR)->rcode, kRefused);
  Message chaos = query("version.bind", kTXT);
  chaos.questions[0].klass = 3;
  EXPECT_EQ(send(encodeMessage(chaos, 512))->rcode, kRefused);
}

Task<void> askOverTcp(env::Env environment, std::vector<std::string> queries, std::vector<Message>* answers) {
  auto connected = co_await async::connect(environment, "127.0.0.1:10053", 1s);
  EXPECT_TRUE(connected);
  std::shared_ptr<env::Stream> stream(std::move(*connected));
  for (size_t i = 0; i < queries.size(); ++i) {
    env::Instant deadline = environment.clock.now() + 5s;
    EXPECT_TRUE(co_await writeMessage(environment, stream, queries[i], deadline));
    auto bytes = co_await readMessage(environment, stream, deadline, {});
    EXPECT_TRUE(bytes);
    if (bytes) answers->push_back(*parseMessage(*bytes));
  }
}

TEST_F(DnsTest, largeAnswersGoOverTcp) {
  std::string endpoints;
  for (int i = 1; i <= 90; ++i) endpoints += fmt::format(R"({}{{"addresses":["10.244.0.{}"]}})", i == 1 ? "" : ",", i);
  make<corev1::Service>(R"({"metadata":{"name":"big","namespace":"default"},"spec":{"clusterIP":"None","ports":[{"port":80}]}})");
  make<discoveryv1::EndpointSlice>(fmt::format(
      R"({{"metadata":{{"name":"big-1","namespace":"default","labels":{{"kubernetes.io/service-name":"big"}}}},"addressType":"IPv4","endpoints":[{}],"ports":[{{"name":"","port":80}}]}})",
      endpoints));
  serve();
  auto small = ask("big.default.svc.cluster.local", kA);
  ASSERT_TRUE(small);
  EXPECT_TRUE(small->truncated);
  std::vector<Message> answers;
  run(askOverTcp(
      sim_.env(),
      {encodeMessage(query("big.default.svc.cluster.local", kA), 512), encodeMessage(query("www.example.com", kA), 512)},
      &answers));
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].answers.size(), 90u);
  EXPECT_EQ(answers[1].answers.size(), 1u);
  EXPECT_EQ(outside_.askedOverTcp, 1) << "asked the same way as the client asks";
}

TEST(Nameservers, fromResolvConf) {
  EXPECT_EQ(nameserversOf("nameserver 10.0.0.2\nnameserver fe80::1%eth0\n;nameserver 1.1.1.1\nnameserver nonsense\noptions "
                          "x\nnameserver 8.8.8.8 # c"),
            (std::vector<std::string>{"10.0.0.2:53", "[fe80::1%eth0]:53", "8.8.8.8:53"}));
  std::string many;
  for (int i = 0; i < 30; ++i) many += "nameserver 10.0.0.1\n";
  EXPECT_EQ(nameserversOf(many).size(), 15u);
}

}  // namespace
}  // namespace knarr::dns
