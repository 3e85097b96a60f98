// Every resource of the vocabulary over HTTPS: discovery, versions that share a store, subresources, admission that looks
// other objects up.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "apiserver/http_fixture.h"
#include "base/strings.h"
#include "codec/value.h"

namespace knarr::apiserver {
namespace {

class HttpResourcesTest : public HttpFixture {};

const wire::Headers kAggregated{
    {"Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}};

std::string pod(const std::string& name, const std::string& spec = R"("containers":[{"name":"c","image":"i"}])",
                const std::string& labels = R"("app":"a")") {
  return fmt::format(R"({{"metadata":{{"name":"{}","labels":{{{}}}}},"spec":{{{}}}}})", name, labels, spec);
}

// "group/version/resource[/subresource] kind verbs" of each line of an aggregated document.
std::set<std::string> linesOf(const std::string& json) {
  std::set<std::string> out;
  Arena arena;
  auto document = codec::parseJsonValue(json, arena);
  EXPECT_TRUE(document);
  auto text = [](const codec::Value& value, std::string_view name) {
    const codec::Value* found = value.find(name);
    return found ? std::string(found->stringOr()) : std::string();
  };
  auto describe = [&](const codec::Value& item) {
    std::string line = text(*item.find("responseKind"), "kind");
    for (const codec::Value& verb : item.find("verbs")->items()) line += " " + std::string(verb.string());
    return line;
  };
  for (const codec::Value& group : document->find("items")->items()) {
    const codec::Value* metadata = group.find("metadata");
    std::string name = metadata ? text(*metadata, "name") : "";
    if (name == "metrics.k8s.io") continue;  // an aggregated server's
    for (const codec::Value& version : group.find("versions")->items())
      for (const codec::Value& resource : version.find("resources")->items()) {
        std::string path = fmt::format("{}/{}/{}", name, text(version, "version"), text(resource, "resource"));
        out.insert(fmt::format("{} {} {}", path, text(resource, "scope"), describe(resource)));
        if (const codec::Value* subresources = resource.find("subresources"))
          for (const codec::Value& sub : subresources->items())
            out.insert(fmt::format("{}/{} {}", path, text(sub, "subresource"), describe(sub)));
      }
  }
  return out;
}

TEST_F(HttpResourcesTest, discoveryIsUpstreams) {
  const char* source = std::getenv("KNARR_SOURCE_DIR");
  std::filesystem::path golden = std::filesystem::path(source ? source : ".") / "../shared/golden/discovery/aggregated_v2.json";
  if (!std::filesystem::exists(golden)) GTEST_SKIP() << "no golden discovery document at hand";
  std::ifstream file(golden);
  std::ostringstream text;
  text << file.rdbuf();
  // The document is that of /apis: every group but core.
  std::set<std::string> expected = linesOf(text.str()), served = linesOf(get("/apis", kAggregated).body);
  for (const std::string& line : expected) EXPECT_TRUE(served.contains(line)) << "not served: " << line;
  for (const std::string& line : served) EXPECT_TRUE(expected.contains(line)) << "served besides: " << line;
}

TEST_F(HttpResourcesTest, everyStoredResourceListsAndWatches) {
  Arena arena;
  auto groups = codec::parseJsonValue(get("/apis").body, arena);
  ASSERT_TRUE(groups);
  size_t lists = 0;
  for (const codec::Value& group : groups->find("groups")->items())
    for (const codec::Value& version : group.find("versions")->items()) {
      std::string gv(version.find("groupVersion")->string());
      auto resources = codec::parseJsonValue(get("/apis/" + gv).body, arena);
      ASSERT_TRUE(resources) << gv;
      for (const codec::Value& resource : resources->find("resources")->items()) {
        std::string name(resource.find("name")->string());
        bool canList = false;
        for (const codec::Value& verb : resource.find("verbs")->items()) canList = canList || verb.string() == "list";
        if (!canList) continue;
        auto answer = get(fmt::format("/apis/{}/{}", gv, name));
        EXPECT_EQ(answer.status, 200) << gv << "/" << name << answer.body;
        EXPECT_EQ(field(answer, "apiVersion"), gv);
        ++lists;
      }
    }
  EXPECT_GT(lists, 55u);
}

TEST_F(HttpResourcesTest, autoscalersInBothVersions) {
  std::string v1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
  std::string v2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
  auto made = post(v1, R"({"metadata":{"name":"h"},"spec":{"maxReplicas":3,"targetCPUUtilizationPercentage":50,
      "scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"}}})");
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(field(made, "apiVersion"), "autoscaling/v1");
  EXPECT_EQ(field(made, "spec.targetCPUUtilizationPercentage"), "50");
  auto newer = get(v2 + "/h");
  EXPECT_EQ(field(newer, "apiVersion"), "autoscaling/v2");
  EXPECT_EQ(field(newer, "spec.metrics.0.resource.target.averageUtilization"), "50") << newer.body;
  EXPECT_EQ(field(newer, "spec.metrics.0.resource.name"), "cpu");
  // What v1 cannot say stays, through a change made in v1.
  auto patched = patch(v2 + "/h", "merge-patch+json", R"({"spec":{"metrics":[{"type":"Resource","resource":{"name":"memory",
      "target":{"type":"AverageValue","averageValue":"100Mi"}}}],"behavior":{"scaleDown":{"stabilizationWindowSeconds":7}}}})");
  ASSERT_EQ(patched.status, 200) << patched.body;
  auto older = get(v1 + "/h");
  EXPECT_NE(field(older, "metadata.annotations.autoscaling.alpha.kubernetes.io/metrics"), "x");
  EXPECT_NE(older.body.find("targetAverageValue"), std::string::npos) << older.body;
  ASSERT_EQ(patch(v1 + "/h", "merge-patch+json", R"({"spec":{"maxReplicas":9}})").status, 200);
  auto after = get(v2 + "/h");
  EXPECT_EQ(field(after, "spec.maxReplicas"), "9");
  EXPECT_EQ(field(after, "spec.metrics.0.resource.target.averageValue"), "100Mi") << after.body;
  EXPECT_EQ(field(after, "spec.behavior.scaleDown.stabilizationWindowSeconds"), "7");
  EXPECT_EQ(after.body.find("autoscaling.alpha"), std::string::npos) << after.body;
  auto seen = readUntil(v1 + "?watch=true", "\"maxReplicas\":9");
  EXPECT_NE(seen.body.find("\"apiVersion\":\"autoscaling/v1\""), std::string::npos);
}

