// Names and messages, both ways, and what is refused.
#include "dns/message.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace knarr::dns {
namespace {

Name name(std::string_view text) { return *nameFromText(text); }
std::string bytes(std::initializer_list<int> list) {
  std::string out;
  for (int value : list) out += static_cast<char>(value);
  return out;
}

TEST(Name, textAndBack) {
  for (const char* text : {".", "a.", "web.default.svc.cluster.local.", "_http._tcp.x."}) EXPECT_EQ(textOf(name(text)), text);
  EXPECT_EQ(textOf(name("a.b")), "a.b.");
  EXPECT_EQ(name(""), std::string(1, '\0'));
  for (const std::string& text : {std::string("a..b"), std::string(".a"), std::string(64, 'x'), std::string("..")})
    EXPECT_FALSE(nameFromText(text)) << text;
  std::string most;
  for (int i = 0; i < 127; ++i) most += "a.";
  EXPECT_TRUE(nameFromText(most));
  EXPECT_FALSE(nameFromText(most + "a."));
}

TEST(Name, belowWithoutRegardToCase) {
  EXPECT_TRUE(isBelow(name("Web.Default.SVC.cluster.LOCAL"), name("cluster.local")));
  EXPECT_TRUE(isBelow(name("cluster.local"), name("cluster.local")));
  EXPECT_FALSE(isBelow(name("xcluster.local"), name("cluster.local")));
  EXPECT_FALSE(isBelow(name("local"), name("cluster.local")));
}

TEST(Name, reverse) {
  for (const char* text : {"10.96.0.10", "0.0.0.0", "fd00::1:ab"}) {
    IpAddress ip = *IpAddress::parse(text);
    EXPECT_EQ(addressOfReverseName(reverseName(ip)), ip);
  }
  EXPECT_EQ(textOf(reverseName(*IpAddress::parse("10.96.0.1"))), "1.0.96.10.in-addr.arpa.");
  for (const char* text :
       {"0.96.10.in-addr.arpa", "256.0.0.1.in-addr.arpa", "01.0.0.1.in-addr.arpa", "x.0.0.1.in-addr.arpa", "1.0.0.1.example.com"})
    EXPECT_FALSE(addressOfReverseName(name(text))) << text;
}

Message sample() {
  Message out;
  out.id = 0x1234;
  out.response = out.authoritative = out.recursionDesired = true;
  out.questions.push_back({name("web.default.svc.cluster.local"), kA, kClassIn});
  for (int i = 1; i <= 3; ++i)
    out.answers.push_back(
        {name("web.default.svc.cluster.local"), kA, kClassIn, 30, addressData(*IpAddress::parse(fmt::format("10.0.0.{}", i)))});
  out.answers.push_back({name("x.cluster.local"), kSRV, kClassIn, 5, srvData(0, 50, 80, name("web.default.svc.cluster.local"))});
  out.authority.push_back({name("cluster.local"), kSOA, kClassIn, 30,
                           soaData({name("ns.dns.cluster.local"), name("hostmaster.cluster.local"), 7, 1, 2, 3, 30})});
  out.additional.push_back({name("t.cluster.local"), kTXT, kClassIn, 1, txtData("1.1.0")});
  out.edns = Edns{1232, 0, true};
  return out;
}

bool same(const std::vector<Record>& a, const std::vector<Record>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i].name != b[i].name || a[i].type != b[i].type || a[i].klass != b[i].klass || a[i].ttl != b[i].ttl ||
        a[i].rdata != b[i].rdata)
      return false;
  return true;
}

TEST(Message, roundTrip) {
  Message out = sample();
  std::string encoded = encodeMessage(out, kMessageBytesMax);
  auto again = parseMessage(encoded);
  ASSERT_TRUE(again) << again.error().describe();
  EXPECT_EQ(again->id, out.id);
  EXPECT_TRUE(again->response && again->authoritative && again->recursionDesired);
  EXPECT_FALSE(again->truncated || again->recursionAvailable);
  EXPECT_EQ(again->questions[0].name, out.questions[0].name);
  EXPECT_TRUE(same(again->answers, out.answers) && same(again->authority, out.authority) &&
              same(again->additional, out.additional));
  ASSERT_TRUE(again->edns);
  EXPECT_TRUE(again->edns->dnssecOk);
  EXPECT_EQ(again->edns->udpBytesMax, 1232);
  // The owner of the second answer is a pointer to the question.
  EXPECT_NE(encoded.find(bytes({0xc0, 0x0c})), std::string::npos);
}

// A message as other servers write it: a CNAME whose data is a pointer.
TEST(Message, readsCompressedData) {
  std::string message = bytes({0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}) + name("a.example.com") + bytes({0, 5, 0, 1}) +
                        bytes({0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, 'b', 0xc0, 14});
  auto parsed = parseMessage(message);
  ASSERT_TRUE(parsed) << parsed.error().describe();
  EXPECT_EQ(textOf(parsed->answers[0].name), "a.example.com.");
  EXPECT_EQ(textOf(parsed->answers[0].rdata), "b.example.com.");
}

TEST(Message, refusesWhatIsMalformed) {
  std::string good = encodeMessage(sample(), kMessageBytesMax);
  for (size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(parseMessage(good.substr(0, size))) << size;
  std::string header = bytes({0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0});
  for (const std::string& question : {bytes({0xc0, 12, 0, 1, 0, 1}),      // a pointer to itself
                                      bytes({0xc0, 14, 0xc0, 12, 0, 1}),  // forward
                                      bytes({0x40, 0, 0, 1, 0, 1}),       // a reserved kind of label
                                      bytes({3, 'a', 'b'})})
    EXPECT_FALSE(parseMessage(header + question));
  // A name that grows by pointers beyond 255 bytes.
  std::string label = bytes({63}) + std::string(63, 'x');
  EXPECT_FALSE(parseMessage(header + label + label + label + label + bytes({0, 0, 1, 0, 1})));
}

TEST(Message, truncation) {
  Message out = sample();
  out.answers.clear();
  for (int i = 0; i < 100; ++i)
    out.answers.push_back(
        {name("web.default.svc.cluster.local"), kA, kClassIn, 30, addressData(*IpAddress::parse(fmt::format("10.0.1.{}", i)))});
  std::string small = encodeMessage(out, 512);
  EXPECT_LE(small.size(), 512u);
  auto parsed = parseMessage(small);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->truncated);
  EXPECT_GT(parsed->answers.size(), 20u);
  EXPECT_TRUE(parsed->edns);
  EXPECT_LE(encodeMessage(out, 1232).size(), 1232u);
  EXPECT_FALSE(parseMessage(encodeMessage(out, 4096))->truncated);
  // Additional records may be missing without a word.
  out.answers.resize(25);
  for (int i = 0; i < 40; ++i) out.additional.push_back(out.answers[0]);
  parsed = parseMessage(encodeMessage(out, 600));
  EXPECT_FALSE(parsed->truncated);
  EXPECT_EQ(parsed->answers.size(), 25u);
}

TEST(Message, upperRcodeBits) {
  Message out = sample();
  out.rcode = kBadVers;
  EXPECT_EQ(parseMessage(encodeMessage(out, 4096))->rcode, kBadVers);
}

}  // namespace
}  // namespace knarr::dns
