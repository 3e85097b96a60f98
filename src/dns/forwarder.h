// Forwarder: asks the host's name servers what the cluster does not know.
//
// Bounded in questions under way, in time, and against loops. Source: CoreDNS's forward and loop plugins as the stock
// configuration of clusters sets them.
#pragma once

#include <string>
#include <vector>

#include "async/async.h"
#include "dns/answer_cache.h"
#include "dns/message.h"
#include "env/env.h"

namespace knarr::dns {

struct ForwarderConfig {
  std::string resolvConf = "/etc/resolv.conf";
  std::vector<std::string> ownAddresses;  // "10.0.0.1:10053"; name servers among them are left out
  size_t underWayMax = 1000;              // max_concurrent; more are refused
  env::Duration attempt = std::chrono::seconds(2);
  env::Duration total = std::chrono::seconds(5);
};

// "IP:53" of each nameserver line, at most 15. Source: resolv.conf(5), forward's limit.
std::vector<std::string> nameserversOf(std::string_view resolvConf);

class Forwarder {
 public:
  Forwarder(env::Env environment, ForwarderConfig config) : env_(environment), config_(std::move(config)) {}
  // The answer of the first server that gives one, for the question of `query`. TooManyRequests when too many are under way,
  // Timeout when none answered, NotFound when there is no server.
  async::Task<Result<Message>> ask(Message query, bool overTcp, async::StopToken stop);
  // Whether the query is one that we are just asking: a server of ours sent it back.
  bool isLoop(const Message& query) const;

 private:
  struct UnderWay;
  const std::vector<std::string>& servers();
  async::Task<std::optional<Message>> askOne(std::string server, Message query, bool overTcp, env::Instant deadline,
                                             async::StopToken stop);
  async::Task<std::optional<Message>> overUdp(std::string server, Message query, env::Instant deadline, async::StopToken stop);
  async::Task<std::optional<Message>> overStream(std::string server, Message query, env::Instant deadline, async::StopToken stop);

  env::Env env_;
  ForwarderConfig config_;
  AnswerCache cache_;
  std::multimap<uint16_t, Question> underWay_;  // by the number we asked under
  std::vector<std::string> servers_;
  env::Instant serversRead_{};
  bool serversKnown_ = false;
};

}  // namespace knarr::dns
