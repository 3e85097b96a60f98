#include "apiserver/service_account_tokens.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "codec/codec.h"
#include "codec/value.h"
#include "wire/pki.h"

namespace knarr::apiserver {
namespace {

// Clocks of two machines may differ by this much. Source: go-jose jwt.DefaultLeeway, one minute.
constexpr int64_t kLeewaySeconds = 60;

// Source: pkg/serviceaccount/claims.go, ref; an unknown uid is left out.
std::string reference(std::string_view name, std::string_view uid) {
  if (uid.empty()) return fmt::format("{{\"name\":{}}}", codec::quoteJson(name));
  return fmt::format("{{\"name\":{},\"uid\":{}}}", codec::quoteJson(name), codec::quoteJson(uid));
}

// The string at a path of member names; "" when there is none.
std::string text(const codec::Value& root, std::initializer_list<std::string_view> path) {
  const codec::Value* at = &root;
  for (std::string_view name : path)
    if (at) at = at->find(name);
  return at ? std::string(at->stringOr()) : std::string();
}

int64_t number(const codec::Value& root, std::string_view name) {
  const codec::Value* value = root.find(name);
  return value && value->isNumber() ? static_cast<int64_t>(value->number()) : 0;
}

std::string lowerFirst(std::string name) {
  if (!name.empty() && name[0] >= 'A' && name[0] <= 'Z') name[0] = static_cast<char>(name[0] - 'A' + 'a');
  return name;
}

}  // namespace

ServiceAccountTokens::ServiceAccountTokens(env::Env environment, std::string issuer, std::string privateKeyPem,
                                           std::vector<std::string> publicKeyPems)
    : env_(environment),
      issuer_(std::move(issuer)),
      privateKeyPem_(std::move(privateKeyPem)),
      publicKeyPems_(std::move(publicKeyPems)) {
  auto publicKey = wire::publicKeyPem(privateKeyPem_);
  if (!publicKey) return;
  if (publicKeyPems_.empty()) publicKeyPems_.push_back(*publicKey);
  if (auto id = wire::jwtKeyId(*publicKey)) keyId_ = *id;
}

Result<std::string> ServiceAccountTokens::sign(const TokenClaims& claims) const {
  std::vector<std::string> audiences;
  for (const std::string& audience : claims.audiences) audiences.push_back(codec::quoteJson(audience));
  std::string kubernetes = fmt::format("\"namespace\":{}", codec::quoteJson(claims.nameSpace));
  if (!claims.nodeName.empty()) kubernetes += ",\"node\":" + reference(claims.nodeName, claims.nodeUid);
  if (!claims.bound.kind.empty())
    kubernetes += fmt::format(",\"{}\":{}", lowerFirst(claims.bound.kind), reference(claims.bound.name, claims.bound.uid));
  kubernetes += ",\"serviceaccount\":" + reference(claims.serviceAccountName, claims.serviceAccountUid);
  std::string payload = fmt::format(
      "{{\"aud\":[{}],\"exp\":{},\"iat\":{},\"iss\":{},\"jti\":{},\"kubernetes.io\":{{{}}},\"nbf\":{},\"sub\":{}}}",
      join(audiences, ","), claims.expires, claims.issuedAt, codec::quoteJson(issuer_), codec::quoteJson(claims.id), kubernetes,
      claims.issuedAt, codec::quoteJson(fmt::format("system:serviceaccount:{}:{}", claims.nameSpace, claims.serviceAccountName)));
  return wire::signJwt(privateKeyPem_, keyId_, payload);
}

Result<TokenClaims> ServiceAccountTokens::verify(std::string_view token, const std::vector<std::string>& audiences) const {
  auto refuse = [](std::string_view why) { return fail(Reason::Unauthorized, fmt::format("invalid bearer token, {}", why)); };
  auto parts = wire::splitJwt(token);
  if (!parts) return refuse("not a token of this cluster");
  Result<std::string> payload = fail(Reason::Unauthorized, "no key");
  for (const std::string& key : publicKeyPems_) {
    payload = wire::verifyJwt(key, token);
    if (payload) break;
  }
  if (!payload) return refuse("the token could not be verified by any of the known keys");
  Arena arena;
  auto parsed = codec::parseJsonValue(*payload, arena);
  if (!parsed) return refuse("its claims are not JSON");
  const codec::Value& root = *parsed;
  if (text(root, {"iss"}) != issuer_) return refuse("it was issued by another issuer");
  TokenClaims claims;
  claims.issuedAt = number(root, "iat");
  claims.expires = number(root, "exp");
  claims.id = text(root, {"jti"});
  int64_t now = env_.clock.unixSeconds();
  if (now > claims.expires + kLeewaySeconds) return refuse("service account token has expired");
  if (now < number(root, "nbf") - kLeewaySeconds) return refuse("service account token is not valid yet");
  if (const codec::Value* list = root.find("aud"); list && list->isArray())
    for (const codec::Value& audience : list->items())
      if (audience.isString()) claims.audiences.emplace_back(audience.string());
  bool meet = false;
  for (const std::string& audience : claims.audiences)
    meet = meet || std::find(audiences.begin(), audiences.end(), audience) != audiences.end();
  if (!meet) return refuse("token audiences are not meant for this server");
  claims.nameSpace = text(root, {"kubernetes.io", "namespace"});
  claims.serviceAccountName = text(root, {"kubernetes.io", "serviceaccount", "name"});
  claims.serviceAccountUid = text(root, {"kubernetes.io", "serviceaccount", "uid"});
  for (const char* kind : {"Pod", "Secret", "Node"}) {
    std::string member = lowerFirst(kind);
    std::string name = text(root, {"kubernetes.io", member, "name"});
    if (name.empty()) continue;
    if (std::string_view(kind) == "Node" && !claims.bound.kind.empty()) {
      claims.nodeName = name;
      claims.nodeUid = text(root, {"kubernetes.io", member, "uid"});
    } else {
      claims.bound = {kind, name, text(root, {"kubernetes.io", member, "uid"})};
    }
  }
  if (text(root, {"sub"}) != fmt::format("system:serviceaccount:{}:{}", claims.nameSpace, claims.serviceAccountName))
    return refuse("its subject does not fit its claims");
  return claims;
}

UserInfo ServiceAccountTokens::userOf(const TokenClaims& claims) {
  UserInfo user;
  user.name = fmt::format("system:serviceaccount:{}:{}", claims.nameSpace, claims.serviceAccountName);
  user.uid = claims.serviceAccountUid;
  user.groups = {"system:serviceaccounts", fmt::format("system:serviceaccounts:{}", claims.nameSpace)};
  if (!claims.id.empty()) user.extra["authentication.kubernetes.io/credential-id"] = {"JTI=" + claims.id};
  if (claims.bound.kind == "Pod") {
    user.extra["authentication.kubernetes.io/pod-name"] = {claims.bound.name};
    user.extra["authentication.kubernetes.io/pod-uid"] = {claims.bound.uid};
  }
  std::string nodeName = claims.bound.kind == "Node" ? claims.bound.name : claims.nodeName;
  std::string nodeUid = claims.bound.kind == "Node" ? claims.bound.uid : claims.nodeUid;
  if (!nodeName.empty()) user.extra["authentication.kubernetes.io/node-name"] = {nodeName};
  if (!nodeUid.empty()) user.extra["authentication.kubernetes.io/node-uid"] = {nodeUid};
  return user;
}

}  // namespace knarr::apiserver
