// Warnings as clients get them: headers of the answer.
#include <fmt/format.h>

#include <algorithm>

#include "apiserver/http_fixture.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

class WarningsTest : public HttpFixture {
 protected:
  static std::string warningsOf(const HttpAnswer& answer) {
    std::string out;
    for (std::string_view text : answer.headers.all("Warning")) out += std::string(text) + "\n";
    return out;
  }
  static std::string pod(const std::string& spec, const std::string& name = "p") {
    return fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{{{}}}}})", name, spec);
  }
  static std::string container(const std::string& more) { return R"("containers":[{"name":"c","image":"i",)" + more + "}]"; }
};

TEST_F(WarningsTest, pods) {
  struct Row {
    std::string body;
    const char* warnings;  // one a line, without the "299 - " and the quotes around
  };
  std::string plain = R"("containers":[{"name":"c","image":"i"}])";
  for (const Row& row : {
           Row{pod(plain), ""},
           Row{pod(plain, "a.b"),
               "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is "
               "recommended: [must not contain dots]"},
           Row{pod(R"("nodeSelector":{"beta.kubernetes.io/os":"linux"},)" + plain),
               R"(spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead)"},
           Row{pod(R"("affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[
               {"matchExpressions":[{"key":"node-role.kubernetes.io/master","operator":"Exists"}]}]}}},)" +
                   plain),
               "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions["
               "0]."
               R"(key: node-role.kubernetes.io/master is use \"node-role.kubernetes.io/control-plane\" instead)"},
           Row{pod(R"("affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"t"}]}},)" +
                   plain),
               "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector "
               "results in matching no pod"},
           Row{pod(R"("imagePullSecrets":[{"name":""},{"name":"s"},{"name":"s"}],)" + plain),
               "spec.imagePullSecrets[0].name: invalid empty name \\\"\\\"\n"
               "spec.imagePullSecrets[2].name: duplicate name \\\"s\\\""},
           Row{pod(R"("hostAliases":[{"ip":"1.2.3.4"},{"ip":"1.2.3.4"},{"ip":"FD00::1"}],)" + plain),
               "spec.hostAliases[1].ip: duplicate ip \\\"1.2.3.4\\\"\n"
               "spec.hostAliases[2].ip: IPv6 address \\\"FD00::1\\\" should be in RFC 5952 canonical format (\\\"fd00::1\\\")"},
           Row{pod(R"("volumes":[{"name":"v","gitRepo":{"repository":"r"}},{"name":"w","projected":{"sources":[]}}],)" + plain),
               "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+\n"
               "volume \\\"w\\\" (Projected) has no sources provided"},
           Row{pod(container(R"("resources":{"limits":{"memory":"100m","cpu":"100m"}})")),
               "spec.containers[0].resources.limits[memory]: fractional byte value \\\"100m\\\" is invalid, must be an integer\n"
               "spec.containers[0].resources.requests[memory]: fractional byte value"},
           Row{pod(container(R"("env":[{"name":"A","value":"1"},{"name":"A","value":"$(A)2"},{"name":"A","value":"3"}])")),
               "spec.containers[0].env[2]: hides previous definition of \\\"A\\\", which may be dropped when using apply"},
           Row{pod(container(R"("ports":[{"containerPort":80},{"containerPort":80},{"containerPort":80,"protocol":"UDP"}])")),
               "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"},
           Row{pod(container(R"("ports":[{"containerPort":80},{"containerPort":80,"hostPort":81}])")),
               "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]"},
           Row{pod(container(
                   R"("ports":[{"containerPort":80,"hostPort":81},{"containerPort":80,"hostPort":81,"hostIP":"1.2.3.4"}])")),
               "spec.containers[0].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[0]"},
           Row{pod(container(R"("ports":[{"containerPort":80,"hostIP":"1.2.3.4"}])")),
               "spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 Protocol:TCP "
               "HostIP:1.2.3.4}"},
           Row{pod(R"("containers":[{"name":"c","image":"i","ports":[{"name":"x","containerPort":80}]},
               {"name":"d","image":"i","ports":[{"name":"x","containerPort":81}]}])"),
               "spec.containers[1].ports[0]: duplicate port name \\\"x\\\" with spec.containers[0].ports[0], services and probes "
               "that "
               "select ports by name will use spec.containers[0].ports[0]"},
       }) {
    auto answer = post("/api/v1/namespaces/default/pods?dryRun=All", row.body);
    EXPECT_EQ(answer.status, 201) << row.body << answer.body;
    std::string got = warningsOf(answer);
    size_t lines = 0;
    for (std::string_view line : split(row.warnings, '\n'))
      if (!line.empty()) {
        ++lines;
        EXPECT_NE(got.find("299 - \"" + std::string(line)), std::string::npos) << row.body << "\n" << got << "\n" << line;
      }
    EXPECT_EQ(static_cast<size_t>(std::count(got.begin(), got.end(), '\n')), lines) << row.body << "\n" << got;
  }
}

