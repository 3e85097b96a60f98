// The near client: a component's calls straight into the API, under its own identity.
#pragma once

#include <memory>

#include "apiserver/api.h"
#include "apiserver/authorizer.h"
#include "client/client.h"

namespace knarr::apiserver {

std::unique_ptr<client::Client> makeNearClient(Api& api, const Authorizer& authorizer, UserInfo user);

}  // namespace knarr::apiserver
