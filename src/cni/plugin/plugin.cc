#include "cni/plugin/plugin.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/strings.h"

namespace knarr::cni {
namespace {

constexpr size_t kInputBytesMax = size_t{1} << 20;
constexpr std::array<std::string_view, 5> kVersions = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
constexpr std::string_view kNewest = "1.1.0";

std::string environmentValue(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string supportedList() {
  std::string out;
  for (std::string_view version : kVersions) out += (out.empty() ? "" : ", ") + jsonString(version);
  return "[" + out + "]";
}

int report(const PluginError& error, const std::string& cniVersion) {
  std::string out = "{\n    \"cniVersion\": " + jsonString(cniVersion) + ",\n    \"code\": " + std::to_string(error.code) +
                    ",\n    \"msg\": " + jsonString(error.message);
  if (!error.details.empty()) out += ",\n    \"details\": " + jsonString(error.details);
  std::puts((out + "\n}").c_str());
  return 1;
}

Outcome<void> readArgs(Request& request) {
  std::string text = environmentValue("CNI_ARGS");
  if (text.empty()) return {};
  for (std::string_view pair : split(text, ';')) {
    std::vector<std::string_view> sides = split(pair, '=');
    if (sides.size() != 2) {
      return refuse(kInvalidEnvironment, "ARGS: invalid pair \"" + std::string(pair) + "\"");
    }
    request.args[std::string(sides[0])] = std::string(sides[1]);
  }
  return {};
}

bool validName(std::string_view name) {
  if (name.empty() || !isalnum(static_cast<unsigned char>(name[0]))) return false;
  for (char c : name) {
    if (!isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '.' && c != '-') return false;
  }
  return true;
}

// Source: netdevice naming of the kernel (dev_valid_name), IFNAMSIZ 16 with the final zero.
bool validInterfaceName(std::string_view name) {
  if (name.empty() || name.size() > 15 || name == "." || name == "..") return false;
  return name.find_first_of("/: \t\n\v\f\r") == std::string_view::npos;
}

Outcome<void> readEnvironment(Request& request) {
  request.containerId = environmentValue("CNI_CONTAINERID");
  request.netns = environmentValue("CNI_NETNS");
  request.ifName = environmentValue("CNI_IFNAME");
  request.path = environmentValue("CNI_PATH");
  bool perContainer = request.command == "ADD" || request.command == "DEL" || request.command == "CHECK";
  std::string missing;
  auto require = [&](const char* name, const std::string& value) {
    if (value.empty()) missing += std::string(missing.empty() ? "" : ",") + name;
  };
  if (perContainer) {
    require("CNI_CONTAINERID", request.containerId);
    if (request.command != "DEL") require("CNI_NETNS", request.netns);
    require("CNI_IFNAME", request.ifName);
  }
  require("CNI_PATH", request.path);
  if (!missing.empty()) {
    return refuse(kInvalidEnvironment, "required env variables [" + missing + "] missing");
  }
  if (perContainer && !validName(request.containerId)) {
    return refuse(kInvalidEnvironment, "invalid characters in containerID", request.containerId);
  }
  if (perContainer && !validInterfaceName(request.ifName)) {
    return refuse(kInvalidEnvironment, "interface name is invalid", request.ifName);
  }
  return readArgs(request);
}

Outcome<void> readConfig(Request& request) {
  std::array<char, 4096> buffer;
  while (true) {
    ssize_t n = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n < 0) return refuse(kIoFailure, std::string("error reading from stdin: ") + strerror(errno));
    if (n == 0) break;
    request.standardInput.append(buffer.data(), static_cast<size_t>(n));
    if (request.standardInput.size() > kInputBytesMax) {
      return refuse(kDecodingFailure, "the configuration on stdin is longer than 1 MiB");
    }
  }
  std::string error;
  auto config = parseJson(request.standardInput, error);
  if (!config || config->type != Json::Object) {
    return refuse(kDecodingFailure, "error unmarshall network config: " + (config ? "not an object" : error));
  }
  request.config = std::move(*config);
  request.network = request.config.at("name").string();
  request.cniVersion = request.config.at("cniVersion").string();
  if (request.cniVersion.empty()) request.cniVersion = "0.1.0";
  if (request.network.empty()) return refuse(kInvalidNetworkConfig, "missing network name");
  if (!validName(request.network)) {
    return refuse(kInvalidNetworkConfig, "invalid characters found in network name", request.network);
  }
  for (std::string_view version : kVersions) {
    if (version == request.cniVersion) return {};
  }
  return refuse(kIncompatibleVersion, "incompatible CNI versions",
                "config is " + jsonString(request.cniVersion) + ", plugin supports " + supportedList());
}

// Doing the work in our own namespace would rename the host's interfaces.
Outcome<void> refuseOwnNamespace(const Request& request) {
  struct stat own{};
  struct stat theirs{};
  std::string override = environmentValue("CNI_NETNS_OVERRIDE");
  if (override == "1" || equalsIgnoreCase(override, "true")) return {};
  if (request.netns.empty() || stat(request.netns.c_str(), &theirs) != 0) return {};
  if (stat("/proc/self/ns/net", &own) != 0) return {};
  if (own.st_ino != theirs.st_ino || own.st_dev != theirs.st_dev) return {};
  return refuse(kInvalidNamespace, "plugin's netns and netns from CNI_NETNS should not be the same");
}

Outcome<std::string> serve(const Plugin& plugin, Request& request) {
  const std::string& command = request.command;
  if (command != "ADD" && command != "DEL" && command != "CHECK" && command != "STATUS" && command != "GC") {
    return refuse(kInvalidEnvironment, "unknown CNI_COMMAND: " + command);
  }
  TRY(readEnvironment(request));
  TRY(readConfig(request));
  if (command == "CHECK" && !request.versionAtLeast("0.4.0")) {
    return refuse(kIncompatibleVersion, "config version does not allow CHECK");
  }
  if ((command == "GC" || command == "STATUS") && !request.versionAtLeast("1.1.0")) {
    return refuse(kIncompatibleVersion, "config version does not allow " + command);
  }
  if (command == "ADD" || command == "DEL") TRY(refuseOwnNamespace(request));
  if (command == "ADD") {
    AddResult result = TRY(plugin.add(request));
    return writeResult(result, request.cniVersion);
  }
  if (command == "DEL") TRY(plugin.remove(request));
  if (command == "CHECK") TRY(plugin.check(request));
  if (command == "STATUS") TRY(plugin.status(request));
  return "";
}

}  // namespace

std::unexpected<PluginError> refuse(int code, std::string message, std::string details) {
  return std::unexpected(PluginError{code, std::move(message), std::move(details)});
}

std::unexpected<PluginError> refuseErrno(std::string what, int errorNumber) {
  return refuse(kInternal, std::move(what) + ": " + strerror(errorNumber));
}

bool Request::versionAtLeast(std::string_view version) const { return cniVersion >= version; }

int runPlugin(const Plugin& plugin) {
  Request request;
  request.command = environmentValue("CNI_COMMAND");
  if (request.command.empty()) {
    std::fprintf(stderr,
                 "CNI %s plugin of knarr\nCNI protocol versions supported: 0.3.0, 0.3.1, 0.4.0, "
                 "1.0.0, 1.1.0\n",
                 plugin.name);
    return 0;
  }
  if (request.command == "VERSION") {
    std::puts(("{\"cniVersion\":" + jsonString(kNewest) + ",\"supportedVersions\":" + supportedList() + "}").c_str());
    return 0;
  }
  Outcome<std::string> answer = serve(plugin, request);
  if (!answer) return report(answer.error(), request.cniVersion.empty() ? std::string(kNewest) : request.cniVersion);
  if (!answer->empty()) std::puts(answer->c_str());
  return 0;
}

}  // namespace knarr::cni