TEST_F(HttpResourcesTest, eventsInBothGroups) {
  auto made = post(
      "/api/v1/namespaces/default/events",
      R"({"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","namespace":"default","name":"p"},"reason":"R","message":"m","type":"Normal"})");
  ASSERT_EQ(made.status, 201) << made.body;
  auto other = get("/apis/events.k8s.io/v1/namespaces/default/events/e");
  EXPECT_EQ(field(other, "apiVersion"), "events.k8s.io/v1");
  EXPECT_EQ(field(other, "regarding.name"), "p");
  EXPECT_EQ(field(other, "note"), "m");
  auto found = get("/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dp");
  EXPECT_EQ(field(found, "items.0.metadata.name"), "e") << found.body;
  EXPECT_EQ(field(get("/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dq"), "items"), "[]");
  auto reported =
      post("/apis/events.k8s.io/v1/namespaces/default/events",
           R"({"metadata":{"name":"r"},"eventTime":"2026-01-02T03:04:05.000000Z","action":"Do","reason":"R","type":"Normal",
      "regarding":{"namespace":"default"},"reportingController":"c","reportingInstance":"i"})");
  ASSERT_EQ(reported.status, 201) << reported.body;
  auto bySource = get("/api/v1/events?fieldSelector=source%3Dc");
  EXPECT_EQ(field(bySource, "items.0.metadata.name"), "r") << "who reports counts as the source when none is named";
  auto removed = ask("admin", "DELETE", "/apis/events.k8s.io/v1/namespaces/default/events/e");
  EXPECT_EQ(removed.status, 200);
  EXPECT_EQ(get("/api/v1/namespaces/default/events/e").status, 404);
}

