#include "cni/plugin/link.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

#include "base/strings.h"

namespace knarr::cni {
namespace {

constexpr uint8_t family(const Ip& ip) { return ip.v6 ? AF_INET6 : AF_INET; }

std::string macText(std::string_view bytes) {
  std::string out;
  for (char c : bytes) {
    std::array<char, 4> hex;
    std::snprintf(hex.data(), hex.size(), "%02x", static_cast<unsigned char>(c));
    out += (out.empty() ? "" : ":") + std::string(hex.data());
  }
  return out;
}
std::string macBytes(const std::string& text) {
  std::string out;
  for (std::string_view part : split(text, ':')) {
    unsigned value = 0;
    if (std::sscanf(std::string(part).c_str(), "%2x", &value) != 1) return "";
    out += static_cast<char>(value);
  }
  return out.size() == 6 ? out : "";
}

}  // namespace

// A request as it grows, and its attributes.
class NetlinkMessage {
 public:
  template <class Header>
  NetlinkMessage(int type, int flags, const Header& header) {
    nlmsghdr start{};
    start.nlmsg_type = static_cast<uint16_t>(type);
    start.nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST);
    append(&start, sizeof start);
    append(&header, sizeof header);
  }
  void put(int type, std::string_view value) {
    rtattr attribute{};
    attribute.rta_type = static_cast<uint16_t>(type);
    attribute.rta_len = static_cast<uint16_t>(RTA_LENGTH(value.size()));
    append(&attribute, sizeof attribute);
    append(value.data(), value.size());
  }
  void putText(int type, const std::string& text) { put(type, std::string_view(text.c_str(), text.size() + 1)); }
  void putInt(int type, int value) { put(type, {reinterpret_cast<const char*>(&value), sizeof value}); }
  void putByte(int type, uint8_t value) { put(type, {reinterpret_cast<const char*>(&value), 1}); }
  size_t begin(int type) {
    size_t at = bytes_.size();
    put(type, "");
    return at;
  }
  void appendHeader(const void* header, size_t size) { append(header, size); }
  void end(size_t at) {
    auto length = static_cast<uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &length, sizeof length);
  }
  const std::string& finish() {
    auto length = static_cast<uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &length, sizeof length);
    return bytes_;
  }

 private:
  void append(const void* from, size_t size) {
    bytes_.append(static_cast<const char*>(from), size);
    bytes_.append((4 - bytes_.size() % 4) % 4, '\0');
  }
  std::string bytes_;
};

namespace {

// Calls each(type, bytes) for the attributes in `text`.
template <class Each>
void forAttributes(std::string_view text, Each each) {
  while (text.size() >= sizeof(rtattr)) {
    rtattr attribute;
    std::memcpy(&attribute, text.data(), sizeof attribute);
    if (attribute.rta_len < sizeof attribute || attribute.rta_len > text.size()) return;
    each(attribute.rta_type & NLA_TYPE_MASK, text.substr(sizeof attribute, attribute.rta_len - sizeof attribute));
    text.remove_prefix(std::min<size_t>(text.size(), RTA_ALIGN(attribute.rta_len)));
  }
}
int intOf(std::string_view bytes) {
  int value = 0;
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
  return value;
}
std::string textOf(std::string_view bytes) { return std::string(bytes.substr(0, bytes.find('\0'))); }
Ip ipOf(uint8_t addressFamily, std::string_view bytes) {
  Ip ip;
  ip.v6 = addressFamily == AF_INET6;
  for (char c : bytes) ip.value = ip.value << 8 | static_cast<unsigned char>(c);
  return ip;
}

Link parseLink(std::string_view payload) {
  ifinfomsg header;
  std::memcpy(&header, payload.data(), sizeof header);
  Link link;
  link.index = header.ifi_index;
  link.flags = header.ifi_flags;
  forAttributes(payload.substr(sizeof header), [&](int type, std::string_view bytes) {
    if (type == IFLA_IFNAME) link.name = textOf(bytes);
    if (type == IFLA_ADDRESS) link.mac = macText(bytes);
    if (type == IFLA_MTU) link.mtu = intOf(bytes);
    if (type == IFLA_MASTER) link.master = intOf(bytes);
    if (type == IFLA_LINK) link.peerIndex = intOf(bytes);
    if (type == IFLA_OPERSTATE) link.operState = static_cast<uint8_t>(intOf(bytes));
    if (type == IFLA_LINKINFO) {
      forAttributes(bytes, [&](int inner, std::string_view value) {
        if (inner == IFLA_INFO_KIND) link.kind = textOf(value);
      });
    }
  });
  return link;
}

ifinfomsg linkHeader(int index) {
  ifinfomsg header{};
  header.ifi_index = index;
  return header;
}

}  // namespace

