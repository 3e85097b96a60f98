// The token subresource of service accounts. Source: pkg/registry/core/serviceaccount/storage/token.go.
#include <fmt/format.h>

#include "api/authentication_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "apiserver/api.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

constexpr int64_t kTokenSecondsMin = 600;
constexpr int64_t kTokenSecondsMax = int64_t{1} << 32;
constexpr int64_t kTokenSecondsDefault = 3600;
constexpr std::string_view kGroup = "authentication.k8s.io", kKind = "TokenRequest";

Unexpected tokenConflict(std::string_view name, std::string why) {
  return Unexpected(
      Error(Reason::Conflict, fmt::format("Operation cannot be fulfilled on {}.{} {}: {}", kKind, kGroup, quote(name), why))
          .withDetails({std::string(kGroup), std::string(kKind), std::string(name), "", 0}));
}

// What the request says of itself must be true of the account.
Result<void> checkIdentity(const metav1::ObjectMeta& asked, const metav1::ObjectMeta& account) {
  using namespace apimachinery;
  FieldErrors errors;
  FieldPath path("metadata");
  if (!asked.name.empty() && asked.name != account.name)
    errors.push_back(invalidError(path.child("name"), asked.name, "must match the service account name if specified"));
  if (!asked.namespace_.empty() && asked.namespace_ != account.namespace_)
    errors.push_back(
        invalidError(path.child("namespace"), asked.namespace_, "must match the service account namespace if specified"));
  if (!errors.empty()) return Unexpected(invalidStatus(kGroup, kKind, account.name, errors));
  if (!asked.uid.empty() && asked.uid != account.uid)
    return tokenConflict(account.name,
                         fmt::format("the UID in the token request ({}) does not match the UID of the service account ({})",
                                     asked.uid, account.uid));
  return {};
}

// The uid of the node that a pod runs on; "" of a node that is gone, whose tokens hold only its name.
Task<Result<std::string>> uidOfNode(Registry* registry, std::string name) {
  auto node = co_await registry->get(*registry->find("", "v1", "nodes"), "", std::move(name), "");
  if (node) co_return std::string(schema::metadataOf(*node).uid);
  if (node.error().reason() == Reason::NotFound) co_return std::string();
  co_return fail(Reason::InternalError, "Internal error occurred: " + node.error().message());
}

}  // namespace

Task<Result<Ref<>>> Api::createToken(ContextPtr context, const ServedResource& accounts, std::string nameSpace, std::string name,
                                     Mut<> object, client::WriteOptions) {
  (void)context;
  Mut<authenticationv1::TokenRequest> request(std::move(object));
  Ref<> account = CO_TRY(co_await registry_.get(accounts, nameSpace, name, ""));
  if (!tokens_) co_return fail(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
  CO_TRY(checkIdentity(request->metadata, schema::metadataOf(account)));
  apimachinery::FieldErrors errors;
  int64_t seconds = request->spec.expirationSeconds.valueOr(kTokenSecondsDefault);
  apimachinery::FieldPath path = apimachinery::FieldPath("spec").child("expirationSeconds");
  if (seconds < kTokenSecondsMin)
    errors.push_back(apimachinery::invalidError(path, seconds, "may not specify a duration less than 10 minutes"));
  if (seconds > kTokenSecondsMax)
    errors.push_back(apimachinery::invalidError(path, seconds, "may not specify a duration larger than 2^32 seconds"));
  if (!errors.empty()) co_return Unexpected(apimachinery::invalidStatus(kGroup, kKind, "", errors));
  TokenClaims claims;
  claims.nameSpace = nameSpace;
  claims.serviceAccountName = name;
  claims.serviceAccountUid = schema::metadataOf(account).uid;
  for (schema::Str audience : request->spec.audiences) claims.audiences.emplace_back(audience);
  if (claims.audiences.empty()) claims.audiences.push_back(tokens_->issuer());
  claims.issuedAt = registry_.env().clock.unixSeconds();
  claims.expires = claims.issuedAt + seconds;
  claims.id = env::randomUuid(registry_.env().random);
  if (const auto* bound = request->spec.boundObjectRef) {
    std::string_view plural = bound->kind == "Pod"      ? "pods"
                              : bound->kind == "Secret" ? "secrets"
                              : bound->kind == "Node"   ? "nodes"
                                                        : "";
    const ServedResource* resource = bound->apiVersion == "v1" ? registry_.find("", "v1", plural) : nullptr;
    if (!resource)
      co_return fail(Reason::BadRequest,
                     fmt::format("cannot bind token to object of type {}, Kind={}", bound->apiVersion, bound->kind));
    Ref<> target =
        CO_TRY(co_await registry_.get(*resource, resource->info->namespaced ? nameSpace : "", std::string(bound->name), ""));
    if (bound->kind == "Pod" && Ref<corev1::Pod>(target)->spec.serviceAccountName != name)
      co_return fail(
          Reason::BadRequest,
          fmt::format("cannot bind token for serviceaccount {} to pod running with different serviceaccount name.", quote(name)));
    if (!bound->uid.empty() && bound->uid != schema::metadataOf(target).uid)
      co_return Unexpected(
          conflictError(*resource->info, bound->name,
                        fmt::format("the UID in the bound object reference ({}) does not match the UID in record. The "
                                    "object might have been deleted and then recreated",
                                    bound->uid)));
    claims.bound = {std::string(bound->kind), std::string(bound->name), std::string(schema::metadataOf(target).uid)};
    if (bound->kind == "Pod") claims.nodeName = Ref<corev1::Pod>(target)->spec.nodeName;
    if (!claims.nodeName.empty()) claims.nodeUid = CO_TRY(co_await uidOfNode(&registry_, claims.nodeName));
  }
  request->spec.expirationSeconds = seconds;
  if (request->spec.audiences.empty()) request->spec.audiences.append(request.arena()) = request.str(tokens_->issuer());
  request->status.token = request.str(CO_TRY(tokens_->sign(claims)));
  request->status.expirationTimestamp = schema::Time::fromUnix(claims.expires);
  request->metadata.name = request.str(name);
  request->metadata.namespace_ = request.str(nameSpace);
  request->metadata.uid = request.str(claims.serviceAccountUid);
  request->metadata.creationTimestamp = schema::Time::fromUnix(claims.issuedAt);
  co_return std::move(request).publish();
}

}  // namespace knarr::apiserver
