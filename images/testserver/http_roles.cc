#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/strings.h"
#include "roles.h"
#include "wire/http.h"

extern char** environ;

namespace knarr::testserver {
namespace {

using async::Task;
using wire::Headers;
using ExchangePtr = std::shared_ptr<wire::ServerExchange>;

constexpr size_t kBodyBytesMax = 8 << 20;
constexpr size_t kValueBytesMax = 1 << 20;
const Headers kText{{"Content-Type", "text/plain; charset=utf-8"}};
const Headers kJson{{"Content-Type", "application/json"}};

// Servers live as long as the process.
Result<void> serve(env::Env environment, int port, wire::Handler handler) {
  static std::vector<std::unique_ptr<wire::HttpServer>> servers;
  auto server = std::make_unique<wire::HttpServer>(environment, wire::HttpServerOptions{}, std::move(handler));
  TRY(server->listen(fmt::format("0.0.0.0:{}", port)));
  servers.push_back(std::move(server));
  fmt::print("serving HTTP on port {}\n", port);
  std::fflush(stdout);
  return {};
}

std::string jsonText(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<int>(c));
    else
      out += c;
  }
  return out + "\"";
}

std::string hostname(env::Env environment) {
  auto name = environment.files.readFile("/etc/hostname", 256);
  return name ? std::string(trim(*name)) : "unknown";
}

// The value of a query parameter, "" when absent.
std::string parameter(std::string_view query, std::string_view name) {
  for (std::string_view pair : split(query, '&')) {
    size_t equals = pair.find('=');
    if (pair.substr(0, equals) != name || equals == std::string_view::npos) continue;
    return percentDecode(pair.substr(equals + 1), true).value_or("");
  }
  return "";
}
int64_t numberParameter(std::string_view query, std::string_view name, int64_t otherwise, int64_t most) {
  auto value = parseInt(parameter(query, name));
  return value && *value >= 0 ? std::min(*value, most) : otherwise;
}

// ---- serve

struct HttpState {
  std::string host, message;
  bool healthy = true, ready = true;
};

std::string describe(const HttpState& state, const wire::Request& request, std::string_view body) {
  std::string headers;
  for (const auto& field : request.headers.fields())
    headers += fmt::format("{}{}:{}", headers.empty() ? "" : ",", jsonText(field.name), jsonText(field.value));
  return fmt::format(R"({{"hostname":{},"method":{},"target":{},"protocol":{},"client":{},"headers":{{{}}},"body":{}}})"
                     "\n",
                     jsonText(state.host), jsonText(request.method), jsonText(request.target),
                     jsonText(httpVersionName(request.version)), jsonText(request.peerAddress), headers, jsonText(body));
}

std::string environmentText() {
  std::string out;
  for (char** entry = environ; *entry != nullptr; ++entry) out += std::string(*entry) + "\n";
  return out;
}

// What /healthz and /readyz answer, and how they are set.
Task<void> answerHealth(ExchangePtr exchange, bool* good) {
  if (exchange->request().method == "PUT") {
    auto body = co_await exchange->readBody(16);
    if (body) *good = trim(*body) == "ok";
  }
  (void)co_await exchange->respond(*good ? 200 : 500, kText, std::string(*good ? "ok\n" : "failing\n"));
}

