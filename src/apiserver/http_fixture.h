// An API server with TLS on the simulated network, and clients of several identities, for tests that speak HTTP from outside.
#pragma once

#include <gtest/gtest.h>

#include <map>

#include "apiserver/apiserver.h"
#include "codec/codec.h"
#include "env/sim/sim.h"
#include "wire/http.h"
#include "wire/pki.h"

namespace knarr::apiserver {

struct HttpAnswer {
  bool done = false;
  int status = 0;
  std::string body;
  wire::Headers headers;
  std::string failure;  // what broke below HTTP
};

class HttpFixture : public testing::Test {
 protected:
  HttpFixture();
  ~HttpFixture() override;

  // Identities: "admin" (system:masters), "eve" (no rights), "stranger" (calls itself an admin, from another CA),
  // "early" (calls itself an admin, its certificate begins in an hour), "late" (its certificate ended an hour ago), "anonymous"
  // (no certificate).
  HttpAnswer ask(const std::string& who, const std::string& method, const std::string& target, const std::string& body = "",
                 wire::Headers headers = {});
  // As the administrator, with JSON bodies.
  HttpAnswer get(const std::string& target, wire::Headers headers = {}) {
    return ask("admin", "GET", target, "", std::move(headers));
  }
  HttpAnswer post(const std::string& target, const std::string& body, wire::Headers headers = {}) {
    return ask("admin", "POST", target, body, std::move(headers));
  }
  HttpAnswer patch(const std::string& target, const std::string& type, const std::string& body) {
    return ask("admin", "PATCH", target, body, {{"Content-Type", "application/" + type}});
  }
  // Reads the body of a GET until it holds `until`, or it ends.
  HttpAnswer readUntil(const std::string& target, const std::string& until, wire::Headers headers = {});
  HttpAnswer send(const std::string& who, wire::ClientRequest request, const std::string& until);
  void run(async::Task<void> task);
  // A new server over the same store; clients connect again.
  void restart();

  // Text of a field of a JSON body, "" when it is not there: "metadata.name", "items.0.kind".
  static std::string field(const HttpAnswer& answer, std::string_view path);
  static void expectStatus(const HttpAnswer& answer, int code, std::string_view reason, std::string_view message);

  env::SimEnv sim_{1};
  env::Env env_ = sim_.env();
  std::unique_ptr<store::Store> store_;
  ApiServerConfig config_;
  std::unique_ptr<ApiServer> server_;
  std::map<std::string, std::unique_ptr<wire::HttpClient>> clients_;
  async::Gate gate_{env_.executor};
};

}  // namespace knarr::apiserver
