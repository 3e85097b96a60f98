#include "kubelet/http_get.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <tuple>

#include "env/sim/sim.h"
#include "schema/object.h"
#include "wire/http.h"

namespace knarr::kubelet {
namespace {

using namespace std::chrono_literals;
using async::Task;

// What a health server does with a service's name.
struct HealthServer {
  std::string status = "1";  // grpc.health.v1 ServingStatus, "" sends an empty message, "slow" never answers
  int grpcStatus = 0;
  std::string asked, path, userAgent;
};

Task<void> serveHealth(env::Env e, std::shared_ptr<HealthServer> health, std::shared_ptr<wire::ServerExchange> exchange) {
  auto body = co_await exchange->readBody(1 << 16);
  health->asked = body.value_or("").substr(std::min<size_t>(5, body.value_or("").size()));
  health->path = exchange->request().path();
  health->userAgent = exchange->request().headers.get("user-agent");
  wire::Headers head{{"content-type", "application/grpc"}};
  if (health->status == "slow") {
    co_await async::sleepFor(e, 1h, exchange->clientGone());
    co_return;
  }
  (void)exchange->startResponse(200, head);
  if (health->grpcStatus == 0) {
    std::string message;
    if (!health->status.empty()) message = std::string("\x08") + static_cast<char>(health->status[0] - '0');
    std::string frame(4, '\0');
    frame += static_cast<char>(message.size());
    (void)co_await exchange->write(frame + message);
  }
  (void)co_await exchange->finish({{"grpc-status", std::to_string(health->grpcStatus)}, {"grpc-message", "nothing here"}});
}

Task<void> check(env::Env e, std::string address, std::string service, std::optional<Result<void>>* result) {
  *result = co_await grpcHealthCheck(e, address, service, 2s);
}

class GrpcHealthTest : public testing::Test {
 protected:
  GrpcHealthTest() {
    server = std::make_unique<wire::HttpServer>(
        e, wire::HttpServerOptions(),
        [this](std::shared_ptr<wire::ServerExchange> exchange) { return serveHealth(e, health, std::move(exchange)); });
    address = *server->listen("127.0.0.1:0");
  }
  // "" when healthy, else the message.
  std::string probe(std::string at, std::string service = "") {
    std::optional<Result<void>> result;
    async::Gate gate(e.executor);
    gate.spawn(check(e, std::move(at), std::move(service), &result));
    EXPECT_TRUE(world.runUntil([&] { return result.has_value(); }, 1min));
    return *result ? "" : result->error().message();
  }
  env::SimEnv world{2};
  env::Env e = world.env();
  std::shared_ptr<HealthServer> health = std::make_shared<HealthServer>();
  std::unique_ptr<wire::HttpServer> server;
  std::string address;
};

TEST_F(GrpcHealthTest, servingIsHealthy) {
  EXPECT_EQ(probe(address, "backend"), "");
  EXPECT_EQ(health->asked,
            "\x0a\x07"
            "backend");
  EXPECT_EQ(health->path, "/grpc.health.v1.Health/Check");
  EXPECT_EQ(health->userAgent, "kube-probe/1.36");
  EXPECT_EQ(probe(address), "");
  EXPECT_EQ(health->asked, "");
}

TEST_F(GrpcHealthTest, everythingElseSaysWhy) {
  health->status = "2";
  EXPECT_EQ(probe(address), "service unhealthy (responded with \"NOT_SERVING\")");
  health->status = "";
  EXPECT_EQ(probe(address), "service unhealthy (responded with \"UNKNOWN\")");
  health->status = "9";
  EXPECT_EQ(probe(address), "error: health rpc probe failed: the answer is no HealthCheckResponse");
  health->status = "slow";
  EXPECT_EQ(probe(address), "timeout: health rpc did not complete within 2s");
  health->status = "1";
  health->grpcStatus = 12;
  EXPECT_EQ(probe(address),
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): nothing here");
  health->grpcStatus = 5;
  EXPECT_EQ(probe(address), "error: health rpc probe failed: nothing here");
  EXPECT_EQ(probe("127.0.0.1:9"), "timeout: failed to connect service \"127.0.0.1:9\" within 2s: context deadline exceeded");
  EXPECT_EQ(probe(address, std::string(200, 'x')), "the service name of the probe is too long");
}

HttpGetRequest requestTo(const std::string& address, const std::string& path) {
  HttpGetRequest request;
  request.address = request.host = address;
  request.path = path;
  request.userAgent = "probe";
  return request;
}

TEST(HttpGetTest, requestsOfAnAction) {
  schema::Mut<corev1::Pod> owner = schema::newObject<corev1::Pod>();
  corev1::HTTPGetAction get{};
  get.path = "status?a=%3F";
  auto add = [&](std::string_view name, std::string_view value) {
    corev1::HTTPHeader& header = get.httpHeaders.append(owner.arena());
    header.name = owner.str(name);
    header.value = owner.str(value);
  };
  add("host", "shop.example");
  add("X-One", "1");
  HttpGetRequest request = httpGetRequest(get, "fd00::1", 80, "kube-probe/1.36");
  EXPECT_EQ(request.address, "[fd00::1]:80");
  EXPECT_EQ(request.host, "shop.example");
  EXPECT_EQ(request.path, "/status?a=%3F");
  EXPECT_FALSE(request.https);
  EXPECT_EQ(request.headers, (std::vector<std::pair<std::string, std::string>>{{"X-One", "1"}}));
  get.host = "10.0.0.9";
  get.scheme = "HTTPS";
  request = httpGetRequest(get, "fd00::1", 8443, "kube-probe/1.36");
  EXPECT_EQ(request.address, "10.0.0.9:8443");
  EXPECT_TRUE(request.https);
}

TEST(RedirectTest, leadsToTheSameHostOnly) {
  HttpGetRequest request = requestTo("10.0.0.1:8080", "/a/b?x=1");
  request.host = "shop.example";
  struct Case {
    int status;
    std::string location, url;  // "" for nowhere
  };
  for (const Case& at : std::vector<Case>{
           {302, "/c?y=2#part", "http://10.0.0.1:8080/c?y=2 shop.example"},
           {301, "c/./d/../e", "http://10.0.0.1:8080/a/c/e shop.example"},
           {303, "../../..", "http://10.0.0.1:8080/ shop.example"},
           {307, "?y=2", "http://10.0.0.1:8080/a/b?y=2 shop.example"},
           {307, "c/", "http://10.0.0.1:8080/a/c/ shop.example"},
           {308, "HTTPS://10.0.0.1:8443", "https://10.0.0.1:8443/ 10.0.0.1:8443"},
           {302, "https://10.0.0.1/c", "https://10.0.0.1:443/c 10.0.0.1"},
           {302, "//10.0.0.1?y=2", "http://10.0.0.1:80/?y=2 10.0.0.1"},
           {302, "http://10.0.0.1:/c", "http://10.0.0.1:80/c 10.0.0.1:"},
           {302, "http://10.0.0.1:x/c", ""},
           {302, "http://10.0.0.1:70000/c", ""},
           {302, "http://10.0.0.2:8080/c", ""},
           {302, "http://localhost:8080/c", ""},
           {302, "ftp://10.0.0.1/c", ""},
           {302, "", ""},
           {304, "/c", ""},
           {200, "/c", ""},
       }) {
    auto next = redirected(request, at.status, at.location);
    std::string url = next ? fmt::format("http{}://{}{} {}", next->https ? "s" : "", next->address, next->path, next->host) : "";
    EXPECT_EQ(url, at.url) << at.location;
  }
  HttpGetRequest six = requestTo("[fd00::1]:80", "/");
  EXPECT_EQ(redirected(six, 302, "http://[fd00::1]/c")->address, "[fd00::1]:80");
  for (const char* other : {"http://[fd00::2]/c", "http://[fd00::1]7/c", "http://[fd00::1", "http://fd00::1/c"})
    EXPECT_FALSE(redirected(six, 302, other)) << other;
}

// "/N" leads to "/N-1", "/0" is there, "/away" leads to another host.
Task<void> serveRedirects(std::shared_ptr<wire::ServerExchange> exchange) {
  std::string path(exchange->request().path());
  if (path == "/0") {
    const wire::Headers& headers = exchange->request().headers;
    (void)exchange->startResponse(200, {});
    (void)co_await exchange->write(fmt::format("{}|{}", headers.get("User-Agent"), headers.get("Accept")));
  } else {
    std::string location = path == "/away" ? "http://elsewhere/" : fmt::format("/{}", std::stoi(path.substr(1)) - 1);
    (void)exchange->startResponse(302, {{"Location", location}});
    (void)co_await exchange->write("look there");
  }
  (void)co_await exchange->finish({});
}

Task<void> get(env::Env e, HttpGetRequest request, std::string* result) {
  auto answer = co_await httpGet(e, request, 2s);
  *result = answer ? fmt::format("{} {}", answer->status, answer->body) : answer.error().message();
}

TEST(HttpGetTest, followsRedirectsAndSaysWhatFailed) {
  env::SimEnv world{3};
  env::Env e = world.env();
  wire::HttpServer server(e, wire::HttpServerOptions(),
                          [](std::shared_ptr<wire::ServerExchange> exchange) { return serveRedirects(std::move(exchange)); });
  std::string address = *server.listen("127.0.0.1:0");
  for (auto [at, path, wanted] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {address, "/0", "200 probe|*/*"},
           {address, "/9", "200 probe|*/*"},
           {address, "/10", "stopped after 10 redirects"},
           {address, "/away", "302 look there"},
           {"127.0.0.1:9", "/", "dial tcp 127.0.0.1:9: connect: connection refused"},
           {"10.9.9.9:80", "/", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"},
       }) {
    std::string result;
    async::Gate gate(e.executor);
    gate.spawn(get(e, requestTo(at, path), &result));
    EXPECT_TRUE(world.runUntil([&] { return !result.empty(); }, 1min));
    EXPECT_EQ(result, wanted) << path;
  }
  std::string result;
  async::Gate gate(e.executor);
  HttpGetRequest own = requestTo(address, "/0");
  own.headers = {{"user-agent", "mine"}, {"accept", ""}};
  gate.spawn(get(e, own, &result));
  EXPECT_TRUE(world.runUntil([&] { return !result.empty(); }, 1min));
  EXPECT_EQ(result, "200 mine|");
}

}  // namespace
}  // namespace knarr::kubelet
