#include <fmt/format.h>

#include <csignal>

#include "base/ip.h"
#include "base/log.h"
#include "base/strings.h"
#include "cluster/certificates.h"
#include "cluster/cluster.h"
#include "cluster/cni_install.h"
#include "cluster/containerd.h"
#include "cluster/made_directories.h"
#include "cluster/node_network.h"
#include "cluster/pod_removal.h"
#include "cri/cri.h"
#include "kubelet/kubelet.h"

namespace knarr::cluster {
namespace {

using async::Task;

constexpr env::Duration kUpPatience = std::chrono::seconds(120);
constexpr env::Duration kServerStopPatience = std::chrono::seconds(15);
// What a new cluster writes before its first pod (images, twice while they are unpacked, plugins, keys, store), and as much
// again to live on. With less, something that was begun would fail in the middle.
constexpr uint64_t kDiskBytesNeeded = uint64_t{64} << 20;

bool isRoot(env::Env environment) {
  auto status = environment.files.readFile("/proc/self/status", 1 << 16);
  if (!status) return false;
  for (std::string_view line : split(*status, '\n'))
    if (line.starts_with("Uid:")) {
      auto words = split(trim(line.substr(4)), '\t');
      return words.size() > 1 && words[1] == "0";
    }
  return false;
}

// Reads lines from one connection of the server that reports its progress.
Task<void> readReports(env::Env environment, std::shared_ptr<env::Stream> stream, std::function<void(std::string)> onLine) {
  std::string pending;
  std::array<char, 1024> buffer;
  for (;;) {
    env::IoStep step = stream->read(buffer);
    if (step.kind == env::IoStep::WouldBlock) {
      async::Promise<bool> ready(environment.executor);
      stream->whenReadable([ready] { ready.set(true); });
      co_await ready.get();
      continue;
    }
    if (step.kind != env::IoStep::Done) co_return;
    pending.append(buffer.data(), step.bytes);
    for (size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1)) onLine(pending.substr(0, end));
    if (pending.size() > 65536) co_return;
  }
}

std::string lastLines(env::Env environment, const std::string& path, size_t count) {
  auto text = environment.files.readFile(path);
  if (!text) return "";
  auto lines = split(trim(*text), '\n');
  std::string out;
  for (size_t i = lines.size() > count ? lines.size() - count : 0; i < lines.size(); ++i) out += "\n  " + std::string(lines[i]);
  return out;
}

std::string directoryRecord(const ClusterConfig& config) { return config.dataDirectory + "/directories"; }

// All that a cluster makes, the runtime's own included: containerd has the sockets of its shims and runc's state in fixed
// places, its CNI library what it knows of interfaces, and `ip netns` and it share a folder.
std::vector<std::string> directoriesOf(const ClusterConfig& config) {
  std::vector<std::string> paths = {config.runDirectory,
                                    config.configDirectory,
                                    config.logDirectory,
                                    config.kubeletRootDirectory,
                                    config.podLogsDirectory,
                                    config.containerLogsDirectory,
                                    config.cniConfigDirectory,
                                    config.cniBinDirectory,
                                    config.cniStateDirectory,
                                    "/run/containerd/runc/k8s.io",
                                    "/run/containerd/s",
                                    "/var/lib/cni/results",
                                    "/run/netns"};
  if (!config.userKubeconfig.empty()) paths.push_back(config.userKubeconfig.substr(0, config.userKubeconfig.rfind('/')));
  return paths;
}

Result<void> mergeUserKubeconfig(env::Env environment, const ClusterConfig& config) {
  if (config.userKubeconfig.empty()) return {};
  std::string ours = TRY(environment.files.readFile(config.adminKubeconfig()));
  auto existing = environment.files.readFile(config.userKubeconfig);
  if (!existing && !isNotFound(existing.error())) return Unexpected(std::move(existing).error());
  size_t slash = config.userKubeconfig.rfind('/');
  TRY(environment.files.makeDirectories(config.userKubeconfig.substr(0, slash), 0700));
  std::string merged = TRY(mergeKubeconfig(existing.value_or(""), ours, config.name));
  return environment.files.writeFileAtomically(config.userKubeconfig, merged, 0600);
}

Result<void> unmergeUserKubeconfig(env::Env environment, const ClusterConfig& config) {
  if (config.userKubeconfig.empty()) return {};
  auto existing = environment.files.readFile(config.userKubeconfig);
  if (!existing) return {};
  if (existing->find("name: " + config.name) == std::string::npos) return {};
  std::string rest = TRY(removeFromKubeconfig(*existing, config.name));
  // A file that held nothing but our entries was made by us.
  bool empty = rest.find("name:") == std::string::npos;
  if (empty) return environment.files.removeTree(config.userKubeconfig);
  return environment.files.writeFileAtomically(config.userKubeconfig, rest, 0600);
}

// Free space where `path` is, or will be.
Result<void> checkDisk(env::Env environment, const std::string& path) {
  std::string present = path;
  while (present.size() > 1 && !environment.files.status(present)) present.resize(std::max<size_t>(present.rfind('/'), 1));
  env::FileSystemSize size = TRY(environment.files.fileSystemSize(present));
  if (size.bytesAvailable >= kDiskBytesNeeded) return {};
  return fail(
      Reason::InternalError,
      fmt::format("the file system of {} has {} MiB free, and a cluster needs {} MiB to begin: free some space, or put the "
                  "cluster elsewhere with --root DIR",
                  path, size.bytesAvailable >> 20, kDiskBytesNeeded >> 20));
}

// Unmounts what is still mounted below our folders, deepest first.
Task<void> unmountBelow(env::Env environment, std::vector<std::string> roots) {
  auto mounts = environment.files.readFile("/proc/self/mountinfo", 16 << 20);
  if (!mounts) co_return;
  std::vector<std::string> points;
  for (std::string_view line : split(*mounts, '\n')) {
    auto words = split(line, ' ');
    if (words.size() < 5) continue;
    for (const std::string& root : roots)
      if (words[4] == root || words[4].starts_with(root + "/")) points.emplace_back(words[4]);
  }
  for (size_t i = points.size(); i-- > 0;) {
    env::ProcessSpec spec;
    spec.argv = {"/bin/umount", points[i]};
    auto done = co_await async::runProcess(environment, std::move(spec));
    if (!done || done->exitCode != 0) logWarning("cluster", "cannot unmount {}", points[i]);
  }
}

Task<void> removeBridge(env::Env environment, std::string bridge) {
  if (!environment.files.status("/sys/class/net/" + bridge)) co_return;
  for (const char* path : {"/sbin/ip", "/usr/sbin/ip", "/bin/ip"}) {
    if (!environment.files.status(path)) continue;
    env::ProcessSpec spec;
    spec.argv = {path, "link", "delete", bridge};
    (void)co_await async::runProcess(environment, std::move(spec));
    co_return;
  }
}

// What the CNI plugins made beside the pods' own rules, which went with the pods. Tables with rules of others stay.
Task<void> removeEmptyTables(env::Env environment) {
  constexpr const char* kNft = "/usr/sbin/nft";
  if (!environment.files.status(kNft)) co_return;
  struct Table {
    const char *family, *name, *chain;
  };
  for (const Table& table : {Table{"inet", "cni_plugins_masquerade", "masq_checks"}, Table{"ip", "cni_hostport", "hostports"},
                             Table{"ip6", "cni_hostport", "hostports"}}) {
    env::ProcessSpec list;
    list.argv = {kNft, "list", "chain", table.family, table.name, table.chain};
    auto listed = co_await async::runProcess(environment, std::move(list));
    if (!listed || listed->exitCode != 0 || listed->standardOutput.find("comment") != std::string::npos) continue;
    env::ProcessSpec remove;
    remove.argv = {kNft, "delete", "table", table.family, table.name};
    (void)co_await async::runProcess(environment, std::move(remove));
  }
}

}  // namespace

