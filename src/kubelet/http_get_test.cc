#include "kubelet/http_get.h"

#include <gtest/gtest.h>

#include "env/sim/sim.h"
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
  EXPECT_TRUE(probe("127.0.0.1:9").starts_with("error: failed to connect service at \"127.0.0.1:9\": ")) << probe("127.0.0.1:9");
  EXPECT_EQ(probe(address, std::string(200, 'x')), "the service name of the probe is too long");
}

}  // namespace
}  // namespace knarr::kubelet
