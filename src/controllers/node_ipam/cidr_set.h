// CidrSet: equal parts of a cluster's address range, given out one by one. Plain data, no I/O.
//
// Upstream counterpart: pkg/controller/nodeipam/ipam/cidrset.
#pragma once

#include <cstddef>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace knarr::controllers {

class CidrSet {
 public:
  // Parts of `nodeMask` bits. Invalid when the mask is shorter than the range's or leaves more than 2^16 parts of an IPv6 range
  // (2^24 of an IPv4 range).
  static Result<CidrSet> make(const IpPrefix& cluster, int nodeMask);

  const IpPrefix& range() const { return cluster_; }
  size_t partsMax() const { return used_.size(); }
  size_t partsUsed() const { return usedCount_; }
  // The next free part after the one given last, wrapping around. NotFound when all are used.
  Result<IpPrefix> allocateNext();
  // Marks every part that the prefix touches. Invalid when it lies outside the range. Marking twice counts once.
  Result<void> occupy(const IpPrefix& prefix) { return mark(prefix, true); }
  Result<void> release(const IpPrefix& prefix) { return mark(prefix, false); }

 private:
  CidrSet(const IpPrefix& cluster, int nodeMask, size_t parts) : cluster_(cluster), nodeMask_(nodeMask), used_(parts, false) {}
  Result<void> mark(const IpPrefix& prefix, bool used);

  IpPrefix cluster_;
  int nodeMask_;
  std::vector<bool> used_;
  size_t usedCount_ = 0;
  size_t next_ = 0;
};

}  // namespace knarr::controllers
