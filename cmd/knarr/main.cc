// knarr: a whole Kubernetes on this machine.
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "base/strings.h"
#include "cluster/cluster.h"
#include "cluster/host_facts.h"
#include "env/posix/posix.h"

namespace {

using namespace knarr;
using cluster::ClusterConfig;

constexpr std::string_view kUsage = R"(knarr is a whole Kubernetes in one small program.

Usage:
  knarr up      [flags]   make the cluster and wait until its node is Ready
  knarr down    [flags]   stop it and remove everything that up made
  knarr server  [flags]   run the cluster in the foreground (up starts this in the background)
  knarr version           print the version

Flags:
  --root DIR            put all state, logs and run-time files below DIR instead of the system's folders
  --name NAME           name of the cluster and of its context in kubeconfigs (default knarr)
  --node-name NAME      name of the node (default: the host's name)
  --node-ip IP          address of the node (default: the one towards the default route)
  --api-port PORT       port of the API server (default 6443)
  --kubelet-port PORT   port of the kubelet (default 10250)
  --dns-port PORT       port of the cluster's name server, on the node's address (default 10053)
  --bridge NAME         bridge of the pods (default knarr0)
  --pod-subnet CIDR     addresses of pods (default 10.244.0.0/24)
  --service-subnet CIDR addresses of services (default 10.96.0.0/12)
  --kubeconfig FILE     kubeconfig to merge the cluster into; "" for none (default: ~/.kube/config)
  --assets DIR          folder with cni/ and images/ (default: beside this program)
  --v                   log more
)";

struct Flag {
  std::string_view name;
  std::function<Result<void>(ClusterConfig&, const std::string&)> set;
};

Result<void> setPort(int& port, const std::string& text) {
  auto value = parseInt(text);
  if (!value || *value < 1 || *value > 65535)
    return fail(Reason::Invalid, fmt::format("{} is not a port number (1 to 65535)", quote(text)));
  port = static_cast<int>(*value);
  return {};
}

// A name becomes part of paths, of cgroups and of the CNI network.
Result<void> setName(std::string& name, const std::string& text) {
  auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  bool fits = !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-';
  for (char c : text) fits = fits && allowed(c);
  if (!fits)
    return fail(
        Reason::Invalid,
        fmt::format("--name must be at most 63 lower-case letters, digits and '-', which neither begins nor ends it, not {}",
                    quote(text)));
  name = text;
  return {};
}

void putBelow(ClusterConfig& config, const std::string& root) {
  for (std::string* path : {&config.dataDirectory, &config.runDirectory, &config.configDirectory, &config.logDirectory,
                            &config.kubeletRootDirectory, &config.podLogsDirectory, &config.containerLogsDirectory,
                            &config.cniConfigDirectory, &config.cniBinDirectory, &config.cniStateDirectory})
    *path = root + *path;
}

// kubectl looks here by itself; "" without a home.
std::string defaultKubeconfig() {
  const char* home = std::getenv("HOME");
  return home && *home == '/' ? std::string(home) + "/.kube/config" : "";
}

Result<void> checkAbsolute(std::string_view flag, const std::string& value) {
  if (value.starts_with('/')) return {};
  return fail(Reason::Invalid, fmt::format("{} must be an absolute path, not {}", flag, quote(value)));
}

const std::vector<Flag>& flags() {
  auto text = [](std::string ClusterConfig::* member) {
    return [member](ClusterConfig& config, const std::string& value) -> Result<void> {
      config.*member = value;
      return {};
    };
  };
  auto port = [](int ClusterConfig::* member) {
    return [member](ClusterConfig& config, const std::string& value) { return setPort(config.*member, value); };
  };
  static const std::vector<Flag> kFlags{
      {"--root",
       [](ClusterConfig& config, const std::string& value) -> Result<void> {
         TRY(checkAbsolute("--root", value));
         putBelow(config, value);
         return {};
       }},
      {"--name", [](ClusterConfig& config, const std::string& value) { return setName(config.name, value); }},
      {"--node-name", text(&ClusterConfig::nodeName)},
      {"--node-ip", text(&ClusterConfig::nodeIp)},
      {"--api-port", port(&ClusterConfig::apiPort)},
      {"--kubelet-port", port(&ClusterConfig::kubeletPort)},
      {"--dns-port", port(&ClusterConfig::dnsPort)},
      {"--bridge", text(&ClusterConfig::bridgeName)},
      {"--pod-subnet", text(&ClusterConfig::podSubnet)},
      {"--service-subnet", text(&ClusterConfig::serviceSubnet)},
      {"--kubeconfig",
       [](ClusterConfig& config, const std::string& value) -> Result<void> {
         config.userKubeconfig = value;
         return value.empty() ? Result<void>() : checkAbsolute("--kubeconfig", value);
       }},
      {"--assets",
       [](ClusterConfig& config, const std::string& value) -> Result<void> {
         config.assetsDirectory = value;
         return checkAbsolute("--assets", value);
       }},
  };
  return kFlags;
}

// Flags as "--name value" or "--name=value".
Result<ClusterConfig> parseFlags(const std::vector<std::string>& arguments) {
  ClusterConfig config;
  config.userKubeconfig = defaultKubeconfig();
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i], value;
    if (name == "--v") {
      setLogLevel(LogLevel::Debug);
      continue;
    }
    size_t equals = name.find('=');
    bool hasValue = equals != std::string::npos;
    if (hasValue) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    const Flag* flag = nullptr;
    for (const Flag& one : flags())
      if (one.name == name) flag = &one;
    if (!flag) return fail(Reason::Invalid, fmt::format("unknown flag {}. `knarr --help` lists the flags", name));
    if (!hasValue && ++i >= arguments.size()) return fail(Reason::Invalid, fmt::format("flag {} needs a value", name));
    if (!hasValue) value = arguments[i];
    TRY(flag->set(config, value));
  }
  return config;
}