Result<void> checkAddresses(const ClusterConfig& config) {
  struct Range {
    std::string_view flag;
    const std::string& text;
  };
  std::vector<std::pair<Range, IpPrefix>> ranges;
  for (const Range& range : {Range{"--pod-subnet", config.podSubnet}, Range{"--service-subnet", config.serviceSubnet}}) {
    auto prefix = IpPrefix::parse(range.text);
    if (!prefix || prefix->address.v6)
      return fail(Reason::Invalid,
                  fmt::format("{} {} is no IPv4 subnet; one looks like 10.244.0.0/24", range.flag, quote(range.text)));
    ranges.emplace_back(range, *prefix);
  }
  if (ranges[0].second.overlaps(ranges[1].second))
    return fail(Reason::Invalid, fmt::format("--pod-subnet {} and --service-subnet {} overlap: choose another for one of them",
                                             config.podSubnet, config.serviceSubnet));
  auto node = IpAddress::parse(config.nodeIp);
  for (const auto& [range, prefix] : ranges)
    if (node && prefix.contains(*node))
      return fail(
          Reason::Invalid,
          fmt::format("the node's address {} lies in {} {}: choose another subnet with {}, or another address with --node-ip",
                      config.nodeIp, range.flag, range.text, range.flag));
  return {};
}

