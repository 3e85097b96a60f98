// Objects over HTTPS: what is served, how they come, change and go, and how they are watched.
#include <fmt/format.h>

#include "apiserver/http_fixture.h"
#include "base/strings.h"
#include "wire/websocket.h"

namespace knarr::apiserver {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string configMap(const std::string& name, const std::string& rest = "") {
  return fmt::format(R"({{"metadata":{{"name":"{}"}}{}}})", name, rest);
}

class HttpLifeTest : public HttpFixture {};

// ---- what is served

TEST_F(HttpLifeTest, legacyDiscovery) {
  auto versions = get("/api");
  EXPECT_EQ(field(versions, "kind"), "APIVersions");
  EXPECT_EQ(field(versions, "versions"), R"(["v1"])");
  auto groups = get("/apis");
  EXPECT_EQ(field(groups, "kind"), "APIGroupList");
  EXPECT_NE(groups.body.find(R"("groupVersion":"apps/v1")"), std::string::npos);
  EXPECT_EQ(field(get("/apis/apps"), "preferredVersion.groupVersion"), "apps/v1");
  auto core = get("/api/v1");
  EXPECT_EQ(field(core, "kind"), "APIResourceList");
  EXPECT_EQ(field(core, "groupVersion"), "v1");
  EXPECT_EQ(field(core, "resources.0.name"), "bindings");
  EXPECT_EQ(field(get("/version"), "minor"), "36");
}

TEST_F(HttpLifeTest, aggregatedDiscovery) {
  wire::Headers accept{{"Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}};
  auto groups = get("/apis", accept);
  EXPECT_EQ(groups.headers.get("Content-Type"), "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
  EXPECT_EQ(groups.headers.get("Vary"), "Accept");
  EXPECT_EQ(field(groups, "kind"), "APIGroupDiscoveryList");
  EXPECT_EQ(field(get("/api", accept), "items.0.versions.0.version"), "v1");
  std::string tag(groups.headers.get("ETag"));
  EXPECT_GT(tag.size(), 2u);
  accept.add("If-None-Match", tag);
  auto same = get("/apis", accept);
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(same.body, "");
}

TEST_F(HttpLifeTest, openApi) {
  auto index = get("/openapi/v3");
  Arena arena;
  std::string url = field(index, "paths.apis/apps/v1.serverRelativeURL");
  ASSERT_TRUE(url.starts_with("/openapi/v3/apis/apps/v1?hash=")) << index.body.substr(0, 300);
  auto document = get(url);
  EXPECT_EQ(document.status, 200);
  EXPECT_EQ(document.headers.get("Cache-Control"), "public, immutable");
  EXPECT_NE(document.body.find("io.k8s.api.apps.v1.Deployment"), std::string::npos);
  std::string tag(document.headers.get("ETag"));
  EXPECT_EQ(tag, "\"" + url.substr(url.find("hash=") + 5) + "\"");
  EXPECT_EQ(get("/openapi/v3/apis/apps/v1", {{"If-None-Match", tag}}).status, 304);
  auto moved = get("/openapi/v3/apis/apps/v1?hash=OLD");
  EXPECT_EQ(moved.status, 301);
  EXPECT_EQ(moved.headers.get("Location"), url);
}

TEST_F(HttpLifeTest, openApiV2) {
  auto json = get("/openapi/v2");
  EXPECT_EQ(json.status, 200);
  EXPECT_EQ(json.headers.get("Content-Type"), "application/json");
  EXPECT_EQ(field(json, "swagger"), "2.0");
  std::string tag(json.headers.get("ETag"));
  EXPECT_EQ(get("/openapi/v2", {{"If-None-Match", tag}}).status, 304);
  for (const char* asked : {"application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
                            "application/com.github.proto-openapi.spec.v2.v1.0+protobuf, application/json;q=0.5"}) {
    auto protobuf = get("/openapi/v2", {{"Accept", asked}});
    EXPECT_EQ(protobuf.status, 200) << asked;
    EXPECT_EQ(protobuf.headers.get("Content-Type"), "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    EXPECT_TRUE(
        protobuf.body.starts_with("\n\x03"
                                  "2.0"))
        << asked;
    EXPECT_NE(protobuf.headers.get("ETag"), tag);
  }
  EXPECT_EQ(get("/openapi/v2", {{"Accept", "text/html"}}).status, 406);
}

// ---- watches over WebSockets

struct WebSocketAnswer {
  int refused = 0;
  std::string subprotocol;
  std::vector<wire::WebSocketMessage> messages;
  uint16_t closeCode = 0;
};
async::Task<void> readWebSocket(env::Env environment, wire::HttpClient* client, std::string target, std::string accept,
                                std::vector<std::string> subprotocols, WebSocketAnswer* out) {
  wire::ClientRequest request;
  request.target = std::move(target);
  if (!accept.empty()) request.headers.add("Accept", accept);
  auto dialed = co_await wire::dialWebSocket(environment, client, std::move(request), std::move(subprotocols));
  EXPECT_TRUE(dialed) << dialed.error().describe();
  if (!dialed) co_return;
  if (!dialed->socket) {
    out->refused = dialed->refusal.status;
    co_return;
  }
  out->subprotocol = dialed->socket->subprotocol();
  for (;;) {
    auto message = co_await dialed->socket->receive();
    if (!message || !*message) break;
    out->messages.push_back(std::move(**message));
  }
  out->closeCode = dialed->socket->closeCode();
  (void)co_await dialed->socket->close(1000, "");
}

TEST_F(HttpLifeTest, watchesGoOverWebSockets) {
  post(kMaps, configMap("seen"));
  const std::string target = kMaps + "?watch=1&timeoutSeconds=5&fieldSelector=metadata.name%3Dseen";
  WebSocketAnswer json, protobuf, two;
  run(readWebSocket(env_, clients_.at("admin").get(), target, "", {"any.example.com"}, &json));
  EXPECT_EQ(json.subprotocol, "any.example.com");
  ASSERT_EQ(json.messages.size(), 1u);
  EXPECT_EQ(json.messages[0].opcode, wire::WebSocketMessage::Text);
  EXPECT_TRUE(json.messages[0].bytes.starts_with(R"({"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1",)"));
  EXPECT_EQ(json.closeCode, 1000);

  run(readWebSocket(env_, clients_.at("admin").get(), target, "application/vnd.kubernetes.protobuf;stream=watch", {}, &protobuf));
  ASSERT_EQ(protobuf.messages.size(), 1u);
  EXPECT_EQ(protobuf.messages[0].opcode, wire::WebSocketMessage::Binary);
  EXPECT_TRUE(
      protobuf.messages[0].bytes.starts_with("\x0a\x05"
                                             "ADDED\x12"))
      << "a message has a length of its own";

  // As upstream's library: the server has no choice among several.
  run(readWebSocket(env_, clients_.at("admin").get(), target, "", {"a", "b"}, &two));
  EXPECT_EQ(two.refused, 400);
}

// ---- how objects come, change and go

TEST_F(HttpLifeTest, servicesChangeTheirType) {
  const std::string services = "/api/v1/namespaces/default/services", target = services + "/s";
  auto made = post(services, R"({"metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"port":80}]}})");
  std::string address = field(made, "spec.clusterIP");
  EXPECT_NE(address, "");
  EXPECT_NE(field(made, "spec.ports.0.nodePort"), "");
  auto named = patch(target, "merge-patch+json", R"({"spec":{"type":"ExternalName","externalName":"a.example.com"}})");
  EXPECT_EQ(named.status, 200) << named.body;
  for (const char* path : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "externalTrafficPolicy",
                           "internalTrafficPolicy", "ports.0.nodePort"})
    EXPECT_EQ(field(named, std::string("spec.") + path), "") << path;
  auto back = patch(target, "merge-patch+json", R"({"spec":{"type":"ClusterIP"}})");
  EXPECT_EQ(back.status, 200) << back.body;
  EXPECT_NE(field(back, "spec.clusterIP"), "");
  auto emptied = patch(target, "merge-patch+json", R"({"spec":{"type":"ExternalName","clusterIP":""}})");
  EXPECT_EQ(emptied.status, 200) << emptied.body;
  EXPECT_EQ(field(emptied, "spec.clusterIPs"), "");
  // One that is asked for is a mistake.
  auto wrong = patch(target, "merge-patch+json", R"({"spec":{"clusterIP":"10.0.0.7"}})");
  EXPECT_EQ(wrong.status, 422);
}

