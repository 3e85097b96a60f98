// schema_generator OUT_DIR FILE.api...: writes OUT_DIR/<package>.h and .cc for each schema file,
// and OUT_DIR/registry.cc. A file whose text did not change is not written again, so nothing that
// includes it is built again.
#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "schema/generator/model.h"

namespace knarr::schema::generator {
namespace {

Result<std::string> readFile(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) return failErrno("open " + path, errno);
  std::string text;
  char buffer[65536];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, n);
  std::fclose(file);
  return text;
}

Result<void> writeIfChanged(const std::string& path, const std::string& text) {
  auto old = readFile(path);
  if (old && *old == text) return {};
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) return failErrno("create " + path, errno);
  bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !written) return failErrno("write " + path, errno);
  return {};
}

Result<void> generate(const std::string& out, const std::vector<std::string>& files) {
  Model model;
  for (const std::string& path : files) {
    std::string text = TRY(readFile(path));
    auto parsed = parsePackage(path, text, model);
    if (!parsed) return parsed;
  }
  auto checked = checkModel(model);
  if (!checked) return checked;
  for (const auto& [name, package] : model) {
    auto header = writeIfChanged(fmt::format("{}/{}.h", out, package.fileName()), emitHeader(model, package));
    if (!header) return header;
    auto tables = writeIfChanged(fmt::format("{}/{}.cc", out, package.fileName()), emitTables(model, package));
    if (!tables) return tables;
  }
  return writeIfChanged(out + "/registry.cc", emitRegistry(model));
}

}  // namespace
}  // namespace knarr::schema::generator

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: schema_generator OUT_DIR FILE.api...\n");
    return 2;
  }
  auto generated = knarr::schema::generator::generate(argv[1], {argv + 2, argv + argc});
  if (generated) return 0;
  std::fprintf(stderr, "schema_generator: %s\n", generated.error().message().c_str());
  return 1;
}
