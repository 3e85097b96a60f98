// What the server refuses of each kind, in upstream's words: one row a rule.
#include <fmt/format.h>

#include "apiserver/http_fixture.h"

namespace knarr::apiserver {
namespace {

struct Row {
  const char* path;
  const char* body;
  const char* message;  // part of the Status's message; "" when the object is good
};

class HttpValidationTest : public HttpFixture {
 protected:
  void check(std::initializer_list<Row> rows) {
    for (const Row& row : rows) {
      auto answer = post(row.path, row.body);
      if (std::string_view(row.message).empty()) {
        EXPECT_EQ(answer.status, 201) << row.body << "\n" << answer.body;
        continue;
      }
      EXPECT_EQ(answer.status, 422) << row.body << "\n" << answer.body;
      EXPECT_NE(field(answer, "message").find(row.message), std::string::npos) << row.message << "\n" << field(answer, "message");
    }
  }
};

constexpr const char* kPods = "/api/v1/namespaces/default/pods";

TEST_F(HttpValidationTest, pods) {
  check({
      {kPods, R"({"metadata":{"name":"x"},"spec":{}})", "Pod \"x\" is invalid: spec.containers: Required value"},
      {kPods, R"({"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","ports":[{"containerPort":70000}]}]}})",
       "Pod \"x\" is invalid: [spec.containers[0].image: Required value, spec.containers[0].ports[0].containerPort: Invalid "
       "value: 70000: "
       "must be between 1 and 65535, inclusive]"},
      {kPods, R"({"metadata":{"name":"A"},"spec":{"containers":[{"name":"c","image":"i"}]}})",
       "a lowercase RFC 1123 subdomain must consist of"},
      {kPods, R"({"metadata":{"name":"x"},"spec":{"restartPolicy":"X","containers":[{"name":"c","image":"i"}]}})",
       "spec.restartPolicy: Unsupported value: \"X\": supported values: \"Always\", \"OnFailure\", \"Never\""},
      {kPods,
       R"({"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1"}}}]}})",
       "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"},
      {kPods,
       R"({"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i","volumeMounts":[{"name":"data","mountPath":"/d"}]}]}})",
       "spec.containers[0].volumeMounts[0].name: Not found: \"data\""},
      {kPods, R"({"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i","livenessProbe":{}}]}})",
       "spec.containers[0].livenessProbe: Required value: must specify a handler type"},
      {kPods,
       R"({"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i","livenessProbe":{"exec":{"command":["a"]},"tcpSocket":{"port":1}}}]}})",
       "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"},
      {kPods,
       R"({"metadata":{"name":"x"},"spec":{"initContainers":[{"name":"i","image":"i","readinessProbe":{"exec":{"command":["a"]}}}],"containers":[{"name":"c","image":"i"}]}})",
       "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"},
      {kPods,
       R"({"metadata":{"name":"x"},"spec":{"ephemeralContainers":[{"name":"e","image":"i"}],"containers":[{"name":"c","image":"i"}]}})",
       "spec.ephemeralContainers: Forbidden: cannot be set on create"},
      {kPods,
       R"({"metadata":{"name":"x"},"spec":{"volumes":[{"name":"v","hostPath":{"path":"/a/../b"}}],"containers":[{"name":"c","image":"i"}]}})",
       "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"},
      {kPods,
       R"({"metadata":{"name":"x"},"spec":{"tolerations":[{"operator":"Equal"}],"containers":[{"name":"c","image":"i"}]}})",
       "operator must be Exists when `key` is empty, which means \"match all values and all keys\""},
      {kPods,
       R"({"metadata":{"name":"x"},"spec":{"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":""}]}},"containers":[{"name":"c","image":"i"}]}})",
       "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be "
       "empty"},
      {kPods,
       R"({"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i","resources":{"claims":[{"name":"z"}]}}]}})",
       "spec.containers[0].resources.claims[0]: Not found: \"z\": must be one of the names in pod.spec.resourceClaims which is "
       "empty"},
      {kPods,
       R"({"metadata":{"name":"x"},"spec":{"resourceClaims":[{"name":"b","resourceClaimName":"x"},{"name":"a","resourceClaimName":"x"}],
        "containers":[{"name":"c","image":"i","resources":{"claims":[{"name":"a","request":"r"},{"name":"a"},{"name":"z"},{"name":"b"}]}}]}})",
       "[spec.containers[0].resources.claims[1]: Duplicate value: \"a\", spec.containers[0].resources.claims[2]: Not found: "
       "\"z\": "
       "must be one of the names in pod.spec.resourceClaims: a, b]"},
      {kPods, R"({"metadata":{"name":"x"},"spec":{"securityContext":{"runAsUser":-1},"containers":[{"name":"c","image":"i"}]}})",
       "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"},
      {kPods,
       R"({"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"A","value":"v","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}]}]}})",
       "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"},
      {kPods,
       R"({"metadata":{"name":"good"},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80,"name":"http"}],
        "env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}],"readinessProbe":{"httpGet":{"port":"http"}}}]}})",
       ""},
  });
}

