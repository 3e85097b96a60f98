// The API server over HTTPS, as a client that knows nothing of its inside sees it: what it refuses, and in which words.
#include <fmt/format.h>

#include "apiserver/http_fixture.h"

namespace knarr::apiserver {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string configMap(const std::string& name, const std::string& rest = "") {
  return fmt::format(R"({{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{}"}}{}}})", name, rest);
}

class HttpTest : public HttpFixture {};

// ---- bodies

TEST_F(HttpTest, aTruncatedBody) {
  expectStatus(post(kMaps, R"({"kind":"ConfigMap","metadata":{"name":"x")"), 400, "BadRequest",
               "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
               "unexpected end "
               "of JSON input ({\"kind\":\"ConfigMap\",\"metadata\" ...)");
}

TEST_F(HttpTest, nestingWithoutEnd) {
  for (const std::string& open : {std::string("["), std::string("{\"a\":")}) {
    std::string deep;
    for (int i = 0; i < 100000; ++i) deep += open;
    auto refused = post(kMaps, configMap("deep", ",\"data\":" + deep));
    EXPECT_EQ(refused.status, 400) << refused.failure;
    EXPECT_EQ(field(refused, "reason"), "BadRequest");
    auto skipped = post(kMaps, configMap("deep", ",\"unknown\":" + deep));
    EXPECT_EQ(skipped.status, 400) << skipped.failure;
    auto yaml = ask("admin", "POST", kMaps, "a: " + deep, {{"Content-Type", "application/yaml"}});
    EXPECT_EQ(yaml.status, 400) << yaml.failure;
  }
  EXPECT_EQ(get("/readyz").body, "ok");
}

