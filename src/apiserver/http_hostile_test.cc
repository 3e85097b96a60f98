// What no client should send, over HTTPS: each is refused in upstream's words, costs bounded memory and changes nothing.
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

#include "api/meta_v1.h"
#include "apiserver/http_fixture.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

using async::Task;

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string configMap(const std::string& name, const std::string& rest = "") {
  return fmt::format(R"({{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{}"}}{}}})", name, rest);
}

size_t residentBytes() {
  std::ifstream statm("/proc/self/statm");
  size_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

class HttpHostileTest : public HttpFixture {
 protected:
  void SetUp() override { before_ = state(); }
  // Nothing that is refused leaves a trace.
  void TearDown() override {
    EXPECT_EQ(state(), before_);
    EXPECT_EQ(get("/readyz").body, "ok");
  }
  std::string state() { return field(get("/api/v1/configmaps"), "items") + field(get("/api/v1/namespaces"), "items"); }

  std::string before_;
};

struct Pour {
  size_t left;
  size_t poured = 0;
};
Task<Result<std::optional<std::string>>> pourPiece(std::shared_ptr<Pour> pour) {
  constexpr size_t kPiece = size_t{256} << 10;
  if (pour->left == 0) co_return std::optional<std::string>();
  size_t size = std::min(kPiece, pour->left);
  pour->left -= size;
  pour->poured += size;
  co_return std::optional<std::string>(std::string(size, ' '));
}

TEST_F(HttpHostileTest, aBodyOf200MegabytesIsRefusedEarly) {
  for (bool announced : {true, false}) {
    auto pour = std::make_shared<Pour>(Pour{size_t{200} << 20});
    size_t resident = residentBytes();
    wire::ClientRequest request;
    request.method = "POST";
    request.target = kMaps;
    request.headers = {{"Content-Type", "application/json"}};
    if (announced) request.headers.add("Content-Length", fmt::format("{}", pour->left));
    request.bodyStream = [pour] { return pourPiece(pour); };
    auto answer = send("admin", std::move(request), "");
    SCOPED_TRACE(announced ? "with its length" : "in pieces");
    expectStatus(answer, 413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728");
    EXPECT_LT(pour->poured, size_t{32} << 20) << "read on after it was too much";
    EXPECT_LT(residentBytes(), resident + (size_t{48} << 20));
  }
}

std::string varint(size_t n) {
  std::string out;
  for (; n >= 0x80; n >>= 7) out += static_cast<char>((n & 0x7f) | 0x80);
  return out + static_cast<char>(n);
}
// A protobuf field of bytes.
std::string bytesField(size_t tag, std::string_view content) {
  return varint(tag << 3 | 2) + varint(content.size()) + std::string(content);
}

TEST_F(HttpHostileTest, protobufNestedWithoutEnd) {
  // The schema of a custom resource holds schemas: not.not.not...
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep = bytesField(28, deep);
  std::string definition = bytesField(2, bytesField(7, bytesField(4, bytesField(1, deep))));
  auto envelope = [](std::string_view apiVersion, std::string_view kind, std::string_view raw) {
    return std::string("k8s\0", 4) + bytesField(1, bytesField(1, apiVersion) + bytesField(2, kind)) + bytesField(2, raw);
  };
  wire::Headers headers{{"Content-Type", "application/vnd.kubernetes.protobuf"}};
  auto schema = ask("admin", "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                    envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", definition), headers);
  EXPECT_EQ(schema.status, 400) << schema.body.substr(0, 500);
  EXPECT_EQ(field(schema, "reason"), "BadRequest");
  // A length that reaches beyond the end.
  auto beyond = ask("admin", "POST", kMaps, envelope("v1", "ConfigMap", "\x0a\xff\xff\xff\xff\x07"), headers);
  EXPECT_EQ(beyond.status, 400) << beyond.body;
}

TEST_F(HttpHostileTest, optionsOfEveryVerb) {
  struct Row {
    const char *method, *target, *body, *type;
    int code;
    const char* message;
  };
  for (const Row& row : {
           Row{"GET", "?limit=99999999999999999999", "", "", 400,
               "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"},
           Row{"GET", "?limit=", "", "", 400, "strconv.ParseInt: parsing \"\": invalid syntax"},
           Row{"GET", "?timeoutSeconds=soon", "", "", 400, "strconv.ParseInt: parsing \"soon\": invalid syntax"},
           Row{"GET", "?watch=1&resourceVersion=x", "", "", 500,
               "resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax"},
           Row{"GET", "/x?resourceVersion=-1", "", "", 500,
               "resourceVersion: Invalid value: \"-1\": strconv.ParseUint: parsing \"-1\": invalid syntax"},
           Row{"GET", "?resourceVersion=-1", "", "", 400,
               "invalid resource version: resourceVersion: Invalid value: \"-1\": strconv.ParseUint: parsing \"-1\": invalid "
               "syntax"},
           Row{"GET", "?watch=1&resourceVersionMatch=Exact", "", "", 422,
               "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for "
               "watch "
               "unless sendInitialEvents is provided"},
           Row{"GET", "?watch=1&sendInitialEvents=true&resourceVersionMatch=Exact", "", "", 422,
               "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Unsupported value: \"Exact\": supported values: "
               "\"NotOlderThan\""},
           Row{"GET", "?sendInitialEvents=true", "", "", 422,
               "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"},
           Row{"GET", "?resourceVersion=1&resourceVersionMatch=Newest", "", "", 422,
               "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Unsupported value: \"Newest\": supported values: "
               "\"Exact\", \"NotOlderThan\", \"\""},
           Row{"GET", "?resourceVersion=0&resourceVersionMatch=Exact", "", "", 422,
               "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is "
               "forbidden "
               "for resourceVersion \"0\""},
           Row{"GET", "?continue=abc&resourceVersion=5", "", "", 400,
               "specifying resource version is not allowed when using continue"},
           Row{"POST", "?dryRun=All&dryRun=Some", "{}", "application/json", 422,
               "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"All\",\"Some\"]: supported values: "
               "\"All\""},
           Row{"POST", "?fieldManager=a%0Ab", "{}", "application/json", 422,
               "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"a\\nb\": invalid character U+000A (at "
               "position 1)"},
           Row{"PATCH", "/x?force=true", "{}", "application/merge-patch+json", 422,
               "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"},
           Row{"DELETE", "/x?gracePeriodSeconds=soon", "", "", 400, "strconv.ParseInt: parsing \"soon\": invalid syntax"},
           Row{"DELETE", "/x?orphanDependents=true&propagationPolicy=Orphan", "", "", 422,
               "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Orphan\": orphanDependents and "
               "deletionPropagation cannot be both set"},
       }) {
    SCOPED_TRACE(fmt::format("{} {}", row.method, row.target));
    wire::Headers headers;
    if (*row.type) headers.add("Content-Type", row.type);
    auto answer = ask("admin", row.method, kMaps + row.target, row.body, headers);
    std::string_view reason = row.code == 400 ? "BadRequest" : row.code == 422 ? "Invalid" : "";
    expectStatus(answer, row.code, reason, row.message);
  }
}

TEST_F(HttpHostileTest, continueTokens) {
  auto token = [](std::string_view json) { return base64UrlEncode(json); };
  struct Row {
    std::string token;
    const char* message;
  };
  for (const Row& row : {
           Row{"%21%21", "illegal base64 data at input byte 0"},
           Row{token("{"), "unexpected end of JSON input"},
           Row{token(R"({"v":"v7","rv":5,"start":"a"})"), "server does not recognize this encoded version v7"},
           Row{token(R"({"v":"meta.k8s.io/v1","start":"a"})"),
               "incorrect encoded start resourceVersion (version meta.k8s.io/v1)"},
           Row{token(R"({"v":"meta.k8s.io/v1","rv":5})"), "encoded start key empty (version meta.k8s.io/v1)"},
           Row{token(R"({"v":"meta.k8s.io/v1","rv":5,"start":"../../secrets/a"})"), "../../secrets/a"},
       })
    expectStatus(get(kMaps + "?continue=" + row.token), 400, "BadRequest",
                 fmt::format("invalid continue token: continue key is not valid: {}", row.message));
}

TEST_F(HttpHostileTest, selectorsWithoutEnd) {
  std::string terms;
  for (int i = 0; i < 20000; ++i) terms += fmt::format("k{}+in+(a,b,c),", i % 7);
  size_t resident = residentBytes();
  auto answer = get(kMaps + "?labelSelector=" + terms + "z");
  EXPECT_TRUE(answer.status == 200 || answer.status == 400 || answer.status == 431 || answer.status == 414 ||
              !answer.failure.empty())
      << answer.status;
  EXPECT_LT(residentBytes(), resident + (size_t{64} << 20));
  auto nested = get(kMaps + "?labelSelector=" + std::string(5000, '('));
  EXPECT_EQ(nested.status, 400) << nested.body;
  EXPECT_EQ(get(kMaps + "?fieldSelector=" + std::string(5000, '\\')).status, 400);
}

TEST_F(HttpHostileTest, namesInPaths) {
  expectStatus(get(kMaps + "/a%2Fb"), 404, "NotFound", "the server could not find the requested resource");
  expectStatus(get(kMaps + "/a/b"), 404, "NotFound", "the server could not find the requested resource");
  EXPECT_EQ(get(kMaps + "/%zz").status, 400);
  EXPECT_EQ(get("/api/v1/namespaces/..%2Fkube-system/configmaps/x").status, 404);
  auto slash = post(kMaps, configMap("a/b"));
  EXPECT_EQ(slash.status, 422);
  EXPECT_NE(slash.body.find("metadata.name: Invalid value: \\\"a/b\\\""), std::string::npos) << slash.body;
  expectStatus(ask("admin", "PUT", kMaps + "/x", configMap("y")), 400, "BadRequest",
               "the name of the object (y) does not match the name on the URL (x)");
  expectStatus(ask("admin", "PUT", kMaps + "/x", R"({"kind":"ConfigMap","apiVersion":"v1"})"), 400, "BadRequest",
               "the name of the object (x based on URL) was undeterminable: name must be provided");
}

TEST_F(HttpHostileTest, patchesBeyondTheirBounds) {
  std::string operations = "[";
  for (int i = 0; i <= 10000; ++i) operations += fmt::format(R"({}{{"op":"test","path":"/a","value":1}})", i ? "," : "");
  expectStatus(patch("/api/v1/namespaces/default", "json-patch+json", operations + "]"), 413, "RequestEntityTooLarge",
               "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001");
  auto made = post("/api/v1/namespaces", R"({"metadata":{"name":"grow"}})");
  ASSERT_EQ(made.status, 201);
  ASSERT_EQ(
      post("/api/v1/namespaces/grow/configmaps", configMap("g", R"(,"data":{"a":")" + std::string(65536, 'x') + "\"}")).status,
      201);
  // Each copy doubles what the next one copies.
  std::string doubling = "[";
  for (int i = 0; i < 40; ++i) doubling += fmt::format(R"({}{{"op":"copy","from":"/data","path":"/data/c{}"}})", i ? "," : "", i);
  expectStatus(patch("/api/v1/namespaces/grow/configmaps/g", "json-patch+json", doubling + "]"), 422, "Invalid",
               "the server rejected our request due to an error in our request");
  // Fits a body, not the store.
  auto large = patch("/api/v1/namespaces/grow/configmaps/g", "merge-patch+json",
                     fmt::format(R"({{"data":{{"b":"{}"}}}})", std::string(size_t{2} << 20, 'y')));
  EXPECT_EQ(large.status, 422) << large.body.substr(0, 300);
  EXPECT_EQ(field(get("/api/v1/namespaces/grow/configmaps/g"), "data.b"), "");
  auto annotation = patch("/api/v1/namespaces/grow/configmaps/g", "merge-patch+json",
                          fmt::format(R"({{"metadata":{{"annotations":{{"b":"{}"}}}}}})", std::string(300000, 'y')));
  expectStatus(annotation, 422, "Invalid",
               "ConfigMap \"g\" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes");
  EXPECT_EQ(ask("admin", "DELETE", "/api/v1/namespaces/grow/configmaps/g").status, 200);
  EXPECT_EQ(ask("admin", "DELETE", "/api/v1/namespaces/grow").status, 200);
  EXPECT_EQ(ask("admin", "PUT", "/api/v1/namespaces/grow/finalize",
                R"({"kind":"Namespace","apiVersion":"v1","metadata":{"name":"grow"},"spec":{}})")
                .status,
            200);
}

