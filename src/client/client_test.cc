// The work queue and the informer against a scripted server, in the simulated world.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/core_v1.h"
#include "client/informer.h"
#include "client/work_queue.h"
#include "env/sim/sim.h"

namespace knarr::client {
namespace {

using namespace std::chrono_literals;
using Keys = std::vector<std::string>;

class WorkQueueTest : public ::testing::Test {
 protected:
  WorkQueueTest() : sim_(5), queue_(std::make_shared<WorkQueue>(sim_.env(), "test")), gate_(sim_.env().executor) {}
  ~WorkQueueTest() override {
    queue_->shutDown();
    EXPECT_TRUE(sim_.runUntil([&] { return gate_.running() == 0; }, 1min));
  }
  static Task<void> getOne(WorkQueue* queue, std::optional<std::string>* into) { *into = co_await queue->get(); }
  // The next key within a millisecond; "" when there is none.
  std::string next() {
    if (queue_->length() == 0) return "";
    auto key = std::make_unique<std::optional<std::string>>();
    gate_.spawn(getOne(queue_.get(), key.get()));
    EXPECT_TRUE(sim_.runUntil([&] { return key->has_value(); }, 1s));
    return key->value_or("");
  }
  env::SimEnv sim_;
  std::shared_ptr<WorkQueue> queue_;
  async::Gate gate_;
};

TEST_F(WorkQueueTest, aKeyWaitsOnce) {
  queue_->add("a");
  queue_->add("b");
  queue_->add("a");
  EXPECT_EQ(queue_->length(), 2u);
  EXPECT_EQ(next(), "a");
  EXPECT_EQ(next(), "b");
  EXPECT_EQ(next(), "");
}

TEST_F(WorkQueueTest, aKeyInWorkRunsAgainAfterwards) {
  queue_->add("a");
  EXPECT_EQ(next(), "a");
  queue_->add("a");
  queue_->add("a");
  EXPECT_EQ(queue_->length(), 0u) << "nobody else may have it";
  queue_->done("a");
  EXPECT_EQ(next(), "a");
  queue_->done("a");
  EXPECT_EQ(queue_->length(), 0u);
}

TEST_F(WorkQueueTest, theEarliestDelayWins) {
  queue_->addAfter("a", 10s);
  queue_->addAfter("a", 2s);
  queue_->addAfter("a", 20s);
  queue_->addAfter("b", 5s);
  queue_->addAfter("now", 0s);
  EXPECT_EQ(next(), "now");
  sim_.runFor(1900ms);
  EXPECT_EQ(next(), "");
  sim_.runFor(200ms);
  EXPECT_EQ(next(), "a");
  queue_->done("a");
  sim_.runFor(3s);
  EXPECT_EQ(next(), "b");
  sim_.runFor(1min);
  EXPECT_EQ(next(), "") << "the later delays of a are forgotten";
}

TEST_F(WorkQueueTest, backOffDoublesUntilForgotten) {
  for (int64_t milliseconds : {5, 10, 20, 40, 80}) {
    queue_->addRateLimited("a");
    sim_.runFor(std::chrono::milliseconds(milliseconds) - 1ms);
    EXPECT_EQ(queue_->length(), 0u) << milliseconds;
    sim_.runFor(2ms);
    EXPECT_EQ(next(), "a") << milliseconds;
    queue_->done("a");
  }
  EXPECT_EQ(queue_->retries("a"), 5);
  queue_->forget("a");
  EXPECT_EQ(queue_->retries("a"), 0);
  queue_->addRateLimited("a");
  sim_.runFor(6ms);
  EXPECT_EQ(next(), "a");
}

TEST_F(WorkQueueTest, aBurstPassesThenTenASecond) {
  for (int i = 0; i < 150; ++i) queue_->addRateLimited(fmt::format("k{}", i));
  sim_.runFor(50ms);
  EXPECT_EQ(queue_->length(), 100u);
  sim_.runFor(1s);
  EXPECT_EQ(queue_->length(), 110u);
  sim_.runFor(10s);
  EXPECT_EQ(queue_->length(), 150u);
}

TEST_F(WorkQueueTest, shutDownDrains) {
  queue_->add("a");
  queue_->addAfter("later", 1s);
  queue_->shutDown();
  queue_->add("b");
  EXPECT_EQ(next(), "a");
  std::optional<std::string> nothing = "unset";
  gate_.spawn(getOne(queue_.get(), &nothing));
  sim_.runFor(10s);
  EXPECT_FALSE(nothing.has_value());
}

struct Worked {
  std::map<std::string, int> attempts;
  std::set<std::string> inWork;
  int most = 0;
};
Task<Result<void>> work(env::Env environment, Worked* worked, std::string key) {
  EXPECT_TRUE(worked->inWork.insert(key).second) << key << " is held twice";
  worked->most = std::max(worked->most, static_cast<int>(worked->inWork.size()));
  co_await async::sleepFor(environment, 10ms);
  worked->inWork.erase(key);
  if (++worked->attempts[key] < 3) co_return fail(Reason::InternalError, "again");
  co_return Result<void>();
}
TEST_F(WorkQueueTest, workersRetryAndShare) {
  Worked worked;
  env::Env env = sim_.env();
  gate_.spawn(runWorkers(env, queue_, 3, [env, &worked](std::string key) { return work(env, &worked, std::move(key)); }));
  for (int i = 0; i < 10; ++i) queue_->add(fmt::format("k{}", i));
  for (int i = 0; i < 50; ++i) {
    sim_.runFor(7ms);
    queue_->add("k3");
  }
  sim_.runFor(2s);
  EXPECT_EQ(worked.attempts.size(), 10u);
  for (const auto& [key, attempts] : worked.attempts) EXPECT_GE(attempts, 3) << key;
  EXPECT_EQ(worked.most, 3);
  EXPECT_EQ(queue_->retries("k0"), 0) << "success forgets";
}

// ---- a server that does what the test says

struct Script {
  explicit Script(env::Executor& executor) : changed(executor) {}
  std::map<std::string, Ref<>> objects;  // the truth
  int64_t revision = 1;
  std::vector<std::pair<int64_t, WatchEvent>> history;
  int64_t oldest = 0;  // watches from before it are Expired
  int lists = 0, watches = 0;
  int failLists = 0;
  uint64_t generation = 0;  // raised to end every watch
  async::Event changed;

