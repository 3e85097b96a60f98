// DNS messages: from bytes and to bytes. Every input is hostile: sizes, counts and pointers are bounded.
//
// Source: RFC 1035 section 4, RFC 6891 (EDNS), RFC 3597 (unknown types), RFC 2782 (SRV), RFC 3596 (AAAA).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace knarr::dns {

// A domain name in wire form without compression: length-prefixed labels and a zero. At most 255 bytes.
using Name = std::string;

// "web.default.svc.cluster.local." or without the last dot; "." and "" are the root. Invalid when a label is empty or longer than
// 63 bytes or the name longer than 255. No escapes.
Result<Name> nameFromText(std::string_view text);
// With a dot at the end; bytes that are no letters, digits, '-' or '_' as \DDD.
std::string textOf(const Name& name);
// The labels, leftmost first.
std::vector<std::string_view> labelsOf(const Name& name);
Name nameOf(const std::vector<std::string_view>& labels);
// ASCII capitals as small letters.
Name foldCase(Name name);
// Whether the name is `zone` or below it, without regard to case.
bool isBelow(const Name& name, const Name& zone);
// The name of an address in in-addr.arpa or ip6.arpa.
Name reverseName(const IpAddress& ip);
// The address that a complete reverse name stands for.
std::optional<IpAddress> addressOfReverseName(const Name& name);

enum Type : uint16_t {
  kA = 1,
  kNS = 2,
  kCNAME = 5,
  kSOA = 6,
  kPTR = 12,
  kMX = 15,
  kTXT = 16,
  kAAAA = 28,
  kSRV = 33,
  kOPT = 41,
  kIXFR = 251,
  kAXFR = 252,
  kANY = 255
};
inline constexpr uint16_t kClassIn = 1;

enum Rcode : uint16_t { kNoError = 0, kFormErr = 1, kServFail = 2, kNxDomain = 3, kNotImp = 4, kRefused = 5, kBadVers = 16 };

struct Question {
  Name name;
  uint16_t type = 0;
  uint16_t klass = kClassIn;
};

struct Record {
  Name name;
  uint16_t type = 0;
  uint16_t klass = kClassIn;
  uint32_t ttl = 0;   // seconds
  std::string rdata;  // names inside are not compressed
};

struct Edns {
  uint16_t udpBytesMax = 512;
  uint8_t version = 0;
  bool dnssecOk = false;
};

struct Message {
  uint16_t id = 0;
  bool response = false;
  uint8_t opcode = 0;
  bool authoritative = false;
  bool truncated = false;
  bool recursionDesired = false;
  bool recursionAvailable = false;
  bool authenticData = false;
  bool checkingDisabled = false;
  uint16_t rcode = kNoError;  // with the upper bits that EDNS carries
  std::vector<Question> questions;
  std::vector<Record> answers, authority, additional;  // without OPT
  std::optional<Edns> edns;
};

inline constexpr size_t kMessageBytesMax = 65535;

// Invalid for anything malformed: short, pointers that do not go back, names too long, counts that the bytes do not hold, two
// OPTs.
Result<Message> parseMessage(std::string_view bytes);
// At most bytesMax bytes (at least 512): when the records do not fit, additional ones go first, then authority, then answers from
// the end, and the message says that it is truncated.
std::string encodeMessage(const Message& message, size_t bytesMax);

// Data of records.
std::string addressData(const IpAddress& ip);
std::string srvData(uint16_t priority, uint16_t weight, uint16_t port, const Name& target);
std::string txtData(std::string_view text);
struct Soa {
  Name primary, mailbox;
  uint32_t serial = 0, refresh = 0, retry = 0, expire = 0, minimum = 0;
};
std::string soaData(const Soa& soa);
// The last 32 bits of SOA data, how long a negative answer may be kept. 0 when malformed.
uint32_t soaMinimum(std::string_view data);

}  // namespace knarr::dns
