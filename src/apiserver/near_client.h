// The near client: a component's calls straight into the API, under its own identity. `userAgent` is what a component of its
// own would send ("kubelet"): the name that its fields are managed under.
#pragma once

#include <memory>

#include "apiserver/api.h"
#include "apiserver/authorizer.h"
#include "client/client.h"

namespace knarr::apiserver {

std::unique_ptr<client::Client> makeNearClient(Api& api, const Authorizer& authorizer, UserInfo user, std::string userAgent);

}  // namespace knarr::apiserver