  Ref<> make(const std::string& name, const std::string& label, const std::string& uid) {
    Mut<corev1::ConfigMap> map = schema::newObject<corev1::ConfigMap>();
    map->metadata.namespace_ = "default";
    map->metadata.name = map.str(name);
    map->metadata.uid = map.str(uid);
    map->metadata.resourceVersion = map.str(fmt::format("{}", ++revision));
    schema::set(map->metadata.labels, map.arena(), "l", label);
    return std::move(map).publish();
  }
  void put(const std::string& name, const std::string& label, const std::string& uid = "u") {
    Ref<> object = make(name, label, uid);
    bool fresh = !objects.contains(name);
    objects[name] = object;
    history.push_back({revision, {fresh ? WatchEvent::Added : WatchEvent::Modified, object, fmt::format("{}", revision), false}});
    changed.notifyAll();
  }
  void erase(const std::string& name) {
    Ref<> object = objects.at(name);
    objects.erase(name);
    ++revision;
    history.push_back({revision, {WatchEvent::Deleted, object, fmt::format("{}", revision), false}});
    changed.notifyAll();
  }
  void endWatches() {
    ++generation;
    changed.notifyAll();
  }
};

class ScriptedWatch : public Watch {
 public:
  ScriptedWatch(Script& script, int64_t from) : script_(script), seen_(from), generation_(script.generation) {}
  Task<Result<std::vector<WatchEvent>>> next() override {
    for (;;) {
      if (seen_ < script_.oldest) co_return fail(Reason::Expired, "too old resource version");
      if (generation_ != script_.generation) co_return std::vector<WatchEvent>();
      std::vector<WatchEvent> events;
      for (const auto& [revision, event] : script_.history)
        if (revision > seen_) events.push_back(event);
      if (!events.empty()) {
        seen_ = script_.revision;
        co_return events;
      }
      co_await script_.changed.wait();
    }
  }

