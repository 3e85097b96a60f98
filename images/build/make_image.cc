// make_image: writes a container image as a docker-archive tar, byte for byte the same from the
// same input.
//
//   make_image OUT.tar --tag NAME... [--directory PATH[:MODE]] [--file SOURCE:PATH:MODE]
//              [--link PATH:TARGET] [--applets BUSYBOX] [--entrypoint ARG]... [--command ARG]...
//              [--env K=V]...
//
// One layer, owner root, all times zero. --applets links each applet that the given busybox names
// to /bin/busybox. Source: Docker image specification v1.2 (docker-archive: manifest.json, config,
// layer tars); POSIX ustar.
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/utsname.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/strings.h"

namespace {

[[noreturn]] void die(const std::string& message) {
  fmt::print(stderr, "make_image: {}\n", message);
  std::exit(1);
}

std::string readAll(FILE* file) {
  std::string out;
  std::array<char, 65536> buffer;
  while (size_t n = fread(buffer.data(), 1, buffer.size(), file)) out.append(buffer.data(), n);
  return out;
}

std::string readFile(const std::string& path) {
  FILE* file = fopen(path.c_str(), "rb");
  if (file == nullptr) die(fmt::format("cannot read {}: {}", path, strerror(errno)));
  std::string out = readAll(file);
  fclose(file);
  return out;
}

std::string sha256(std::string_view bytes) {
  std::array<unsigned char, 32> digest;
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return knarr::toHex({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

class Tar {
 public:
  void add(const std::string& name, char type, unsigned mode, std::string_view content, const std::string& target = "") {
    if (name.size() > 99 || target.size() > 99) die("a path is longer than 99 bytes: " + name);
    std::array<char, 512> header{};
    auto put = [&](size_t at, const std::string& text) { std::memcpy(header.data() + at, text.data(), text.size()); };
    put(0, name);
    put(100, fmt::format("{:07o}", mode));
    put(108, "0000000");
    put(116, "0000000");
    put(124, fmt::format("{:011o}", content.size()));
    put(136, "00000000000");
    put(148, "        ");
    header[156] = type;
    put(157, target);
    put(257, std::string("ustar\00000", 8));
    unsigned sum = 0;
    for (char c : header) sum += static_cast<unsigned char>(c);
    put(148, fmt::format("{:06o}", sum));
    header[154] = '\0';
    bytes_.append(header.data(), header.size());
    bytes_.append(content);
    bytes_.append((512 - content.size() % 512) % 512, '\0');
  }
  std::string finish() && {
    bytes_.append(1024, '\0');
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
};

std::string jsonText(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) die("a control character in " + text);
    out += c;
  }
  return out + "\"";
}
std::string jsonList(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) out += (out.size() > 1 ? "," : "") + jsonText(item);
  return out + "]";
}

std::string architecture() {
  utsname host{};
  uname(&host);
  std::string machine = host.machine;
  return machine == "aarch64" ? "arm64" : "amd64";
}

// "a:b:c" at the first `parts - 1` colons.
std::vector<std::string> parts(const std::string& text, size_t count) {
  std::vector<std::string> out;
  size_t at = 0;
  while (out.size() + 1 < count) {
    size_t colon = text.find(':', at);
    if (colon == std::string::npos) die("expected " + std::to_string(count) + " parts in " + text);
    out.push_back(text.substr(at, colon - at));
    at = colon + 1;
  }
  out.push_back(text.substr(at));
  return out;
}

struct Image {
  Tar layer;
  std::vector<std::string> tags, entrypoint, command, environment;

  void addApplets(const std::string& busybox) {
    FILE* list = popen((busybox + " --list").c_str(), "r");
    if (list == nullptr) die("cannot run " + busybox);
    std::string names = readAll(list);
    if (pclose(list) != 0) die(busybox + " --list failed");
    for (std::string_view name : knarr::split(names, '\n')) {
      if (name.empty() || name == "busybox") continue;
      layer.add("bin/" + std::string(name), '2', 0777, "", "busybox");
    }
  }

  void option(const std::string& name, const std::string& value) {
    if (name == "--tag") {
      tags.push_back(value);
    } else if (name == "--directory") {
      size_t colon = value.find(':');
      auto mode = colon == std::string::npos ? 0755 : std::stoul(value.substr(colon + 1), nullptr, 8);
      layer.add(value.substr(0, colon) + "/", '5', static_cast<unsigned>(mode), "");
    } else if (name == "--file") {
      auto p = parts(value, 3);
      layer.add(p[1], '0', static_cast<unsigned>(std::stoul(p[2], nullptr, 8)), readFile(p[0]));
    } else if (name == "--link") {
      auto p = parts(value, 2);
      layer.add(p[0], '2', 0777, "", p[1]);
    } else if (name == "--applets") {
      addApplets(value);
    } else if (name == "--entrypoint") {
      entrypoint.push_back(value);
    } else if (name == "--command") {
      command.push_back(value);
    } else if (name == "--env") {
      environment.push_back(value);
    } else {
      die("unknown option " + name);
    }
  }

  std::string archive() && {
    std::string content = std::move(layer).finish();
    std::string digest = sha256(content);
    std::string config =
        fmt::format(R"({{"architecture":"{}","config":{{"Cmd":{},"Entrypoint":{},"Env":{}}},"created":"1970-01-01T00:00:00Z",)"
                    R"("history":[{{"created":"1970-01-01T00:00:00Z","created_by":"make_image"}}],"os":"linux",)"
                    R"("rootfs":{{"diff_ids":["sha256:{}"],"type":"layers"}}}})",
                    architecture(), command.empty() ? "null" : jsonList(command),
                    entrypoint.empty() ? "null" : jsonList(entrypoint), jsonList(environment), digest);
    std::string configName = sha256(config) + ".json";
    std::string layerName = digest + "/layer.tar";
    Tar out;
    out.add(configName, '0', 0644, config);
    out.add(layerName, '0', 0644, content);
    out.add("manifest.json", '0', 0644,
            fmt::format(R"([{{"Config":"{}","RepoTags":{},"Layers":["{}"]}}])", configName, jsonList(tags), layerName));
    return std::move(out).finish();
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc % 2 != 0) die("usage: make_image OUT.tar --tag NAME [--OPTION VALUE]...");
  Image image;
  for (int i = 2; i + 1 < argc; i += 2) image.option(argv[i], argv[i + 1]);
  if (image.tags.empty()) die("an image needs a --tag");
  std::string archive = std::move(image).archive();
  FILE* out = fopen(argv[1], "wb");
  if (out == nullptr || fwrite(archive.data(), 1, archive.size(), out) != archive.size() || fclose(out) != 0) {
    die(fmt::format("cannot write {}: {}", argv[1], strerror(errno)));
  }
}