Result<void> checkMachine(env::Env environment, const ClusterConfig& config) {
  if (!isRoot(environment))
    return fail(Reason::Forbidden, "containers and their networks can only be made by root. Run it again as root: sudo knarr up");
  struct Needed {
    std::string path, package;
  };
  for (const Needed& tool : {Needed{config.containerdPath, "containerd"}, Needed{config.runcPath, "runc"},
                             Needed{"/usr/bin/ctr", "containerd"}, Needed{"/usr/sbin/nft", "nftables"}})
    if (!environment.files.status(tool.path))
      return fail(Reason::NotFound,
                  fmt::format("{} is missing: the container runtime is not installed. Install it with: apt-get install {}",
                              tool.path, tool.package));
  return checkDisk(environment, config.dataDirectory);
}

async::Task<Result<void>> up(env::Env environment, ClusterConfig config, std::string program, std::vector<std::string> flags,
                             Progress progress) {
  // A server that was killed a moment ago still holds its ports, and looks alive for some microseconds.
  co_await awaitEnding(environment, config.pidFile());
  if (livingProcess(environment, config.pidFile(), "server") != 0) {
    CO_TRY(mergeUserKubeconfig(environment, config));
    progress("the cluster runs already");
    co_return Result<void>();
  }
  CO_TRY(checkAddresses(config));
  CO_TRY(checkMachine(environment, config));
  // A port in use is found before anything is made.
  for (int port : {config.apiPort, config.kubeletPort, config.dnsPort}) {
    auto probe = environment.network.listen(fmt::format("{}:{}", config.bindAddress, port), [](std::unique_ptr<env::Stream>) {});
    if (!probe)
      co_return fail(
          Reason::AlreadyExists,
          fmt::format("port {} is in use by another program. Stop it (see: ss -ltnp 'sport = :{}'), or choose another with {}",
                      port, port, port == config.apiPort ? "--api-port" : "--kubelet-port"));
  }
  bool isNew = !environment.files.status(config.dataDirectory + "/state.db");
  CO_TRY(recordAbsentDirectories(environment.files, directoryRecord(config), directoriesOf(config)));
  for (const std::string& directory : {config.runDirectory, config.logDirectory})
    CO_TRY(environment.files.makeDirectories(directory));
  CO_TRY(environment.files.removeTree(config.reportSocket()));
  async::Promise<Result<void>> outcome(environment.executor);
  async::Gate gate(environment.executor);
  auto onLine = [outcome, progress](std::string line) {
    if (line == "ready")
      outcome.set(Result<void>());
    else if (line.starts_with("error: "))
      outcome.set(fail(Reason::InternalError, line.substr(7)));
    else
      progress(std::move(line));
  };
  auto listener = CO_TRY(environment.network.listen(
      "unix:" + config.reportSocket(), [&gate, environment, onLine](std::unique_ptr<env::Stream> stream) {
        gate.spawn(readReports(environment, std::shared_ptr<env::Stream>(std::move(stream)), onLine));
      }));
  env::ProcessSpec spec;
  spec.argv = {program, "server"};
  spec.argv.insert(spec.argv.end(), flags.begin(), flags.end());
  spec.environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"};
  spec.outputPath = config.logFile();
  spec.newSession = true;
  int pid = CO_TRY(environment.processes.spawn(std::move(spec), [outcome](env::ProcessExit exit) {
    outcome.set(fail(Reason::InternalError, fmt::format("the server ended with code {}", exit.exitCode)));
  }));
  CO_TRY(environment.files.writeFileAtomically(config.pidFile(), fmt::format("{}\n", pid)));
  env::TimerId timer = environment.executor.at(environment.clock.now() + kUpPatience, [outcome] {
    outcome.set(fail(Reason::Timeout, "the node did not become Ready within two minutes"));
  });
  Result<void> result = co_await outcome.get();
  environment.executor.cancelTimer(timer);
  listener.reset();
  (void)environment.files.removeTree(config.reportSocket());
  if (!result) {
    if (!environment.processes.alive(pid)) (void)environment.files.removeTree(config.pidFile());
    Error why(Reason::InternalError, fmt::format("{}. The end of {}:{}", result.error().message(), config.logFile(),
                                                 lastLines(environment, config.logFile(), 10)));
    // A cluster that never was leaves nothing; one that was keeps what it holds.
    if (isNew) {
      auto removed = co_await down(environment, config, [](std::string) {});
      if (!removed) why.withContext("what was begun could not be removed (" + removed.error().message() + ")");
    }
    co_return std::unexpected(std::move(why));
  }
  co_return mergeUserKubeconfig(environment, config);
}