TEST_F(HttpHostileTest, managedFieldsOfTheClient) {
  const std::string entry =
      R"({"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"2020-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:a":{},"f:gone":{}}}})";
  auto with = [](const std::string& fields) {
    return fmt::format(
        R"({{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"m","managedFields":{}}},"data":{{"a":"b"}}}})", fields);
  };
  auto made = post(kMaps + "?fieldManager=me&dryRun=All", with("[" + entry + "]"));
  EXPECT_EQ(made.status, 201) << made.body;
  EXPECT_NE(made.body.find(R"("manager":"me","operation":"Update")"), std::string::npos) << made.body;
  EXPECT_EQ(made.body.find(R"("f:a":{},"f:gone")"), std::string::npos) << "what the object has belongs to its creator";
  for (const char* broken :
       {R"([{"manager":"x","operation":"Steal","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{}}])",
        R"([{"manager":"x","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV9","fieldsV1":{}}])",
        R"([{"manager":"x","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"zz":{}}}])", R"([{}])"}) {
    auto ignored = post(kMaps + "?fieldManager=me&dryRun=All", with(broken));
    EXPECT_EQ(ignored.status, 201) << ignored.body;
    EXPECT_EQ(field(ignored, "metadata.managedFields.0.manager"), "me");
    EXPECT_EQ(field(ignored, "metadata.managedFields.1"), "");
  }
  auto applied = patch(kMaps + "/m?fieldManager=me", "apply-patch+yaml", with("[" + entry + "]"));
  expectStatus(applied, 400, "BadRequest", "metadata.managedFields must be nil");
}