 private:
  Script& script_;
  int64_t seen_;
  uint64_t generation_;
};

class ScriptedClient : public Client {
 public:
  explicit ScriptedClient(Script& script) : script_(script) {}
  Task<Result<ObjectList>> list(const ResourceInfo&, std::string, ListOptions options) override {
    ++script_.lists;
    if (script_.failLists > 0) {
      --script_.failLists;
      co_return fail(Reason::ServiceUnavailable, "not yet");
    }
    // Two objects a page.
    ObjectList out;
    out.resourceVersion = fmt::format("{}", script_.revision);
    EXPECT_GT(options.limit, 0);
    auto at = script_.objects.upper_bound(options.continueToken);
    if (options.continueToken.empty()) at = script_.objects.begin();
    for (; at != script_.objects.end() && out.items.size() < 2; ++at) {
      out.items.push_back(at->second);
      out.continueToken = at->first;
    }
    if (at == script_.objects.end()) out.continueToken.clear();
    co_return out;
  }
  Task<Result<std::unique_ptr<Watch>>> watch(const ResourceInfo&, std::string, ListOptions options) override {
    ++script_.watches;
    co_return std::make_unique<ScriptedWatch>(script_, std::stoll(options.resourceVersion));
  }
  Task<Result<Ref<>>> get(const ResourceInfo&, std::string, std::string, GetOptions) override { co_return refused(); }
  Task<Result<Ref<>>> create(const ResourceInfo&, std::string, std::string, Mut<>, WriteOptions) override { co_return refused(); }
  Task<Result<Ref<>>> update(const ResourceInfo&, std::string, std::string, Mut<>, WriteOptions) override { co_return refused(); }
  Task<Result<Ref<>>> patch(const ResourceInfo&, std::string, std::string, PatchType, std::string, WriteOptions) override {
    co_return refused();
  }
  Task<Result<Ref<>>> remove(const ResourceInfo&, std::string, std::string, DeleteOptions) override { co_return refused(); }
  Task<Result<void>> removeCollection(const ResourceInfo&, std::string, DeleteOptions, ListOptions) override {
    co_return refused();
  }

 private:
  static Unexpected refused() { return fail(Reason::MethodNotAllowed, "an informer only lists and watches"); }
  Script& script_;
};

class InformerTest : public ::testing::Test {
 protected:
  InformerTest()
      : sim_(9), script_(sim_.env().executor), client_(script_), factory_(sim_.env(), client_), gate_(sim_.env().executor) {
    Informer& maps = informer();
    maps.addIndex("label",
                  [](const Ref<>& object) { return Keys{std::string(schema::valueOf(schema::metadataOf(object).labels, "l"))}; });
    maps.addHandler({[this](const Ref<>& o) { seen_.push_back("+" + describe(o)); },
                     [this](const Ref<>& a, const Ref<>& b) { seen_.push_back("~" + describe(a) + ">" + describe(b)); },
                     [this](const Ref<>& o) { seen_.push_back("-" + describe(o)); }});
  }
  ~InformerTest() override {
    stop_.requestStop();
    EXPECT_TRUE(sim_.runUntil([&] { return gate_.running() == 0; }, 1s)) << "stop ends a quiet watch at once";
  }
  Informer& informer() { return factory_.informer<corev1::ConfigMap>(); }
  void start() {
    factory_.start(gate_, stop_.token());
    sim_.runFor(10ms);
  }
  static std::string describe(const Ref<>& object) {
    const auto& metadata = schema::metadataOf(object);
    return fmt::format("{}:{}", metadata.name, schema::valueOf(metadata.labels, "l"));
  }
  Keys take(env::Duration after = 10ms) {
    sim_.runFor(after);
    return std::exchange(seen_, {});
  }
  Keys names(const std::vector<Ref<>>& objects) {
    Keys out;
    for (const auto& object : objects) out.emplace_back(schema::metadataOf(object).name);
    return out;
  }

