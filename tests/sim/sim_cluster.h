// A whole cluster in one thread: store, API server, controllers, scheduler, and kubelets over fake
// runtimes, in the simulated world, with checkers that watch from outside.
//
// Components are processes of their own here, the API server with its store on disk too: each may crash (its tasks vanish
// between two steps) or be stopped, and is started anew. Every client but the checker's is behind a faulty network.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "apiserver/apiserver.h"
#include "client/informer.h"
#include "controller_manager/controller_manager.h"
#include "cri/fake.h"
#include "env/sim/sim.h"
#include "kubelet/kubelet.h"
#include "scheduler/scheduler.h"
#include "tests/sim/faulty_client.h"
#include "tests/sim/sim_server.h"

namespace knarr::sim {

using schema::Mut;
using schema::Ref;

// Keeps its own picture of pods and ReplicaSets from watches without faults and says what must
// never be.
class Checker {
 public:
  Checker(env::Env environment, client::Client& client, int64_t nodeCpuMilli);
  // Follows one resource until destroyed.
  async::Task<void> follow(const client::ResourceInfo* resource);
  // Rules of a roll-out, held from now on. Nothing: switched off.
  struct Bounds {
    int mostWanted = 0;  // by all ReplicaSets together; a pod given up may still be there when its
                         // successor is made
    int leastAvailable = 0;
  };
  void setBounds(std::optional<Bounds> bounds) { bounds_ = bounds; }
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  void relist(const client::ResourceInfo* resource, const client::ObjectList& list);
  void see(const client::ResourceInfo* resource, const Ref<>& object, bool gone);
  // A resourceVersion that was shown is never taken back, whatever happens to the server.
  void seeRevision(const client::ResourceInfo* resource, std::string_view resourceVersion);
  int availablePods() const;
  int wantedPods() const;
  void lookAtPod(const Ref<corev1::Pod>& pod, bool gone);
  void complain(std::string what);
  void checkNodes();
  void checkBounds();

  env::Env env_;
  client::Client& client_;
  int64_t nodeCpuMilli_;
  std::map<std::string, Ref<corev1::Pod>> pods_;                // by uid
  std::map<std::string, Ref<appsv1::ReplicaSet>> replicaSets_;  // by uid
  std::map<std::string, std::string> nodeOf_;                   // by uid, also of those that are gone
  std::optional<Bounds> bounds_;
  std::map<std::string_view, int64_t> newestRevisions_;  // by resource
  std::vector<std::string> violations_;
};

class SimCluster {
 public:
  static constexpr int kNodes = 5;
  static constexpr int64_t kNodeCpuMilli = 2000;

  explicit SimCluster(uint64_t seed);
  ~SimCluster();
  SimCluster(const SimCluster&) = delete;

  env::SimEnv& sim() { return sim_; }
  uint64_t random(uint64_t bound) { return sim_.env().random.below(bound); }
  client::Client& admin() { return *admin_; }
  Checker& checker() { return *checker_; }
  ClientFaults& faults() { return faults_; }
  void faultsOn();
  void faultsOff() { faults_ = ClientFaults(); }

  void startServer();
  void crashServer();
  void startManager();
  void crashManager();
  void startScheduler();
  void crashScheduler();
  void startKubelet(int node);
  // A kubelet ends, and its containers run on.
  void stopKubelet(int node);
  void crashKubelet(int node);
  // Asks every component to stop and waits; false when one does not.
  bool stopAll();

  // Runs a task to its end; false when it takes longer than ten minutes.
  bool run(async::Task<void> task);
  // Lists anew every 100 ms until the predicate holds.
  bool waitFor(const std::function<bool()>& predicate, env::Duration max);
  template <class T>
  std::vector<Ref<T>> list(const std::string& nameSpace) {
    std::vector<Ref<T>> out;
    run(listTask<T>(admin_.get(), nameSpace, &out));
    return out;
  }
  template <class T>
  Ref<T> get(const std::string& nameSpace, const std::string& name) {
    Ref<T> out;
    run(getTask<T>(admin_.get(), nameSpace, name, &out));
    return out;
  }
  // Crashes and restarts components at random moments for this long.
  void chaos(env::Duration duration, bool kubeletsToo);

 private:
  struct Process;
  Process& process(const std::string& name) { return *processes_.at(name); }
  Process& begin(const std::string& name);
  void crash(const std::string& name);
  bool stop(const std::string& name);
  client::Client& clientAs(Process& process, const std::string& user, std::vector<std::string> groups);

  template <class T>
  static async::Task<void> listTask(client::Client* client, std::string nameSpace, std::vector<Ref<T>>* into) {
    auto list = co_await client->list(client::resourceOf<T>(), nameSpace);
    if (!list) co_return;
    for (Ref<>& item : list->items) into->emplace_back(std::move(item));
  }
  template <class T>
  static async::Task<void> getTask(client::Client* client, std::string nameSpace, std::string name, Ref<T>* into) {
    auto object = co_await client::get<T>(*client, nameSpace, name);
    if (object) *into = *object;
  }

  env::SimEnv sim_;
  ClientFaults faults_;
  std::unique_ptr<SimServer> server_;
  std::vector<std::unique_ptr<client::Client>> innerClients_;  // outlive every request
  std::unique_ptr<client::Client> admin_;
  std::vector<std::unique_ptr<cri::FakeRuntime>> runtimes_;
  async::Gate requests_;  // what the server still works on, whoever asked
  async::Gate own_;
  std::unique_ptr<Checker> checker_;
  std::map<std::string, std::unique_ptr<Process>> processes_;
};

}  // namespace knarr::sim
