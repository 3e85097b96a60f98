#include "controllers/node_ipam/cidr_set.h"

#include <fmt/format.h>

namespace knarr::controllers {
namespace {
// Source: cidr_set.go, clusterSubnetMaxDiff, for IPv6; an IPv4 range of /8 in parts of /32 bounds the other.
constexpr int kBitsMaxV6 = 16;
constexpr int kBitsMaxV4 = 24;
}  // namespace

Result<CidrSet> CidrSet::make(const IpPrefix& cluster, int nodeMask) {
  int bits = nodeMask - cluster.length;
  if (bits < 0 || nodeMask > cluster.address.bits())
    return fail(Reason::Invalid, fmt::format("the node mask /{} does not fit the cluster range {}", nodeMask, cluster.text()));
  if (bits > (cluster.address.v6 ? kBitsMaxV6 : kBitsMaxV4))
    return fail(Reason::Invalid, "new CIDR set failed; the node CIDR size is too big");
  return CidrSet(cluster, nodeMask, size_t{1} << bits);
}

Result<IpPrefix> CidrSet::allocateNext() {
  if (usedCount_ == used_.size())
    return fail(Reason::NotFound, "CIDR allocation failed; there are no remaining CIDRs left to allocate in the accepted range");
  while (used_[next_]) next_ = (next_ + 1) % used_.size();
  size_t index = next_;
  used_[index] = true;
  ++usedCount_;
  next_ = (next_ + 1) % used_.size();
  IpPrefix part{cluster_.address, nodeMask_};
  part.address.value += static_cast<unsigned __int128>(index) << (part.address.bits() - nodeMask_);
  return part;
}

Result<void> CidrSet::mark(const IpPrefix& prefix, bool used) {
  if (!cluster_.overlaps(prefix))
    return fail(Reason::Invalid, fmt::format("cidr {} is out the range of cluster cidr {}", prefix.text(), cluster_.text()));
  size_t first = 0, last = used_.size() - 1;
  if (cluster_.length < prefix.length) {
    int shift = cluster_.address.bits() - nodeMask_;
    first = static_cast<size_t>((prefix.address.value - cluster_.address.value) >> shift);
    last = first;
    if (prefix.length < nodeMask_) last = first + (size_t{1} << (nodeMask_ - prefix.length)) - 1;
  }
  for (size_t i = first; i <= last; ++i) {
    if (used_[i] == used) continue;
    used_[i] = used;
    usedCount_ = used ? usedCount_ + 1 : usedCount_ - 1;
  }
  return {};
}

}  // namespace knarr::controllers
