#include "apimachinery/labels.h"

#include <gtest/gtest.h>

#include "api/meta_v1.h"
#include "apimachinery/validation.h"

namespace knarr::apimachinery {
namespace {

schema::StringMap labelsOf(Arena& arena, std::initializer_list<std::pair<const char*, const char*>> pairs) {
  schema::StringMap map{};
  for (auto [key, value] : pairs) schema::set(map, arena, key, value);
  return map;
}

TEST(LabelSelector, matches) {
  Arena arena;
  auto labels = labelsOf(arena, {{"app", "web"}, {"tier", "front"}, {"n", "7"}});
  struct Case {
    const char* text;
    bool matches;
  };
  for (Case c : std::initializer_list<Case>{{"", true},
                                            {"app=web", true},
                                            {"app==web,tier!=back", true},
                                            {"app in (web, api)", true},
                                            {"app notin (web)", false},
                                            {"missing notin (x)", true},
                                            {"missing", false},
                                            {"!missing", true},
                                            {"!app", false},
                                            {"n>6", true},
                                            {"n<7", false},
                                            {"app=", false}}) {
    auto selector = LabelSelector::parse(c.text);
    ASSERT_TRUE(selector) << c.text;
    EXPECT_EQ(selector->matches(labels), c.matches) << c.text;
  }
}

TEST(LabelSelector, refusesBadTexts) {
  for (const char* bad : {"a b", "a in x", "a in (x", ",a", "a,,b", "a=b=c", "a>x", "-a", "a=-b", "x in ()y"})
    EXPECT_FALSE(LabelSelector::parse(bad)) << bad;
  EXPECT_EQ(LabelSelector::parse("a,").error().message(), "found '', expected: identifier after ','");
}

TEST(LabelSelector, printsWhatItParsed) { EXPECT_EQ(LabelSelector::parse("b in (y,x),a=1,!c")->str(), "a=1,b in (x,y),!c"); }

TEST(LabelSelector, nilSelectsNothing) {
  EXPECT_FALSE(LabelSelector::from(nullptr)->matches({}));
  metav1::LabelSelector empty{};
  EXPECT_TRUE(LabelSelector::from(&empty)->matches({}));
}

TEST(FieldSelector, parses) {
  auto selector = FieldSelector::parse("metadata.name=a\\,b,status.phase!=Running");
  ASSERT_TRUE(selector);
  EXPECT_EQ(*selector->exactValue("metadata.name"), "a,b");
  EXPECT_FALSE(selector->terms[1].equal);
  EXPECT_FALSE(FieldSelector::parse("x"));
  EXPECT_FALSE(FieldSelector::parse("a=\\x"));
}

TEST(Names, rules) {
  EXPECT_TRUE(isDns1123Subdomain("a.b-c").empty());
  EXPECT_FALSE(isDns1123Subdomain("A").empty());
  EXPECT_EQ(isDns1123Label("a.b"), std::vector<std::string>{"must not contain dots"});
  EXPECT_TRUE(isQualifiedName("example.com/My_Name").empty());
  EXPECT_FALSE(isQualifiedName("a/b/c").empty());
  EXPECT_FALSE(isQualifiedName("/b").empty());
  EXPECT_TRUE(isValidLabelValue("").empty());
  EXPECT_FALSE(isValidLabelValue(std::string(64, 'a')).empty());
  EXPECT_FALSE(isConfigMapKey("..a").empty());
}

TEST(InvalidStatus, wording) {
  Error one = invalidStatus("", "Pod", "x", {requiredError(FieldPath("spec").child("containers"))});
  EXPECT_EQ(one.message(), "Pod \"x\" is invalid: spec.containers: Required value");
  Error two = invalidStatus("apps", "Deployment", "x",
                            {requiredError(FieldPath("a")), invalidError(FieldPath("b").index(0), 70000, "too big")});
  EXPECT_EQ(two.message(), "Deployment.apps \"x\" is invalid: [a: Required value, b[0]: Invalid value: 70000: too big]");
  EXPECT_EQ(two.causes()[1].reason, "FieldValueInvalid");
}

}  // namespace
}  // namespace knarr::apimachinery