TEST_F(HttpResourcesTest, templateGenerationsOfDaemonSets) {
  std::string sets = "/apis/apps/v1/namespaces/default/daemonsets";
  auto says = [](const HttpAnswer& answer, int generation) {
    return answer.body.find(fmt::format(R"("deprecated.daemonset.template.generation":"{}")", generation)) != std::string::npos;
  };
  auto made = post(sets, R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},
      "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_TRUE(says(made, 1)) << made.body;
  struct Row {
    const char *what, *path, *body;
    int generation, templateGeneration;
  };
  for (const Row& row :
       {Row{"the template", "", R"({"spec":{"template":{"spec":{"hostNetwork":true}}}})", 2, 2},
        Row{"the rest of the spec", "", R"({"spec":{"minReadySeconds":3}})", 3, 2},
        Row{"a client's number", "", R"({"metadata":{"annotations":{"deprecated.daemonset.template.generation":"9"}}})", 3, 2},
        Row{"all annotations gone", "", R"({"metadata":{"annotations":null}})", 3, 2},
        Row{"the status", "/status", R"({"metadata":{"annotations":null},"status":{"numberReady":1}})", 3, 2}}) {
    auto changed = patch(sets + "/d" + row.path, "merge-patch+json", row.body);
    EXPECT_EQ(field(changed, "metadata.generation"), std::to_string(row.generation)) << row.what << changed.body;
    EXPECT_TRUE(says(changed, row.templateGeneration)) << row.what << changed.body;
  }
}

TEST_F(HttpResourcesTest, warnings) {
  auto warning = [](const HttpAnswer& answer) { return std::string(answer.headers.get("Warning")); };
  constexpr std::string_view kEndpoints =
      R"(299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")";
  EXPECT_EQ(warning(get("/api/v1/namespaces/default/endpoints/kubernetes")), kEndpoints);
  EXPECT_EQ(warning(get("/api/v1/endpoints")), kEndpoints);
  EXPECT_EQ(warning(get("/api/v1/namespaces/default/endpoints/absent")), kEndpoints);
  EXPECT_EQ(warning(get("/api/v1/componentstatuses")), R"(299 - "v1 ComponentStatus is deprecated in v1.19+")");
  EXPECT_EQ(warning(get("/api/v1/namespaces/default/services/kubernetes")), "");
  std::string jobs = "/apis/batch/v1/namespaces/default/jobs";
  auto remove = [&](const std::string& target) { return warning(ask("admin", "DELETE", target)); };
  constexpr std::string_view kOrphans =
      R"(299 - "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set )"
      R"(propagationPolicy=Orphan to suppress this warning")";
  EXPECT_EQ(remove(jobs + "/absent"), kOrphans);
  EXPECT_EQ(remove(jobs), kOrphans);
  EXPECT_EQ(remove(jobs + "/absent?propagationPolicy=Background"), "");
  EXPECT_EQ(remove("/apis/apps/v1/namespaces/default/deployments/absent"), "");
}

TEST_F(HttpResourcesTest, deviceRequestsMoveBetweenVersions) {
  std::string old = "/apis/resource.k8s.io/v1beta1/namespaces/default/resourceclaims";
  auto made = post(old, R"({"metadata":{"name":"c"},"spec":{"devices":{"requests":[{"name":"r","deviceClassName":"gpu"}]}}})");
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(field(made, "spec.devices.requests.0.deviceClassName"), "gpu");
  auto current = get("/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c");
  EXPECT_EQ(field(current, "spec.devices.requests.0.exactly.deviceClassName"), "gpu") << current.body;
  EXPECT_EQ(field(current, "spec.devices.requests.0.exactly.count"), "1");
}

