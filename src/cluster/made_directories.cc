#include "cluster/made_directories.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "base/strings.h"

namespace knarr::cluster {
namespace {

constexpr size_t kRecordBytesMax = 64 << 10;

std::string parentOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

}  // namespace

std::vector<std::string> recordedDirectories(env::Files& files, const std::string& record) {
  auto text = files.readFile(record, kRecordBytesMax);
  if (!text) return {};
  std::vector<std::string> paths;
  for (std::string_view line : split(*text, '\n'))
    if (line.starts_with('/')) paths.emplace_back(line);
  std::ranges::sort(paths, std::greater());  // what lies below comes after its parent in the order of texts
  return paths;
}

Result<void> recordAbsentDirectories(env::Files& files, const std::string& record, const std::vector<std::string>& directories) {
  std::vector<std::string> before = recordedDirectories(files, record);
  std::set<std::string> absent(before.begin(), before.end());
  std::vector<std::string> wanted = directories;
  wanted.push_back(parentOf(record));
  for (std::string path : wanted)
    for (; !path.empty() && !files.status(path); path = parentOf(path)) absent.insert(path);
  if (absent.size() == before.size() && files.status(record)) return {};
  std::string text;
  for (const std::string& path : absent) text += path + "\n";
  TRY(files.makeDirectories(parentOf(record)));
  return files.writeFileAtomically(record, text);
}

void removeEmptyDirectories(env::Files& files, const std::vector<std::string>& directories) {
  for (const std::string& path : directories) {
    auto names = files.listDirectory(path);
    if (!names || !names->empty()) continue;
    // Never a tree: what came to lie in it a moment ago makes this fail.
    if (auto removed = files.removeFile(path); !removed) logInfo("cluster", "{}", removed.error().describe());
  }
}

}  // namespace knarr::cluster
