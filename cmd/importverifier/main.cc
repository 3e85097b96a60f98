// importverifier: checks every #include "..." under a source tree against the rules of its floors.
//
//   importverifier RULES SOURCE_DIRECTORY
//
// Prints one line per breach (file:line, the rule, what to do) and exits 1; exits 2 when it cannot
// read its input. The rules' form stands in tools/import_rules.txt. Upstream counterpart:
// cmd/importverifier (k8s.io/kubernetes), which checks a list of forbidden and allowed prefixes per
// base path.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/strings.h"

namespace {

namespace fs = std::filesystem;
using knarr::Reason;
using knarr::Result;

struct Rules {
  std::map<std::string, int> floors;                                 // by room
  std::set<std::string> publicHeaders;                               // "codec/value.h", "base/*"
  std::map<std::pair<std::string, std::string>, std::string> edges;  // from, to: why
};

Result<void> parseLine(std::string_view line, Rules& rules) {
  std::vector<std::string_view> words;
  for (std::string_view word : knarr::split(line, ' '))
    if (!word.empty()) words.push_back(word);
  if (words.empty()) return {};
  if (words[0] == "room" && words.size() == 3) {
    auto floor = knarr::parseInt(words[2]);
    if (!floor) return knarr::fail(Reason::BadRequest, fmt::format("{} is no floor", words[2]));
    rules.floors[std::string(words[1])] = static_cast<int>(*floor);
    return {};
  }
  if (words[0] == "public" && words.size() == 2) {
    rules.publicHeaders.emplace(words[1]);
    return {};
  }
  size_t colon = line.find(':');
  if (words[0] == "allow" && words.size() >= 5 && words[2] == "->" && words[3].ends_with(':') &&
      colon != std::string_view::npos) {
    std::string to(words[3].substr(0, words[3].size() - 1));
    rules.edges[{std::string(words[1]), to}] = line.substr(colon + 1);
    return {};
  }
  return knarr::fail(Reason::BadRequest, "expected: room PATH FLOOR | public HEADER | allow FROM -> TO: WHY");
}

Result<Rules> readRules(const std::string& path) {
  std::ifstream file(path);
  if (!file) return knarr::fail(Reason::NotFound, fmt::format("{}: cannot be read", path));
  Rules rules;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    std::string_view text = std::string_view(line).substr(0, line.find('#'));
    if (auto parsed = parseLine(text, rules); !parsed)
      return knarr::fail(Reason::BadRequest, fmt::format("{}:{}: {}", path, number, parsed.error().message()));
  }
  return rules;
}

// The room of a path relative to the tree: the longest listed folder it stands in; "" when there is
// none.
std::string roomOf(const Rules& rules, std::string_view path) {
  std::string folder(path.substr(0, path.rfind('/') == std::string_view::npos ? 0 : path.rfind('/')));
  while (!folder.empty()) {
    if (rules.floors.contains(folder)) return folder;
    size_t slash = folder.rfind('/');
    folder.resize(slash == std::string::npos ? 0 : slash);
  }
  return "";
}

bool isDoor(std::string_view room, std::string_view header) {
  std::string_view leaf = room.substr(room.rfind('/') == std::string_view::npos ? 0 : room.rfind('/') + 1);
  return header == fmt::format("{}/{}.h", room, leaf);
}

bool isOpen(const Rules& rules, const std::string& room, const std::string& header) {
  return isDoor(room, header) || rules.publicHeaders.contains(header) || rules.publicHeaders.contains(room + "/*");
}

bool isTest(std::string_view path) {
  std::string_view name = path.substr(path.rfind('/') + 1);
  return name.ends_with("_test.cc") || name.find("_test_") != std::string_view::npos || name.ends_with("fixture.h") ||
         name.find("_for_test.") != std::string_view::npos || name.ends_with("test_server.h") || name.ends_with("test_server.cc");
}

// What is wrong with `path` including `header`; "" when nothing is.
std::string breachOf(const Rules& rules, const std::string& path, const std::string& header) {
  std::string from = roomOf(rules, path), to = roomOf(rules, header);
  if (header.find('/') == std::string::npos) return "a bare file name: write the path from src/";
  if (to.empty()) return "";  // not ours: a library's header
  if (from.empty()) return isTest(path) ? "" : "this file stands in no room: add a `room` line for its folder";
  if (from == to) return "";
  if (!isTest(path)) {
    int above = rules.floors.at(from), below = rules.floors.at(to);
    if (below > above)
      return fmt::format(
          "{} (floor {}) may not include {} (floor {}): turn the dependency round, or pass it in "
          "from above",
          from, above, to, below);
    if (below == above && !rules.edges.contains({from, to}))
      return fmt::format(
          "{} and {} stand on one floor ({}): let them meet through API objects or contracts/, or "
          "add `allow {} -> {}: WHY`",
          from, to, above, from, to);
    if (!isOpen(rules, to, header))
      return fmt::format("this header is private to {}: include its door, or add `public {}`", to, header);
  }
  return "";
}

// The quoted header of an include line; "" of any other line.
std::string includedBy(std::string_view line) {
  constexpr std::string_view kInclude = "#include \"";
  if (!line.starts_with(kInclude)) return "";
  line.remove_prefix(kInclude.size());
  return std::string(line.substr(0, line.find('"')));
}

int checkFile(const Rules& rules, const fs::path& tree, const std::string& path) {
  std::ifstream file(tree / path);
  std::string line;
  int breaches = 0;
  for (int number = 1; std::getline(file, line); ++number) {
    std::string header = includedBy(line);
    std::string breach = header.empty() ? "" : breachOf(rules, path, header);
    if (breach.empty()) continue;
    fmt::print("{}:{}: #include \"{}\": {}\n", (tree / path).string(), number, header, breach);
    ++breaches;
  }
  return breaches;
}

int run(const std::string& rulesPath, const fs::path& tree) {
  auto rules = readRules(rulesPath);
  if (!rules) {
    fmt::print(stderr, "importverifier: {}\n", rules.error().message());
    return 2;
  }
  std::error_code error;
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(tree, error))
    if (entry.path().extension() == ".h" || entry.path().extension() == ".cc")
      files.push_back(fs::relative(entry.path(), tree).string());
  if (error || files.empty()) {
    fmt::print(stderr, "importverifier: {}: no sources to check {}\n", tree.string(), error.message());
    return 2;
  }
  std::sort(files.begin(), files.end());
  int breaches = 0;
  for (const std::string& path : files) breaches += checkFile(*rules, tree, path);
  fmt::print("importverifier: {} files, {} breaches\n", files.size(), breaches);
  return breaches == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: importverifier RULES SOURCE_DIRECTORY\n");
    return 2;
  }
  return run(argv[1], argv[2]);
}
