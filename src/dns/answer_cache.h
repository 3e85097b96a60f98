// Answers of other servers, kept as long as they say, but neither shorter than 5 s nor longer than 30 s.
//
// Bounded in entries and bytes; the one used longest ago goes first. Source: CoreDNS's cache plugin as the stock configuration of
// clusters sets it (cache 30).
#pragma once

#include <list>
#include <map>
#include <optional>
#include <string>

#include "dns/message.h"
#include "env/env.h"

namespace knarr::dns {

class AnswerCache {
 public:
  static constexpr size_t kEntriesMax = 9984;
  static constexpr size_t kBytesMax = size_t{8} << 20;

  // What an answer depends on.
  static std::string keyOf(const Question& question, bool dnssecOk, bool checkingDisabled);
  // The answer with what is left of its times; nothing when there is none or it is too old.
  std::optional<Message> get(const std::string& key, env::Instant now);
  // Answers that say nothing about how long they hold are not kept.
  void put(const std::string& key, const Message& answer, env::Instant now);
  size_t entries() const { return byKey_.size(); }

 private:
  struct Entry {
    std::string key;
    Message answer;
    env::Instant stored, until;
    size_t bytes;
  };
  void erase(std::list<Entry>::iterator entry);
  std::list<Entry> byUse_;  // the latest first
  std::map<std::string, std::list<Entry>::iterator> byKey_;
  size_t bytes_ = 0;
};

}  // namespace knarr::dns