Outcome<Netlink> Netlink::open() {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return refuseErrno("open a netlink socket", errno);
  return Netlink(fd);
}
Netlink::~Netlink() {
  if (fd_ >= 0) close(fd_);
}

// Sends the request and hands every answer of another type than "done" and "acknowledged" to
// each(payload).
template <class Each>
Outcome<void> Netlink::dump(NetlinkMessage& message, const std::string& what, Each each) {
  const std::string& bytes = message.finish();
  if (send(fd_, bytes.data(), bytes.size(), 0) < 0) return refuseErrno(what, errno);
  std::vector<char> buffer(size_t{64} * 1024);
  while (true) {
    ssize_t n = recv(fd_, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return refuseErrno(what, errno);
    std::string_view left(buffer.data(), static_cast<size_t>(n));
    while (left.size() >= sizeof(nlmsghdr)) {
      nlmsghdr header;
      std::memcpy(&header, left.data(), sizeof header);
      if (header.nlmsg_len < sizeof header || header.nlmsg_len > left.size()) break;
      std::string_view payload = left.substr(sizeof header, header.nlmsg_len - sizeof header);
      if (header.nlmsg_type == NLMSG_DONE) return {};
      if (header.nlmsg_type == NLMSG_ERROR) {
        int code = -intOf(payload);
        if (code == 0) return {};
        auto failure = refuseErrno(what, code);
        failure.error().details = code == EEXIST ? "EEXIST" : code == ENODEV ? "ENODEV" : code == ESRCH ? "ESRCH" : "";
        return failure;
      }
      each(payload);
      left.remove_prefix(std::min<size_t>(left.size(), NLMSG_ALIGN(header.nlmsg_len)));
    }
  }
}

Outcome<void> Netlink::execute(NetlinkMessage& message, const std::string& what) {
  return dump(message, what, [](std::string_view) {});
}

Outcome<std::optional<Link>> Netlink::readLink(NetlinkMessage& message, const std::string& what) {
  std::optional<Link> found;
  Outcome<void> done = dump(message, what, [&](std::string_view payload) { found = parseLink(payload); });
  if (!done && done.error().details == "ENODEV") return std::nullopt;
  if (!done) return std::unexpected(done.error());
  return found;
}

Outcome<std::optional<Link>> Netlink::link(const std::string& name) {
  NetlinkMessage message(RTM_GETLINK, NLM_F_ACK, linkHeader(0));
  message.putText(IFLA_IFNAME, name);
  return readLink(message, "look up link " + name);
}

Outcome<std::optional<Link>> Netlink::linkByIndex(int index) {
  NetlinkMessage message(RTM_GETLINK, NLM_F_ACK, linkHeader(index));
  return readLink(message, "look up link " + std::to_string(index));
}

Outcome<void> Netlink::createBridge(const std::string& name, int mtu) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, linkHeader(0));
  message.putText(IFLA_IFNAME, name);
  if (mtu > 0) message.putInt(IFLA_MTU, mtu);
  size_t information = message.begin(IFLA_LINKINFO);
  message.put(IFLA_INFO_KIND, "bridge");
  message.end(information);
  return execute(message, "could not add bridge " + jsonString(name));
}

