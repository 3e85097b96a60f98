// The kernel's connection table over netlink. Source: linux/netfilter/nfnetlink_conntrack.h, netlink(7).
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>

#include "kube_proxy/conntrack.h"

namespace knarr::kube_proxy {
namespace {

constexpr size_t kReceiveBytes = 1 << 16;
// A table that changes under the dump may interrupt it; then what was seen is used. Source: pkg/proxy/conntrack, EINTR handling.
constexpr int kInterruptsMax = 3;

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

using Attributes = std::map<int, std::string_view>;

// Attributes of a message or of a nest. Malformed lengths end the walk.
Attributes attributesOf(std::string_view bytes) {
  Attributes out;
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.nla_len < sizeof(header) || header.nla_len > bytes.size()) break;
    out[header.nla_type & NLA_TYPE_MASK] = bytes.substr(sizeof(header), header.nla_len - sizeof(header));
    bytes.remove_prefix(std::min<size_t>(NLA_ALIGN(header.nla_len), bytes.size()));
  }
  return out;
}

std::string_view attribute(const Attributes& from, int type) {
  auto found = from.find(type);
  return found == from.end() ? std::string_view() : found->second;
}

std::optional<IpAddress> addressFrom(std::string_view bytes, bool v6) {
  if (bytes.size() != (v6 ? 16u : 4u)) return std::nullopt;
  IpAddress out;
  out.v6 = v6;
  for (char c : bytes) out.value = out.value << 8 | static_cast<uint8_t>(c);
  return out;
}

int portFrom(std::string_view bytes) {
  return bytes.size() == 2 ? static_cast<uint8_t>(bytes[0]) << 8 | static_cast<uint8_t>(bytes[1]) : 0;
}

// The flow of a message, when it is UDP.
std::optional<UdpFlow> flowFrom(const Attributes& message, bool v6) {
  Attributes original = attributesOf(attribute(message, CTA_TUPLE_ORIG)),
             reply = attributesOf(attribute(message, CTA_TUPLE_REPLY));
  Attributes originalPorts = attributesOf(attribute(original, CTA_TUPLE_PROTO)),
             replyPorts = attributesOf(attribute(reply, CTA_TUPLE_PROTO));
  std::string_view protocol = attribute(originalPorts, CTA_PROTO_NUM);
  if (protocol.size() != 1 || protocol[0] != IPPROTO_UDP) return std::nullopt;
  auto to = addressFrom(attribute(attributesOf(attribute(original, CTA_TUPLE_IP)), v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST), v6);
  auto from = addressFrom(attribute(attributesOf(attribute(reply, CTA_TUPLE_IP)), v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC), v6);
  if (!to || !from) return std::nullopt;
  return UdpFlow{*to, portFrom(attribute(originalPorts, CTA_PROTO_DST_PORT)), *from,
                 portFrom(attribute(replyPorts, CTA_PROTO_SRC_PORT))};
}

std::string messageOf(int type, int flags, bool v6, uint32_t sequence, std::string_view attributes) {
  nlmsghdr header{};
  nfgenmsg family{};
  header.nlmsg_len = static_cast<uint32_t>(sizeof(header) + sizeof(family) + attributes.size());
  header.nlmsg_type = static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type);
  header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  header.nlmsg_seq = sequence;
  family.nfgen_family = v6 ? AF_INET6 : AF_INET;
  family.version = NFNETLINK_V0;
  std::string out(reinterpret_cast<const char*>(&header), sizeof(header));
  out.append(reinterpret_cast<const char*>(&family), sizeof(family));
  return out.append(attributes);
}

std::string attributeText(int type, std::string_view payload) {
  nlattr header{static_cast<uint16_t>(sizeof(nlattr) + payload.size()), static_cast<uint16_t>(type)};
  std::string out(reinterpret_cast<const char*>(&header), sizeof(header));
  out.append(payload);
  out.resize(NLA_ALIGN(out.size()), '\0');
  return out;
}

