// Who may come in over HTTPS, and as whom.
#include <fmt/format.h>

#include "apiserver/http_fixture.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

class HttpAuthTest : public HttpFixture {
 protected:
  std::string tokenOf(const std::string& account, int seconds) {
    auto answer =
        post(fmt::format("/api/v1/namespaces/default/serviceaccounts/{}/token", account),
             fmt::format(R"({{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{{"expirationSeconds":{}}}}})",
                         seconds));
    EXPECT_EQ(answer.status, 201) << answer.body;
    return field(answer, "status.token");
  }
  HttpAnswer withToken(const std::string& token, const std::string& target) {
    return ask("anonymous", "GET", target, "", {{"Authorization", "Bearer " + token}});
  }
  void expectUnauthorized(const HttpAnswer& answer) { expectStatus(answer, 401, "Unauthorized", "Unauthorized"); }
  void allow(const std::string& name, const std::string& rules, const std::string& user) {
    EXPECT_EQ(post("/apis/rbac.authorization.k8s.io/v1/clusterroles",
                   fmt::format(R"({{"metadata":{{"name":"{}"}},"rules":{}}})", name, rules))
                  .status,
              201);
    EXPECT_EQ(
        post(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            fmt::format(
                R"({{"metadata":{{"name":"{0}"}},"roleRef":{{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"{0}"}},
                                   "subjects":[{{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"{1}"}}]}})",
                name, user))
            .status,
        201);
  }
};

TEST_F(HttpAuthTest, withoutACertificate) {
  auto refused = ask("anonymous", "GET", kMaps);
  expectStatus(
      refused, 403, "Forbidden",
      "configmaps is forbidden: User \"system:anonymous\" cannot list resource \"configmaps\" in API group \"\" in the namespace "
      "\"default\"");
  EXPECT_EQ(refused.headers.get("X-Content-Type-Options"), "nosniff");
  expectStatus(ask("anonymous", "GET", "/"), 403, "Forbidden", "forbidden: User \"system:anonymous\" cannot get path \"/\"");
  EXPECT_EQ(ask("anonymous", "GET", "/readyz").status, 200);
  EXPECT_EQ(ask("anonymous", "GET", "/version").status, 200);
}

TEST_F(HttpAuthTest, aCertificateWithoutRights) {
  expectStatus(ask("eve", "GET", "/api/v1/nodes/n"), 403, "Forbidden",
               "nodes \"n\" is forbidden: User \"eve\" cannot get resource \"nodes\" in API group \"\" at the cluster scope");
  expectStatus(
      ask("eve", "DELETE", "/apis/apps/v1/namespaces/default/deployments/web"), 403, "Forbidden",
      "deployments.apps \"web\" is forbidden: User \"eve\" cannot delete resource \"deployments\" in API group \"apps\" in the "
      "namespace \"default\"");
  EXPECT_EQ(ask("eve", "GET", "/api").status, 200);  // system:discovery
}

TEST_F(HttpAuthTest, aCertificateOfAnotherAuthority) {
  expectUnauthorized(ask("stranger", "GET", kMaps));
  expectUnauthorized(ask("stranger", "GET", "/readyz"));
}

TEST_F(HttpAuthTest, aCertificateOutsideItsTime) {
  for (const char* who : {"early", "late"}) expectUnauthorized(ask(who, "GET", kMaps));
  sim_.runFor(std::chrono::hours(2));
  EXPECT_EQ(ask("early", "GET", kMaps).status, 200) << "its hour has come";
}

TEST_F(HttpAuthTest, tokens) {
  std::string token = tokenOf("default", 600);
  expectStatus(
      withToken(token, kMaps), 403, "Forbidden",
      "configmaps is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \"configmaps\" in API group "
      "\"\" in the namespace \"default\"");
  expectUnauthorized(withToken("nonsense", kMaps));
  expectUnauthorized(withToken(token.substr(0, token.size() - 4) + "AAAA", kMaps));
  // Signed by a key of the forger's.
  auto parts = *wire::splitJwt(token);
  expectUnauthorized(withToken(*wire::signJwt(*wire::makeEcKey(), "", parts.payloadJson), kMaps));
  // alg none
  std::string unsignedToken = base64UrlEncode(R"({"alg":"none"})") + "." + base64UrlEncode(parts.payloadJson) + ".";
  expectUnauthorized(withToken(unsignedToken, kMaps));
  expectUnauthorized(withToken(token + std::string(20000, 'x'), kMaps));
  sim_.runFor(std::chrono::seconds(500));
  EXPECT_EQ(withToken(token, kMaps).status, 403);
  sim_.runFor(std::chrono::seconds(200));
  expectUnauthorized(withToken(token, kMaps));
}

