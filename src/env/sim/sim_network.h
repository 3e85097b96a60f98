// The simulated network: hosts with addresses, streams and datagrams with delays and faults.
#pragma once

#include <map>
#include <set>

#include "env/env.h"
#include "env/sim/scheduler.h"

namespace knarr::env::sim {

class SimListener;
class SimDatagramSocket;
struct Connection;

// What all hosts share.
class Fabric {
 public:
  Fabric(Scheduler& scheduler, SimRandom& random, const SimFaults& faults)
      : scheduler_(scheduler), random_(random), faults_(faults) {}
  Scheduler& scheduler() { return scheduler_; }
  SimRandom& random() { return random_; }
  const SimFaults& faults() const { return faults_; }
  Duration delay() { return random_.between(faults_.networkDelayMin, faults_.networkDelayMax); }

  void setPartition(std::string a, std::string b, bool on);
  bool partitioned(const std::string& a, const std::string& b) const;

  // The host that owns an address; local addresses belong to `from`. "" when nobody does.
  std::string hostOf(std::string_view ip, const std::string& from) const;
  std::map<std::string, std::string, std::less<>> hostByIp;
  std::map<std::string, std::vector<std::string>, std::less<>> names;

  // Keys: host name and the address as bound, "0.0.0.0:80" for wildcards.
  std::map<std::pair<std::string, std::string>, SimListener*> listeners;
  std::map<std::pair<std::string, std::string>, SimDatagramSocket*> datagramSockets;
  // Connections that have not ended, by number, for crashes.
  std::map<uint64_t, std::weak_ptr<Connection>> connections;
  uint64_t lastConnection = 0;

  SimListener* findListener(const std::string& host, const std::string& address) const;

 private:
  Scheduler& scheduler_;
  SimRandom& random_;
  const SimFaults& faults_;
  std::set<std::pair<std::string, std::string>> partitions_;
};

class SimNetwork final : public Network {
 public:
  SimNetwork(Fabric& fabric, std::string host, std::string ip) : fabric_(fabric), host_(std::move(host)), ip_(std::move(ip)) {}
  Result<std::unique_ptr<Listener>> listen(std::string_view address,
                                           std::move_only_function<void(std::unique_ptr<Stream>)> accept) override;
  void connect(std::string_view address, Duration timeout,
               std::move_only_function<void(Result<std::unique_ptr<Stream>>)> connected) override;
  Result<std::unique_ptr<DatagramSocket>> bindDatagram(std::string_view address) override;
  void resolve(std::string_view host, std::move_only_function<void(Result<std::vector<std::string>>)> resolved) override;
  // Connections are reset, listeners and datagram sockets stop receiving.
  void crash();

 private:
  Result<std::string> bindAddress(std::string_view address, bool datagram);
  void attempt(std::string address, Instant deadline,
               std::shared_ptr<std::move_only_function<void(Result<std::unique_ptr<Stream>>)>> connected);
  Fabric& fabric_;
  std::string host_;
  std::string ip_;
  uint16_t lastPort_ = 32767;
};

}  // namespace knarr::env::sim
