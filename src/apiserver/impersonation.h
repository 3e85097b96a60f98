// Acting as somebody else: the Impersonate-* headers, each part of an identity under a right of its own.
//
// Source: k8s.io/apiserver/pkg/endpoints/filters/impersonation (the mode with the verb "impersonate").
#pragma once

#include "apiserver/authorizer.h"
#include "apiserver/user.h"
#include "wire/headers.h"

namespace knarr::apiserver {

// The user that the request acts as: `user` itself without such headers. BadRequest when a group, uid or extra is asked for
// without a user name; Forbidden names the first part that `user` may not take.
Result<UserInfo> impersonatedUser(const wire::Headers& headers, const UserInfo& user, const Authorizer& authorizer);

}  // namespace knarr::apiserver
