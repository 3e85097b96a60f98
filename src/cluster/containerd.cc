#include "cluster/containerd.h"

#include <fmt/format.h>

#include <csignal>

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

std::vector<std::string> systemEnvironment() {
  return {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"};
}

}  // namespace

bool hasCapSysResource(env::Env environment) {
  auto status = environment.files.readFile("/proc/self/status");
  if (!status) return true;
  for (std::string_view line : split(*status, '\n')) {
    if (!line.starts_with("CapEff:")) continue;
    uint64_t bits = 0;
    for (char c : trim(line.substr(7))) bits = bits << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
    return (bits >> kCapSysResourceBit & 1) != 0;
  }
  return true;
}

std::string containerdConfigText(const ClusterConfig& config, bool restrictOomScoreAdj) {
  return fmt::format(
      R"(version = 2
root = "{data}/containerd"
state = "{run}/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  restrict_oom_score_adj = {restrict}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  enable_selinux = false
  tolerate_missing_hugetlb_controller = true
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
        SystemdCgroup = false
)",
      fmt::arg("data", config.dataDirectory), fmt::arg("run", config.runDirectory), fmt::arg("socket", config.containerdSocket()),
      fmt::arg("restrict", restrictOomScoreAdj), fmt::arg("cniBin", config.cniBinDirectory), fmt::arg("cniConf", config.cniConfigDirectory),
      fmt::arg("runc", config.runcPath));
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

int livingProcess(env::Env environment, const std::string& pidFile, std::string_view word) {
  auto text = environment.files.readFile(pidFile, 64);
  auto pid = text ? parseInt(trim(*text)) : std::nullopt;
  if (!pid || *pid <= 1) return 0;
  auto commandLine = environment.files.readFile(fmt::format("/proc/{}/cmdline", *pid), 1 << 16);
  if (!commandLine || commandLine->find(word) == std::string::npos) return 0;
  return static_cast<int>(*pid);
}

async::Task<void> endProcess(env::Env environment, std::string pidFile, int signalNumber, env::Duration patience) {
  auto text = environment.files.readFile(pidFile, 64);
  auto pid = text ? parseInt(trim(*text)) : std::nullopt;
  if (!pid || *pid <= 1) co_return;
  int process = static_cast<int>(*pid);
  if (!environment.processes.kill(process, signalNumber)) co_return;
  env::Instant deadline = environment.clock.now() + patience;
  while (environment.processes.alive(process) && environment.clock.now() < deadline)
    co_await async::sleepFor(environment, kSocketRetry);
  if (environment.processes.alive(process)) {
    logWarning("cluster", "process {} does not end: killing it", process);
    (void)environment.processes.kill(process, SIGKILL);
    while (environment.processes.alive(process) && environment.clock.now() < deadline + patience)
      co_await async::sleepFor(environment, kSocketRetry);
  }
}

async::Task<Result<void>> ensureContainerd(env::Env environment, ClusterConfig config) {
  std::string address = "unix:" + config.containerdSocket();
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
      co_return fail(Reason::InternalError, fmt::format("containerd ended at once; its last words are in {}/containerd.log", config.logDirectory));
    auto stream = co_await async::connect(environment, address, std::chrono::seconds(1));
    if (stream) co_return Result<void>();
    co_await async::sleepFor(environment, kSocketRetry);
  }
  co_return fail(Reason::Timeout, fmt::format("containerd does not answer on {}; see {}/containerd.log", config.containerdSocket(), config.logDirectory));
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
  if (done.exitCode != 0) co_return fail(Reason::InternalError, fmt::format("loading image {} failed: {}", path, trim(done.standardError)));
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
