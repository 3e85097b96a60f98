// Links, addresses and routes of one network namespace, over rtnetlink.
//
// A Netlink belongs to the namespace in which it was opened, wherever the thread goes afterwards.
// Own framing: libmnl has no static library in Debian, and the plugins are static programs. Source:
// rtnetlink(7), linux/rtnetlink.h, linux/if_link.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cni/plugin/plugin.h"

namespace knarr::cni {

struct Link {
  int index = 0;
  std::string name, kind, mac;  // kind: "bridge", "veth", "" for physical ones
  uint32_t flags = 0;           // IFF_*
  int mtu = 0;
  int master = 0;         // index of the bridge, 0: none
  int peerIndex = 0;      // of a veth, in the peer's namespace
  uint8_t operState = 0;  // IF_OPER_*
};
struct Address {
  Subnet address;
  int linkIndex = 0;
  uint32_t flags = 0;  // IFA_F_*
};
struct RouteEntry {
  Subnet destination;
  std::optional<Ip> gateway;
  int linkIndex = 0;
};

class NetlinkMessage;

class Netlink {
 public:
  static Outcome<Netlink> open();
  Netlink(Netlink&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Netlink& operator=(Netlink&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Netlink();

  // Nothing when there is no such link.
  Outcome<std::optional<Link>> link(const std::string& name);
  Outcome<std::optional<Link>> linkByIndex(int index);
  Outcome<void> createBridge(const std::string& name, int mtu);
  // One end here, the other as `peerName` in the namespace of `peerNamespaceFd`. `mac` empty: the
  // kernel's choice. EEXIST when either name is taken (error details "EEXIST").
  Outcome<void> createVeth(const std::string& name, const std::string& peerName, int peerNamespaceFd, int mtu,
                           const std::string& mac);
  Outcome<void> removeLink(int index);
  Outcome<void> setFlags(int index, uint32_t set, uint32_t clear);
  Outcome<void> setMaster(int index, int master);
  Outcome<void> setMtu(int index, int mtu);
  Outcome<void> setMac(int index, const std::string& mac);
  Outcome<void> setHairpin(int portIndex);
  Outcome<std::vector<Address>> addresses(int linkIndex);
  Outcome<void> addAddress(int linkIndex, const Subnet& address);
  Outcome<void> removeAddress(int linkIndex, const Subnet& address);
  Outcome<void> addRoute(int linkIndex, const Route& route);
  Outcome<std::vector<RouteEntry>> routes(int linkIndex);

 private:
  explicit Netlink(int fd) : fd_(fd) {}
  Outcome<void> execute(NetlinkMessage& message, const std::string& what);
  template <class Each>
  Outcome<void> dump(NetlinkMessage& message, const std::string& what, Each each);
  Outcome<std::optional<Link>> readLink(NetlinkMessage& message, const std::string& what);
  Outcome<void> changeAddress(int type, int linkIndex, const Subnet& address);
  int fd_ = -1;
};

// A network namespace by path. enter() moves the thread; the previous one is restored when the
// guard goes.
class Namespace {
 public:
  static Outcome<Namespace> open(const std::string& path);  // kUnknownContainer when the path is absent
  Namespace(Namespace&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Namespace();
  int fd() const { return fd_; }

  class Guard {
   public:
    Guard(Guard&& other) noexcept : previousFd_(std::exchange(other.previousFd_, -1)) {}
    ~Guard();

   private:
    friend class Namespace;
    explicit Guard(int previousFd) : previousFd_(previousFd) {}
    int previousFd_;
  };
  Outcome<Guard> enter() const;

 private:
  explicit Namespace(int fd) : fd_(fd) {}
  int fd_ = -1;
};

// Writes /proc/sys/NAME of the thread's network namespace.
Outcome<void> writeSysctl(const std::string& name, const std::string& value);

}  // namespace knarr::cni