TEST_F(HttpTest, aBodyOverTheLimit) {
  std::string large(3 * 1024 * 1024 + 1, ' ');
  expectStatus(post(kMaps, large), 413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728");
  expectStatus(ask("admin", "PUT", kMaps + "/x", large), 413, "RequestEntityTooLarge",
               "Request entity too large: limit is 3145728");
  expectStatus(patch(kMaps + "/x", "merge-patch+json", large), 413, "RequestEntityTooLarge",
               "Request entity too large: limit is 3145728");
  expectStatus(ask("admin", "DELETE", kMaps + "/x", large), 413, "RequestEntityTooLarge",
               "Request entity too large: limit is 3145728");
}

TEST_F(HttpTest, invalidUtf8IsReplaced) {
  auto made = post(kMaps, configMap("utf", ",\"data\":{\"k\":\"a\xff\xfe z\"}"));
  EXPECT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(field(made, "data.k"), "a\xef\xbf\xbd\xef\xbf\xbd z");
}

TEST_F(HttpTest, wrongTypesAreNamed) {
  expectStatus(post(kMaps, configMap("x", ",\"data\":5")), 400, "BadRequest",
               "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field "
               "ConfigMap.data "
               "of type map[string]string");
  expectStatus(
      post(kMaps, R"({"kind":"Pod","apiVersion":"v1"})"), 400, "BadRequest",
      "Pod in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion");
  expectStatus(post(kMaps, R"({"kind":"ConfigMap","apiVersion":"apps/v1"})"), 400, "BadRequest",
               "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version "
               "\"apps/v1\" in scheme "
               "\"pkg/api/legacyscheme/scheme.go:30\"");
}

TEST_F(HttpTest, contentTypes) {
  auto wrong = ask("admin", "POST", kMaps, configMap("x"), {{"Content-Type", "text/plain"}});
  expectStatus(
      wrong, 415, "UnsupportedMediaType",
      "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, "
      "application/vnd.kubernetes.protobuf");
  expectStatus(patch(kMaps + "/x", "json", "{}"), 415, "UnsupportedMediaType", "415: Unsupported Media Type");
  auto yaml =
      ask("admin", "POST", kMaps, "metadata:\n  name: yaml\ndata:\n  on: \"yes\"\n", {{"Content-Type", "application/yaml"}});
  EXPECT_EQ(yaml.status, 201) << yaml.body;
}

TEST_F(HttpTest, fieldValidation) {
  std::string body = configMap("strict", R"(,"daata":{"a":"b"},"data":{"k":"1","k":"2"})");
  expectStatus(post(kMaps + "?fieldValidation=Strict", body), 400, "BadRequest",
               "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"daata\", "
               "duplicate field "
               "\"data.k\"");
  auto warned = post(kMaps + "?fieldValidation=Warn&dryRun=All", body);
  EXPECT_EQ(warned.status, 201) << warned.body;
  auto warnings = warned.headers.all("Warning");
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_EQ(warnings[0], "299 - \"unknown field \\\"daata\\\"\"");
  EXPECT_EQ(warnings[1], "299 - \"duplicate field \\\"data.k\\\"\"");
  auto ignored = post(kMaps + "?fieldValidation=Ignore&dryRun=All", body);
  EXPECT_EQ(ignored.status, 201);
  EXPECT_FALSE(ignored.headers.contains("Warning"));
  EXPECT_EQ(field(ignored, "data.k"), "2");
  expectStatus(post(kMaps + "?fieldValidation=Maybe", body), 422, "Invalid",
               "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Maybe\": supported values: "
               "\"\", \"Ignore\", "
               "\"Strict\", \"Warn\"");
}

TEST_F(HttpTest, protobufBothWays) {
  auto decoded =
      codec::decodeJson(*schema::findResource("", "v1", "configmaps", "")->type, configMap("proto", R"(,"data":{"a":"b"})"));
  std::string bytes = codec::encodeProtobuf(decoded->object.object());
  wire::Headers headers{{"Content-Type", "application/vnd.kubernetes.protobuf"},
                        {"Accept", "application/vnd.kubernetes.protobuf"}};
  auto made = ask("admin", "POST", kMaps, bytes, headers);
  EXPECT_EQ(made.status, 201);
  EXPECT_EQ(made.headers.get("Content-Type"), "application/vnd.kubernetes.protobuf");
  EXPECT_TRUE(made.body.starts_with(std::string_view("k8s\0", 4)));
  EXPECT_EQ(field(get(kMaps + "/proto"), "data.a"), "b");
  auto absent = ask("admin", "GET", kMaps + "/absent", "", headers);
  EXPECT_EQ(absent.status, 404);
  EXPECT_EQ(absent.headers.get("Content-Type"), "application/vnd.kubernetes.protobuf");
  for (size_t cut : {size_t{0}, size_t{3}, size_t{4}, size_t{9}, bytes.size() - 1}) {
    auto refused =
        ask("admin", "POST", kMaps, bytes.substr(0, cut) + "\xff", {{"Content-Type", "application/vnd.kubernetes.protobuf"}});
    EXPECT_EQ(refused.status, 400) << cut << refused.body;
  }
}

// ---- paths, methods, forms

TEST_F(HttpTest, unknownPathsAndResources) {
  for (const char* path : {"/nothing", "/api/v2/pods", "/apis/nothing.example.com/v1/things", "/openapi/v3/apis/nothing/v1"}) {
    auto answer = get(path);
    EXPECT_EQ(answer.status, 404) << path;
    EXPECT_EQ(answer.body, "404 page not found\n") << path;
    EXPECT_EQ(answer.headers.get("X-Content-Type-Options"), "nosniff");
  }
  expectStatus(get("/api/v1/unicorns"), 404, "NotFound", "the server could not find the requested resource");
  expectStatus(get("/api/v1/namespaces/default/pods/x/unicorn"), 404, "NotFound",
               "the server could not find the requested resource");
  expectStatus(get(kMaps + "/absent"), 404, "NotFound", "configmaps \"absent\" not found");
}

TEST_F(HttpTest, methods) {
  const std::string kPod = "/api/v1/namespaces/default/pods/x";
  for (const auto& [method, target] : std::vector<std::pair<std::string, std::string>>{{"PUT", kMaps},
                                                                                       {"POST", "/api/v1/configmaps"},
                                                                                       {"POST", kMaps + "/x"},
                                                                                       {"DELETE", "/api/v1/configmaps"},
                                                                                       {"DELETE", kPod + "/log"},
                                                                                       {"POST", kPod + "/log"},
                                                                                       {"PUT", kPod + "/exec"},
                                                                                       {"BREW", kMaps}}) {
    auto answer = ask("admin", method, target, configMap("x"));
    SCOPED_TRACE(method + " " + target);
    expectStatus(answer, 405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
  }
  EXPECT_EQ(ask("admin", "HEAD", kMaps).status, 405);
}

TEST_F(HttpTest, acceptHeaders) {
  const std::string types = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
  const std::string streams = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
  // The router refuses what no clause names, the handler what a clause asks for too much.
  expectStatus(get(kMaps, {{"Accept", "text/html"}}), 406, "NotAcceptable",
               "406: Not Acceptable\n\nAvailable representations: " + types + streams);
  expectStatus(get(kMaps + "/x", {{"Accept", "application/*"}}), 406, "NotAcceptable",
               "406: Not Acceptable\n\nAvailable representations: " + types);
  expectStatus(get(kMaps, {{"Accept", "application/json;as=Nonsense;g=meta.k8s.io;v=v1"}}), 406, "NotAcceptable",
               "only the following media types are accepted: " + types);
  EXPECT_EQ(get(kMaps, {{"Accept", "text/html, */*;q=0.1"}}).status, 200);
  EXPECT_EQ(get(kMaps, {{"Accept", "application/yaml"}}).headers.get("Content-Type"), "application/yaml");
  EXPECT_EQ(get(kMaps, {{"Accept", "application/json;as=Nonsense;g=meta.k8s.io;v=v1"}}).status, 406);
}

TEST_F(HttpTest, tablesAndPartialObjects) {
  EXPECT_EQ(post(kMaps, configMap("table", R"(,"data":{"a":"b","c":"d"})")).status, 201);
  auto table = get(kMaps, {{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}});
  EXPECT_EQ(field(table, "kind"), "Table");
  EXPECT_EQ(field(table, "apiVersion"), "meta.k8s.io/v1");
  EXPECT_EQ(field(table, "columnDefinitions.1.name"), "Data");
  EXPECT_EQ(field(table, "rows.0.cells.0"), "table");
  EXPECT_EQ(field(table, "rows.0.cells.1"), "2");
  EXPECT_EQ(field(table, "rows.0.object.kind"), "PartialObjectMetadata");
  auto bare = get(kMaps + "?includeObject=None", {{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}});
  EXPECT_EQ(field(bare, "rows.0.object"), "null");
  // What is no object of the store has no table.
  expectStatus(post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                    R"({"spec":{"nonResourceAttributes":{"path":"/","verb":"get"}}})",
                    {{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}, {"Content-Type", "application/json"}}),
               406, "NotAcceptable",
               "only the following media types are accepted: application/json, application/yaml, "
               "application/vnd.kubernetes.protobuf");
  expectStatus(get(kMaps + "?includeObject=Some", {{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}}), 400,
               "BadRequest",
               "Unable to convert to Table as requested: includeObject: Invalid value: \"Some\": must be 'Metadata', 'Object', "
               "'None', or empty");
  auto partial = get(kMaps, {{"Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}});
  EXPECT_EQ(field(partial, "kind"), "PartialObjectMetadataList");
  EXPECT_EQ(field(partial, "items.0.metadata.name"), "table");
  EXPECT_EQ(field(partial, "items.0.data"), "");
  auto one = get(kMaps + "/table", {{"Accept", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}});
  EXPECT_EQ(field(one, "kind"), "PartialObjectMetadata");
}

TEST_F(HttpTest, selectorsAndOptions) {
  expectStatus(get(kMaps + "?labelSelector=a%20in%20b"), 400, "BadRequest",
               "unable to parse requirement: found 'b' expected: '('");
  expectStatus(get(kMaps + "?fieldSelector=data.a%3Db"), 400, "BadRequest",
               "\"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
  expectStatus(get("/api/v1/pods?fieldSelector=spec.nothing%3Db"), 400, "BadRequest", "field label not supported: spec.nothing");
  EXPECT_EQ(get("/api/v1/pods?fieldSelector=status.podIPs%3D10.0.0.1").status, 200);
  expectStatus(get(kMaps + "?limit=x"), 400, "BadRequest", "strconv.ParseInt: parsing \"x\": invalid syntax");
  expectStatus(get(kMaps + "?continue=%21"), 400, "BadRequest",
               "invalid continue token: continue key is not valid: illegal base64 data at input byte 0");
  expectStatus(
      get(kMaps + "?resourceVersionMatch=Exact"), 422, "Invalid",
      "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless "
      "resourceVersion is provided");
  expectStatus(
      get(kMaps + "?resourceVersion=x"), 400, "BadRequest",
      "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax");
  expectStatus(
      get(kMaps + "?resourceVersion=999999"), 504, "Timeout",
      fmt::format("Timeout: Too large resource version: 999999, current: {}", field(get(kMaps), "metadata.resourceVersion")));
  EXPECT_EQ(get(kMaps + "?labelSelector=%zz").status, 400);
}

TEST_F(HttpTest, pages) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(post(kMaps, configMap(fmt::format("page-{}", i))).status, 201);
  auto first = get(kMaps + "?limit=2");
  EXPECT_EQ(field(first, "items.1.metadata.name"), "page-1");
  EXPECT_EQ(field(first, "metadata.remainingItemCount"), "3");
  std::string token = field(first, "metadata.continue");
  EXPECT_FALSE(token.empty());
  EXPECT_EQ(post(kMaps, configMap("page-2a")).status, 201);
  auto second = get(kMaps + "?limit=9&continue=" + token);
  EXPECT_EQ(field(second, "items.2.metadata.name"), "page-4") << second.body;
  EXPECT_EQ(field(second, "metadata.resourceVersion"), field(first, "metadata.resourceVersion"));
}

}  // namespace
}  // namespace knarr::apiserver