Outcome<void> Netlink::createVeth(const std::string& name, const std::string& peerName, int peerNamespaceFd, int mtu,
                                  const std::string& mac) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, linkHeader(0));
  message.putText(IFLA_IFNAME, name);
  if (mtu > 0) message.putInt(IFLA_MTU, mtu);
  if (!mac.empty()) {
    std::string bytes = macBytes(mac);
    if (bytes.empty()) return refuse(kInvalidNetworkConfig, "invalid MAC address " + jsonString(mac));
    message.put(IFLA_ADDRESS, bytes);
  }
  size_t information = message.begin(IFLA_LINKINFO);
  message.put(IFLA_INFO_KIND, "veth");
  size_t data = message.begin(IFLA_INFO_DATA);
  size_t peer = message.begin(VETH_INFO_PEER);
  ifinfomsg header = linkHeader(0);
  message.appendHeader(&header, sizeof header);
  message.putText(IFLA_IFNAME, peerName);
  if (mtu > 0) message.putInt(IFLA_MTU, mtu);
  message.putInt(IFLA_NET_NS_FD, peerNamespaceFd);
  message.end(peer);
  message.end(data);
  message.end(information);
  return execute(message, "failed to make veth pair " + name + ", " + peerName);
}

Outcome<void> Netlink::removeLink(int index) {
  NetlinkMessage message(RTM_DELLINK, NLM_F_ACK, linkHeader(index));
  return execute(message, "delete link " + std::to_string(index));
}

Outcome<void> Netlink::setFlags(int index, uint32_t set, uint32_t clear) {
  ifinfomsg header = linkHeader(index);
  header.ifi_flags = set;
  header.ifi_change = set | clear;
  NetlinkMessage message(RTM_NEWLINK, NLM_F_ACK, header);
  return execute(message, "change flags of link " + std::to_string(index));
}

Outcome<void> Netlink::setMaster(int index, int master) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_ACK, linkHeader(index));
  message.putInt(IFLA_MASTER, master);
  return execute(message, "connect link " + std::to_string(index) + " to the bridge");
}

Outcome<void> Netlink::setMtu(int index, int mtu) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_ACK, linkHeader(index));
  message.putInt(IFLA_MTU, mtu);
  return execute(message, "set the MTU of link " + std::to_string(index));
}

Outcome<void> Netlink::setMac(int index, const std::string& mac) {
  std::string bytes = macBytes(mac);
  if (bytes.empty()) return refuse(kInvalidNetworkConfig, "invalid MAC address " + jsonString(mac));
  NetlinkMessage message(RTM_NEWLINK, NLM_F_ACK, linkHeader(index));
  message.put(IFLA_ADDRESS, bytes);
  return execute(message, "set the MAC address of link " + std::to_string(index));
}

Outcome<void> Netlink::setHairpin(int portIndex) {
  ifinfomsg header = linkHeader(portIndex);
  header.ifi_family = AF_BRIDGE;
  NetlinkMessage message(RTM_SETLINK, NLM_F_ACK, header);
  size_t port = message.begin(IFLA_PROTINFO | NLA_F_NESTED);
  message.putByte(IFLA_BRPORT_MODE, 1);
  message.end(port);
  return execute(message, "failed to setup hairpin mode for link " + std::to_string(portIndex));
}

Outcome<std::vector<Address>> Netlink::addresses(int linkIndex) {
  ifaddrmsg header{};
  NetlinkMessage message(RTM_GETADDR, NLM_F_DUMP, header);
  std::vector<Address> out;
  TRY(dump(message, "list addresses", [&](std::string_view payload) {
    ifaddrmsg found;
    std::memcpy(&found, payload.data(), sizeof found);
    if (static_cast<int>(found.ifa_index) != linkIndex) return;
    Address address;
    address.linkIndex = linkIndex;
    address.flags = found.ifa_flags;
    bool local = false;
    forAttributes(payload.substr(sizeof found), [&](int type, std::string_view bytes) {
      if (type == IFA_FLAGS) address.flags = static_cast<uint32_t>(intOf(bytes));
      if (type != IFA_LOCAL && (type != IFA_ADDRESS || local)) return;
      local = type == IFA_LOCAL;
      address.address = {ipOf(found.ifa_family, bytes), found.ifa_prefixlen};
    });
    out.push_back(address);
  }));
  return out;
}