TEST_F(HttpHostileTest, strictnessInEveryForm) {
  wire::Headers yaml{{"Content-Type", "application/yaml"}};
  expectStatus(
      ask("admin", "POST", kMaps + "?fieldValidation=Strict", "metadata: {name: s}\ndata: {a: b}\ndata: {c: d}\n", yaml), 400,
      "BadRequest",
      "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n  line 3: "
      "key \"data\" already set in map");
  auto applied = patch(kMaps + "/s?fieldManager=me&fieldValidation=Strict", "apply-patch+yaml",
                       "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\nunknown: 1\n");
  EXPECT_EQ(applied.status, 400) << applied.body;
  EXPECT_NE(field(applied, "message").find("unknown field \"unknown\""), std::string::npos) << applied.body;
  auto merged = patch("/api/v1/namespaces/default?fieldValidation=Strict", "merge-patch+json", R"({"spec":{"colour":"red"}})");
  EXPECT_EQ(merged.status, 422) << merged.body;
  EXPECT_NE(field(merged, "message").find("strict decoding error: unknown field \"spec.colour\""), std::string::npos);
  auto twice = patch("/api/v1/namespaces/default?fieldValidation=Strict", "merge-patch+json",
                     R"({"metadata":{"labels":{"a":"1","a":"2"}}})");
  auto operation = patch("/api/v1/namespaces/default?fieldValidation=Strict", "json-patch+json",
                         R"([{"op":"add","path":"/metadata/annotations","value":{},"colour":"red"}])");
  EXPECT_EQ(operation.status, 422) << operation.body;
  EXPECT_NE(field(operation, "message").find("strict decoding error: json patch unknown field \"[0].colour\""), std::string::npos)
      << operation.body;
  EXPECT_EQ(twice.status, 422) << twice.body;
  EXPECT_NE(field(twice, "message").find("strict decoding error: duplicate field \"metadata.labels.a\""), std::string::npos)
      << twice.body;
}