TEST_F(HttpValidationTest, podsStayAsTheyAre) {
  ASSERT_EQ(
      post(kPods, R"({"metadata":{"name":"p"},"spec":{"activeDeadlineSeconds":5,"tolerations":[{"key":"k","operator":"Exists"}],
                         "containers":[{"name":"c","image":"i"}]}})")
          .status,
      201);
  std::string pod = std::string(kPods) + "/p";
  auto changed = patch(pod, "strategic-merge-patch+json", R"({"spec":{"containers":[{"name":"c","command":["x"]}]}})");
  EXPECT_EQ(changed.status, 422);
  EXPECT_NE(changed.body.find("pod updates may not change fields other than"), std::string::npos) << changed.body;
  EXPECT_NE(patch(pod, "merge-patch+json", R"({"spec":{"activeDeadlineSeconds":9}})")
                .body.find("must be less than or equal to previous value"),
            std::string::npos);
  EXPECT_NE(patch(pod, "merge-patch+json", R"({"spec":{"tolerations":[]}})").body.find("existing toleration can not be modified"),
            std::string::npos);
  EXPECT_EQ(patch(pod, "strategic-merge-patch+json", R"({"spec":{"containers":[{"name":"c","image":"other"}]}})").status, 200);
  EXPECT_EQ(patch(pod, "merge-patch+json", R"({"metadata":{"labels":{"a":"b"}}})").status, 200);
}

// What admission adds to a new pod an update may leave out: it is added again.
TEST_F(HttpValidationTest, admissionFillsUpdatesOfPods) {
  ASSERT_EQ(post(kPods, R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})").status, 201);
  auto changed = patch(std::string(kPods) + "/p", "merge-patch+json",
                       R"({"spec":{"tolerations":[{"key":"k","operator":"Exists"}],"priority":null,"preemptionPolicy":null}})");
  EXPECT_EQ(changed.status, 200) << changed.body;
  for (std::string_view kept : {R"("key":"node.kubernetes.io/not-ready")", R"("key":"node.kubernetes.io/unreachable")",
                                R"("key":"k")", R"("priority":0)", R"("preemptionPolicy":"PreemptLowerPriority")"})
    EXPECT_NE(changed.body.find(kept), std::string::npos) << kept << changed.body;
}

TEST_F(HttpValidationTest, podsAreResized) {
  ASSERT_EQ(
      post(kPods,
           R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"1"}}}]}})")
          .status,
      201);
  std::string resize = std::string(kPods) + "/p/resize";
  auto bigger = patch(resize, "strategic-merge-patch+json",
                      R"({"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"2"}}}]}})");
  EXPECT_EQ(bigger.status, 200) << bigger.body;
  EXPECT_EQ(field(bigger, "spec.containers.0.resources.requests.cpu"), "2");
  EXPECT_EQ(field(bigger, "metadata.generation"), "2");
  auto gone = patch(resize, "strategic-merge-patch+json",
                    R"({"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":null}}}]}})");
  EXPECT_EQ(gone.status, 422);
  EXPECT_NE(gone.body.find("Pod QOS Class may not change as a result of resizing"), std::string::npos) << gone.body;
}