TEST_F(WarningsTest, templates) {
  std::string deployments = "/apis/apps/v1/namespaces/default/deployments";
  auto made = post(deployments, R"({"metadata":{"name":"a.b"},"spec":{"selector":{"matchLabels":{"x":"y"}},"template":{
      "metadata":{"labels":{"x":"y"}},"spec":{"terminationGracePeriodSeconds":-1,"containers":[{"name":"c","image":"i"}]}}}})");
  ASSERT_EQ(made.status, 201) << made.body;
  constexpr std::string_view kGrace =
      "299 - \"spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated "
      "as "
      "1\"\n";
  std::string got = warningsOf(made);
  EXPECT_TRUE(got.starts_with("299 - \"metadata.name: this is used in Pod names and hostnames, which can")) << got;
  EXPECT_TRUE(got.ends_with(kGrace)) << got;
  EXPECT_EQ(warningsOf(patch(deployments + "/a.b", "merge-patch+json", R"({"metadata":{"labels":{"a":"b"}}})")), "");
  EXPECT_EQ(warningsOf(patch(deployments + "/a.b", "merge-patch+json", R"({"spec":{"replicas":3}})")), kGrace);
  EXPECT_EQ(warningsOf(patch(deployments + "/a.b/scale", "merge-patch+json", R"({"spec":{"replicas":4}})")), "");
  auto cron = post("/apis/batch/v1/namespaces/default/cronjobs?dryRun=All",
                   R"({"metadata":{"name":"j"},"spec":{"schedule":"* * * * *","jobTemplate":{"spec":{"template":{"spec":{
      "restartPolicy":"Never","nodeSelector":{"app.kubernetes.io/created-by":"x"},"containers":[{"name":"c","image":"i"}]}}}}}})");
  EXPECT_EQ(warningsOf(cron),
            "299 - \"spec.jobTemplate.spec.template.spec.nodeSelector[app.kubernetes.io/created-by]: deprecated since v1.9\"\n")
      << cron.body;
}

TEST_F(WarningsTest, network) {
  struct Row {
    const char *path, *body, *warning;
  };
  constexpr const char* kServices = "/api/v1/namespaces/default/services";
  for (const Row& row :
       {Row{kServices, R"({"spec":{"ports":[{"port":80}]}})", ""},
        Row{kServices, R"({"spec":{"ports":[{"port":80}],"externalIPs":["192.0.2.1"]}})",
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters"},
        Row{kServices, R"({"spec":{"clusterIP":"None","ports":[{"port":80}],"sessionAffinity":"ClientIP"}})",
            "spec.SessionAffinity is ignored for headless services"},
        Row{kServices, R"({"spec":{"ports":[{"port":80}],"externalName":"a.b"}})",
            "spec.externalName is ignored when spec.type is not \\\"ExternalName\\\""},
        Row{kServices, R"({"spec":{"ports":[{"port":80}],"trafficDistribution":"PreferClose"}})",
            "spec.trafficDistribution: \\\"PreferClose\\\" is deprecated; use \\\"PreferSameZone\\\""},
        Row{"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            R"({"addressType":"FQDN","endpoints":[{"addresses":["a.b"]}]})", "spec.addressType: FQDN endpoints are deprecated"},
        Row{"/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            R"({"spec":{"defaultBackend":{"service":{"name":"s","port":{"number":80}}}}})", ""}}) {
    std::string body = R"({"metadata":{"name":"x"},)" + std::string(row.body + 1);
    auto answer = post(std::string(row.path) + "?dryRun=All", body);
    EXPECT_EQ(answer.status, 201) << answer.body;
    EXPECT_EQ(warningsOf(answer), *row.warning ? fmt::format("299 - \"{}\"\n", row.warning) : "") << body;
  }
  auto annotated = post("/apis/networking.k8s.io/v1/namespaces/default/ingresses?dryRun=All",
                        R"({"metadata":{"name":"x","annotations":{"kubernetes.io/ingress.class":"c"}},
      "spec":{"defaultBackend":{"service":{"name":"s","port":{"number":80}}}}})");
  EXPECT_EQ(
      warningsOf(annotated),
      "299 - \"annotation \\\"kubernetes.io/ingress.class\\\" is deprecated, please use 'spec.ingressClassName' instead\"\n");
}

// However many there are, the headers stay small.
TEST_F(WarningsTest, theyAreCutWhenTheyAreMany) {
  std::string variables;
  for (int i = 0; i < 5000; ++i) variables += fmt::format(R"({}{{"name":"A","value":"{}"}})", i ? "," : "", i);
  auto many = post("/api/v1/namespaces/default/pods?dryRun=All", pod(container("\"env\":[" + variables + "]")));
  ASSERT_EQ(many.status, 201) << many.body.substr(0, 300);
  std::string got = warningsOf(many);
  EXPECT_LT(got.size(), 6000u);
  EXPECT_TRUE(got.starts_with("299 - \"spec.containers[0].env[1]: hides")) << got.substr(0, 200);
  std::string unknown(600, 'u');
  std::string fields;
  for (int i = 0; i < 20; ++i) fields += fmt::format(R"(,"{}{}":1)", unknown, i);
  auto cut =
      post("/api/v1/namespaces/default/configmaps?dryRun=All&fieldValidation=Warn", R"({"metadata":{"name":"m"})" + fields + "}");
  ASSERT_EQ(cut.status, 201) << cut.body;
  auto headers = cut.headers.all("Warning");
  EXPECT_EQ(headers.size(), 16u) << "16 times 256 are 4096";
  for (std::string_view one : headers) EXPECT_LT(one.size(), 256u + 16u);
}

}  // namespace
}  // namespace knarr::apiserver
