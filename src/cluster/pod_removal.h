// Removing all pods from a runtime, as fast as they let themselves be removed.
#pragma once

#include <optional>

#include "async/async.h"
#include "base/result.h"
#include "env/env.h"

namespace knarr::cri {
class RuntimeClient;
}

namespace knarr::cluster {

struct RemovedSandboxes {
  int count = 0;
  std::optional<Error> error;  // the first sandbox's that stays
};

// Everything the runtime holds: containers with their sandboxes, networks and mounts. All containers get SIGTERM at once, and
// SIGKILL two seconds later; then sandboxes are removed, some at a time. Errors: the runtime does not answer.
async::Task<Result<RemovedSandboxes>> removeSandboxes(env::Env environment, cri::RuntimeClient* runtime);

}  // namespace knarr::cluster
