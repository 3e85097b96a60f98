#include "apiserver/streaming.h"

#include <gtest/gtest.h>

#include "api/core_v1.h"
#include "codec/codec.h"

namespace knarr::apiserver {
namespace {

TEST(StreamingTest, logOptions) {
  struct Case {
    std::string query, message;  // "" when they may be
  };
  for (const Case& at : std::vector<Case>{
           {"", ""},
           {"container=c&follow=true&tailLines=0&limitBytes=1&sinceSeconds=1", ""},
           {"tailLines=-1", "PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"},
           {"limitBytes=0", "PodLogOptions \"p\" is invalid: limitBytes: Invalid value: 0: must be greater than 0"},
           {"sinceSeconds=0", "PodLogOptions \"p\" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0"},
           {"sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
            "PodLogOptions \"p\" is invalid: []: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"},
           {"tailLines=x", "strconv.ParseInt: parsing \"x\": invalid syntax"},
           {"stream=All", "PodLogOptions \"p\" is invalid: stream: Forbidden: may not be specified"},
       }) {
    auto checked = checkLogOptions(*Query::parse(at.query), "p");
    EXPECT_EQ(checked ? "" : checked.error().message(), at.message) << at.query;
  }
}

TEST(StreamingTest, containerOfARequest) {
  auto pod = [](std::string_view spec) {
    auto decoded = codec::decodeJson(schema::typeInfoOf<corev1::Pod>(), R"({"metadata":{"name":"p","annotations":
      {"kubectl.kubernetes.io/default-container":"a"}},"spec":)" + std::string(spec) +
                                                                            "}");
    EXPECT_TRUE(decoded);
    return Ref<>(std::move(decoded->object).publish());
  };
  auto of = [](const Ref<>& object, const std::string& asked) {
    auto name = containerOf(object, asked);
    return name ? *name : name.error().message();
  };
  Ref<> one = pod(R"({"initContainers":[{"name":"i"}],"containers":[{"name":"a"}]})");
  EXPECT_EQ(of(one, ""), "a");
  EXPECT_EQ(of(one, "i"), "i");
  EXPECT_EQ(of(one, "z"), "container z is not valid for pod p");
  Ref<> many =
      pod(R"({"initContainers":[{"name":"i"}],"containers":[{"name":"a"},{"name":"b"}],"ephemeralContainers":[{"name":"e"}]})");
  // What kubectl makes of the annotation is its own affair.
  EXPECT_EQ(of(many, ""), "a container name must be specified for pod p, choose one of: [i a b e]");
  EXPECT_EQ(of(many, "e"), "e");
}

}  // namespace
}  // namespace knarr::apiserver
