// Reviews: questions that are answered and not stored (who am I, may I).
//
// Source: pkg/registry/authentication, pkg/registry/authorization.
#pragma once

#include "apiserver/authenticator.h"
#include "apiserver/authorizer.h"
#include "apiserver/request_info.h"
#include "apiserver/responses.h"

namespace knarr::apiserver {

// TokenReview, SelfSubjectReview, SubjectAccessReview, SelfSubjectAccessReview, LocalSubjectAccessReview,
// SelfSubjectRulesReview. NotFound for anything else.
Task<Result<void>> handleReview(HttpCallPtr call, RequestInfo info, const schema::ResourceInfo& resource,
                                const Authenticator& authenticator, const Authorizer& authorizer);

}  // namespace knarr::apiserver