  env::SimEnv sim_;
  Script script_;
  ScriptedClient client_;
  InformerFactory factory_;
  async::Gate gate_;
  async::StopSource stop_;
  Keys seen_;
};

TEST_F(InformerTest, listsByPagesThenFollows) {
  for (const char* name : {"a", "b", "c", "d", "e"}) script_.put(name, "x");
  EXPECT_FALSE(informer().hasSynced());
  start();
  EXPECT_TRUE(informer().hasSynced());
  EXPECT_EQ(script_.lists, 3);
  EXPECT_EQ(take(), (Keys{"+a:x", "+b:x", "+c:x", "+d:x", "+e:x"}));
  script_.put("b", "y");
  script_.erase("c");
  script_.put("f", "y");
  EXPECT_EQ(take(), (Keys{"~b:x>b:y", "-c:x", "+f:y"}));
  EXPECT_EQ(names(informer().byIndex("label", "y")), (Keys{"b", "f"}));
  EXPECT_EQ(names(informer().byIndex("label", "x")), (Keys{"a", "d", "e"}));
  EXPECT_EQ(informer().size(), 5u);
  EXPECT_EQ(names(informer().list("default")).size(), 5u);
  EXPECT_EQ(names(informer().list("def")).size(), 0u);
  EXPECT_FALSE(informer().get("default", "c"));
  EXPECT_TRUE(informer().get("default/f"));
}

TEST_F(InformerTest, aLateHandlerGetsWhatIsThere) {
  script_.put("a", "x");
  start();
  Keys late;
  informer().addHandler({[&](const Ref<>& o) { late.push_back(describe(o)); }, {}, {}});
  EXPECT_EQ(late, Keys{"a:x"});
}

TEST_F(InformerTest, anEndedWatchIsReopenedWithoutAList) {
  script_.put("a", "x");
  start();
  take();
  int lists = script_.lists, watches = script_.watches;
  script_.endWatches();
  script_.put("b", "x");
  EXPECT_EQ(take(), Keys{"+b:x"});
  EXPECT_EQ(script_.lists, lists);
  EXPECT_GT(script_.watches, watches);
}

TEST_F(InformerTest, anExpiredWatchRelistsAndTellsTheDifferences) {
  for (const char* name : {"a", "b", "c"}) script_.put(name, "x");
  start();
  take();
  script_.erase("a");
  script_.put("b", "y");
  script_.put("d", "z");
  script_.history.clear();
  script_.oldest = script_.revision;
  EXPECT_EQ(take(), (Keys{"-a:x", "~b:x>b:y", "+d:z"}))
      << "a missed deletion arrives with the last known object; what did not change is silent";
}

TEST_F(InformerTest, anotherObjectOfTheNameIsADeletionAndAnAddition) {
  script_.put("a", "x", "u1");
  start();
  take();
  script_.objects.clear();
  script_.put("a", "y", "u2");
  script_.history.clear();
  script_.oldest = script_.revision;
  EXPECT_EQ(take(), (Keys{"-a:x", "+a:y"}));
  EXPECT_EQ(names(informer().byIndex("label", "y")), Keys{"a"});
}

TEST_F(InformerTest, aServerThatDoesNotAnswerIsAskedAgain) {
  script_.failLists = 3;
  script_.put("a", "x");
  start();
  EXPECT_FALSE(informer().hasSynced());
  EXPECT_EQ(take(30s), Keys{"+a:x"});
  EXPECT_TRUE(informer().hasSynced());
}

Task<void> waitSynced(InformerFactory* factory, StopToken stop, std::optional<bool>* into) {
  *into = co_await factory->waitForSync(stop);
}
TEST_F(InformerTest, waitingForTheFirstListEndsWithStop) {
  script_.failLists = 1'000'000;
  start();
  std::optional<bool> synced, stopped;
  async::StopSource stop;
  gate_.spawn(waitSynced(&factory_, stop_.token(), &synced));
  gate_.spawn(waitSynced(&factory_, stop.token(), &stopped));
  sim_.runFor(1min);
  EXPECT_FALSE(synced.has_value());
  stop.requestStop();
  sim_.runFor(1ms);
  EXPECT_EQ(stopped, false);
  script_.failLists = 0;
  sim_.runFor(2min);
  EXPECT_EQ(synced, true);
}

TEST_F(InformerTest, oneInformerPerSelection) {
  ListOptions labelled;
  labelled.labelSelector = "a=b";
  Informer& other = factory_.informer(resourceOf<corev1::ConfigMap>(), "", labelled);
  EXPECT_NE(&other, &informer());
  EXPECT_EQ(&factory_.informer(resourceOf<corev1::ConfigMap>(), "", labelled), &other);
}

TEST(Keys, splitAndJoin) {
  EXPECT_EQ(keyOf("ns", "name"), "ns/name");
  EXPECT_EQ(keyOf("", "name"), "name");
  EXPECT_EQ(splitKey("ns/name").nameSpace, "ns");
  EXPECT_EQ(splitKey("name").name, "name");
}

}  // namespace
}  // namespace knarr::client
