#include "apiserver/apiserver.h"

#include <fmt/format.h>

#include "apiserver/admission/object_plugins.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/admission/rbac_escalation.h"
#include "apiserver/api.h"
#include "apiserver/authenticator.h"
#include "apiserver/authorizer.h"
#include "apiserver/bootstrap.h"
#include "apiserver/compactor.h"
#include "apiserver/component_statuses.h"
#include "apiserver/discovery.h"
#include "apiserver/handlers.h"
#include "apiserver/health.h"
#include "apiserver/impersonation.h"
#include "apiserver/metrics.h"
#include "apiserver/near_client.h"
#include "apiserver/openapi_documents.h"
#include "apiserver/openid_metadata.h"
#include "apiserver/responses.h"
#include "apiserver/reviews.h"
#include "apiserver/served_resources.h"
#include "apiserver/streaming.h"
#include "base/log.h"
#include "base/strings.h"
#include "codec/codec.h"
#include "wire/http.h"
#include "wire/pki.h"

namespace knarr::apiserver {
namespace {

constexpr std::string_view kAggregatedType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

// Whether the client prefers the aggregated discovery document. v2beta1 is not served: clients that only know it get the
// legacy document.
bool wantsAggregated(std::string_view accept) {
  for (const AcceptClause& clause : parseAccept(accept)) {
    if (clause.type == "*" || clause.subtype == "*") return false;
    if (clause.subtype != "json") continue;
    if (clause.parameter("as").empty()) return false;
    if (clause.parameter("as") == "APIGroupDiscoveryList" && clause.parameter("g") == "apidiscovery.k8s.io" &&
        clause.parameter("v") == "v2")
      return true;
  }
  return false;
}

// The store is well when it says where it stands.
Task<Result<std::string>> probeStore(store::Store& store) {
  CO_TRY(co_await store.currentRevision());
  co_return std::string("ok");
}

}  // namespace

class ApiServer::Impl {
 public:
  Impl(env::Env environment, store::Store& store, ApiServerConfig config)
      : env_(environment),
        store_(store),
        config_(std::move(config)),
        resources_(servedResources(config_.servedGroupVersions)),
        registry_(environment, store, admission_),
        metrics_(environment),
        tokens_(environment, config_.serviceAccountIssuer, config_.serviceAccountKeyPem, config_.serviceAccountPublicKeys),
        api_(registry_, &tokens_),
        authenticator_(registry_, &tokens_),
        authorizer_(registry_),
        discovery_(resources_),
        openApi_(discovery_),
        gate_(environment.executor) {
    for (const schema::ResourceInfo* info : resources_)
      if (hasStorage(*info)) registry_.serve(*info);
    componentProbes_ = config_.componentProbes;
    componentProbes_.push_back({"etcd-0", [&store] { return probeStore(store); }});
    addAdmissionPlugins(admission_, registry_, AdmissionConfig{config_.serviceClusterIpRange});
    admission_.add(makeCertificateAdmission(authorizer_));
    admission_.add(makeRbacEscalationCheck(registry_, authorizer_));
    if (tokens_.publicKeys().empty()) return;
    auto openId = makeOpenIdMetadata(tokens_.issuer(), externalAddress(), tokens_.publicKeys());
    if (openId)
      openId_ = std::move(*openId);
    else
      logWarning("apiserver", "the issuer's discovery is not served: {}", openId.error().describe());
  }

  BootstrapConfig bootstrapConfig() const {
    BootstrapConfig out{config_.serviceClusterIpRange, config_.advertiseAddress, config_.securePort};
    out.priorityClasses = registry_.find("scheduling.k8s.io", "v1", "priorityclasses") != nullptr;
    out.serviceCidrs = registry_.find("networking.k8s.io", "v1", "servicecidrs") != nullptr;
    out.nowUnixSeconds = env_.clock.unixSeconds();
    return out;
  }

