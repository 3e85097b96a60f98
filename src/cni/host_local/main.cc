// host-local: gives addresses out of ranges, remembered in files of this machine.
//
// One file per address under dataDir/NETWORK, named by it, holding "containerID CRLF ifname";
// last_reserved_ip.N the last address given out of set N; lock is held (flock) while anything is
// read or changed. The layout is upstream's, so a node can change between the two programs.
// Upstream counterpart: containernetworking/plugins plugins/ipam/host-local.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <optional>

#include "base/strings.h"
#include "cni/host_local/range.h"

namespace knarr::cni {
namespace {

std::optional<std::string> readSmallFile(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::string out;
  std::array<char, 4096> buffer;
  for (ssize_t n = 0; out.size() < 65536 && (n = read(fd, buffer.data(), buffer.size())) > 0;) {
    out.append(buffer.data(), static_cast<size_t>(n));
  }
  close(fd);
  return out;
}

// The files of one network, locked while this lives.
class AddressStore {
 public:
  static Outcome<AddressStore> open(const std::string& directory, bool create) {
    if (create) TRY(makeDirectories(directory));
    int fd = ::open((directory + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ENOENT) return refuse(kInternal, "no store", "ENOENT");
    if (fd < 0) return refuseErrno("open " + directory + "/lock", errno);
    while (flock(fd, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      auto failure = refuseErrno("lock " + directory + "/lock", errno);
      close(fd);
      return failure;
    }
    return AddressStore(directory, fd);
  }
  AddressStore(AddressStore&& other) noexcept : directory_(std::move(other.directory_)), lock_(std::exchange(other.lock_, -1)) {}
  ~AddressStore() {
    if (lock_ >= 0) close(lock_);
  }

  // False when the address is taken.
  Outcome<bool> reserve(const Ip& ip, const std::string& owner, size_t set) {
    std::string path = directory_ + "/" + ip.text();
    int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) return false;
    if (fd < 0) return refuseErrno("reserve " + path, errno);
    bool written = write(fd, owner.data(), owner.size()) == static_cast<ssize_t>(owner.size());
    int failure = errno;
    if (close(fd) != 0) written = false;
    if (!written) {
      unlink(path.c_str());
      return refuseErrno("write " + path, failure);
    }
    TRY(replace(directory_ + "/last_reserved_ip." + std::to_string(set), ip.text()));
    return true;
  }
  std::optional<Ip> lastReserved(size_t set) const {
    auto text = readSmallFile(directory_ + "/last_reserved_ip." + std::to_string(set));
    return text ? parseIp(trim(*text)) : std::nullopt;
  }
  void release(const Ip& ip) { unlink((directory_ + "/" + ip.text()).c_str()); }

  std::vector<Ip> ownedBy(const std::string& owner, const std::string& containerOnly) const {
    std::vector<Ip> out;
    DIR* directory = opendir(directory_.c_str());
    if (directory == nullptr) return out;
    while (dirent* entry = readdir(directory)) {
      auto ip = parseIp(entry->d_name);
      if (!ip) continue;
      auto content = readSmallFile(directory_ + "/" + entry->d_name);
      if (!content) continue;
      std::string_view text = trim(*content);
      if (text == owner || text == containerOnly) out.push_back(*ip);
    }
    closedir(directory);
    return out;
  }

 private:
  AddressStore(std::string directory, int lock) : directory_(std::move(directory)), lock_(lock) {}

  static Outcome<void> makeDirectories(const std::string& path) {
    for (size_t at = 1; at != std::string::npos;) {
      at = path.find('/', at + 1);
      if (mkdir(path.substr(0, at).c_str(), 0755) != 0 && errno != EEXIST) {
        return refuseErrno("create " + path, errno);
      }
    }
    return {};
  }
  static Outcome<void> replace(const std::string& path, const std::string& text) {
    std::string aside = path + ".new";
    int fd = ::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return refuseErrno("write " + path, errno);
    bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    if (close(fd) != 0 || !written || rename(aside.c_str(), path.c_str()) != 0) {
      return refuseErrno("write " + path, errno);
    }
    return {};
  }

  std::string directory_;
  int lock_ = -1;
};

std::string ownerOf(const Request& request) { return request.containerId + "\r\n" + request.ifName; }

IpConfig configOf(const Range& range, const Ip& ip) { return {{ip, range.subnet.prefix}, range.gateway, -1}; }

Outcome<IpConfig> reserveRequested(AddressStore& store, const RangeSet& set, size_t index, const Ip& ip,
                                   const std::string& owner) {
  for (const Range& range : set) {
    if (!range.contains(ip)) continue;
    if (ip == range.gateway) return refuse(kInternal, "requested ip " + ip.text() + " is subnet's gateway");
    if (!TRY(store.reserve(ip, owner, index))) break;
    return configOf(range, ip);
  }
  return refuse(kInternal, "requested IP address " + ip.text() + " is not available in range set " + rangeSetText(set));
}

// Round robin after the last one given, so that an address is not reused while caches still know
// its last owner.
Outcome<IpConfig> reserveNext(AddressStore& store, const RangeSet& set, size_t index, const std::string& owner) {
  size_t at = 0;
  Ip ip = set[0].start;
  if (auto last = store.lastReserved(index)) {
    for (size_t i = 0; i < set.size(); ++i) {
      if (!set[i].contains(*last)) continue;
      at = i;
      ip = *last;
      if (ip.value == set[i].end.value) {
        at = (i + 1) % set.size();
        ip = set[at].start;
      } else {
        ip.value += 1;
      }
      break;
    }
  }
  Ip first = ip;
  do {
    if (ip != set[at].gateway && TRY(store.reserve(ip, owner, index))) return configOf(set[at], ip);
    if (ip.value == set[at].end.value) {
      at = (at + 1) % set.size();
      ip = set[at].start;
    } else {
      ip.value += 1;
    }
  } while (ip != first);
  return refuse(kInternal, "no IP addresses available in range set: " + rangeSetText(set));
}

Outcome<IpConfig> reserveFromSet(AddressStore& store, HostLocalConfig& config, size_t index, const std::string& owner) {
  const RangeSet& set = config.sets[index];
  for (auto wanted = config.requested.begin(); wanted != config.requested.end(); ++wanted) {
    for (const Range& range : set) {
      if (!range.subnet.contains(*wanted)) continue;
      Ip ip = *wanted;
      config.requested.erase(wanted);
      return reserveRequested(store, set, index, ip, owner);
    }
  }
  return reserveNext(store, set, index, owner);
}

void readResolvConf(const std::string& path, Dns& dns) {
  auto text = readSmallFile(path);
  if (!text) return;
  for (std::string_view line : split(*text, '\n')) {
    std::vector<std::string> fields;
    for (std::string_view field : split(line, ' ')) {
      if (!trim(field).empty()) fields.emplace_back(trim(field));
    }
    if (fields.size() < 2 || fields[0][0] == '#' || fields[0][0] == ';') continue;
    std::vector<std::string> values(fields.begin() + 1, fields.end());
    if (fields[0] == "nameserver") dns.nameservers.push_back(values[0]);
    if (fields[0] == "domain") dns.domain = values[0];
    if (fields[0] == "search") dns.search.insert(dns.search.end(), values.begin(), values.end());
    if (fields[0] == "options") dns.options.insert(dns.options.end(), values.begin(), values.end());
  }
}

Outcome<AddResult> add(const Request& request) {
  HostLocalConfig config = TRY(readHostLocalConfig(request));
  AddressStore store = TRY(AddressStore::open(config.dataDirectory, true));
  std::string owner = ownerOf(request);
  AddResult result;
  for (const Ip& ip : store.ownedBy(owner, request.containerId)) {
    for (const RangeSet& set : config.sets) {
      for (const Range& range : set) {
        if (!range.contains(ip)) continue;
        return refuse(kInternal,
                      ip.text() + " has been allocated to " + request.containerId + ", duplicate allocation is not allowed");
      }
    }
  }
  auto giveBack = [&] {
    for (const IpConfig& ip : result.ips) store.release(ip.address.ip);
  };
  for (size_t i = 0; i < config.sets.size(); ++i) {
    auto ip = reserveFromSet(store, config, i, owner);
    if (!ip) {
      giveBack();
      return refuse(ip.error().code, "failed to allocate for range " + std::to_string(i) + ": " + ip.error().message);
    }
    result.ips.push_back(*ip);
  }
  if (!config.requested.empty()) {
    giveBack();
    std::string left;
    for (const Ip& ip : config.requested) left += " " + ip.text();
    return refuse(kInternal, "failed to allocate all requested IPs:" + left);
  }
  result.routes = config.routes;
  if (!config.resolvConf.empty()) readResolvConf(config.resolvConf, result.dns);
  return result;
}

Outcome<void> remove(const Request& request) {
  HostLocalConfig config = TRY(readHostLocalConfig(request));
  auto store = AddressStore::open(config.dataDirectory, false);
  if (!store && store.error().details == "ENOENT") return {};
  if (!store) return std::unexpected(store.error());
  for (const Ip& ip : store->ownedBy(ownerOf(request), request.containerId)) store->release(ip);
  return {};
}

Outcome<void> check(const Request& request) {
  HostLocalConfig config = TRY(readHostLocalConfig(request));
  auto store = AddressStore::open(config.dataDirectory, false);
  if (!store || store->ownedBy(ownerOf(request), request.containerId).empty()) {
    return refuse(kInternal, "host-local: Failed to find address added by container " + request.containerId);
  }
  return {};
}

Outcome<void> status(const Request&) { return {}; }

}  // namespace
}  // namespace knarr::cni

int main() {
  using namespace knarr::cni;
  return runPlugin({"host-local", add, remove, check, status});
}
