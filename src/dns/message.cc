#include "dns/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace knarr::dns {
namespace {

constexpr size_t kNameBytesMax = 255;
constexpr size_t kUdpBytesLeast = 512;
// Offsets beyond this cannot be pointed at.
constexpr size_t kPointerMax = 0x3fff;

Unexpected malformed(const char* what) { return fail(Reason::Invalid, fmt::format("malformed DNS message: {}", what)); }

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  size_t position() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }
  bool skip(size_t count) {
    if (left() < count) return false;
    at_ += count;
    return true;
  }
  bool u16(uint16_t& out) {
    if (left() < 2) return false;
    out = static_cast<uint16_t>(static_cast<uint8_t>(bytes_[at_]) << 8 | static_cast<uint8_t>(bytes_[at_ + 1]));
    at_ += 2;
    return true;
  }
  bool u32(uint32_t& out) {
    uint16_t high = 0, low = 0;
    if (!u16(high) || !u16(low)) return false;
    out = static_cast<uint32_t>(high) << 16 | low;
    return true;
  }
  bool bytes(size_t count, std::string& out) {
    if (left() < count) return false;
    out.assign(bytes_.substr(at_, count));
    at_ += count;
    return true;
  }
  // Pointers must go back behind everything read of this name, so that they end.
  bool name(Name& out) {
    out.clear();
    size_t at = at_, lowest = at_;
    bool jumped = false;
    for (;;) {
      if (at >= bytes_.size()) return false;
      uint8_t size = static_cast<uint8_t>(bytes_[at]);
      if ((size & 0xc0) == 0xc0) {
        if (at + 1 >= bytes_.size()) return false;
        size_t target = static_cast<size_t>(size & 0x3f) << 8 | static_cast<uint8_t>(bytes_[at + 1]);
        if (target >= lowest) return false;
        if (!jumped) at_ = at + 2;
        jumped = true;
        at = lowest = target;
        continue;
      }
      if ((size & 0xc0) != 0 || at + 1 + size > bytes_.size() || out.size() + 1 + size > kNameBytesMax) return false;
      out.append(bytes_.substr(at, size_t{1} + size));
      at += size_t{1} + size;
      if (size == 0) break;
    }
    if (!jumped) at_ = at;
    return true;
  }

 private:
  std::string_view bytes_;
  size_t at_ = 0;
};

// How the data of types that may hold compressed names is made of: bytes before, names, bytes after. Source: RFC 3597 section 4.
struct DataShape {
  uint16_t type;
  size_t before, names, after;
};
constexpr DataShape kDataShapes[] = {{kNS, 0, 1, 0}, {kCNAME, 0, 1, 0}, {kSOA, 0, 2, 20}, {kPTR, 0, 1, 0},
                                     {14, 0, 2, 0},  {kMX, 2, 1, 0},    {17, 0, 2, 0},    {18, 2, 1, 0},
                                     {21, 2, 1, 0},  {kSRV, 6, 1, 0},   {36, 2, 1, 0},    {39, 0, 1, 0}};

bool readData(Reader& reader, uint16_t type, size_t size, std::string& out) {
  if (reader.left() < size) return false;
  size_t end = reader.position() + size;
  const DataShape* shape = nullptr;
  for (const DataShape& one : kDataShapes)
    if (one.type == type) shape = &one;
  if (!shape) return reader.bytes(size, out);
  if (size < shape->before || !reader.bytes(shape->before, out)) return false;
  for (size_t i = 0; i < shape->names; ++i) {
    Name name;
    if (!reader.name(name) || reader.position() > end) return false;
    out += name;
  }
  std::string tail;
  if (!reader.bytes(shape->after, tail) || reader.position() != end) return false;
  out += tail;
  return true;
}

// Reads `count` records; an OPT among additional ones becomes message.edns.
bool readRecords(Reader& reader, size_t count, std::vector<Record>& into, Message* optInto) {
  for (size_t i = 0; i < count; ++i) {
    Record record;
    uint16_t size = 0;
    if (!reader.name(record.name) || !reader.u16(record.type) || !reader.u16(record.klass) || !reader.u32(record.ttl) ||
        !reader.u16(size) || !readData(reader, record.type, size, record.rdata))
      return false;
    if (record.type != kOPT) {
      into.push_back(std::move(record));
      continue;
    }
    if (!optInto || optInto->edns || record.name.size() != 1) return false;
    optInto->edns = Edns{record.klass, static_cast<uint8_t>(record.ttl >> 16 & 0xff), (record.ttl & 0x8000) != 0};
    optInto->rcode = static_cast<uint16_t>(optInto->rcode | (record.ttl >> 24) << 4);
  }
  return true;
}

void put16(std::string& out, size_t value) {
  out += static_cast<char>(value >> 8 & 0xff);
  out += static_cast<char>(value & 0xff);
}
void put32(std::string& out, uint32_t value) {
  put16(out, value >> 16);
  put16(out, value & 0xffff);
}

class Writer {
 public:
  std::string bytes;

  // Ends of the name that stand already are pointed at.
  void name(const Name& name) {
    size_t at = 0;
    while (at < name.size() && name[at] != '\0') {
      std::string suffix = name.substr(at);
      if (auto known = offsets_.find(suffix); known != offsets_.end()) {
        put16(bytes, 0xc000 | known->second);
        return;
      }
      if (bytes.size() <= kPointerMax) offsets_.emplace(std::move(suffix), bytes.size());
      size_t size = size_t{1} + static_cast<uint8_t>(name[at]);
      bytes += name.substr(at, size);
      at += size;
    }
    bytes += '\0';
  }
  void record(const Record& record) {
    name(record.name);
    put16(bytes, record.type);
    put16(bytes, record.klass);
    put32(bytes, record.ttl);
    put16(bytes, record.rdata.size());
    bytes += record.rdata;
  }
  void opt(const Edns& edns, uint16_t rcode) {
    bytes += '\0';
    put16(bytes, kOPT);
    put16(bytes, edns.udpBytesMax);
    put32(bytes,
          static_cast<uint32_t>(rcode >> 4) << 24 | static_cast<uint32_t>(edns.version) << 16 | (edns.dnssecOk ? 0x8000u : 0u));
    put16(bytes, 0);
  }

