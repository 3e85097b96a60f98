#include "kubelet/machine.h"

#include <fmt/format.h>

#include "base/strings.h"

namespace knarr::kubelet {

int64_t memoryFromMeminfo(std::string_view meminfo) {
  for (std::string_view line : split(meminfo, '\n')) {
    constexpr std::string_view kName = "MemTotal:";
    if (!line.starts_with(kName)) continue;
    std::string_view value = trim(line.substr(kName.size()));
    return parseInt(value.substr(0, value.find(' '))).value_or(0) * 1024;
  }
  return 0;
}

std::string osImageFromRelease(std::string_view osRelease) {
  for (std::string_view line : split(osRelease, '\n')) {
    constexpr std::string_view kName = "PRETTY_NAME=";
    if (!line.starts_with(kName)) continue;
    std::string_view value = trim(line.substr(kName.size()));
    if (value.size() >= 2 && value.front() == '"') value = value.substr(1, value.size() - 2);
    return std::string(value);
  }
  return "Linux";
}

int64_t processorsFromCpuinfo(std::string_view cpuinfo) {
  int64_t count = 0;
  for (std::string_view line : split(cpuinfo, '\n')) {
    if (line.starts_with("processor")) ++count;
  }
  return count;
}

Result<MachineInfo> readMachineInfo(env::Files& files, const std::string& rootDirectory) {
  MachineInfo machine;
  auto text = [&](const char* path) { return std::string(trim(files.readFile(path).value_or(""))); };
  machine.cpuMilli = processorsFromCpuinfo(TRY(files.readFile("/proc/cpuinfo"))) * 1000;
  machine.memoryBytes = memoryFromMeminfo(TRY(files.readFile("/proc/meminfo")));
  if (machine.cpuMilli == 0 || machine.memoryBytes == 0) {
    return fail(Reason::InternalError,
                "/proc/cpuinfo and /proc/meminfo do not say how many processors and how much "
                "memory this host has");
  }
  machine.ephemeralStorageBytes = static_cast<int64_t>(TRY(files.fileSystemSize(rootDirectory)).bytes);
  machine.machineId = text("/etc/machine-id");
  machine.systemUuid = text("/sys/class/dmi/id/product_uuid");
  if (machine.systemUuid.empty()) machine.systemUuid = machine.machineId;
  machine.bootId = text("/proc/sys/kernel/random/boot_id");
  machine.kernelVersion = text("/proc/sys/kernel/osrelease");
  machine.osImage = osImageFromRelease(text("/etc/os-release"));
#if defined(__aarch64__)
  machine.architecture = "arm64";
#else
  machine.architecture = "amd64";
#endif
  return machine;
}

}  // namespace knarr::kubelet
