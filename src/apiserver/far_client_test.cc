// The far client against a real server over TLS: it answers like the near one.
#include "api/core_v1.h"
#include "apiserver/http_fixture.h"
#include "client/far.h"
#include "client/informer.h"
#include "client/watch_frames.h"

namespace knarr::apiserver {
namespace {

using async::Task;
using client::Client;
using corev1::ConfigMap;
using schema::Mut;
using schema::Ref;

class FarClientTest : public HttpFixture {
 protected:
  std::unique_ptr<Client> farClient() {
    ask("admin", "GET", "/version");
    const wire::HttpClientOptions& options = clients_["admin"]->options();
    return client::makeFarClient(env_, {options.address, options.tls, options.serverName, "", "far-test"});
  }
};

Mut<ConfigMap> newMap(std::string_view name) {
  Mut<ConfigMap> map = schema::newObject<ConfigMap>();
  map->metadata.name = map.str(name);
  schema::set(map->data, map.arena(), "k", "v");
  return map;
}

Task<void> everyCall(Client* far) {
  auto made = co_await client::create<ConfigMap>(*far, "default", newMap("a"));
  EXPECT_TRUE(made) << (made ? "" : made.error().describe());
  if (!made) co_return;
  EXPECT_EQ((*made)->metadata.managedFields.size(), 1u);
  EXPECT_EQ((*made)->metadata.managedFields[0].manager, "far-test");
  auto again = co_await client::create<ConfigMap>(*far, "default", newMap("a"));
  EXPECT_FALSE(again);
  EXPECT_TRUE(isAlreadyExists(again.error()));
  EXPECT_EQ(again.error().message(), "configmaps \"a\" already exists");
  EXPECT_EQ(again.error().details().name, "a");
  Mut<ConfigMap> stale = schema::edit(*made);
  auto patched = co_await client::patch<ConfigMap>(*far, "default", "a", client::PatchType::Merge, R"({"data":{"k":"w"}})");
  EXPECT_TRUE(patched);
  auto got = co_await client::get<ConfigMap>(*far, "default", "a");
  EXPECT_TRUE(got);
  EXPECT_EQ(schema::valueOf((*got)->data, "k"), "w");
  auto conflict = co_await client::update<ConfigMap>(*far, std::move(stale));
  EXPECT_FALSE(conflict);
  EXPECT_TRUE(isConflict(conflict.error()));
  EXPECT_TRUE(co_await client::create<ConfigMap>(*far, "default", newMap("b")));
  client::ListOptions one;
  one.limit = 1;
  auto page = co_await far->list(client::resourceOf<ConfigMap>(), "default", one);
  EXPECT_TRUE(page);
  EXPECT_EQ(page->items.size(), 1u);
  EXPECT_EQ(page->remainingItemCount.value_or(0), 1);
  EXPECT_FALSE(page->continueToken.empty());
  EXPECT_TRUE(co_await client::remove<ConfigMap>(*far, "default", "a"));
  auto gone = co_await client::get<ConfigMap>(*far, "default", "a");
  EXPECT_FALSE(gone);
  EXPECT_TRUE(isNotFound(gone.error()));
  EXPECT_TRUE(co_await far->removeCollection(client::resourceOf<ConfigMap>(), "default", {}, {}));
}
TEST_F(FarClientTest, everyCall) {
  auto far = farClient();
  run(everyCall(far.get()));
}

Task<void> followMaps(env::Env environment, Client* far) {
  client::Informer informer(environment, *far, client::resourceOf<ConfigMap>(), "default", {});
  async::Event changed(environment.executor);
  informer.addHandler({[&](const Ref<>&) { changed.notifyAll(); }, [&](const Ref<>&, const Ref<>&) { changed.notifyAll(); },
                       [&](const Ref<>&) { changed.notifyAll(); }});
  async::StopSource stop;
  async::Gate gate(environment.executor);
  gate.spawn(informer.run(stop.token()));
  co_await informer.waitForSync();
  EXPECT_TRUE(co_await client::create<ConfigMap>(*far, "default", newMap("seen")));
  while (!informer.get("default", "seen")) co_await changed.wait();
  EXPECT_TRUE(co_await client::remove<ConfigMap>(*far, "default", "seen"));
  while (informer.get("default", "seen")) co_await changed.wait();
  stop.requestStop();
  co_await gate.close();
}
TEST_F(FarClientTest, anInformerFollowsOverTheNetwork) {
  auto far = farClient();
  run(followMaps(env_, far.get()));
}

TEST(WatchFrames, piecesAndNonsense) {
  std::string frame{
      "\0\0\0\x0e\x0a\x05"
      "ADDED\x12\x05\x0a\x03"
      "abc",
      18};
  client::WatchFrames frames;
  for (char c : frame.substr(0, 17)) {
    frames.append({&c, 1});
    EXPECT_FALSE(*frames.next());
  }
  frames.append(frame.substr(17));
  auto whole = frames.next();
  ASSERT_TRUE(whole && *whole);
  EXPECT_EQ((*whole)->type, "ADDED");
  EXPECT_EQ((*whole)->object, "abc");
  client::WatchFrames large;
  large.append("\x7f\xff\xff\xff");
  EXPECT_FALSE(large.next());
  client::WatchFrames broken;
  broken.append(std::string("\0\0\0\x02\x0a\x7f", 6));
  EXPECT_FALSE(broken.next());
}

TEST(PathOf, namesAndGroups) {
  EXPECT_EQ(client::pathOf(client::resourceOf<corev1::Pod>("status"), "ns", "a/b"), "/api/v1/namespaces/ns/pods/a%2Fb/status");
  EXPECT_EQ(client::pathOf(*schema::findResource("apps", "v1", "deployments"), "", ""), "/apis/apps/v1/deployments");
}

}  // namespace
}  // namespace knarr::apiserver