// A source of chance that always says the same: every generated name is taken.
class Stuck : public env::Random {
 public:
  explicit Stuck(env::Random& real) : real_(real) {}
  uint64_t next() override { return 0; }
  void fill(std::span<uint8_t> bytes) override { real_.fill(bytes); }

 private:
  env::Random& real_;
};

Task<void> generateTwice(client::Client* client, std::string* first, Error* second) {
  for (int i = 0; i < 2; ++i) {
    auto map = codec::decodeJson(*schema::findType("", "v1", "ConfigMap"), R"({"metadata":{"generateName":"made-"}})");
    auto made = co_await client->create(*schema::findResource("", "v1", "configmaps"), "default", "", std::move(map->object));
    if (made && i == 0) *first = schema::metadataOf(*made).name;
    if (!made) *second = made.error();
  }
}

TEST(HostileNames, generatedNamesThatAreTaken) {
  env::SimEnv sim(1);
  env::Env real = sim.env();
  Stuck stuck(real.random);
  env::Env environment{real.clock, real.executor, stuck, real.network, real.files, real.processes};
  auto store = store::makeMemoryStore(environment);
  ApiServerConfig config;
  config.serviceAccountKeyPem = *wire::makeEcKey();
  ApiServer server(environment, *store, config);
  async::Gate gate(environment.executor);
  bool done = false;
  std::string first;
  Error second(Reason::Unknown, "");
  auto client = server.clientFor(UserInfo{"admin", "", {"system:masters"}, {}});
  auto all = [](ApiServer* s, client::Client* c, std::string* f, Error* e, bool* d) -> Task<void> {
    auto started = co_await s->start();
    EXPECT_TRUE(started) << (started ? "" : started.error().describe());
    co_await generateTwice(c, f, e);
    co_await s->stop({});
    *d = true;
  };
  gate.spawn(all(&server, client.get(), &first, &second, &done));
  EXPECT_TRUE(sim.runUntil([&] { return done; }, std::chrono::minutes(1)));
  EXPECT_EQ(first, "made-bbbbb");
  EXPECT_EQ(second.reason(), Reason::AlreadyExists);
  EXPECT_EQ(second.message(),
            "configmaps \"made-bbbbb\" already exists, the server was not able to generate a unique name for the object");
  EXPECT_EQ(second.details().retryAfterSeconds, 1);
}