// A token of a pod names the pod's node, with its uid while the node is there.
// Source: pkg/registry/core/serviceaccount/storage/token.go.
TEST_F(HttpAuthTest, aPodsTokenNamesTheNode) {
  auto node = post("/api/v1/nodes", R"({"metadata":{"name":"n1"}})");
  ASSERT_EQ(node.status, 201) << node.body;
  for (const char* pod : {"n1", "gone"})
    ASSERT_EQ(
        post("/api/v1/namespaces/default/pods",
             fmt::format(
                 R"({{"metadata":{{"name":"{0}"}},"spec":{{"nodeName":"{0}","containers":[{{"name":"c","image":"i"}}]}}}})", pod))
            .status,
        201);
  auto claimsOf = [&](std::string_view pod) {
    auto answer = post("/api/v1/namespaces/default/serviceaccounts/default/token",
                       fmt::format(R"({{"spec":{{"boundObjectRef":{{"apiVersion":"v1","kind":"Pod","name":"{}"}}}}}})", pod));
    EXPECT_EQ(answer.status, 201) << answer.body;
    return wire::splitJwt(field(answer, "status.token"))->payloadJson;
  };
  EXPECT_NE(claimsOf("n1").find(fmt::format(R"("node":{{"name":"n1","uid":"{}"}})", field(node, "metadata.uid"))),
            std::string::npos)
      << claimsOf("n1");
  EXPECT_NE(claimsOf("gone").find(R"("node":{"name":"gone"})"), std::string::npos) << claimsOf("gone");
}

// Whoever may discover the issuer can check its tokens. Source: pkg/routes/openidmetadata.go.
TEST_F(HttpAuthTest, theIssuersKeysCanBeDiscovered) {
  const std::string document = "/.well-known/openid-configuration", keys = "/openid/v1/jwks";
  std::string token = tokenOf("default", 600);
  auto found = withToken(token, document);
  ASSERT_EQ(found.status, 200) << found.body;
  EXPECT_EQ(found.headers.get("Content-Type"), "application/json");
  EXPECT_EQ(found.headers.get("Cache-Control"), "public, max-age=3600");
  EXPECT_EQ(found.body,
            R"({"issuer":"https://kubernetes.default.svc.cluster.local","jwks_uri":"https://192.0.2.1:6443/openid/v1/jwks",)"
            R"("response_types_supported":["id_token"],"subject_types_supported":["public"],)"
            R"("id_token_signing_alg_values_supported":["ES256"]})");
  auto set = withToken(token, keys);
  ASSERT_EQ(set.status, 200) << set.body;
  EXPECT_EQ(set.headers.get("Content-Type"), "application/jwk-set+json");
  EXPECT_NE(wire::splitJwt(token)->headerJson.find(field(set, "keys.0.kid")), std::string::npos) << set.body;
  EXPECT_EQ(field(set, "keys.0.use"), "sig");
  EXPECT_EQ(ask("anonymous", "GET", keys).status, 403);
  EXPECT_EQ(ask("admin", "POST", document, "{}").status, 405);
  EXPECT_EQ(get(keys, {{"Accept", "application/json"}}).status, 406);
  EXPECT_NE(get("/").body.find(keys), std::string::npos);
}

TEST_F(HttpAuthTest, aTokenDiesWithItsAccount) {
  EXPECT_EQ(post("/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"robot"}})").status, 201);
  std::string token = tokenOf("robot", 3600);
  EXPECT_EQ(withToken(token, kMaps).status, 403);
  EXPECT_EQ(ask("admin", "DELETE", "/api/v1/namespaces/default/serviceaccounts/robot").status, 200);
  expectUnauthorized(withToken(token, kMaps));
}