TEST_F(HttpResourcesTest, componentStatusesAreAsked) {
  auto list = get("/api/v1/componentstatuses");
  EXPECT_EQ(field(list, "kind"), "ComponentStatusList");
  EXPECT_EQ(field(list, "items.0.metadata.name"), "etcd-0") << list.body;
  EXPECT_EQ(field(get("/api/v1/componentstatuses/etcd-0"), "conditions.0.status"), "True");
  EXPECT_EQ(get("/api/v1/componentstatuses/nobody").status, 404);
  EXPECT_EQ(post("/api/v1/componentstatuses", "{}").status, 405);
}

TEST_F(HttpResourcesTest, limitsFillInAndRefuse) {
  auto limits = post("/api/v1/namespaces/default/limitranges",
                     R"({"metadata":{"name":"l"},"spec":{"limits":[{"type":"Container","max":{"cpu":"1"},"min":{"cpu":"100m"},
      "default":{"cpu":"500m"},"maxLimitRequestRatio":{"cpu":"4"}}]}})");
  ASSERT_EQ(limits.status, 201) << limits.body;
  EXPECT_EQ(field(limits, "spec.limits.0.defaultRequest.cpu"), "500m");
  auto made = post("/api/v1/namespaces/default/pods", pod("p"));
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(field(made, "spec.containers.0.resources.limits.cpu"), "500m");
  EXPECT_NE(made.body.find("LimitRanger plugin set: cpu request for container c; cpu limit for container c"), std::string::npos)
      << made.body;
  auto big =
      post("/api/v1/namespaces/default/pods",
           pod("big", R"("containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"1"}}}])"));
  expectStatus(big, 403, "Forbidden", "pods \"big\" is forbidden: maximum cpu usage per Container is 1, but limit is 2");
  auto ratio =
      post("/api/v1/namespaces/default/pods",
           pod("r", R"("containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1"},"requests":{"cpu":"100m"}}}])"));
  expectStatus(ratio, 403, "Forbidden",
               "pods \"r\" is forbidden: cpu max limit to request ratio per Container is 4, but provided ratio is 10.000000");
}

TEST_F(HttpResourcesTest, podsBeginWithWhatTheirSpecSays) {
  std::string pods = "/api/v1/namespaces/default/pods", containers = R"("containers":[{"name":"c","image":"i"}])";
  auto gated = post(pods, pod("gated", R"("schedulingGates":[{"name":"a"}],)" + containers));
  EXPECT_EQ(field(gated, "status.conditions.0.type"), "PodScheduled") << gated.body;
  EXPECT_EQ(field(gated, "status.conditions.0.status"), "False");
  EXPECT_EQ(field(gated, "status.conditions.0.reason"), "SchedulingGated");
  EXPECT_EQ(field(gated, "status.conditions.0.message"), "Scheduling is blocked due to non-empty scheduling gates");
  EXPECT_EQ(field(post(pods, pod("free")), "status.conditions.0.type"), "");

  constexpr std::string_view kTerm = R"({{"topologyKey":"t","matchLabelKeys":["app","absent"],"mismatchLabelKeys":["tier"],)"
                                     R"("labelSelector":{{"matchLabels":{{"{}":"a"}}}}}})";
  auto withTerm = [&](std::string_view selected) {
    return fmt::format(R"("affinity":{{"podAntiAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":[{}]}}}},
        "topologySpreadConstraints":[{{"maxSkew":1,"topologyKey":"t","whenUnsatisfiable":"DoNotSchedule",
        "matchLabelKeys":["app"],"labelSelector":{{}}}}],{})",
                       fmt::format(kTerm, selected), containers);
  };
  auto spread = post(pods, pod("spread", withTerm("x"), R"("app":"a","tier":"1")"));
  ASSERT_EQ(spread.status, 201) << spread.body;
  std::string term =
      "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.0.labelSelector.matchExpressions";
  EXPECT_EQ(field(spread, term),
            R"([{"key":"app","operator":"In","values":["a"]},{"key":"tier","operator":"NotIn","values":["1"]}])");
  EXPECT_EQ(field(spread, "spec.topologySpreadConstraints.0.labelSelector.matchExpressions"),
            R"([{"key":"app","operator":"In","values":["a"]}])");
  auto twice = post(pods, pod("twice", withTerm("app")));
  EXPECT_EQ(twice.status, 422);
  EXPECT_NE(field(twice, "message").find("[0]: Invalid value: \"app\": exists in both matchLabelKeys and labelSelector"),
            std::string::npos)
      << twice.body;
}

