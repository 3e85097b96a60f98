#include "scheduler/scheduler_fixture.h"

namespace knarr::scheduler {
namespace {

TEST(ImageLocality, largeImagesThatManyNodesHave) {
  auto with = [](const char* name, int64_t mebibytes) {
    return nodeOf("", "", R"("cpu":"4")", name,
                  fmt::format(R"(,"images":[{{"names":["web:latest"],"sizeBytes":{}}}])", mebibytes << 20));
  };
  std::string web = R"("containers":[{"name":"c","image":"web"}])";
  std::vector<NodeInfo> nodes{with("n1", 1000), with("n2", 20), nodeOf("", "", R"("cpu":"4")", "n3")};
  // Two of three nodes have it: 666 MiB of 1000 count, from 23 MiB on.
  EXPECT_EQ(scoresOf(makeImageLocality(), web, nodes), (std::vector<int64_t>{65, 0, 0}));
  EXPECT_EQ(scoresOf(makeImageLocality(), web, {with("n1", 5000)}), std::vector<int64_t>{100});
  EXPECT_EQ(scoresOf(makeImageLocality(), R"("containers":[{"name":"c","image":"other"}])", nodes),
            (std::vector<int64_t>{0, 0, 0}));
  std::string mounted = R"("containers":[{"name":"c","image":"other"}],"volumes":[{"name":"v","image":{"reference":"web"}}])";
  EXPECT_EQ(scoresOf(makeImageLocality(), mounted, {with("n1", 5000)}), std::vector<int64_t>{100})
      << "an image volume is pulled too";
}

}  // namespace
}  // namespace knarr::scheduler
