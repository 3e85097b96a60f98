// What /healthz, /livez and /readyz answer, and their single checks below them.
//
// Source: k8s.io/apiserver/pkg/server/healthz/healthz.go.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace knarr::apiserver {

struct HealthCheck {
  std::string name;
  std::string failure;  // why it fails; "" when it is well
};

struct HealthAnswer {
  int code = 200;
  std::string text;
};

// `path` has no slash at its end: "/readyz" asks all checks but the excluded ones, "/readyz/etcd" one. 404 for a check that is
// not there.
HealthAnswer answerHealth(std::string_view path, const std::vector<HealthCheck>& checks, bool verbose,
                          const std::vector<std::string>& excluded);

}  // namespace knarr::apiserver