Outcome<void> Netlink::changeAddress(int type, int linkIndex, const Subnet& address) {
  ifaddrmsg header{};
  header.ifa_family = family(address.ip);
  header.ifa_prefixlen = static_cast<uint8_t>(address.prefix);
  header.ifa_index = static_cast<uint32_t>(linkIndex);
  int flags = NLM_F_ACK | (type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0);
  NetlinkMessage message(type, flags, header);
  message.put(IFA_LOCAL, address.ip.bytes());
  message.put(IFA_ADDRESS, address.ip.bytes());
  if (type == RTM_NEWADDR && !address.ip.v6 && address.prefix < 31) {
    message.put(IFA_BROADCAST, address.last().bytes());
  }
  return execute(message, "failed to change IP addr " + address.text() + " on link " + std::to_string(linkIndex));
}
Outcome<void> Netlink::addAddress(int linkIndex, const Subnet& address) { return changeAddress(RTM_NEWADDR, linkIndex, address); }
Outcome<void> Netlink::removeAddress(int linkIndex, const Subnet& address) {
  return changeAddress(RTM_DELADDR, linkIndex, address);
}

Outcome<void> Netlink::addRoute(int linkIndex, const Route& route) {
  rtmsg header{};
  header.rtm_family = family(route.destination.ip);
  header.rtm_dst_len = static_cast<uint8_t>(route.destination.prefix);
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = RTPROT_BOOT;
  header.rtm_type = RTN_UNICAST;
  bool onLink = !route.gateway && !route.destination.ip.v6;
  header.rtm_scope = static_cast<uint8_t>(route.scope.value_or(onLink ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE));
  NetlinkMessage message(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, header);
  if (route.destination.prefix > 0) message.put(RTA_DST, route.destination.network().bytes());
  if (route.gateway) message.put(RTA_GATEWAY, route.gateway->bytes());
  message.putInt(RTA_OIF, linkIndex);
  if (route.priority > 0) message.putInt(RTA_PRIORITY, route.priority);
  if (route.table) message.putInt(RTA_TABLE, *route.table);
  std::string via = route.gateway ? " via " + route.gateway->text() : "";
  Outcome<void> done = execute(message, "failed to add route " + route.destination.text() + via);
  // The prefix of an address brings its own route.
  if (!done && done.error().details == "EEXIST") return {};
  return done;
}

Outcome<std::vector<RouteEntry>> Netlink::routes(int linkIndex) {
  rtmsg header{};
  NetlinkMessage message(RTM_GETROUTE, NLM_F_DUMP, header);
  std::vector<RouteEntry> out;
  TRY(dump(message, "list routes", [&](std::string_view payload) {
    rtmsg found;
    std::memcpy(&found, payload.data(), sizeof found);
    RouteEntry route;
    route.destination = {{found.rtm_family == AF_INET6, 0}, found.rtm_dst_len};
    forAttributes(payload.substr(sizeof found), [&](int type, std::string_view bytes) {
      if (type == RTA_DST) route.destination.ip = ipOf(found.rtm_family, bytes);
      if (type == RTA_GATEWAY) route.gateway = ipOf(found.rtm_family, bytes);
      if (type == RTA_OIF) route.linkIndex = intOf(bytes);
    });
    if (route.linkIndex == linkIndex) out.push_back(route);
  }));
  return out;
}

Outcome<Namespace> Namespace::open(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) {
    return refuse(kUnknownContainer, "failed to open netns " + jsonString(path) + ": no such file or directory");
  }
  if (fd < 0) return refuseErrno("failed to open netns " + jsonString(path), errno);
  return Namespace(fd);
}
Namespace::~Namespace() {
  if (fd_ >= 0) close(fd_);
}

Outcome<Namespace::Guard> Namespace::enter() const {
  int previous = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (previous < 0) return refuseErrno("open our network namespace", errno);
  Guard guard(previous);
  if (setns(fd_, CLONE_NEWNET) != 0) {
    auto failure = refuseErrno("enter the network namespace", errno);
    failure.error().code = kInvalidNamespace;
    return failure;
  }
  return guard;
}
Namespace::Guard::~Guard() {
  if (previousFd_ < 0) return;
  // Staying in the wrong namespace would change the wrong machine.
  if (setns(previousFd_, CLONE_NEWNET) != 0) _exit(1);
  close(previousFd_);
}

Outcome<void> writeSysctl(const std::string& name, const std::string& value) {
  std::string path = "/proc/sys/" + name;
  int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return refuseErrno("open " + path, errno);
  ssize_t n = write(fd, value.data(), value.size());
  int failure = errno;
  close(fd);
  if (n < 0) return refuseErrno("write " + path, failure);
  return {};
}

}  // namespace knarr::cni