TEST_F(HttpResourcesTest, systemPriorityClasses) {
  EXPECT_EQ(field(get("/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical"), "value"), "2000001000");
  auto first =
      post("/apis/scheduling.k8s.io/v1/priorityclasses", R"({"metadata":{"name":"one"},"value":5,"globalDefault":true})");
  ASSERT_EQ(first.status, 201) << first.body;
  auto second =
      post("/apis/scheduling.k8s.io/v1/priorityclasses", R"({"metadata":{"name":"two"},"value":5,"globalDefault":true})");
  expectStatus(second, 403, "Forbidden",
               "priorityclasses.scheduling.k8s.io \"two\" is forbidden: PriorityClass one is already marked as default. Only one "
               "default can "
               "exist");
}

TEST_F(HttpResourcesTest, evictionAsksTheBudget) {
  std::string pods = "/api/v1/namespaces/default/pods", budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
  ASSERT_EQ(post(pods, pod("p")).status, 201);
  ASSERT_EQ(post(pods + "/p/binding", R"({"metadata":{"name":"p"},"target":{"kind":"Node","name":"n"}})").status, 201);
  ASSERT_EQ(patch(pods + "/p/status", "merge-patch+json",
                  R"({"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}})")
                .status,
            200);
  auto budget = post(budgets, R"({"metadata":{"name":"b"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"a"}}}})");
  ASSERT_EQ(budget.status, 201) << budget.body;
  std::string eviction = R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"}})";
  auto early = post(pods + "/p/eviction", eviction);
  expectStatus(early, 429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.");
  EXPECT_EQ(field(early, "details.causes.0.message"), "The disruption budget b is still being processed by the server.");
  EXPECT_EQ(field(early, "details.retryAfterSeconds"), "10");
  auto status = [&](const std::string& text) { return patch(budgets + "/b/status", "merge-patch+json", text).status; };
  ASSERT_EQ(
      status(
          R"({"status":{"observedGeneration":1,"currentHealthy":1,"desiredHealthy":1,"expectedPods":1,"disruptionsAllowed":0}})"),
      200);
  auto refused = post(pods + "/p/eviction", eviction);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(field(refused, "details.causes.0.reason"), "DisruptionBudget");
  EXPECT_EQ(field(refused, "details.causes.0.message"), "The disruption budget b needs 1 healthy pods and has 1 currently");
  ASSERT_EQ(status(R"({"status":{"currentHealthy":2,"disruptionsAllowed":1}})"), 200);
  EXPECT_EQ(post(pods + "/p/eviction", eviction).status, 201);
  EXPECT_EQ(field(get(budgets + "/b"), "status.disruptionsAllowed"), "0");
  auto going = get(pods + "/p");
  EXPECT_NE(going.body.find("EvictionByEvictionAPI"), std::string::npos) << going.body;
}

TEST_F(HttpResourcesTest, bindingsOnTheirOwn) {
  std::string pods = "/api/v1/namespaces/default/pods";
  ASSERT_EQ(post(pods, pod("p")).status, 201);
  auto bound = post("/api/v1/namespaces/default/bindings", R"({"metadata":{"name":"p"},"target":{"name":"n"}})");
  EXPECT_EQ(bound.status, 201) << bound.body;
  auto now = get(pods + "/p");
  EXPECT_EQ(field(now, "spec.nodeName"), "n");
  EXPECT_EQ(field(now, "metadata.generation"), "1");
  auto again = post(pods + "/p/binding", R"({"metadata":{"name":"p"},"target":{"name":"m"}})");
  expectStatus(again, 409, "Conflict",
               "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n\"");
}

