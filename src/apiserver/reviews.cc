#include "apiserver/reviews.h"

#include <fmt/format.h>

#include "api/authentication_v1.h"
#include "api/authorization_v1.h"
#include "api/rbac_v1.h"
#include "apiserver/handlers.h"

namespace knarr::apiserver {
namespace {

template <class UserStruct>
void fillUser(Mut<>& object, UserStruct& to, const UserInfo& user) {
  to.username = object.str(user.name);
  to.uid = object.str(user.uid);
  for (const std::string& group : user.groups) to.groups.append(object.arena()) = object.str(group);
  for (const auto& [key, values] : user.extra) {
    auto& extra = to.extra.at(object.arena(), key);
    for (const std::string& value : values) extra.items.append(object.arena()) = object.str(value);
  }
}

template <class Spec>
Result<AuthorizationAttributes> attributesOfSpec(const Spec& spec) {
  AuthorizationAttributes attributes;
  if (spec.resourceAttributes && spec.nonResourceAttributes)
    return fail(Reason::Invalid, "exactly one of nonResourceAttributes or resourceAttributes must be specified");
  if (const auto* resource = spec.resourceAttributes) {
    attributes.verb = resource->verb;
    attributes.apiGroup = resource->group;
    attributes.apiVersion = resource->version;
    attributes.resource = resource->resource;
    attributes.subresource = resource->subresource;
    attributes.nameSpace = resource->namespace_;
    attributes.name = resource->name;
  } else if (const auto* path = spec.nonResourceAttributes) {
    attributes.isResourceRequest = false;
    attributes.verb = path->verb;
    attributes.path = path->path;
  } else {
    return fail(Reason::Invalid, "exactly one of nonResourceAttributes or resourceAttributes must be specified");
  }
  return attributes;
}

template <class Spec>
UserInfo userOfSpec(const Spec& spec) {
  UserInfo user;
  user.name = spec.user;
  user.uid = spec.uid;
  for (schema::Str group : spec.groups) user.groups.emplace_back(group);
  return user;
}

template <class Review>
Result<void> answerAccess(Mut<>& object, const UserInfo& user, const Authorizer& authorizer) {
  Mut<Review> review(std::move(object));
  AuthorizationAttributes attributes = TRY(attributesOfSpec(review->spec));
  Decision decision = authorizer.authorize(user, attributes);
  review->status = {};
  review->status.allowed = decision.allowed;
  review->status.reason = review.str(decision.reason);
  object = std::move(review);
  return {};
}

Result<void> answerToken(Mut<>& object, const Authenticator& authenticator) {
  Mut<authenticationv1::TokenReview> review(std::move(object));
  if (review->spec.token.empty()) return fail(Reason::BadRequest, "token is required for TokenReview in authentication");
  std::vector<std::string> audiences;
  for (schema::Str audience : review->spec.audiences) audiences.emplace_back(audience);
  auto user = authenticator.authenticateToken(review->spec.token, audiences);
  review->status = {};
  if (user) {
    user->groups.emplace_back(kGroupAuthenticated);
    review->status.authenticated = true;
    fillUser(review, review->status.user, *user);
    for (const std::string& audience : audiences) review->status.audiences.append(review.arena()) = review.str(audience);
  } else {
    review->status.error = review.str(user.error().message());
  }
  object = std::move(review);
  return {};
}

Result<void> answer(Mut<>& object, std::string_view kind, const std::string& nameSpace, const UserInfo& user,
                    const Authenticator& authenticator, const Authorizer& authorizer) {
  if (kind == "SelfSubjectReview") {
    Mut<authenticationv1::SelfSubjectReview> review(std::move(object));
    review->status = {};
    fillUser(review, review->status.userInfo, user);
    object = std::move(review);
    return {};
  }
  if (kind == "TokenReview") return answerToken(object, authenticator);
  if (kind == "SelfSubjectAccessReview") return answerAccess<authorizationv1::SelfSubjectAccessReview>(object, user, authorizer);
  if (kind == "SubjectAccessReview") {
    const auto& review = *static_cast<const authorizationv1::SubjectAccessReview*>(object.root());
    return answerAccess<authorizationv1::SubjectAccessReview>(object, userOfSpec(review.spec), authorizer);
  }
  if (kind == "LocalSubjectAccessReview") {
    const auto& review = *static_cast<const authorizationv1::LocalSubjectAccessReview*>(object.root());
    if (!review.spec.resourceAttributes || review.spec.resourceAttributes->namespace_ != nameSpace)
      return fail(Reason::BadRequest, fmt::format("spec.resourceAttributes.namespace must match namespace: {}", nameSpace));
    return answerAccess<authorizationv1::LocalSubjectAccessReview>(object, userOfSpec(review.spec), authorizer);
  }
  if (kind == "SelfSubjectRulesReview") {
    Mut<authorizationv1::SelfSubjectRulesReview> review(std::move(object));
    review->status = {};
    review->status.incomplete = false;
    for (const rbacv1::PolicyRule& rule : authorizer.rulesOf(user, std::string(review->spec.namespace_))) {
      auto copy = [&](auto& to, const auto& from) {
        for (schema::Str one : from) to.append(review.arena()) = review.str(one);
      };
      if (!rule.nonResourceURLs.empty()) {
        auto& to = review->status.nonResourceRules.append(review.arena());
        copy(to.verbs, rule.verbs);
        copy(to.nonResourceURLs, rule.nonResourceURLs);
      } else {
        auto& to = review->status.resourceRules.append(review.arena());
        copy(to.verbs, rule.verbs);
        copy(to.apiGroups, rule.apiGroups);
        copy(to.resources, rule.resources);
        copy(to.resourceNames, rule.resourceNames);
      }
    }
    object = std::move(review);
    return {};
  }
  return fail(Reason::NotFound, "the server could not find the requested resource");
}

}  // namespace

Task<Result<void>> handleReview(HttpCallPtr call, RequestInfo info, const schema::ResourceInfo& resource,
                                const Authenticator& authenticator, const Authorizer& authorizer) {
  if (!resource.type || !resource.subresource.empty())
    co_return fail(Reason::NotFound, "the server could not find the requested resource");
  if (info.verb != "create")
    co_return fail(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
  const wire::Request& request = call->exchange->request();
  call->negotiated = CO_TRY(negotiate(request.headers.get("Accept"), false, false, false));
  call->negotiationDone = true;
  std::string body = CO_TRY(co_await readRequestBody(call));
  Mut<> object = CO_TRY(decodeBody(*resource.type, request.headers.get("Content-Type"), body, "Ignore", call->context->warnings));
  CO_TRY(answer(object, resource.kind, info.nameSpace, call->context->user, authenticator, authorizer));
  co_await respondObject(call, 201, std::move(object).publish(), "", 0);
  co_return Result<void>();
}

}  // namespace knarr::apiserver