TEST_F(HttpLifeTest, dryRunStoresNothing) {
  auto made = post(kMaps + "?dryRun=All", configMap("dry"));
  EXPECT_EQ(made.status, 201);
  EXPECT_NE(field(made, "metadata.uid"), "");
  EXPECT_EQ(field(made, "metadata.resourceVersion"), "");
  EXPECT_EQ(get(kMaps + "/dry").status, 404);
  EXPECT_EQ(post(kMaps, configMap("dry")).status, 201);
  EXPECT_EQ(post(kMaps + "?dryRun=All", configMap("dry")).status, 409);
  EXPECT_EQ(field(patch(kMaps + "/dry?dryRun=All", "merge-patch+json", R"({"data":{"a":"b"}})"), "data.a"), "b");
  EXPECT_EQ(field(get(kMaps + "/dry"), "data"), "");
  EXPECT_EQ(ask("admin", "DELETE", kMaps + "/dry?dryRun=All").status, 200);
  EXPECT_EQ(get(kMaps + "/dry").status, 200);
  expectStatus(post(kMaps + "?dryRun=Some", configMap("x")), 422, "Invalid",
               "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"");
  expectStatus(ask("admin", "DELETE", kMaps + "/dry?dryRun=Some"), 422, "Invalid",
               "DeleteOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"");
  EXPECT_EQ(get(kMaps + "/dry").status, 200);
}

TEST_F(HttpLifeTest, aSecretsTextBecomesData) {
  const std::string secrets = "/api/v1/namespaces/default/secrets";
  auto made = post(secrets, R"({"metadata":{"name":"s"},"data":{"a":"b2xk","b":"a2VwdA=="},"stringData":{"a":"new"}})");
  EXPECT_EQ(made.status, 201) << made.body;
  auto read = get(secrets + "/s");
  EXPECT_EQ(field(read, "data.a"), "bmV3");
  EXPECT_EQ(field(read, "data.b"), "a2VwdA==");
  EXPECT_EQ(read.body.find("stringData"), std::string::npos);
}

TEST_F(HttpLifeTest, names) {
  auto generated = post(kMaps, R"({"metadata":{"generateName":"made-"}})");
  EXPECT_EQ(generated.status, 201);
  EXPECT_TRUE(field(generated, "metadata.name").starts_with("made-"));
  EXPECT_EQ(field(generated, "metadata.name").size(), 10u);
  expectStatus(post(kMaps, "{}"), 422, "Invalid",
               "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required");
  EXPECT_EQ(post(kMaps, configMap("..")).status, 422);
  EXPECT_EQ(post(kMaps, configMap("Not_A_Name")).status, 422);
  expectStatus(post(kMaps, R"({"metadata":{"name":"x","namespace":"other"}})"), 400, "BadRequest",
               "the namespace of the provided object does not match the namespace sent on the request");
  EXPECT_EQ(post(kMaps, configMap("x")).status, 201);
  expectStatus(post(kMaps, configMap("x")), 409, "AlreadyExists", "configmaps \"x\" already exists");
  expectStatus(ask("admin", "PUT", kMaps + "/x", configMap("y")), 400, "BadRequest",
               "the name of the object (y) does not match the name on the URL (x)");
  expectStatus(post("/api/v1/namespaces/absent/configmaps", configMap("x")), 404, "NotFound", "namespaces \"absent\" not found");
}

TEST_F(HttpLifeTest, updatesAndPatches) {
  auto made = post(kMaps, configMap("up", R"(,"data":{"a":"1"})"));
  std::string version = field(made, "metadata.resourceVersion");
  auto same = ask("admin", "PUT", kMaps + "/up", configMap("up", R"(,"data":{"a":"1"})"));
  EXPECT_EQ(field(same, "metadata.resourceVersion"), version);  // nothing changed, nothing is written
  EXPECT_EQ(patch(kMaps + "/up", "merge-patch+json", R"({"data":{"a":"2"}})").status, 200);
  std::string stale = fmt::format(R"({{"metadata":{{"name":"up","resourceVersion":"{}"}}}})", version);
  expectStatus(
      ask("admin", "PUT", kMaps + "/up", stale), 409, "Conflict",
      "Operation cannot be fulfilled on configmaps \"up\": the object has been modified; please apply your changes to the latest "
      "version and try again");
  EXPECT_EQ(patch(kMaps + "/up", "json-patch+json", R"([{"op":"test","path":"/data/a","value":"9"}])").status, 422);
  EXPECT_EQ(patch(kMaps + "/up", "json-patch+json", "{").status, 400);
  EXPECT_EQ(field(patch(kMaps + "/up", "json-patch+json", R"([{"op":"add","path":"/data/b","value":"3"}])"), "data.b"), "3");
  expectStatus(patch(kMaps + "/up", "apply-patch+yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: up}\n"), 422,
               "Invalid", "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
  auto conflict = patch(kMaps + "/up?fieldManager=me", "apply-patch+yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: up}\ndata: {a: \"5\"}\n");
  EXPECT_EQ(conflict.status, 409);
  EXPECT_EQ(field(conflict, "details.causes.0.field"), ".data.a");
  auto forced = patch(kMaps + "/up?fieldManager=me&force=true", "apply-patch+yaml",
                      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: up}\ndata: {a: \"5\"}\n");
  EXPECT_EQ(field(forced, "data.a"), "5") << forced.body;
  auto created =
      patch(kMaps + "/fresh?fieldManager=me", "apply-patch+yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fresh}\n");
  EXPECT_EQ(created.status, 201) << created.body;
}

TEST_F(HttpLifeTest, ownersAreNamedOnce) {
  const std::string one = R"({"apiVersion":"v1","kind":"Pod","name":"a","uid":"u1"})",
                    other = R"({"apiVersion":"v1","controller":true,"kind":"Pod","name":"a","uid":"u1"})";
  const std::string warning =
      "299 - \".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject "
      "such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u1, u1\"";
  auto body = [&](const std::string& owners) {
    return fmt::format(R"({{"metadata":{{"name":"owned","ownerReferences":[{}]}}}})", owners);
  };
  auto owners = [&](const HttpAnswer& answer) { return field(answer, "metadata.ownerReferences"); };
  auto made = post(kMaps, body(one + "," + one + "," + other + "," + one));
  EXPECT_EQ(owners(made), "[" + one + "," + other + "]") << "the same uid with other fields is no duplicate";
  EXPECT_EQ(made.headers.get("Warning"), warning);
  auto updated = ask("admin", "PUT", kMaps + "/owned", body(one + "," + one));
  EXPECT_EQ(owners(updated), "[" + one + "]");
  EXPECT_EQ(updated.headers.all("Warning").size(), 1u);
  auto patched = patch(kMaps + "/owned", "merge-patch+json", body(other + "," + other));
  EXPECT_EQ(owners(patched), "[" + other + "]");
  EXPECT_NE(patched.headers.get("Warning").find("duplicate entries after mutating admission happens; "), std::string::npos);
}

TEST_F(HttpLifeTest, deletePreconditions) {
  std::string uid = field(post(kMaps, configMap("gone")), "metadata.uid");
  auto wrong =
      ask("admin", "DELETE", kMaps + "/gone", R"({"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"other"}})");
  EXPECT_EQ(wrong.status, 409);
  EXPECT_NE(
      field(wrong, "message").find(fmt::format("the UID in the precondition (other) does not match the UID in record ({})", uid)),
      std::string::npos);
  EXPECT_EQ(ask("admin", "DELETE", kMaps + "/gone?propagationPolicy=Sideways").status, 422);
  auto gone = ask("admin", "DELETE", kMaps + "/gone", fmt::format(R"({{"preconditions":{{"uid":"{}"}}}})", uid));
  EXPECT_EQ(field(gone, "status"), "Success") << gone.body;
  EXPECT_EQ(field(gone, "details.uid"), uid);
  expectStatus(ask("admin", "DELETE", kMaps + "/gone"), 404, "NotFound", "configmaps \"gone\" not found");
}

TEST_F(HttpLifeTest, finalizersHoldAnObject) {
  EXPECT_EQ(post(kMaps, R"({"metadata":{"name":"held","finalizers":["example.com/hold"]}})").status, 201);
  auto held = ask("admin", "DELETE", kMaps + "/held");
  EXPECT_NE(field(held, "metadata.deletionTimestamp"), "");
  EXPECT_EQ(get(kMaps + "/held").status, 200);
  EXPECT_EQ(
      patch(kMaps + "/held", "merge-patch+json", R"({"metadata":{"finalizers":["example.com/hold","example.com/more"]}})").status,
      422);
  EXPECT_EQ(patch(kMaps + "/held", "merge-patch+json", R"({"metadata":{"finalizers":null}})").status, 200);
  EXPECT_EQ(get(kMaps + "/held").status, 404);
}

TEST_F(HttpLifeTest, deleteCollection) {
  for (const char* name : {"c-1", "c-2"})
    EXPECT_EQ(post(kMaps, fmt::format(R"({{"metadata":{{"name":"{}","labels":{{"c":"y"}}}}}})", name)).status, 201);
  EXPECT_EQ(post(kMaps, configMap("stays")).status, 201);
  auto gone = ask("admin", "DELETE", kMaps + "?labelSelector=c%3Dy");
  EXPECT_EQ(field(gone, "kind"), "ConfigMapList");
  EXPECT_EQ(field(get(kMaps), "items.0.metadata.name"), "stays");
}

TEST_F(HttpLifeTest, namespaces) {
  const std::string all = "/api/v1/namespaces";
  EXPECT_EQ(post(all, R"({"metadata":{"name":"tour"}})").status, 201);
  EXPECT_EQ(field(get(all + "/tour"), "status.phase"), "Active");
  auto marked = ask("admin", "DELETE", all + "/tour");
  EXPECT_EQ(field(marked, "status.phase"), "Terminating");
  EXPECT_EQ(field(marked, "metadata.deletionGracePeriodSeconds"), "");
  expectStatus(post(all + "/tour/configmaps", configMap("late")), 403, "Forbidden",
               "configmaps \"late\" is forbidden: unable to create new content in namespace tour because it is being terminated");
  auto current = get(all + "/tour");
  // The controller has emptied it and takes its finalizer away: with that the namespace is gone.
  auto finalized = ask("admin", "PUT", all + "/tour/finalize",
                       R"({"kind":"Namespace","apiVersion":"v1","metadata":{"name":"tour"},"spec":{}})");
  EXPECT_EQ(finalized.status, 200) << finalized.body;
  EXPECT_EQ(get(all + "/tour").status, 404);
  expectStatus(ask("admin", "DELETE", all + "/kube-system"), 403, "Forbidden",
               "namespaces \"kube-system\" is forbidden: this namespace may not be deleted");
}

// ---- how they are watched

TEST_F(HttpLifeTest, aWatchFromARevision) {
  std::string version = field(post(kMaps, configMap("w-1")), "metadata.resourceVersion");
  EXPECT_EQ(post(kMaps, configMap("w-2")).status, 201);
  EXPECT_EQ(ask("admin", "DELETE", kMaps + "/w-1").status, 200);
  auto events = readUntil(kMaps + "?watch=1&resourceVersion=" + version, "DELETED");
  auto lines = split(events.body, '\n');
  ASSERT_EQ(lines.size(), 3u) << events.body;
  EXPECT_TRUE(lines[0].starts_with(R"({"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"w-2")"));
  EXPECT_TRUE(
      lines[1].starts_with(R"({"type":"DELETED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"w-1")"));
}

TEST_F(HttpLifeTest, initialEventsAndBookmarks) {
  EXPECT_EQ(post(kMaps, configMap("i-1")).status, 201);
  auto events =
      readUntil(kMaps + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", "BOOKMARK");
  auto lines = split(events.body, '\n');
  ASSERT_EQ(lines.size(), 3u) << events.body;
  EXPECT_TRUE(lines[0].starts_with(R"({"type":"ADDED")"));
  EXPECT_TRUE(lines[1].starts_with(R"({"type":"BOOKMARK")"));
  EXPECT_NE(lines[1].find(R"("k8s.io/initial-events-end":"true")"), std::string_view::npos);
  // A minute later the watcher is told how far the world has come.
  auto later = readUntil(kMaps + "?watch=1&resourceVersion=" + field(get(kMaps), "metadata.resourceVersion") +
                             "&allowWatchBookmarks=true&timeoutSeconds=100",
                         "BOOKMARK");
  EXPECT_EQ(later.failure, "");
  expectStatus(get(kMaps + "?watch=1&sendInitialEvents=true"), 422, "Invalid",
               "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting "
               "resourceVersionMatch to NotOlderThan");
}

TEST_F(HttpLifeTest, aWatchEndsAtItsTime) {
  auto before = env_.clock.now();
  auto events = get(kMaps + "?watch=1&resourceVersion=" + field(get(kMaps), "metadata.resourceVersion") + "&timeoutSeconds=7");
  EXPECT_EQ(events.status, 200);
  EXPECT_EQ(events.body, "");
  EXPECT_EQ(std::chrono::round<std::chrono::seconds>(env_.clock.now() - before).count(), 7);
}

TEST_F(HttpLifeTest, revisionsThatAreGone) {
  EXPECT_EQ(post(kMaps, configMap("kept", R"(,"data":{"a":"b"})")).status, 201);
  restart();  // a server remembers no events of its predecessor
  EXPECT_EQ(field(get(kMaps + "/kept"), "data.a"), "b");
  auto events = get(kMaps + "?watch=1&resourceVersion=1");
  EXPECT_EQ(events.status, 200);
  EXPECT_EQ(field(events, "type"), "ERROR") << events.body;
  EXPECT_EQ(field(events, "object.code"), "410");
  EXPECT_EQ(field(events, "object.reason"), "Expired");
  EXPECT_TRUE(field(events, "object.message").starts_with("too old resource version: 1 ("));
}

TEST_F(HttpLifeTest, selectorsTurnChangesIntoComingAndGoing) {
  std::string version = field(post(kMaps, R"({"metadata":{"name":"s","labels":{"c":"n"}}})"), "metadata.resourceVersion");
  for (const char* value : {"y", "z"})
    EXPECT_EQ(patch(kMaps + "/s", "merge-patch+json", fmt::format(R"({{"metadata":{{"labels":{{"c":"{}"}}}}}})", value)).status,
              200);
  auto events = readUntil(kMaps + "?watch=1&labelSelector=c%3Dy&resourceVersion=" + version, "DELETED");
  auto lines = split(events.body, '\n');
  ASSERT_EQ(lines.size(), 3u) << events.body;
  EXPECT_TRUE(lines[0].starts_with(R"({"type":"ADDED")"));
  EXPECT_TRUE(lines[1].starts_with(R"({"type":"DELETED")"));
  EXPECT_NE(lines[1].find(R"("labels":{"c":"y"})"), std::string_view::npos);
}

}  // namespace
}  // namespace knarr::apiserver