// ---- paths that are no objects

TEST_F(HttpHostileTest, plainPaths) {
  EXPECT_EQ(field(get("/"), "paths.0"), "/.well-known/openid-configuration");
  EXPECT_NE(get("/").body.find("\"/apis/apps/v1\""), std::string::npos);
  for (const char* path :
       {"/healthz/ping", "/livez/ping", "/readyz/etcd", "/livez", "/healthz", "/readyz/poststarthook/rbac/bootstrap-roles"})
    EXPECT_EQ(get(path).body, "ok") << path;
  EXPECT_EQ(get("/livez/shutdown").status, 404);
  EXPECT_EQ(get("/healthz/nothing").body, "404 page not found\n");
  auto verbose = get("/livez?verbose&exclude=etcd&exclude=nothing");
  EXPECT_TRUE(verbose.body.starts_with("[+]ping ok\n[+]log ok\n[+]etcd excluded: ok\n")) << verbose.body;
  EXPECT_TRUE(
      verbose.body.ends_with("warn: some health checks cannot be excluded: no matches for \"nothing\"\nlivez check passed\n"))
      << verbose.body;
  EXPECT_EQ(verbose.headers.get("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(get("/livez?exclude=etcd").body, "ok");
  for (const char* path : {"/version", "/api", "/apis", "/apis/apps", "/api/v1"}) {
    EXPECT_EQ(get(path).status, 200) << path;
    for (const char* method : {"HEAD", "POST", "OPTIONS"}) EXPECT_EQ(ask("admin", method, path).status, 405) << method << path;
  }
  EXPECT_EQ(ask("admin", "HEAD", "/healthz").status, 200);
  EXPECT_EQ(ask("admin", "HEAD", "/healthz").body, "");
  EXPECT_EQ(ask("admin", "OPTIONS", kMaps).status, 405);
  EXPECT_EQ(get("/apis/apps/v9").status, 404);
}

}  // namespace
}  // namespace knarr::apiserver
