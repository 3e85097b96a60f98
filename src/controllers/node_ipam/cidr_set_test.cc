#include "controllers/node_ipam/cidr_set.h"

#include <gtest/gtest.h>

#include <set>

#include "controllers/node_ipam/node_ipam.h"

namespace knarr::controllers {
namespace {

IpPrefix prefix(const char* text) { return *IpPrefix::parse(text); }

TEST(CidrSet, givesInTurnAndWrapsAround) {
  CidrSet set = *CidrSet::make(prefix("10.244.0.0/22"), 24);
  EXPECT_EQ(set.partsMax(), 4u);
  for (const char* want : {"10.244.0.0/24", "10.244.1.0/24"}) EXPECT_EQ(set.allocateNext()->text(), want);
  ASSERT_TRUE(set.release(prefix("10.244.0.0/24")));
  for (const char* want : {"10.244.2.0/24", "10.244.3.0/24", "10.244.0.0/24"}) EXPECT_EQ(set.allocateNext()->text(), want);
  auto none = set.allocateNext();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().reason(), Reason::NotFound);
}

TEST(CidrSet, occupiesWhatAPrefixTouches) {
  CidrSet set = *CidrSet::make(prefix("10.244.0.0/16"), 24);
  ASSERT_TRUE(set.occupy(prefix("10.244.2.0/23")));
  EXPECT_EQ(set.partsUsed(), 2u);
  ASSERT_TRUE(set.occupy(prefix("10.244.2.128/25")));
  EXPECT_EQ(set.partsUsed(), 2u) << "marking twice counts once";
  ASSERT_TRUE(set.release(prefix("10.244.2.0/24")));
  EXPECT_EQ(set.partsUsed(), 1u);
  ASSERT_TRUE(set.occupy(prefix("10.0.0.0/8")));
  EXPECT_EQ(set.partsUsed(), 256u);
  EXPECT_FALSE(set.occupy(prefix("10.245.0.0/24")));
  EXPECT_FALSE(set.occupy(prefix("fd00::/64")));
}

TEST(CidrSet, both_families_and_bounds) {
  CidrSet six = *CidrSet::make(prefix("fd00:1::/56"), 64);
  EXPECT_EQ(six.allocateNext()->text(), "fd00:1::/64");
  EXPECT_EQ(six.allocateNext()->text(), "fd00:1:0:1::/64");
  EXPECT_TRUE(CidrSet::make(prefix("10.0.0.0/24"), 24));
  EXPECT_FALSE(CidrSet::make(prefix("10.0.0.0/24"), 23));
  EXPECT_FALSE(CidrSet::make(prefix("10.0.0.0/24"), 33));
  EXPECT_FALSE(CidrSet::make(prefix("fd00::/40"), 64));
}

// Random steps: no part is given to two at once, and all come back.
TEST(CidrSet, neverGivesTwice) {
  CidrSet set = *CidrSet::make(prefix("10.244.0.0/19"), 24);
  std::vector<IpPrefix> given;
  uint32_t chance = 7;
  for (int step = 0; step < 20000; ++step) {
    chance = chance * 1664525 + 1013904223;
    if (chance >> 31 && !given.empty()) {
      size_t which = chance % given.size();
      ASSERT_TRUE(set.release(given[which]));
      given.erase(given.begin() + static_cast<std::ptrdiff_t>(which));
    } else if (auto part = set.allocateNext()) {
      for (const IpPrefix& other : given) ASSERT_FALSE(other.overlaps(*part));
      given.push_back(*part);
    } else {
      ASSERT_EQ(given.size(), set.partsMax());
    }
    ASSERT_EQ(set.partsUsed(), given.size());
  }
}

TEST(NodeIpamConfig, takesOneRangeOfEachFamily) {
  EXPECT_FALSE(validateNodeIpam({}));
  EXPECT_TRUE(validateNodeIpam({.clusterCidrs = {prefix("10.0.0.0/8")}, .serviceCidrs = {}}));
  EXPECT_TRUE(validateNodeIpam({.clusterCidrs = {prefix("10.0.0.0/8"), prefix("fd00::/56")}, .serviceCidrs = {}}));
  EXPECT_FALSE(validateNodeIpam({.clusterCidrs = {prefix("10.0.0.0/8"), prefix("11.0.0.0/8")}, .serviceCidrs = {}}));
}

}  // namespace
}  // namespace knarr::controllers
