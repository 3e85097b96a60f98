// What every CNI plugin does alike: read the environment and the configuration, dispatch, answer.
//
// Source: CNI SPEC 1.1.0; containernetworking/cni pkg/skel, pkg/types. Results are written in the
// version of the request; 0.3.0 to 1.1.0 are spoken.
#pragma once

#include <expected>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "cni/plugin/address.h"
#include "cni/plugin/json.h"

namespace knarr::cni {

// Source: SPEC 1.1.0 section 5.
enum ErrorCode : int {
  kIncompatibleVersion = 1,
  kUnknownContainer = 3,
  kInvalidEnvironment = 4,
  kIoFailure = 5,
  kDecodingFailure = 6,
  kInvalidNetworkConfig = 7,
  kInvalidNamespace = 8,
  kTryAgainLater = 11,
  kNotAvailable = 50,
  kInternal = 999,
};
struct PluginError {
  int code = kInternal;
  std::string message;
  std::string details;
};
template <class T>
using Outcome = std::expected<T, PluginError>;
std::unexpected<PluginError> refuse(int code, std::string message, std::string details = "");
// "what: strerror(errorNumber)" with code 999.
std::unexpected<PluginError> refuseErrno(std::string what, int errorNumber);

struct Request {
  std::string command;
  std::string containerId;
  std::string netns;  // a path; may be empty with DEL
  std::string ifName;
  std::map<std::string, std::string> args;  // CNI_ARGS
  std::string path;                         // CNI_PATH
  std::string standardInput;
  Json config;
  std::string network;     // config's name
  std::string cniVersion;  // config's, or what its absence means

  bool versionAtLeast(std::string_view version) const;
};

struct Interface {
  std::string name, mac, sandbox;
  int mtu = 0;
};
struct IpConfig {
  Subnet address;
  std::optional<Ip> gateway;
  int interface = -1;  // index into interfaces; -1: none
};
struct Route {
  Subnet destination;
  std::optional<Ip> gateway;
  int mtu = 0, advmss = 0, priority = 0;
  std::optional<int> table, scope;
};
struct Dns {
  std::vector<std::string> nameservers, search, options;
  std::string domain;
  bool empty() const { return nameservers.empty() && search.empty() && options.empty() && domain.empty(); }
};
struct AddResult {
  std::vector<Interface> interfaces;
  std::vector<IpConfig> ips;
  std::vector<Route> routes;
  Dns dns;
};
Outcome<AddResult> parseResult(const Json& json);
Outcome<std::vector<Route>> parseRoutes(const Json& json);
Dns parseDns(const Json& json);
std::string writeResult(const AddResult& result, const std::string& cniVersion);

struct Plugin {
  const char* name;
  Outcome<AddResult> (*add)(const Request&);
  Outcome<void> (*remove)(const Request&);
  Outcome<void> (*check)(const Request&);
  Outcome<void> (*status)(const Request&);
};
// The body of main(): one request from the environment and standard input, one answer on standard
// output. Returns the exit code.
int runPlugin(const Plugin& plugin);

// Runs the plugin `type` from CNI_PATH with our environment, the command replaced, and our standard
// input; its output on success, its error otherwise. Interface plugins hand IPAM to another program
// with it.
Outcome<std::string> delegate(const Request& request, const std::string& type, const std::string& command);
// Runs a program found at one of `paths` with `input` on its standard input. exitCode 127 when none
// exists.
struct ProgramResult {
  int exitCode = 0;
  std::string output, errorOutput;
};
ProgramResult runProgram(const std::vector<std::string>& argv, const std::vector<std::string>& environment,
                         const std::string& input);

}  // namespace knarr::cni