Task<void> answerBurn(env::Env environment, ExchangePtr exchange, bool cpu) {
  std::string query(exchange->request().query());
  int64_t seconds = std::max<int64_t>(1, numberParameter(query, "seconds", 1, 600));
  int64_t amount = numberParameter(query, cpu ? "milli" : "mib", cpu ? 1000 : 16, 100'000);
  std::move_only_function<int()> work = [=] { return cpu ? burnCpu(amount, seconds) : burnMemory(amount, seconds); };
  int code = co_await async::runBlocking<int>(environment.executor, std::move(work));
  (void)co_await exchange->respond(code == 0 ? 200 : 507, kText, fmt::format("{} for {} s\n", amount, seconds));
}

Task<void> answerHttp(env::Env environment, std::shared_ptr<HttpState> state, ExchangePtr exchange) {
  const wire::Request& request = exchange->request();
  std::string path(request.path()), query(request.query());
  if (path == "/healthz") co_return co_await answerHealth(exchange, &state->healthy);
  if (path == "/readyz") co_return co_await answerHealth(exchange, &state->ready);
  if (path == "/cpu" || path == "/memory") co_return co_await answerBurn(environment, exchange, path == "/cpu");
  auto body = co_await exchange->readBody(kBodyBytesMax);
  if (!body) {
    (void)co_await exchange->respond(body.error().code(), kText, body.error().message() + "\n");
    co_return;
  }
  if (path == "/") {
    (void)co_await exchange->respond(
        200, kText, fmt::format("{}{}{}\n", state->message, state->message.empty() ? "" : " from ", state->host));
  } else if (path == "/hostname") {
    (void)co_await exchange->respond(200, kText, state->host + "\n");
  } else if (path == "/clientip") {
    (void)co_await exchange->respond(200, kText, request.peerAddress + "\n");
  } else if (path == "/echo") {
    (void)co_await exchange->respond(200, kJson, describe(*state, request, *body));
  } else if (path == "/env") {
    (void)co_await exchange->respond(200, kText, environmentText());
  } else if (path == "/delay") {
    co_await async::sleepFor(environment, std::chrono::milliseconds(numberParameter(query, "ms", 1000, 600'000)),
                             exchange->clientGone());
    (void)co_await exchange->respond(200, kText, std::string("done\n"));
  } else if (path == "/status") {
    (void)co_await exchange->respond(static_cast<int>(std::max<int64_t>(200, numberParameter(query, "code", 200, 599))), kText,
                                     std::string("as asked\n"));
  } else if (path == "/log") {
    fmt::print("{}\n", parameter(query, "text"));
    std::fflush(stdout);
    (void)co_await exchange->respond(200, kText, std::string("written\n"));
  } else if (path == "/exit") {
    (void)co_await exchange->respond(200, kText, std::string("leaving\n"));
    std::_Exit(static_cast<int>(numberParameter(query, "code", 0, 255)));
  } else {
    (void)co_await exchange->respond(404, kText, fmt::format("nothing at {}\n", path));
  }
}

// ---- the client side

struct Url {
  std::string address, target;
};
Result<Url> parseUrl(const std::string& text) {
  constexpr std::string_view kScheme = "http://";
  if (!text.starts_with(kScheme)) return fail(Reason::Invalid, fmt::format("{} is no http:// URL", quote(text)));
  size_t slash = text.find('/', kScheme.size());
  Url url{text.substr(kScheme.size(), slash == std::string::npos ? slash : slash - kScheme.size()),
          slash == std::string::npos ? "/" : text.substr(slash)};
  if (url.address.find(':') == std::string::npos) url.address += ":80";
  return url;
}

Url below(const Url& base, std::string_view path) {
  return {base.address, (base.target == "/" ? "" : base.target) + std::string(path)};
}

Task<Result<std::pair<int, std::string>>> call(env::Env environment, std::string method, Url url, std::string body,
                                               env::Duration timeout, Headers headers = {}) {
  wire::HttpClientOptions options;
  options.address = url.address;
  options.protocol = wire::ClientProtocol::Http1;
  options.connectTimeout = timeout;
  wire::HttpClient client(environment, options);
  wire::ClientRequest request;
  request.method = std::move(method);
  request.target = url.target;
  request.headers = std::move(headers);
  if (!body.empty()) request.body = wire::makeBytes(std::move(body));
  async::StopSource late;
  env::TimerId timer = environment.executor.at(environment.clock.now() + timeout, [&late] { late.requestStop(); });
  auto response = co_await client.send(std::move(request), late.token());
  Result<std::string> text =
      response ? co_await (*response)->readAll(kBodyBytesMax) : Result<std::string>(std::unexpected(response.error()));
  environment.executor.cancelTimer(timer);
  if (!text) co_return std::unexpected(text.error());
  co_return std::pair((*response)->status(), std::move(*text));
}

constexpr env::Duration kTierTimeout = std::chrono::seconds(5);

// What a tier must say to the store: "Bearer " and the text of a file, read anew each time because a Secret may change.
// Without a file the store asks for nothing.
Result<std::string> authorizationOf(env::Env environment, const std::string& tokenFile) {
  if (tokenFile.empty()) return "";
  return "Bearer " + std::string(trim(TRY(environment.files.readFile(tokenFile, 4096))));
}

// ---- frontend

Task<void> answerFrontend(env::Env environment, Url api, std::string message, ExchangePtr exchange) {
  if (exchange->request().path() == "/healthz") {
    (void)co_await exchange->respond(200, kText, std::string("ok\n"));
    co_return;
  }
  auto visits = co_await call(environment, "POST", below(api, "/visits"), "{}", kTierTimeout);
  if (!visits || visits->first != 200) {
    (void)co_await exchange->respond(
        502, kText, fmt::format("the API does not answer: {}\n", visits ? visits->second : visits.error().describe()));
    co_return;
  }
  std::string page =
      fmt::format("<!doctype html>\n<title>Three tiers</title>\n<h1>{}</h1>\n<p>{}</p>\n", message, trim(visits->second));
  (void)co_await exchange->respond(200, Headers{{"Content-Type", "text/html; charset=utf-8"}}, page);
}

// ---- api

Task<void> answerApi(env::Env environment, std::string host, Url store, std::string tokenFile, ExchangePtr exchange) {
  std::string path(exchange->request().path());
  if (path == "/healthz") {
    (void)co_await exchange->respond(200, kText, std::string("ok\n"));
    co_return;
  }
  if (path != "/visits") {
    (void)co_await exchange->respond(404, kText, std::string("there is only /visits\n"));
    co_return;
  }
  bool counts = exchange->request().method == "POST";
  auto authorization = authorizationOf(environment, tokenFile);
  if (!authorization) {
    (void)co_await exchange->respond(500, kText, authorization.error().describe() + "\n");
    co_return;
  }
  Headers headers;
  if (!authorization->empty()) headers.add("Authorization", *authorization);
  auto now =
      co_await call(environment, counts ? "POST" : "GET", below(store, "/keys/visits"), counts ? "1" : "", kTierTimeout, headers);
  if (!now || (now->first != 200 && now->first != 404)) {
    (void)co_await exchange->respond(503, kText,
                                     fmt::format("the store does not answer: {}\n", now ? now->second : now.error().describe()));
    co_return;
  }
  std::string_view value = now->first == 404 ? "0" : trim(now->second);
  (void)co_await exchange->respond(200, kJson, fmt::format("{{\"visits\":{},\"api\":{}}}\n", value, jsonText(host)));
}

// ---- store

// Keys are file names: letters, digits, '-' and '_', at most 64 of them.
bool isKey(std::string_view key) {
  constexpr size_t kKeyMax = 64;
  if (key.empty() || key.size() > kKeyMax) return false;
  for (char c : key)
    if (!isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_') return false;
  return true;
}

// GET, PUT and DELETE of /keys/KEY; POST adds the number in the body to the number that is kept.
Task<void> answerStore(env::Env environment, std::string directory, std::string tokenFile, ExchangePtr exchange) {
  std::string path(exchange->request().path()), method = exchange->request().method;
  if (path == "/healthz") {
    (void)co_await exchange->respond(200, kText, std::string("ok\n"));
    co_return;
  }
  auto authorization = authorizationOf(environment, tokenFile);
  if (!authorization || (!authorization->empty() && exchange->request().headers.get("Authorization") != *authorization)) {
    (void)co_await exchange->respond(authorization ? 401 : 500, kText,
                                     authorization ? "a token is needed\n" : authorization.error().describe() + "\n");
    co_return;
  }
  std::string key = path.starts_with("/keys/") ? path.substr(6) : "";
  if (!isKey(key)) {
    (void)co_await exchange->respond(400, kText, std::string("use /keys/NAME\n"));
    co_return;
  }
  auto body = co_await exchange->readBody(kValueBytesMax);
  if (!body) {
    (void)co_await exchange->respond(body.error().code(), kText, body.error().message() + "\n");
    co_return;
  }
  std::string file = directory + "/" + key;
  auto kept = environment.files.readFile(file, kValueBytesMax);
  std::string value = method == "PUT" ? *body : "";
  if (method == "POST")
    value = std::to_string((kept ? parseInt(trim(*kept)).value_or(0) : 0) + parseInt(trim(*body)).value_or(0));
  if (method == "GET") {
    (void)co_await exchange->respond(kept ? 200 : 404, kText, kept ? *kept : "no such key\n");
    co_return;
  }
  Result<void> done =
      method == "DELETE" ? environment.files.removeFile(file) : environment.files.writeFileAtomically(file, value);
  (void)co_await exchange->respond(done ? 200 : 500, kText, done ? value : done.error().describe() + "\n");
}

// ---- gRPC health

// The field `service` (1) of HealthCheckRequest in a gRPC frame; nothing when malformed.
std::optional<std::string> serviceOf(std::string_view frame) {
  if (frame.size() < 5 || frame[0] != 0) return std::nullopt;
  std::string_view message = frame.substr(5);
  if (message.empty()) return "";
  if (message.size() < 2 || message[0] != 0x0a || static_cast<size_t>(message[1]) != message.size() - 2) return std::nullopt;
  return std::string(message.substr(2));
}

Task<void> answerGrpcHealth(std::vector<std::string> services, ExchangePtr exchange) {
  auto body = co_await exchange->readBody(4096);
  bool check = exchange->request().path() == "/grpc.health.v1.Health/Check";
  std::optional<std::string> service = body && check ? serviceOf(*body) : std::nullopt;
  bool known = service && (service->empty() || std::find(services.begin(), services.end(), *service) != services.end());
  (void)exchange->startResponse(200, Headers{{"content-type", "application/grpc"}});
  // HealthCheckResponse{status: SERVING}. Source: grpc/doc/health-checking.md.
  if (known) (void)co_await exchange->write(std::string("\x00\x00\x00\x00\x02\x08\x01", 7));
  constexpr int kOk = 0, kInvalidArgument = 3, kNotFound = 5, kUnimplemented = 12;
  int status = known ? kOk : !check ? kUnimplemented : service ? kNotFound : kInvalidArgument;
  (void)co_await exchange->finish(Headers{{"grpc-status", std::to_string(status)}});
}

}  // namespace

std::string Options::text(const std::string& name, std::string otherwise) const {
  auto found = named.find(name);
  return found == named.end() ? otherwise : found->second.back();
}

Result<int64_t> Options::number(const std::string& name, int64_t otherwise, int64_t least, int64_t most) const {
  if (!has(name)) return otherwise;
  auto value = parseInt(text(name));
  if (!value || *value < least || *value > most)
    return fail(Reason::Invalid, fmt::format("--{} wants a number from {} to {}, not {}", name, least, most, quote(text(name))));
  return *value;
}

Result<void> serveHttp(env::Env environment, async::Gate&, const Options& options, int port) {
  auto state = std::make_shared<HttpState>();
  state->host = hostname(environment);
  state->message = options.text("message");
  return serve(environment, port,
               [environment, state](ExchangePtr exchange) { return answerHttp(environment, state, std::move(exchange)); });
}

Result<void> serveFrontend(env::Env environment, async::Gate&, const Options& options, int port) {
  Url api = TRY(parseUrl(options.text("api")));
  std::string message = options.text("message", "Hello from three tiers");
  return serve(environment, port, [environment, api, message](ExchangePtr exchange) {
    return answerFrontend(environment, api, message, std::move(exchange));
  });
}

Result<void> serveApi(env::Env environment, async::Gate&, const Options& options, int port) {
  Url store = TRY(parseUrl(options.text("store")));
  std::string host = hostname(environment);
  std::string tokenFile = options.text("token-file");
  return serve(environment, port,
               [=](ExchangePtr exchange) { return answerApi(environment, host, store, tokenFile, std::move(exchange)); });
}

Result<void> serveStore(env::Env environment, async::Gate&, const Options& options, int port) {
  std::string directory = options.text("directory", "/data");
  TRY(environment.files.makeDirectories(directory));
  std::string tokenFile = options.text("token-file");
  return serve(environment, port,
               [=](ExchangePtr exchange) { return answerStore(environment, directory, tokenFile, std::move(exchange)); });
}

Result<void> serveGrpcHealth(env::Env environment, async::Gate&, const Options& options, int port) {
  auto found = options.named.find("service");
  std::vector<std::string> services = found == options.named.end() ? std::vector<std::string>() : found->second;
  return serve(environment, port, [services](ExchangePtr exchange) { return answerGrpcHealth(services, std::move(exchange)); });
}

Task<int> runLoad(env::Env environment, Options options) {
  auto url = parseUrl(options.rest.empty() ? "" : options.rest[0]);
  auto seconds = options.number("seconds", 10, 1, 86400), interval = options.number("interval-ms", 20, 0, 60'000);
  if (!url || !seconds || !interval) {
    fmt::print(stderr, "testserver: {}\n", !url ? url.error().message() : "--seconds and --interval-ms want numbers");
    co_return 2;
  }
  env::Instant end = environment.clock.now() + std::chrono::seconds(*seconds);
  int64_t sent = 0, failed = 0;
  while (environment.clock.now() < end) {
    auto answer = co_await call(environment, "GET", *url, "", std::chrono::seconds(5));
    ++sent;
    if (!answer || answer->first >= 400) {
      ++failed;
      fmt::print("request {} failed: {}\n", sent, answer ? fmt::format("status {}", answer->first) : answer.error().describe());
      std::fflush(stdout);
    }
    co_await async::sleepFor(environment, std::chrono::milliseconds(*interval));
  }
  fmt::print("{} requests, {} failed\n", sent, failed);
  co_return failed == 0 ? 0 : 1;
}

}  // namespace knarr::testserver