class ConnectionTable {
 public:
  static Result<ConnectionTable> open() {
    ConnectionTable table;
    table.socket_ = std::make_unique<Descriptor>();
    table.socket_->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (table.socket_->fd < 0) return failErrno("opening the connection table", errno);
    // A kernel that does not answer must not hold a thread for ever.
    timeval patience{5, 0};
    if (setsockopt(table.socket_->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0)
      return failErrno("opening the connection table", errno);
    return table;
  }

  // The attributes that name each stale flow for its deletion. `interrupted` when the table changed too much under us.
  Result<std::vector<std::string>> findStale(bool v6, const std::function<bool(const UdpFlow&)>& isStale, bool& interrupted) {
    TRY(send(messageOf(IPCTNL_MSG_CT_GET, NLM_F_DUMP, v6, ++sequence_, "")));
    std::vector<std::string> out;
    for (;;) {
      std::string_view received = TRY(receive());
      for (nlmsghdr header; received.size() >= sizeof(header);) {
        std::memcpy(&header, received.data(), sizeof(header));
        if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > received.size()) return out;
        std::string_view message = received.substr(0, header.nlmsg_len);
        received.remove_prefix(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), received.size()));
        if (header.nlmsg_flags & NLM_F_DUMP_INTR) interrupted = true;
        if (header.nlmsg_type == NLMSG_DONE) return out;
        if (header.nlmsg_type == NLMSG_ERROR) {
          int error = errorOf(message);
          if (error == EINTR) interrupted = true;
          if (error == 0 || error == EINTR) return out;
          return failErrno("listing connections", error);
        }
        if (message.size() < sizeof(header) + sizeof(nfgenmsg)) continue;
        Attributes attributes = attributesOf(message.substr(sizeof(header) + sizeof(nfgenmsg)));
        auto flow = flowFrom(attributes, v6);
        if (!flow || !isStale(*flow)) continue;
        std::string name = attributeText(CTA_TUPLE_ORIG | NLA_F_NESTED, attribute(attributes, CTA_TUPLE_ORIG));
        for (int type : {CTA_ID, CTA_ZONE})
          if (auto value = attribute(attributes, type); !value.empty()) name += attributeText(type, value);
        out.push_back(std::move(name));
      }
    }
  }

  // False when the flow ended by itself before.
  Result<bool> remove(bool v6, std::string_view name) {
    TRY(send(messageOf(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, v6, ++sequence_, name)));
    std::string_view answer = TRY(receive());
    nlmsghdr header;
    if (answer.size() < sizeof(header)) return fail(Reason::InternalError, "a short answer of the connection table");
    std::memcpy(&header, answer.data(), sizeof(header));
    int error = header.nlmsg_type == NLMSG_ERROR ? errorOf(answer) : 0;
    if (error == ENOENT) return false;
    if (error != 0) return failErrno("deleting a connection", error);
    return true;
  }

 private:
  static int errorOf(std::string_view message) {
    nlmsgerr error;
    if (message.size() < sizeof(nlmsghdr) + sizeof(error)) return EPROTO;
    std::memcpy(&error, message.data() + sizeof(nlmsghdr), sizeof(error));
    return -error.error;
  }
  Result<void> send(const std::string& message) {
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    ssize_t sent = sendto(socket_->fd, message.data(), message.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof(kernel));
    if (sent < 0) return failErrno("asking the connection table", errno);
    return {};
  }
  Result<std::string_view> receive() {
    buffer_.resize(kReceiveBytes);
    ssize_t got;
    do got = recv(socket_->fd, buffer_.data(), buffer_.size(), 0);
    while (got < 0 && errno == EINTR);
    if (got < 0) return failErrno("reading the connection table", errno);
    return std::string_view(buffer_.data(), static_cast<size_t>(got));
  }

  std::unique_ptr<Descriptor> socket_;
  std::string buffer_;
  uint32_t sequence_ = 0;
};

Result<int> forgetHere(bool v6, const std::function<bool(const UdpFlow&)>& isStale) {
  std::vector<std::string> stale;
  for (int attempt = 0; attempt <= kInterruptsMax; ++attempt) {
    ConnectionTable table = TRY(ConnectionTable::open());
    bool interrupted = false;
    stale = TRY(table.findStale(v6, isStale, interrupted));
    if (!interrupted) break;
  }
  ConnectionTable table = TRY(ConnectionTable::open());
  int removed = 0;
  for (const std::string& name : stale) removed += TRY(table.remove(v6, name)) ? 1 : 0;
  return removed;
}

}  // namespace

Result<int> forgetUdpFlowsInKernel(bool v6, const std::string& networkNamespacePath,
                                   const std::function<bool(const UdpFlow&)>& isStale) {
  if (networkNamespacePath.empty()) return forgetHere(v6, isStale);
  // A thread of its own goes into the other namespace and ends there.
  Result<int> result = fail(Reason::InternalError, "not run");
  std::thread([&] {
    Descriptor target{::open(networkNamespacePath.c_str(), O_RDONLY | O_CLOEXEC)};
    if (target.fd < 0 || setns(target.fd, CLONE_NEWNET) != 0)
      result = failErrno("entering " + networkNamespacePath, errno);
    else
      result = forgetHere(v6, isStale);
  }).join();
  return result;
}

}  // namespace knarr::kube_proxy
