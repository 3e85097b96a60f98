#include "controllers/garbagecollector/graph.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/apps_v1.h"
#include "codec/codec.h"

namespace knarr::controllers {
namespace {

struct ObjectShape {
  std::string uid;
  std::vector<std::string> owners = {};
  std::string finalizer = "";
  bool going = false;
  bool blocks = true;
  std::string nameSpace = "default";
};

class GraphTest : public ::testing::Test {
 protected:
  static Ref<> objectOf(const ObjectShape& shape) {
    Mut<appsv1::ReplicaSet> rs = schema::newObject<appsv1::ReplicaSet>();
    rs->metadata.name = rs.str("name-" + shape.uid);
    rs->metadata.namespace_ = rs.str(shape.nameSpace);
    rs->metadata.uid = rs.str(shape.uid);
    for (const std::string& owner : shape.owners) {
      auto& reference = rs->metadata.ownerReferences.append(rs.arena());
      reference.apiVersion = "apps/v1";
      reference.kind = "Deployment";
      reference.name = rs.str("name-" + owner);
      reference.uid = rs.str(owner);
      if (shape.blocks) reference.blockOwnerDeletion = true;
    }
    if (!shape.finalizer.empty()) rs->metadata.finalizers.append(rs.arena()) = rs.str(shape.finalizer);
    if (shape.going) rs->metadata.deletionTimestamp = schema::Time::fromUnix(1);
    return std::move(rs).publish();
  }
  std::set<std::string> upsert(const ObjectShape& shape) {
    auto affected = graph_.upsert(client::resourceOf<appsv1::ReplicaSet>(), objectOf(shape));
    return {affected.begin(), affected.end()};
  }
  std::set<std::string> remove(const std::string& uid) {
    auto affected = graph_.remove(uid);
    return {affected.begin(), affected.end()};
  }
  using Uids = std::set<std::string>;
  OwnerGraph graph_;
};

TEST_F(GraphTest, dependentBeforeOwner) {
  EXPECT_EQ(upsert({"child", {"owner"}}), Uids{"child"});
  const GraphNode* owner = graph_.find("owner");
  ASSERT_NE(owner, nullptr);
  EXPECT_TRUE(owner->isVirtual());
  EXPECT_EQ(owner->identity.kind, "Deployment");
  EXPECT_EQ(owner->identity.nameSpace, "default");
  EXPECT_EQ(owner->dependents, Uids{"child"});
  EXPECT_EQ(upsert({"owner"}), Uids{}) << "an object without owners is of no interest";
  EXPECT_FALSE(graph_.find("owner")->isVirtual());
  EXPECT_EQ(graph_.find("owner")->dependents, Uids{"child"});
}

TEST_F(GraphTest, removalAffectsDependentsAndOwners) {
  upsert({"owner"});
  upsert({"middle", {"owner"}});
  upsert({"leaf", {"middle"}});
  EXPECT_EQ(remove("middle"), (Uids{"leaf", "owner"}));
  ASSERT_NE(graph_.find("middle"), nullptr) << "its dependent still names it";
  EXPECT_TRUE(graph_.find("middle")->isVirtual());
  EXPECT_EQ(remove("leaf"), Uids{"middle"});
  EXPECT_EQ(graph_.find("middle"), nullptr);
  EXPECT_EQ(remove("owner"), Uids{});
  EXPECT_EQ(graph_.size(), 0u);
  EXPECT_EQ(remove("never"), Uids{});
}

TEST_F(GraphTest, changedOwners) {
  upsert({"a"});
  upsert({"b"});
  upsert({"child", {"a"}});
  EXPECT_EQ(upsert({"child", {"b"}}), (Uids{"a", "child"})) << "the former owner may be waiting for that";
  EXPECT_TRUE(graph_.find("a")->dependents.empty());
  EXPECT_EQ(graph_.find("b")->dependents, Uids{"child"});
}

TEST_F(GraphTest, deletion) {
  upsert({"owner"});
  upsert({"x", {"owner"}});
  upsert({"y", {"owner"}, "", false, false});
  EXPECT_EQ(upsert({"owner", {}, "orphan", true}), Uids{"owner"});
  EXPECT_FALSE(graph_.find("owner")->deletingDependents());
  EXPECT_EQ(upsert({"owner", {}, "foregroundDeletion", true}), (Uids{"owner", "x", "y"}))
      << "the finalizer may come after the deletion began";
  EXPECT_TRUE(graph_.find("owner")->deletingDependents());
  EXPECT_EQ(blockingDependents(graph_, *graph_.find("owner")), std::vector<std::string>{"x"});
  EXPECT_EQ(upsert({"owner", {}, "foregroundDeletion", true}), Uids{}) << "nothing changed";
}

TEST_F(GraphTest, anObjectThatOwnsItself) {
  EXPECT_EQ(upsert({"self", {"self"}}), Uids{"self"});
  EXPECT_EQ(upsert({"self", {"self"}}), Uids{"self"});
  remove("self");
  EXPECT_EQ(graph_.size(), 0u);
}

TEST_F(GraphTest, ownersInAnotherNamespace) {
  upsert({"child", {"owner"}});
  EXPECT_TRUE(foreignOwners(graph_, *graph_.find("child")).empty()) << "nobody has seen the owner";
  ObjectShape owner{"owner"};
  owner.nameSpace = "other";
  upsert(owner);
  auto foreign = foreignOwners(graph_, *graph_.find("child"));
  ASSERT_EQ(foreign.size(), 1u);
  EXPECT_EQ(coordinatesOf(foreign[0]), "[apps/v1/Deployment, namespace: default, name: name-owner, uid: owner]");
  ObjectShape neighbour{"neighbour", {"owner"}};
  neighbour.nameSpace = "other";
  upsert(neighbour);
  EXPECT_TRUE(foreignOwners(graph_, *graph_.find("neighbour")).empty());
}

TEST_F(GraphTest, aCircleOfForegroundDeletions) {
  upsert({"a", {"b"}});
  upsert({"b", {"a"}, "foregroundDeletion", true});
  EXPECT_TRUE(anyDeletesDependents(graph_, *graph_.find("a")));
  EXPECT_FALSE(anyDeletesDependents(graph_, *graph_.find("b")));
  EXPECT_EQ(
      unblockingPatch(schema::metadataOf(objectOf({"a", {"x", "y"}}))),
      R"({"metadata":{"ownerReferences":[{"uid":"x","blockOwnerDeletion":false},{"uid":"y","blockOwnerDeletion":false}],"uid":"a"}})");
  EXPECT_EQ(unblockingPatch(schema::metadataOf(objectOf({"a", {"x"}, "", false, false}))), "");
}

TEST(AbsentOwners, leastRecentlyUsedGiveWay) {
  AbsentOwners absent(2);
  absent.add("a");
  absent.add("b");
  EXPECT_TRUE(absent.contains("a"));
  absent.add("c");
  EXPECT_FALSE(absent.contains("b"));
  EXPECT_TRUE(absent.contains("a"));
  EXPECT_TRUE(absent.contains("c"));
}

TEST_F(GraphTest, twoOwners) {
  upsert({"child", {"a", "b"}});
  upsert({"a"});
  EXPECT_EQ(remove("a"), Uids{"child"});
  EXPECT_EQ(upsert({"child", {"b"}}), (Uids{"a", "b", "child"}));
  EXPECT_EQ(graph_.find("a"), nullptr) << "nobody names it any more";
}

}  // namespace
}  // namespace knarr::controllers