TEST_F(HttpValidationTest, core) {
  check({
      {"/api/v1/namespaces/default/services", R"({"metadata":{"name":"s"},"spec":{}})", "spec.ports: Required value"},
      {"/api/v1/namespaces/default/services",
       R"({"metadata":{"name":"s"},"spec":{"ports":[{"port":80},{"port":80,"name":"b"}]}})",
       "spec.ports[1]: Duplicate value: "
       "{\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}"},
      {"/api/v1/namespaces/default/services", R"({"metadata":{"name":"s"},"spec":{"type":"ExternalName"}})",
       "spec.externalName: Required value"},
      {"/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"c"},"data":{"a/b":"x"}})",
       "data[a/b]: Invalid value: \"a/b\": a valid config key"},
      {"/api/v1/namespaces/default/secrets", R"({"metadata":{"name":"c"},"type":"kubernetes.io/basic-auth"})",
       "[data[username]: Required value, data[password]: Required value]"},
      {"/api/v1/namespaces/default/endpoints", R"({"metadata":{"name":"c"},"subsets":[{"addresses":[{"ip":"127.0.0.1"}]}]})",
       "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"},
      {"/api/v1/namespaces/default/limitranges",
       R"({"metadata":{"name":"c"},"spec":{"limits":[{"type":"Container","min":{"cpu":"2"},"max":{"cpu":"1"}}]}})",
       "min value 2 is greater than max value 1"},
      {"/api/v1/namespaces/default/resourcequotas", R"({"metadata":{"name":"c"},"spec":{"hard":{"foo":"1"}}})",
       "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource for quota"},
      {"/api/v1/nodes", R"({"metadata":{"name":"n"},"spec":{"taints":[{"key":"a","effect":"Never"}]}})",
       "metadata.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", "
       "\"NoExecute\""},
      {"/api/v1/namespaces", R"({"metadata":{"name":"a.b"}})", "metadata.name: Invalid value: \"a.b\": must not contain dots"},
      {"/api/v1/persistentvolumes",
       R"({"metadata":{"name":"v"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"]}})",
       "spec: Required value: must specify a volume type"},
      {"/api/v1/namespaces/default/persistentvolumeclaims",
       R"({"metadata":{"name":"v"},"spec":{"accessModes":["ReadWriteOnce"]}})", "spec.resources[storage]: Required value"},
      {"/api/v1/namespaces/default/events", R"({"metadata":{"name":"e"},"involvedObject":{"namespace":"other"}})",
       "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"},
  });
}

TEST_F(HttpValidationTest, groups) {
  check({
      {"/apis/apps/v1/namespaces/default/deployments",
       R"({"metadata":{"name":"d"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}})",
       "spec.selector: Required value"},
      {"/apis/apps/v1/namespaces/default/deployments",
       R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"c"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})",
       "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`"},
      {"/apis/apps/v1/namespaces/default/statefulsets",
       R"({"metadata":{"name":"d"},"spec":{"podManagementPolicy":"X","selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})",
       "spec.podManagementPolicy: Invalid value: \"X\": must be 'OrderedReady' or 'Parallel'"},
      {"/apis/batch/v1/namespaces/default/jobs",
       R"({"metadata":{"name":"j"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}})",
       "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""},
      {"/apis/batch/v1/namespaces/default/jobs",
       R"({"metadata":{"name":"j"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}})",
       ""},
      {"/apis/batch/v1/namespaces/default/cronjobs",
       R"({"metadata":{"name":"j"},"spec":{"schedule":"* * *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}})",
       "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]"},
      {"/apis/policy/v1/namespaces/default/poddisruptionbudgets",
       R"({"metadata":{"name":"b"},"spec":{"minAvailable":1,"maxUnavailable":1}})",
       "minAvailable and maxUnavailable cannot be both set"},
      {"/apis/rbac.authorization.k8s.io/v1/clusterroles", R"({"metadata":{"name":"system:x"},"rules":[{"verbs":[]}]})",
       "rules[0].verbs: Required value: verbs must contain at least one value"},
      {"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
       R"({"metadata":{"name":"x"},"roleRef":{"kind":"Role","name":"r"}})",
       "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""},
      {"/apis/networking.k8s.io/v1/namespaces/default/ingresses",
       R"({"metadata":{"name":"x"},"spec":{"rules":[{"host":"1.2.3.4"}]}})",
       "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address"},
      {"/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
       R"({"metadata":{"name":"x"},"spec":{"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["11.0.0.0/16"]}}]}]}})",
       "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`"},
      {"/apis/networking.k8s.io/v1/ingressclasses", R"({"metadata":{"name":"x"},"spec":{"controller":"c"}})",
       "must be a domain-prefixed path (such as \"acme.io/foo\")"},
      {"/apis/networking.k8s.io/v1/ipaddresses",
       R"({"metadata":{"name":"10.0.0.010"},"spec":{"parentRef":{"resource":"r","name":"n"}}})",
       "metadata.name: Invalid value: \"10.0.0.010\": must not have leading 0s"},
      {"/apis/networking.k8s.io/v1/ipaddresses",
       R"({"metadata":{"name":"FD00::1"},"spec":{"parentRef":{"resource":"r","name":"n"}}})",
       "metadata.name: Invalid value: \"FD00::1\": must be in canonical form (\"fd00::1\")"},
      {"/apis/networking.k8s.io/v1/ipaddresses", R"({"metadata":{"name":"10.0.0.1"},"spec":{}})",
       "spec.parentRef: Required value"},
      {"/apis/networking.k8s.io/v1/ipaddresses", R"({"metadata":{"name":"10.0.0.1"},"spec":{"parentRef":{"name":"a/b"}}})",
       "spec.parentRef.resource: Required value"},
      {"/apis/networking.k8s.io/v1/ipaddresses",
       R"({"metadata":{"name":"fe80::42:1dff:fe84:f9e2"},"spec":{"parentRef":{"group":"g","resource":"r","name":"n"}}})", ""},
      {"/apis/networking.k8s.io/v1/servicecidrs", R"({"metadata":{"name":"x"},"spec":{}})",
       "spec.cidrs: Required value: at least one CIDR required"},
      {"/apis/networking.k8s.io/v1/servicecidrs",
       R"({"metadata":{"name":"x"},"spec":{"cidrs":["10.0.0.0/8","10.1.0.0/16","fd00::/64"]}})", "may only hold up to 2 values"},
      {"/apis/networking.k8s.io/v1/servicecidrs", R"({"metadata":{"name":"x"},"spec":{"cidrs":["10.0.0.0/8","FD00::/64"]}})",
       "spec.cidrs[1]: Invalid value: \"FD00::/64\": must be in canonical form (\"fd00::/64\")"},
      {"/apis/networking.k8s.io/v1/servicecidrs", R"({"metadata":{"name":"x"},"spec":{"cidrs":["10.0.0.0/8","11.0.0.0/8"]}})",
       "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"},
      {"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
       R"({"metadata":{"name":"x"},"addressType":"IPv4","endpoints":[{"addresses":[]}]})",
       "endpoints[0].addresses: Required value: must contain at least 1 address"},
      {"/apis/coordination.k8s.io/v1/namespaces/default/leases", R"({"metadata":{"name":"x"},"spec":{"leaseDurationSeconds":0}})",
       "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"},
      {"/apis/scheduling.k8s.io/v1/priorityclasses", R"({"metadata":{"name":"x"},"value":1000000001})",
       "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"},
      {"/apis/storage.k8s.io/v1/storageclasses", R"({"metadata":{"name":"x"}})", "provisioner: Required value"},
      {"/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
       R"({"metadata":{"name":"x"},"spec":{"scaleTargetRef":{"kind":"D","name":"d","apiVersion":"apps/v1"}}})",
       "spec.maxReplicas: Required value: must be set and greater than 0"},
      {"/apis/certificates.k8s.io/v1/certificatesigningrequests",
       R"({"metadata":{"name":"x"},"spec":{"request":"eA==","signerName":"s","usages":[]}})",
       "spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST"},
  });
}

