// Resolver: from one query to one answer, with nothing of sockets.
#pragma once

#include "async/async.h"
#include "dns/cluster_zone.h"
#include "dns/forwarder.h"
#include "dns/message.h"

namespace knarr::dns {

// An answer that says only how it went.
Message answerWith(const Message& query, uint16_t rcode);
// What can be said of the query before looking at its name; nothing when its name decides. Source: RFC 1035, RFC 6891.
std::optional<Message> refuseByForm(const Message& query);

class Resolver {
 public:
  Resolver(env::Env environment, ZoneConfig zone, const ClusterView& view, ForwarderConfig forward)
      : env_(environment), zone_(std::move(zone)), view_(view), forwarder_(environment, std::move(forward)) {}
  // The answer, when the cluster alone gives it. `synced` false: names of the cluster are not known yet.
  std::optional<Message> answerNow(const Message& query, bool synced);
  // The answer to a query for which answerNow gave none.
  async::Task<Message> answerLater(Message query, bool overTcp, async::StopToken stop);

 private:
  Message fromZone(const Message& query, ZoneAnswer answer);
  void shuffle(std::vector<Record>& records);

  env::Env env_;
  ZoneConfig zone_;
  const ClusterView& view_;
  Forwarder forwarder_;
};

}  // namespace knarr::dns