 private:
  std::map<std::string, size_t> offsets_;
};

void putHeader(Writer& writer, const Message& message, bool truncated, size_t answers, size_t authority, size_t additional) {
  put16(writer.bytes, message.id);
  size_t flags = (message.response ? 0x8000u : 0u) | static_cast<size_t>(message.opcode & 0xf) << 11 |
                 (message.authoritative ? 0x400u : 0u) | (truncated ? 0x200u : 0u) | (message.recursionDesired ? 0x100u : 0u) |
                 (message.recursionAvailable ? 0x80u : 0u) | (message.authenticData ? 0x20u : 0u) |
                 (message.checkingDisabled ? 0x10u : 0u) | (message.rcode & 0xfu);
  put16(writer.bytes, flags);
  put16(writer.bytes, message.questions.size());
  put16(writer.bytes, answers);
  put16(writer.bytes, authority);
  put16(writer.bytes, additional);
}

std::string encodeCounts(const Message& message, bool truncated, size_t answers, size_t authority, size_t additional) {
  Writer writer;
  putHeader(writer, message, truncated, answers, authority, additional + (message.edns ? 1 : 0));
  for (const Question& question : message.questions) {
    writer.name(question.name);
    put16(writer.bytes, question.type);
    put16(writer.bytes, question.klass);
  }
  for (size_t i = 0; i < answers; ++i) writer.record(message.answers[i]);
  for (size_t i = 0; i < authority; ++i) writer.record(message.authority[i]);
  for (size_t i = 0; i < additional; ++i) writer.record(message.additional[i]);
  if (message.edns) writer.opt(*message.edns, message.rcode);
  return std::move(writer.bytes);
}

}  // namespace

Result<Message> parseMessage(std::string_view bytes) {
  if (bytes.size() > kMessageBytesMax) return malformed("too long");
  Reader reader(bytes);
  Message out;
  uint16_t flags = 0, counts[4];
  if (!reader.u16(out.id) || !reader.u16(flags)) return malformed("no header");
  for (uint16_t& count : counts)
    if (!reader.u16(count)) return malformed("no header");
  out.response = (flags & 0x8000) != 0;
  out.opcode = flags >> 11 & 0xf;
  out.authoritative = (flags & 0x400) != 0;
  out.truncated = (flags & 0x200) != 0;
  out.recursionDesired = (flags & 0x100) != 0;
  out.recursionAvailable = (flags & 0x80) != 0;
  out.authenticData = (flags & 0x20) != 0;
  out.checkingDisabled = (flags & 0x10) != 0;
  out.rcode = flags & 0xf;
  for (size_t i = 0; i < counts[0]; ++i) {
    Question question;
    if (!reader.name(question.name) || !reader.u16(question.type) || !reader.u16(question.klass)) return malformed("a question");
    out.questions.push_back(std::move(question));
  }
  if (!readRecords(reader, counts[1], out.answers, nullptr) || !readRecords(reader, counts[2], out.authority, nullptr) ||
      !readRecords(reader, counts[3], out.additional, &out))
    return malformed("a record");
  return out;
}

std::string encodeMessage(const Message& message, size_t bytesMax) {
  size_t limit = std::clamp(bytesMax, kUdpBytesLeast, kMessageBytesMax);
  size_t answers = message.answers.size(), authority = message.authority.size(), additional = message.additional.size();
  std::string out = encodeCounts(message, message.truncated, answers, authority, additional);
  if (out.size() <= limit) return out;
  out = encodeCounts(message, message.truncated, answers, authority, 0);
  if (out.size() <= limit) return out;
  // The most answers that fit.
  size_t low = 0, high = answers;
  while (low < high) {
    size_t middle = (low + high + 1) / 2;
    if (encodeCounts(message, true, middle, 0, 0).size() <= limit)
      low = middle;
    else
      high = middle - 1;
  }
  return encodeCounts(message, true, low, 0, 0);
}

std::string addressData(const IpAddress& ip) {
  std::string out;
  for (int shift = ip.bits() - 8; shift >= 0; shift -= 8) out += static_cast<char>(ip.value >> shift & 0xff);
  return out;
}

std::string srvData(uint16_t priority, uint16_t weight, uint16_t port, const Name& target) {
  std::string out;
  for (uint16_t value : {priority, weight, port}) put16(out, value);
  return out + target;
}

std::string txtData(std::string_view text) {
  std::string out;
  do {
    std::string_view piece = text.substr(0, 255);
    out += static_cast<char>(piece.size());
    out += piece;
    text.remove_prefix(piece.size());
  } while (!text.empty());
  return out;
}

std::string soaData(const Soa& soa) {
  std::string out = soa.primary + soa.mailbox;
  for (uint32_t value : {soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum}) put32(out, value);
  return out;
}

uint32_t soaMinimum(std::string_view data) {
  if (data.size() < 4) return 0;
  uint32_t out = 0;
  for (char c : data.substr(data.size() - 4)) out = out << 8 | static_cast<uint8_t>(c);
  return out;
}

}  // namespace knarr::dns
