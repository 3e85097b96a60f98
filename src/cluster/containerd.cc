#include "cluster/containerd.h"

#include <fmt/format.h>

#include <csignal>
#include <limits>

#include "base/log.h"
#include "base/strings.h"
#include "cri/cri.h"
#include "wire/pki.h"

namespace knarr::cluster {
namespace {

constexpr env::Duration kSocketPatience = std::chrono::seconds(20);
// containerd has no way to call us when it listens; its socket is tried this often.
constexpr env::Duration kSocketRetry = std::chrono::milliseconds(20);
constexpr int kCapSysResourceBit = 24;
// A process that was killed is gone within milliseconds, unless the kernel has much memory to free or a disk to wait for.
constexpr env::Duration kEndingPatience = std::chrono::seconds(10);
// The kernel tells only parents that a process has ended; others look this often.
constexpr env::Duration kEndingRetry = std::chrono::milliseconds(5);

// Of lower-case hexadecimal digits, as /proc writes masks.
uint64_t hexNumber(std::string_view digits) {
  uint64_t bits = 0;
  for (char c : digits) bits = bits << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  return bits;
}

// 0: there is no such file, or no number in it.
int pidOf(env::Env environment, const std::string& pidFile) {
  auto text = environment.files.readFile(pidFile, 64);
  auto pid = text ? parseInt(trim(*text)) : std::nullopt;
  return pid && *pid > 1 && *pid <= std::numeric_limits<int>::max() ? static_cast<int>(*pid) : 0;
}

ProcessLife lifeOf(env::Env environment, int pid) {
  std::string directory = fmt::format("/proc/{}", pid);
  std::string stat = environment.files.readFile(directory + "/stat", 1 << 16).value_or("");
  return processLife(stat, environment.files.readFile(directory + "/status", 1 << 16).value_or(""));
}

std::vector<std::string> systemEnvironment() {
  return {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"};
}

}  // namespace

bool hasCapSysResource(env::Env environment) {
  auto status = environment.files.readFile("/proc/self/status");
  if (!status) return true;
  for (std::string_view line : split(*status, '\n')) {
    if (!line.starts_with("CapEff:")) continue;
    return (hexNumber(trim(line.substr(7))) >> kCapSysResourceBit & 1) != 0;
  }
  return true;
}

// pause_threshold: the share of time that collecting garbage may block writes. containerd looks whether there is something to
// collect after each pause times its inverse: every 100 ms at the default of 0.02, which alone is 0.2 % of a core.
// stats_collect_period: how old the disk usage of images and containers may be that the CRI tells. Every collection walks all
// snapshots; upstream's kubelet itself looks once a minute (volumeStatsAggPeriod).
std::string containerdConfigText(const ClusterConfig& config, bool restrictOomScoreAdj) {
  return fmt::format(
      R"(version = 2
root = "{data}/containerd"
state = "{run}/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.gc.v1.scheduler"]
  pause_threshold = 0.001
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  restrict_oom_score_adj = {restrict}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  enable_selinux = false
  tolerate_missing_hugetlb_controller = true
  stats_collect_period = 60
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cniBin}"
    conf_dir = "{cniConf}"
    max_conf_num = 1
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        Root = "{run}/runc"
        SystemdCgroup = false
)",
      fmt::arg("data", config.dataDirectory), fmt::arg("run", config.runDirectory), fmt::arg("socket", config.containerdSocket()),
      fmt::arg("restrict", restrictOomScoreAdj), fmt::arg("cniBin", config.cniBinDirectory),
      fmt::arg("cniConf", config.cniConfigDirectory), fmt::arg("runc", config.runcPath));
}

std::string cniNetworkText(const ClusterConfig& config, std::string_view podRange) {
  return fmt::format(R"({{
  "cniVersion": "1.0.0",
  "name": "{}",
  "plugins": [
    {{
      "type": "bridge",
      "bridge": "{}",
      "isDefaultGateway": true,
      "ipMasq": true,
      "hairpinMode": true,
      "bridgeNfCall": true,
      "ipam": {{"type": "host-local", "dataDir": "{}", "ranges": [[{{"subnet": "{}"}}]]}}
    }},
    {{"type": "portmap", "capabilities": {{"portMappings": true}}}}
  ]
}}
)",
                     config.name, config.bridgeName, config.cniStateDirectory, podRange);
}

Result<void> writeCniNetwork(env::Env environment, const ClusterConfig& config, std::string_view podRange) {
  TRY(environment.files.makeDirectories(config.cniConfigDirectory));
  std::string path = config.cniConfigDirectory + "/10-knarr.conflist", text = cniNetworkText(config, podRange);
  auto have = environment.files.readFile(path, 1 << 16);
  if (have && *have == text) return {};
  return environment.files.writeFileAtomically(path, text);
}