TEST_F(HttpResourcesTest, ephemeralContainersAreAdded) {
  std::string pods = "/api/v1/namespaces/default/pods";
  ASSERT_EQ(post(pods, pod("p")).status, 201);
  auto added =
      patch(pods + "/p/ephemeralcontainers", "strategic-merge-patch+json",
            R"({"metadata":{"labels":{"app":"other"}},"spec":{"ephemeralContainers":[{"name":"debug","image":"busybox"}]}})");
  ASSERT_EQ(added.status, 200) << added.body;
  EXPECT_EQ(field(added, "spec.ephemeralContainers.0.name"), "debug");
  EXPECT_EQ(field(added, "metadata.labels.app"), "a");
  EXPECT_EQ(field(added, "metadata.generation"), "2");
  EXPECT_EQ(field(get(pods + "/p/ephemeralcontainers"), "kind"), "Pod");
}

TEST_F(HttpResourcesTest, signingRequestsSayWhoAsks) {
  std::string requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
  wire::CertificateSpec spec;
  spec.commonName = "someone";
  std::string pem = *wire::makeCertificateRequest(*wire::makeEcKey(), spec);
  auto made = post(
      requests,
      fmt::format(R"({{"metadata":{{"name":"r"}},"spec":{{"request":"{}","signerName":"example.com/s","usages":["client auth"],
      "username":"somebody-else"}}}})",
                  base64Encode(pem)));
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(field(made, "spec.username"), "admin");
  auto approved = patch(requests + "/r/approval", "merge-patch+json",
                        R"({"status":{"conditions":[{"type":"Approved","status":"True","reason":"R","message":"m"}]}})");
  ASSERT_EQ(approved.status, 200) << approved.body;
  EXPECT_EQ(field(approved, "status.conditions.0.type"), "Approved");
  EXPECT_NE(field(approved, "status.conditions.0.lastUpdateTime"), "");
}

TEST_F(HttpResourcesTest, metrics) {
  get("/api/v1/namespaces/default");
  get("/api/v1/namespaces/default/nothings");
  auto metrics = get("/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_TRUE(metrics.headers.get("Content-Type").starts_with("text/plain; version=0.0.4"));
  for (const char* line :
       {"apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"namespaces\",scope="
        "\"resource\","
        "subresource=\"\",verb=\"GET\",version=\"v1\"} 1\n",
        "apiserver_request_total{code=\"404\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"\"",
        "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1\n",
        "apiserver_resource_objects{group=\"\",resource=\"namespaces\"} 4\n",
        "apiserver_storage_objects{resource=\"deployments.apps\"} 0\n", ",le=\"+Inf\"} 1\n", "process_start_time_seconds "})
    EXPECT_NE(metrics.body.find(line), std::string::npos) << line;
  EXPECT_EQ(metrics.body.find("nothings"), std::string::npos);
  EXPECT_EQ(ask("eve", "GET", "/metrics").status, 403);
}

TEST_F(HttpResourcesTest, namespacesAreFinalized) {
  ASSERT_EQ(post("/api/v1/namespaces", R"({"metadata":{"name":"gone"}})").status, 201);
  auto terminating = ask("admin", "DELETE", "/api/v1/namespaces/gone");
  EXPECT_EQ(field(terminating, "status.phase"), "Terminating") << terminating.body;
  auto refused = post("/api/v1/namespaces/gone/configmaps", R"({"metadata":{"name":"m"}})");
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(field(refused, "details.causes.0.reason"), "NamespaceTerminating");
  auto done = ask("admin", "PUT", "/api/v1/namespaces/gone/finalize", R"({"metadata":{"name":"gone"},"spec":{"finalizers":[]}})",
                  {{"Content-Type", "application/json"}});
  EXPECT_EQ(done.status, 200) << done.body;
  EXPECT_EQ(get("/api/v1/namespaces/gone").status, 404);
}

}  // namespace
}  // namespace knarr::apiserver