async::Task<Result<void>> down(env::Env environment, ClusterConfig config, Progress progress) {
  if (!isRoot(environment))
    co_return fail(Reason::Forbidden, "only root can take the cluster down. Run it again as root: sudo knarr down");
  if (livingProcess(environment, config.pidFile(), "server") != 0) {
    co_await endProcess(environment, config.pidFile(), SIGTERM, kServerStopPatience);
    progress("the server is stopped");
  }
  bool runtimeHeld = environment.files.status(config.containerdPidFile()).has_value();
  if (runtimeHeld) {
    if (livingProcess(environment, config.containerdPidFile(), "containerd") == 0)
      CO_TRY(co_await ensureContainerd(environment, config));
    auto runtime = cri::makeRuntimeClient(environment, {"unix:" + config.containerdSocket()});
    Result<RemovedSandboxes> removed = co_await removeSandboxes(environment, runtime.get());
    std::optional<Error> failed = removed ? removed->error : removed.error();
    if (failed) logWarning("cluster", "removing pods: {}", failed->describe());
    progress(fmt::format("{} pods are removed", removed ? removed->count : 0));
    CO_TRY(co_await stopContainerd(environment, config));
    progress("containerd is stopped");
  }
  // Processes that are being freed hold their cgroups for a moment: a warning, and what is empty is gone.
  if (auto gone = kubelet::removeCgroups(environment.files, config.cgroupRoot()); !gone)
    logWarning("cluster", "removing cgroups: {}", gone.error().describe());
  co_await removeBridge(environment, config.bridgeName);
  co_await removeEmptyTables(environment);
  if (auto gone = co_await kube_proxy::makeNftRuleKernel(environment, proxyRules(config))->removeTable(); !gone)
    logWarning("cluster", "the rules of services stay: {}", gone.error().describe());
  co_await unmountBelow(environment, {config.runDirectory, config.dataDirectory, config.kubeletRootDirectory});
  CO_TRY(unmergeUserKubeconfig(environment, config));
  CO_TRY(removeCniPlugins(environment, config));
  CO_TRY(environment.files.removeTree(config.cniConfigDirectory + "/10-knarr.conflist"));
  CO_TRY(environment.files.removeTree(config.cniStateDirectory + "/" + config.name));
  std::vector<std::string> made = recordedDirectories(environment.files, directoryRecord(config));
  // The record goes with the data directory, the last of all: a `down` that is cut short begins anew.
  for (const std::string& path : {config.runDirectory, config.configDirectory, config.logDirectory, config.kubeletRootDirectory,
                                  config.podLogsDirectory, config.containerLogsDirectory, config.dataDirectory})
    CO_TRY(environment.files.removeTree(path));
  removeEmptyDirectories(environment.files, made);
  progress("files are removed");
  co_return Result<void>();
}

}  // namespace knarr::cluster