ProcessLife processLife(std::string_view stat, std::string_view status) {
  constexpr size_t kState = 0, kFlags = 6, kThreads = 17;  // fields after the name, which may hold anything
  constexpr int64_t kExiting = 0x4;
  size_t name = stat.rfind(") ");
  if (name == std::string_view::npos) return ProcessLife::Gone;
  std::vector<std::string_view> fields = split(stat.substr(name + 2), ' ');
  if (fields.size() <= kThreads) return ProcessLife::Gone;
  if (fields[kState] == "Z" || fields[kState] == "X")
    return parseInt(fields[kThreads]).value_or(0) > 1 ? ProcessLife::Ending : ProcessLife::Gone;
  if (parseInt(fields[kFlags]).value_or(0) & kExiting) return ProcessLife::Ending;
  for (std::string_view line : split(status, '\n')) {
    if (!line.starts_with("SigPnd:") && !line.starts_with("ShdPnd:")) continue;
    if ((hexNumber(trim(line.substr(7))) >> (SIGKILL - 1) & 1) != 0) return ProcessLife::Ending;
  }
  return ProcessLife::Living;
}

int livingProcess(env::Env environment, const std::string& pidFile, std::string_view word) {
  int pid = pidOf(environment, pidFile);
  if (pid == 0 || lifeOf(environment, pid) != ProcessLife::Living) return 0;
  auto commandLine = environment.files.readFile(fmt::format("/proc/{}/cmdline", pid), 1 << 16);
  if (!commandLine || commandLine->find(word) == std::string::npos) return 0;
  return pid;
}

async::Task<void> awaitEnding(env::Env environment, std::string pidFile) {
  int pid = pidOf(environment, pidFile);
  env::Instant deadline = environment.clock.now() + kEndingPatience;
  while (pid != 0 && lifeOf(environment, pid) == ProcessLife::Ending && environment.clock.now() < deadline)
    co_await async::sleepFor(environment, kEndingRetry);
}

async::Task<void> endProcess(env::Env environment, std::string pidFile, int signalNumber, env::Duration patience) {
  int pid = pidOf(environment, pidFile);
  if (pid == 0 || !environment.processes.kill(pid, signalNumber)) co_return;
  env::Instant deadline = environment.clock.now() + patience;
  while (lifeOf(environment, pid) != ProcessLife::Gone && environment.clock.now() < deadline)
    co_await async::sleepFor(environment, kEndingRetry);
  if (lifeOf(environment, pid) == ProcessLife::Gone) co_return;
  logWarning("cluster", "process {} does not end: killing it", pid);
  (void)environment.processes.kill(pid, SIGKILL);
  while (lifeOf(environment, pid) != ProcessLife::Gone && environment.clock.now() < deadline + patience)
    co_await async::sleepFor(environment, kEndingRetry);
}

async::Task<Result<void>> ensureContainerd(env::Env environment, ClusterConfig config) {
  std::string address = "unix:" + config.containerdSocket();
  co_await awaitEnding(environment, config.containerdPidFile());
  if (livingProcess(environment, config.containerdPidFile(), "containerd") != 0) {
    auto stream = co_await async::connect(environment, address, std::chrono::seconds(2));
    if (stream) co_return Result<void>();
  }
  for (const std::string& directory : {config.runDirectory, config.dataDirectory, config.logDirectory, config.cniConfigDirectory})
    CO_TRY(environment.files.makeDirectories(directory));
  std::string configPath = config.runDirectory + "/containerd.toml";
  CO_TRY(environment.files.writeFileAtomically(configPath, containerdConfigText(config, !hasCapSysResource(environment))));
  env::ProcessSpec spec;
  spec.argv = {config.containerdPath, "--config", configPath};
  spec.environment = systemEnvironment();
  // Collects its garbage at 40 % growth instead of 100 %: a few milliseconds of CPU for a third of its heap.
  spec.environment.push_back("GOGC=40");
  spec.outputPath = config.logDirectory + "/containerd.log";
  spec.newSession = true;
  auto exited = std::make_shared<bool>(false);
  int pid = CO_TRY(environment.processes.spawn(std::move(spec), [exited](env::ProcessExit) { *exited = true; }));
  CO_TRY(environment.files.writeFileAtomically(config.containerdPidFile(), fmt::format("{}\n", pid)));
  env::Instant deadline = environment.clock.now() + kSocketPatience;
  while (environment.clock.now() < deadline) {
    if (*exited)
      co_return fail(Reason::InternalError,
                     fmt::format("containerd ended at once; its last words are in {}/containerd.log", config.logDirectory));
    auto stream = co_await async::connect(environment, address, std::chrono::seconds(1));
    if (stream) co_return Result<void>();
    co_await async::sleepFor(environment, kSocketRetry);
  }
  co_return fail(Reason::Timeout, fmt::format("containerd does not answer on {}; see {}/containerd.log",
                                              config.containerdSocket(), config.logDirectory));
}

