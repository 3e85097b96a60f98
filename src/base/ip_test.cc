#include "base/ip.h"

#include <gtest/gtest.h>

namespace knarr {
namespace {

TEST(IpAddress, readsAndWrites) {
  for (const char* text : {"0.0.0.0", "10.96.0.10", "255.255.255.255", "::", "::1", "fd00::a:1", "2001:db8:0:1::"}) {
    auto address = IpAddress::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->text(), text);
  }
  EXPECT_EQ(IpAddress::parse("2001:DB8:0:0:0:0:0:1")->text(), "2001:db8::1");
}

TEST(IpAddress, refuses) {
  for (const char* text :
       {"", "10.0.0", "10.0.0.256", "10.0.0.1 ", "010.0.0.1", "::1::", "1:2:3:4:5:6:7:8:9", "a.b.c.d", "10.0.0.1/8"})
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  EXPECT_FALSE(IpAddress::parse(std::string(100, '1')));
}

TEST(IpAddress, ordersFamiliesThenNumbers) {
  EXPECT_LT(*IpAddress::parse("9.0.0.0"), *IpAddress::parse("10.0.0.0"));
  EXPECT_LT(*IpAddress::parse("255.0.0.0"), *IpAddress::parse("::1"));
}

TEST(IpPrefix, clearsHostBits) {
  EXPECT_EQ(IpPrefix::parse("10.1.2.3/8")->text(), "10.0.0.0/8");
  EXPECT_EQ(IpPrefix::parse("10.1.2.3/32")->text(), "10.1.2.3/32");
  EXPECT_EQ(IpPrefix::parse("10.1.2.3/0")->text(), "0.0.0.0/0");
  EXPECT_EQ(IpPrefix::parse("fd00::1/64")->text(), "fd00::/64");
  for (const char* text : {"", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "fd00::/129", "/8"})
    EXPECT_FALSE(IpPrefix::parse(text)) << text;
}

TEST(IpPrefix, contains) {
  IpPrefix ten = *IpPrefix::parse("10.0.0.0/8"), part = *IpPrefix::parse("10.4.0.0/16"), all = *IpPrefix::parse("0.0.0.0/0");
  EXPECT_TRUE(ten.contains(*IpAddress::parse("10.255.255.255")));
  EXPECT_FALSE(ten.contains(*IpAddress::parse("11.0.0.0")));
  EXPECT_FALSE(all.contains(*IpAddress::parse("::1")));
  EXPECT_TRUE(all.contains(ten));
  EXPECT_TRUE(ten.contains(part));
  EXPECT_FALSE(part.contains(ten));
  EXPECT_TRUE(part.overlaps(ten));
  EXPECT_FALSE(part.overlaps(*IpPrefix::parse("10.5.0.0/16")));
}

}  // namespace
}  // namespace knarr