TEST_F(HttpValidationTest, rangesOfServices) {
  std::string ranges = "/apis/networking.k8s.io/v1/servicecidrs", addresses = "/apis/networking.k8s.io/v1/ipaddresses";
  ASSERT_EQ(post(ranges, R"({"metadata":{"name":"x"},"spec":{"cidrs":["10.0.0.0/8"]}})").status, 201);
  ASSERT_EQ(post(addresses, R"({"metadata":{"name":"10.0.0.1"},"spec":{"parentRef":{"resource":"r","name":"n"}}})").status, 201);
  struct Row {
    std::string target;
    const char *patch, *message;  // "" when it is taken
  };
  for (const Row& row : {Row{ranges + "/x", R"({"spec":{"cidrs":["11.0.0.0/8"]}})",
                             "spec.cidrs[0]: Invalid value: \"11.0.0.0/8\": field is immutable"},
                         Row{ranges + "/x", R"({"spec":{"cidrs":["10.0.0.0/8","fd00::/64"]}})", ""},
                         Row{ranges + "/x", R"({"spec":{"cidrs":["10.0.0.0/8"]}})",
                             "spec.cidrs: Invalid value: [\"10.0.0.0/8\"]: field is immutable"},
                         Row{addresses + "/10.0.0.1", R"({"metadata":{"labels":{"a":"b"}}})", ""},
                         Row{addresses + "/10.0.0.1", R"({"spec":{"parentRef":{"name":"m"}}})",
                             "spec.parentRef: Invalid value: {\"resource\":\"r\",\"name\":\"m\"}: field is immutable"}}) {
    auto answer = patch(row.target, "merge-patch+json", row.patch);
    EXPECT_EQ(answer.status, *row.message ? 422 : 200) << row.patch << answer.body;
    EXPECT_NE(field(answer, "message").find(row.message), std::string::npos) << answer.body;
  }
}

}  // namespace
}  // namespace knarr::apiserver