std::string programPath(env::Env environment) { return environment.files.readLink("/proc/self/exe").value_or("knarr"); }

void fillFromHost(env::Env environment, ClusterConfig& config) {
  if (config.nodeName.empty()) config.nodeName = cluster::hostName(environment);
  std::string podPrefix = config.podSubnet.substr(0, config.podSubnet.rfind('.') + 1);
  if (config.nodeIp.empty()) config.nodeIp = cluster::hostAddress(environment, podPrefix);
  if (!config.assetsDirectory.empty()) return;
  // The program stands in DIR/cmd/knarr/ of a build folder, or in DIR of an installation.
  std::string program = programPath(environment);
  std::string directory = program.substr(0, program.rfind('/'));
  for (int up = 0; up < 3; ++up) {
    if (environment.files.status(directory + "/cni")) break;
    directory = directory.substr(0, directory.rfind('/'));
  }
  config.assetsDirectory = directory;
}

struct Outcome {
  bool done = false;
  int code = 0;
};

void printLine(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

// Prints steps with the time since the start.
cluster::Progress printer(env::Env environment) {
  env::Instant start = environment.clock.now();
  return [environment, start](std::string line) {
    double seconds = std::chrono::duration<double>(environment.clock.now() - start).count();
    printLine(fmt::format("{:6.2f} s  {}", seconds, line));
  };
}

// A while after the start, so that what is used all the time has been used and comes back at once.
constexpr env::Duration kStartIsOver = std::chrono::seconds(5);

void releaseMemoryOfTheStart(env::Env environment, const ClusterConfig& config) {
  auto release = [environment, pidFile = config.containerdPidFile()] {
    auto text = environment.files.readFile(pidFile, 64);
    auto containerd = text ? parseInt(trim(*text)) : std::nullopt;
    for (int process : {static_cast<int>(containerd.value_or(0)), static_cast<int>(::getpid())})
      if (process > 0)
        if (auto released = env::releaseFilePages(process); !released) logInfo("knarr", "{}", released.error().describe());
  };
  environment.executor.at(environment.clock.now() + kStartIsOver,
                          [environment, release] { environment.executor.block(release, [] {}); });
}

// An argument as a shell takes it back.
std::string shellWord(const std::string& text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=,@%+-";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string out = "'";
  for (char c : text) c == '\'' ? out += "'\\''" : out += c;
  return out + "'";
}

// What a person types next. `down` needs the flags that `up` had.
std::string whatNext(const ClusterConfig& config, const std::string& program, const std::vector<std::string>& arguments) {
  std::string kubeconfig = config.userKubeconfig.empty() ? config.adminKubeconfig() : config.userKubeconfig;
  std::string kubectl = kubeconfig == defaultKubeconfig() ? "kubectl" : "kubectl --kubeconfig " + shellWord(kubeconfig);
  std::string down = shellWord(program) + " down";
  for (const std::string& argument : arguments) down += " " + shellWord(argument);
  return fmt::format(
      "\nThe cluster is up. Try:\n  {} get nodes\n  {} create deployment hello --image=busybox:1.36 -- sleep 3600\n"
      "Take it down again with:\n  {}",
      kubectl, kubectl, down);
}

async::Task<void> runCommand(env::PosixEnv* loop, std::string command, ClusterConfig config, std::vector<std::string> arguments,
                             async::StopToken stop, Outcome* outcome) {
  env::Env environment = loop->env();
  Result<void> result;
  if (command == "up") {
    result = co_await cluster::up(environment, config, programPath(environment), arguments, printer(environment));
    if (result) printLine(whatNext(config, programPath(environment), arguments));
  } else if (command == "down") {
    result = co_await cluster::down(environment, config, printer(environment));
  } else {
    std::unique_ptr<env::Stream> parent;
    auto connected = co_await async::connect(environment, "unix:" + config.reportSocket(), std::chrono::seconds(1));
    if (connected) parent = std::move(*connected);
    env::Stream* report = parent.get();
    auto tell = [report, environment, config](std::string line) {
      if (line == "ready") releaseMemoryOfTheStart(environment, config);
      logInfo("knarr", "{}", line);
      line += "\n";
      if (report) (void)report->write(line);
    };
    result = co_await cluster::runServer(environment, config, tell, stop);
    if (!result && report) {
      std::string line = "error: " + result.error().describe() + "\n";
      (void)report->write(line);
    }
  }
  if (!result) {
    std::fprintf(stderr, "error: %s\n", result.error().describe().c_str());
    outcome->code = 1;
  }
  outcome->done = true;
  loop->stop();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  std::string command = arguments.empty() ? "--help" : arguments.front();
  if (!arguments.empty()) arguments.erase(arguments.begin());
  if (command == "--help" || command == "-h" || command == "help") {
    std::fputs(std::string(kUsage).c_str(), stdout);
    return 0;
  }
  if (command == "version") {
    printLine("knarr, Kubernetes v1.36.3");
    return 0;
  }
  if (command != "up" && command != "down" && command != "server") {
    std::fprintf(stderr, "error: unknown command %s. `knarr --help` lists the commands\n", command.c_str());
    return 2;
  }
  auto config = parseFlags(arguments);
  if (!config) {
    std::fprintf(stderr, "error: %s\n", config.error().message().c_str());
    return 2;
  }
  std::unique_ptr<env::PosixEnv> loop = env::makePosixEnv();
  fillFromHost(loop->env(), *config);
  async::StopSource stop;
  for (int signalNumber : {SIGTERM, SIGINT})
    loop->onSignal(signalNumber, [&] {
      if (command == "server")
        stop.requestStop();
      else
        loop->stop();
    });
  Outcome outcome;
  {
    async::Gate gate(loop->env().executor);
    gate.spawn(runCommand(loop.get(), command, *config, arguments, stop.token(), &outcome));
    loop->run();
  }
  return outcome.done ? outcome.code : 130;
}