namespace {

std::string marksDirectory(const ClusterConfig& config) { return config.dataDirectory + "/images"; }

// Names of all images that the runtime has. A runtime that has just begun to listen refuses for a moment.
async::Task<Result<std::set<std::string, std::less<>>>> presentImages(env::Env environment, cri::RuntimeClient* runtime) {
  env::Instant deadline = environment.clock.now() + kSocketPatience;
  for (;;) {
    auto listed = co_await runtime->listImages(schema::newObject<runtimev1::ListImagesRequest>());
    if (!listed && environment.clock.now() >= deadline) co_return Unexpected(std::move(listed).error());
    if (!listed) {
      co_await async::sleepFor(environment, kSocketRetry);
      continue;
    }
    std::set<std::string, std::less<>> names;
    for (const runtimev1::Image& image : (*listed)->images)
      for (schema::Str name : image.repoTags) names.emplace(name);
    co_return names;
  }
}

async::Task<Result<std::vector<std::string>>> importArchive(env::Env environment, ClusterConfig config, std::string path) {
  env::ProcessSpec spec;
  spec.argv = {"/usr/bin/ctr", "--address", config.containerdSocket(), "--namespace", "k8s.io", "images", "import", path};
  spec.environment = systemEnvironment();
  env::ProcessExit done = CO_TRY(co_await async::runProcess(environment, std::move(spec)));
  if (done.exitCode != 0)
    co_return fail(Reason::InternalError, fmt::format("loading image {} failed: {}", path, trim(done.standardError)));
  std::vector<std::string> names = importedImageNames(done.standardOutput);
  if (names.empty()) co_return fail(Reason::InternalError, fmt::format("loading image {}: the archive names no image", path));
  co_return names;
}

// A mark says which file was loaded, and on further lines which images it held.
struct LoadedMark {
  std::string file;
  std::vector<std::string> names;
};
LoadedMark readMark(env::Env environment, const std::string& path) {
  LoadedMark mark;
  std::string text = environment.files.readFile(path, 64 << 10).value_or("");
  for (std::string_view line : split(trim(text), '\n'))
    if (mark.file.empty())
      mark.file = line;
    else
      mark.names.emplace_back(line);
  return mark;
}

}  // namespace

std::vector<std::string> importedImageNames(std::string_view output) {
  constexpr std::string_view kBegin = "unpacking ";
  std::vector<std::string> names;
  for (std::string_view line : split(output, '\n')) {
    if (!line.starts_with(kBegin)) continue;
    line.remove_prefix(kBegin.size());
    size_t end = line.find(" (");
    if (end != std::string_view::npos && end > 0) names.emplace_back(line.substr(0, end));
  }
  return names;
}

async::Task<Result<void>> importImages(env::Env environment, ClusterConfig config) {
  auto runtime = cri::makeRuntimeClient(environment, {"unix:" + config.containerdSocket()});
  co_return co_await importImages(environment, config, runtime.get());
}

async::Task<Result<void>> importImages(env::Env environment, ClusterConfig config, cri::RuntimeClient* runtime) {
  std::string directory = config.assetsDirectory + "/images";
  std::vector<std::string> archives = CO_TRY(environment.files.listDirectory(directory));
  std::set<std::string, std::less<>> present = CO_TRY(co_await presentImages(environment, runtime));
  CO_TRY(environment.files.makeDirectories(marksDirectory(config)));
  for (size_t i = 0; i < archives.size(); ++i) {
    if (!archives[i].ends_with(".tar")) continue;
    std::string path = directory + "/" + archives[i];
    env::FileStatus status = CO_TRY(environment.files.status(path));
    std::string file = fmt::format("{} {} {}", path, status.sizeBytes, status.modifiedUnixNanos);
    std::string markPath = fmt::format("{}/{}.loaded", marksDirectory(config), archives[i]);
    LoadedMark mark = readMark(environment, markPath);
    bool complete = mark.file == file && !mark.names.empty();
    for (const std::string& name : mark.names) complete &= present.contains(name);
    if (complete) continue;
    std::vector<std::string> names = CO_TRY(co_await importArchive(environment, config, path));
    std::string text = file;
    for (const std::string& name : names) text += "\n" + name;
    CO_TRY(environment.files.writeFileAtomically(markPath, text));
  }
  co_return Result<void>();
}

std::set<std::string, std::less<>> loadedImages(env::Env environment, const ClusterConfig& config) {
  std::set<std::string, std::less<>> names;
  auto marks = environment.files.listDirectory(marksDirectory(config));
  if (!marks) return names;
  for (const std::string& mark : *marks)
    if (mark.ends_with(".loaded"))
      for (std::string& name : readMark(environment, marksDirectory(config) + "/" + mark).names) names.insert(std::move(name));
  return names;
}

async::Task<Result<void>> stopContainerd(env::Env environment, ClusterConfig config) {
  if (livingProcess(environment, config.containerdPidFile(), "containerd") != 0)
    co_await endProcess(environment, config.containerdPidFile(), SIGTERM, std::chrono::seconds(10));
  co_return Result<void>();
}

}  // namespace knarr::cluster
