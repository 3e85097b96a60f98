#include "apiserver/health.h"

#include <fmt/format.h>

#include <set>

#include "base/strings.h"

namespace knarr::apiserver {
namespace {

HealthAnswer answerOne(std::string_view name, const std::vector<HealthCheck>& checks) {
  for (const HealthCheck& check : checks) {
    if (check.name != name) continue;
    if (check.failure.empty()) return {200, "ok"};
    return {500, fmt::format("internal server error: {}\n", check.failure)};
  }
  return {404, "404 page not found\n"};
}

}  // namespace

HealthAnswer answerHealth(std::string_view path, const std::vector<HealthCheck>& checks, bool verbose,
                          const std::vector<std::string>& excluded) {
  size_t slash = path.find('/', 1);
  std::string_view name = path.substr(1, slash == std::string_view::npos ? std::string_view::npos : slash - 1);
  if (slash != std::string_view::npos) return answerOne(path.substr(slash + 1), checks);
  std::set<std::string> left(excluded.begin(), excluded.end());
  left.erase("");
  std::string lines;
  bool failed = false;
  for (const HealthCheck& check : checks) {
    if (left.erase(check.name) != 0)
      lines += fmt::format("[+]{} excluded: ok\n", check.name);
    else if (check.failure.empty())
      lines += fmt::format("[+]{} ok\n", check.name);
    else
      // Everybody may ask; why it failed is for the log.
      lines += fmt::format("[-]{} failed: reason withheld\n", check.name), failed = true;
  }
  if (!left.empty()) {
    std::vector<std::string> quoted;
    for (const std::string& one : left) quoted.push_back(quote(one));
    lines += fmt::format("warn: some health checks cannot be excluded: no matches for {}\n", join(quoted, ", "));
  }
  if (failed) return {500, fmt::format("{}{} check failed\n", lines, name)};
  return {200, verbose ? fmt::format("{}{} check passed\n", lines, name) : std::string("ok")};
}

}  // namespace knarr::apiserver