  Task<Result<void>> start() {
    CO_TRY(co_await registry_.start(gate_, stop_.token()));
    auto client = clientFor(UserInfo{"system:apiserver", "", {std::string(kGroupMasters)}, {}}, "kube-apiserver");
    CO_TRY(co_await makeBootstrapObjects(*client, bootstrapConfig()));
    auto kubelet = wire::TlsClientContext::make(env_.clock, config_.kubeletClient);
    if (kubelet) streaming_ = std::make_unique<Streaming>(env_, registry_, *kubelet);
    gate_.spawn(runCompactor(env_, store_, config_.compactionInterval, stop_.token()));
    ready_ = true;
    co_return Result<void>();
  }

  Result<std::string> listen(const std::string& address) {
    if (!server_) {
      wire::HttpServerOptions options;
      options.tls = TRY(wire::TlsServerContext::make(env_.clock, config_.tls));
      server_ = std::make_unique<wire::HttpServer>(
          env_, options, [this](std::shared_ptr<wire::ServerExchange> exchange) { return serve(this, std::move(exchange)); });
    }
    return server_->listen(address);
  }

  std::unique_ptr<client::Client> clientFor(UserInfo user, std::string userAgent) {
    return makeNearClient(api_, authorizer_, std::move(user), std::move(userAgent));
  }

  Task<void> stop(env::Duration grace) {
    stopping_ = true;
    if (server_) co_await server_->shutdown(grace);
    // The pump waits for the store and ends with this object.
    stop_.requestStop();
  }

 private:
  static Task<void> serve(Impl* self, std::shared_ptr<wire::ServerExchange> exchange) {
    auto call = std::make_shared<HttpCall>();
    call->exchange = exchange;
    call->context = std::make_shared<RequestContext>();
    const wire::Request& request = exchange->request();
    call->context->userAgent = request.headers.get("User-Agent");
    call->auditId = request.headers.get("Audit-Id");
    if (call->auditId.empty() || call->auditId.size() > 64) call->auditId = env::randomUuid(self->env_.random);
    bool mutating = request.method != "GET" && request.method != "HEAD";
    env::Instant began = self->env_.clock.now();
    self->metrics_.begin(mutating);
    auto done = co_await self->route(call);
    if (!done && !exchange->responseStarted()) co_await respondError(call, std::move(done).error());
    self->metrics_.end(mutating);
    if (call->labels.verb.empty()) call->labels.verb = "GET";
    bool longRunning = call->labels.verb == "WATCH" || call->labels.verb == "CONNECT";
    self->metrics_.count(call->labels, call->code, self->env_.clock.now() - began, longRunning);
  }

  // What a request is counted under; only what is served has a resource.
  static RequestLabels labelsOf(const RequestInfo& info, const Query& query, std::string_view method) {
    RequestLabels labels;
    labels.group = info.apiGroup;
    labels.version = info.apiVersion;
    labels.resource = info.resource;
    labels.subresource = info.subresource;
    labels.scope = !info.name.empty() ? "resource" : !info.nameSpace.empty() ? "namespace" : "cluster";
    labels.dryRun = query.has("dryRun");
    if (isStreamingSubresource(info) && info.subresource != "log")
      labels.verb = "CONNECT";
    else if (info.verb == "list" || info.verb == "watch" || info.verb == "deletecollection")
      labels.verb = info.verb == "list" ? "LIST" : info.verb == "watch" ? "WATCH" : "DELETECOLLECTION";
    else
      labels.verb = method == "POST" || method == "PUT" || method == "PATCH" || method == "DELETE" ? std::string(method) : "GET";
    return labels;
  }