TEST_F(HttpAuthTest, impersonation) {
  wire::Headers asEve{{"Impersonate-User", "eve"}};
  expectStatus(
      get(kMaps, asEve), 403, "Forbidden",
      "configmaps is forbidden: User \"eve\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"");
  expectStatus(
      ask("eve", "GET", kMaps, "", {{"Impersonate-User", "admin"}, {"Impersonate-Group", "system:masters"}}), 403, "Forbidden",
      "users \"admin\" is forbidden: User \"eve\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope");
  EXPECT_EQ(get(kMaps, {{"Impersonate-Group", "system:masters"}}).status, 400);
  EXPECT_EQ(get(kMaps, {{"Impersonate-Extra-Scopes", "all"}}).status, 400);

  // Each part of an identity needs a right of its own.
  allow("impersonate-users", R"([{"apiGroups":[""],"resources":["users"],"verbs":["impersonate"]}])", "eve");
  EXPECT_EQ(
      field(ask("eve", "GET", kMaps, "", {{"Impersonate-User", "bob"}}), "message"),
      "configmaps is forbidden: User \"bob\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"");
  expectStatus(ask("eve", "GET", kMaps, "", {{"Impersonate-User", "bob"}, {"Impersonate-Group", "system:masters"}}), 403,
               "Forbidden",
               "groups \"system:masters\" is forbidden: User \"eve\" cannot impersonate resource \"groups\" in API group \"\" at "
               "the cluster "
               "scope");
  expectStatus(ask("eve", "GET", kMaps, "", {{"Impersonate-User", "bob"}, {"Impersonate-Uid", "1"}}), 403, "Forbidden",
               "uids.authentication.k8s.io \"1\" is forbidden: User \"eve\" cannot impersonate resource \"uids\" in API group "
               "\"authentication.k8s.io\" at the cluster scope");
  expectStatus(ask("eve", "GET", kMaps, "", {{"Impersonate-User", "bob"}, {"Impersonate-Extra-Scopes", "all"}}), 403, "Forbidden",
               "userextras.authentication.k8s.io \"all\" is forbidden: User \"eve\" cannot impersonate resource "
               "\"userextras/scopes\" in API "
               "group \"authentication.k8s.io\" at the cluster scope");
  expectStatus(ask("eve", "GET", kMaps, "", {{"Impersonate-User", "system:serviceaccount:kube-system:default"}}), 403,
               "Forbidden",
               "serviceaccounts \"default\" is forbidden: User \"eve\" cannot impersonate resource \"serviceaccounts\" in API "
               "group \"\" in "
               "the namespace \"kube-system\"");

  auto review = ask("admin", "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}",
                    {{"Impersonate-User", "system:serviceaccount:default:default"}, {"Impersonate-Extra-Scopes", "a"}});
  EXPECT_EQ(field(review, "status.userInfo.username"), "system:serviceaccount:default:default");
  EXPECT_EQ(field(review, "status.userInfo.groups"),
            R"(["system:serviceaccounts","system:serviceaccounts:default","system:authenticated"])");
  EXPECT_EQ(field(review, "status.userInfo.extra.scopes"), R"(["a"])");
}

TEST_F(HttpAuthTest, execNeedsCreateAlsoForGet) {
  allow("read-exec", R"([{"apiGroups":[""],"resources":["pods/exec"],"verbs":["get"]}])", "eve");
  expectStatus(ask("eve", "GET", "/api/v1/namespaces/default/pods/web/exec?command=sh&stdout=1"), 403, "Forbidden",
               "pods \"web\" is forbidden: User \"eve\" cannot create resource \"pods/exec\" in API group \"\" in the namespace "
               "\"default\"");
}

TEST_F(HttpAuthTest, rightsAreUsedAtOnce) {
  allow("read-maps", R"([{"apiGroups":[""],"resources":["configmaps"],"resourceNames":["one"],"verbs":["get","list"]}])", "eve");
  EXPECT_EQ(ask("eve", "GET", kMaps + "/one").status, 404);
  EXPECT_EQ(ask("eve", "GET", kMaps + "/two").status, 403);
  EXPECT_EQ(ask("eve", "GET", kMaps).status, 403);
  EXPECT_EQ(ask("eve", "GET", kMaps + "?fieldSelector=metadata.name%3Done").status, 200);
  EXPECT_EQ(ask("admin", "DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/read-maps").status, 200);
  EXPECT_EQ(ask("eve", "GET", kMaps + "/one").status, 403);
}

TEST_F(HttpAuthTest, anUpdateThatCreatesNeedsCreateToo) {
  allow("write-leases", R"([{"apiGroups":["coordination.k8s.io"],"resources":["leases"],"verbs":["update","patch"]}])", "eve");
  const std::string lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/one";
  const std::string body = R"({"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"one"}})";
  std::string_view refusal =
      "leases.coordination.k8s.io \"one\" is forbidden: User \"eve\" cannot create resource \"leases\" in API group "
      "\"coordination.k8s.io\" in "
      "the namespace \"default\"";
  expectStatus(ask("eve", "PUT", lease, body), 403, "Forbidden", refusal);
  expectStatus(ask("eve", "PATCH", lease + "?fieldManager=me", body, {{"Content-Type", "application/apply-patch+yaml"}}), 403,
               "Forbidden", refusal);
  EXPECT_EQ(ask("admin", "PUT", lease, body).status, 201);
  EXPECT_EQ(ask("eve", "PATCH", lease, R"({"spec":{"holderIdentity":"eve"}})", {{"Content-Type", "application/merge-patch+json"}})
                .status,
            200);
}

// Nobody gives more than he has. Source: pkg/registry/rbac/escalation_check.go.
TEST_F(HttpAuthTest, rolesGiveNoMoreThanTheirMakerHas) {
  allow(
      "role-maker",
      R"([{"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles","clusterrolebindings"],"verbs":["create","update","patch"]},
                          {"apiGroups":[""],"resources":["pods"],"verbs":["get"]}])",
      "eve");
  const std::string roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
  auto make = [&](const std::string& name, const std::string& rules) {
    return ask("eve", "POST", roles, fmt::format(R"({{"metadata":{{"name":"{}"}},"rules":{}}})", name, rules));
  };
  EXPECT_EQ(make("small", R"([{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}])").status, 201);
  expectStatus(make("large", R"([{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}])"), 403, "Forbidden",
               "clusterroles.rbac.authorization.k8s.io \"large\" is forbidden: user \"eve\" (groups=[\"system:authenticated\"]) "
               "is attempting to "
               "grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}");
  auto bind = ask(
      "eve", "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
      R"({"metadata":{"name":"up"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},
                      "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"eve"}]})");
  EXPECT_EQ(bind.status, 403) << bind.body;
}

}  // namespace
}  // namespace knarr::apiserver