  // Authentication, authorization, dispatch; an error is the answer.
  Task<Result<void>> route(HttpCallPtr call) {
    const wire::Request& request = call->exchange->request();
    auto path = percentDecode(request.path(), false);
    if (!path) co_return fail(Reason::BadRequest, fmt::format("malformed escape in the path {}", quote(request.path())));
    Query query = CO_TRY(Query::parse(request.query()));
    RequestInfo info = CO_TRY(resolveRequestInfo(request.method, *path, query));
    call->context->user = CO_TRY(authenticator_.authenticate(request));
    call->context->user = CO_TRY(impersonatedUser(request.headers, call->context->user, authorizer_));
    CO_TRY(authorizer_.check(call->context->user, attributesOf(info)));
    if (info.verb == "update" || info.verb == "patch")
      call->context->mayCreate = [this, user = call->context->user, attributes = attributesOf(info)]() mutable {
        attributes.verb = "create";
        return authorizer_.check(user, attributes);
      };
    if (!info.isResourceRequest) co_return co_await routeNonResource(call, info, query);
    const schema::ResourceInfo* resource = nullptr;
    for (const schema::ResourceInfo* one : resources_)
      if (one->group == info.apiGroup && one->version == info.apiVersion && one->resource == info.resource &&
          one->subresource == info.subresource)
        resource = one;
    if (!discovery_.serves(info.apiGroup, info.apiVersion)) {
      co_await respondText(call, 404, "404 page not found\n");
      co_return Result<void>();
    }
    if (!resource || info.parts.size() > 3) {
      if (!resource || !isStreamingSubresource(info))
        co_return fail(Reason::NotFound, "the server could not find the requested resource");
    }
    if (resource || isStreamingSubresource(info)) call->labels = labelsOf(info, query, request.method);
    if (isStreamingSubresource(info)) {
      if (request.method != "GET" && (request.method != "POST" || info.subresource == "log"))
        co_return fail(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
      // Opening a stream changes things whatever the method is. Source: pkg/registry/core/pod/rest/subresources.go.
      if (request.method == "GET" && info.subresource != "log") {
        AuthorizationAttributes attributes = attributesOf(info);
        attributes.verb = "create";
        CO_TRY(authorizer_.check(call->context->user, attributes));
      }
      if (!streaming_) co_return fail(Reason::ServiceUnavailable, "the connection to kubelets is not configured");
      co_return co_await streaming_->handle(call, info, query);
    }
    const ServedResource* served = api_.served(*resource);
    if (!served && resource->resource == "componentstatuses") {
      co_await handleComponentStatuses(call, info, componentProbes_);
      co_return Result<void>();
    }
    if (!served) co_return co_await handleReview(call, info, *resource, authenticator_, authorizer_);
    co_await handleResource(call, &api_, std::move(info), std::move(query), served, resource, env_);
    co_return Result<void>();
  }

  Task<Result<void>> routeNonResource(HttpCallPtr call, RequestInfo info, Query query) {
    const wire::Request& request = call->exchange->request();
    std::string path = info.path;
    if (path.size() > 1 && path.ends_with('/')) path.pop_back();
    if (path == "/healthz" || path == "/livez" || path == "/readyz" || path.starts_with("/healthz/") ||
        path.starts_with("/livez/") || path.starts_with("/readyz/")) {
      co_await respondHealth(call, path, query);
      co_return Result<void>();
    }
    // Documents are read only; what answers on plain paths takes any method. Source: go-restful routes and the path mux.
    bool isOpenId = openId_ && (path == kOpenIdConfigurationPath || path == kJwksPath);
    bool isDocument = path == "/version" || path == "/api" || path == "/apis" || path.starts_with("/api/") ||
                      path.starts_with("/apis/") || isOpenId;
    if (isDocument && request.method != "GET")
      co_return fail(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
    if (path == "/metrics") {
      co_await respondText(call, 200, metrics_.text(registry_), "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
      co_return Result<void>();
    }
    if (path == "/version") {
      co_await respondJson(call, 200, versionJson());
      co_return Result<void>();
    }
    if (isOpenId) co_return co_await respondOpenId(call, path == kJwksPath);
    if (path == "/openapi/v3" || path.starts_with("/openapi/v3/")) {
      co_await openApi_.respond(call, path.size() > 12 ? path.substr(12) : "", query);
      co_return Result<void>();
    }
    if (path == "/openapi/v2") {
      co_await openApi_.respondV2(call);
      co_return Result<void>();
    }
    std::string accept(request.headers.get("Accept"));
    std::string document;
    if (path == "/api") {
      if (wantsAggregated(accept)) co_return co_await respondAggregated(call, discovery_.aggregatedCore());
      document = discovery_.apiVersions(externalAddress());
    } else if (path == "/apis") {
      if (wantsAggregated(accept)) co_return co_await respondAggregated(call, discovery_.aggregatedGroups());
      document = discovery_.apiGroupList();
    } else if (path == "/") {
      document = rootPathsJson();
    } else {
      auto parts = split(std::string_view(path).substr(1), '/');
      if (parts.size() == 2 && parts[0] == "api") document = discovery_.apiResourceList("", parts[1]);
      if (parts.size() == 2 && parts[0] == "apis") document = discovery_.apiGroup(parts[1]);
      if (parts.size() == 3 && parts[0] == "apis") document = discovery_.apiResourceList(parts[1], parts[2]);
    }
    if (document.empty())
      co_await respondText(call, 404, "404 page not found\n");
    else
      co_await respondJson(call, 200, std::move(document));
    co_return Result<void>();
  }

  Task<Result<void>> respondOpenId(HttpCallPtr call, bool keys) {
    std::string type = keys ? "application/jwk-set+json" : "application/json";
    CO_TRY(checkProduced(call->exchange->request().headers.get("Accept"), type));
    wire::Headers headers;
    headers.add("Audit-Id", call->auditId);
    headers.add("Cache-Control", std::string(kOpenIdCacheControl));
    headers.add("Content-Type", std::move(type));
    CO_TRY(co_await call->exchange->respond(200, std::move(headers), keys ? openId_->keysJson : openId_->configurationJson));
    co_return Result<void>();
  }

  // Where others find this server. Source: k8s.io/apiserver/pkg/server/config.go, ExternalAddress.
  std::string externalAddress() const { return fmt::format("{}:{}", config_.advertiseAddress, config_.securePort); }

  Task<Result<void>> respondAggregated(HttpCallPtr call, const std::string& document) {
    wire::Headers headers;
    headers.add("Audit-Id", call->auditId);
    headers.add("Cache-Control", "public");
    headers.add("Vary", "Accept");
    headers.add("Content-Type", std::string(kAggregatedType));
    std::string etag = fmt::format("\"{}\"", toHex(wire::sha256(document)));
    headers.add("ETag", etag);
    bool same = call->exchange->request().headers.get("If-None-Match") == etag;
    CO_TRY(co_await call->exchange->respond(same ? 304 : 200, std::move(headers), same ? std::string() : document));
    co_return Result<void>();
  }

  // The checks in upstream's order; the hooks are what start() makes.
  Task<void> respondHealth(HttpCallPtr call, std::string path, Query query) {
    bool readiness = path.starts_with("/readyz");
    auto reached = co_await store_.currentRevision();
    std::string store = reached ? "" : fmt::format("failed to reach the store: {}", reached.error().message());
    std::string started = ready_ ? "" : "not finished";
    std::vector<HealthCheck> checks{{"ping", ""}, {"log", ""}, {"etcd", store}};
    if (readiness) {
      checks.push_back({"etcd-readiness", store});
      checks.push_back({"informer-sync", started});
    }
    for (const char* hook : {"start-system-namespaces-controller", "bootstrap-controller", "rbac/bootstrap-roles",
                             "scheduling/bootstrap-system-priority-classes"})
      checks.push_back({fmt::format("poststarthook/{}", hook), started});
    if (readiness) checks.push_back({"shutdown", stopping_ ? "process is shutting down" : ""});
    HealthAnswer answer = answerHealth(path, checks, query.has("verbose"), query.all("exclude"));
    for (const HealthCheck& check : checks)
      if (answer.code == 500 && !check.failure.empty())
        logDebug("apiserver", "{}: {} fails: {}", path, check.name, check.failure);
    co_await respondText(call, answer.code, std::move(answer.text));
  }

  // All paths that are no objects, in byte order. Source: server/routes/index.go.
  std::string rootPathsJson() const {
    std::vector<std::string> paths{"/api",
                                   "/apis",
                                   "/healthz",
                                   "/healthz/etcd",
                                   "/healthz/log",
                                   "/healthz/ping",
                                   "/livez",
                                   "/livez/etcd",
                                   "/livez/log",
                                   "/livez/ping",
                                   "/metrics",
                                   "/openapi/v2",
                                   "/openapi/v3",
                                   "/openapi/v3/",
                                   "/readyz",
                                   "/readyz/etcd",
                                   "/readyz/etcd-readiness",
                                   "/readyz/informer-sync",
                                   "/readyz/log",
                                   "/readyz/ping",
                                   "/readyz/shutdown",
                                   "/version"};
    if (openId_) paths.insert(paths.end(), {std::string(kOpenIdConfigurationPath), std::string(kJwksPath)});
    for (const Discovery::Group& group : discovery_.groups()) {
      std::string base = group.name.empty() ? "/api" : "/apis/" + group.name;
      if (!group.name.empty()) paths.push_back(base);
      for (const std::string& version : group.versions) paths.push_back(fmt::format("{}/{}", base, version));
    }
    std::sort(paths.begin(), paths.end());
    std::string json = "{\n  \"paths\": [";
    for (const std::string& path : paths)
      json += fmt::format("{}\n    {}", json.ends_with('[') ? "" : ",", codec::quoteJson(path));
    return json + "\n  ]\n}";
  }

  static std::string versionJson() {
    return "{\"major\":\"1\",\"minor\":\"36\",\"emulationMajor\":\"1\",\"emulationMinor\":\"36\",\"minCompatibilityMajor\":\"1\","
           "\"minCompatibilityMinor\":\"35\",\"gitVersion\":\"v1.36.3+knarr\",\"gitCommit\":\"\",\"gitTreeState\":\"clean\","
           "\"buildDate\":\"\","
           "\"goVersion\":\"\",\"compiler\":\"clang\",\"platform\":\"linux/amd64\"}";
  }

  env::Env env_;
  store::Store& store_;
  ApiServerConfig config_;
  std::vector<ApiServerConfig::ComponentProbe> componentProbes_;
  std::vector<const schema::ResourceInfo*> resources_;
  AdmissionChain admission_;
  Registry registry_;
  Metrics metrics_;
  ServiceAccountTokens tokens_;
  Api api_;
  Authenticator authenticator_;
  Authorizer authorizer_;
  Discovery discovery_;
  OpenApiDocuments openApi_;
  std::optional<OpenIdMetadata> openId_;  // none without a key
  async::StopSource stop_;
  async::Gate gate_;
  std::unique_ptr<Streaming> streaming_;
  std::unique_ptr<wire::HttpServer> server_;
  bool ready_ = false;  // what every cluster has is there
  bool stopping_ = false;
};

ApiServer::ApiServer(env::Env environment, store::Store& store, ApiServerConfig config)
    : impl_(std::make_unique<Impl>(environment, store, std::move(config))) {}
ApiServer::~ApiServer() = default;
Task<Result<void>> ApiServer::start() { return impl_->start(); }
Result<std::string> ApiServer::listen(const std::string& address) { return impl_->listen(address); }
std::unique_ptr<client::Client> ApiServer::clientFor(UserInfo user, std::string userAgent) {
  return impl_->clientFor(std::move(user), std::move(userAgent));
}
Task<void> ApiServer::stop(env::Duration grace) { return impl_->stop(grace); }

}  // namespace knarr::apiserver
