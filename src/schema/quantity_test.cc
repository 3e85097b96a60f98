#include "schema/quantity.h"

#include <gtest/gtest.h>

#include "schema/duration.h"

namespace knarr::schema {
namespace {

std::string canonical(std::string_view text) {
  auto got = canonicalQuantity(text);
  return got ? *got : "error: " + got.error().message();
}
Amount amount(std::string_view text) { return parseQuantity(text).value(); }

TEST(Quantity, canonicalText) {
  const std::pair<const char*, const char*> cases[] = {
      {"0", "0"},
      {"0.0", "0"},
      {"-0", "0"},
      {"1", "1"},
      {"1000", "1k"},
      {"1000m", "1"},
      {"0.5", "500m"},
      {"1.5", "1500m"},
      {".5", "500m"},
      {"5.", "5."},
      {"100m", "100m"},
      {"1024", "1024"},
      {"1Ki", "1Ki"},
      {"1024Ki", "1Mi"},
      {"512Ki", "512Ki"},
      {"1.5Gi", "1536Mi"},
      {"0.5Ki", "512"},
      {"0.5Gi", "512Mi"},
      {"1e3", "1e3"},
      {"1000e0", "1e3"},
      {"12E6", "12E6"},
      {"10e5", "1e6"},
      {"1E", "1E"},
      {"1000E", "1e21"},
      {"0.9n", "1n"},
      {"1.2345", "1234500u"},
      {"-1", "-1"},
      {"-1500m", "-1500m"},
      {"-0.5", "-500m"},
      {"8Ei", "9223372036854775807"},
      {"-9Ei", "-9223372036854775807"},
      {"18446744073709551616", "18446744073709551616"},
      {"100000000000000000000", "100E"},
      {"0.001Ki", "1024m"},
      {"0.0001Ki", "102400u"},
      {"1.1Ki", "1126400m"},
      {"16Gi", "16Gi"},
      {"0Gi", "0"},
      {"+5", "+5"},
      {"1e-3", "1e-3"},
      {"0.000000001", "1n"},
      {"3.000", "3"},
      {"1.100", "1.100"},
      {"007", "007"},
      {"1023Ki", "1023Ki"},
  };
  for (auto [text, want] : cases) EXPECT_EQ(canonical(text), want) << text;
}

TEST(Quantity, refusals) {
  for (const char* text : {"", "1.1.1", "1 ", " 1", "1x", "x", "1Kix", "--1", "1-", "0x10"})
    EXPECT_TRUE(canonical(text).starts_with("error: quantities must match")) << text << canonical(text);
  for (const char* text : {"1i", "1mm", "1Ki5", "1e", "1eKi", "1e99999", "1KE", "1m5"})
    EXPECT_EQ(canonical(text), "error: unable to parse quantity's suffix") << text;
  EXPECT_EQ(canonical(std::string(60, '9')), "error: unable to parse numeric part of quantity");
}

// The canonical text of whatever is accepted is accepted again as the same amount, at the ends of
// the range too.
TEST(Quantity, canonicalTextIsAFixedPoint) {
  for (const std::string& text : {std::string(35, '9') + "e130", "22." + std::string(60, '7') + "e65", std::string("1000E"),
                                  std::string("1e1000"), std::string(30, '1') + "e902", std::string("9e-9")}) {
    Amount first = amount(text), second = amount(first.text());
    EXPECT_TRUE(first == second) << text << " " << first.text();
    EXPECT_EQ(first.text(), second.text());
  }
  EXPECT_FALSE(parseQuantity(std::string(39, '3')));
  EXPECT_FALSE(parseQuantity("1e1001"));
  EXPECT_FALSE(parseQuantity("1000e999"));
}

TEST(Quantity, values) {
  EXPECT_EQ(amount("1500m").value(), 2);
  EXPECT_EQ(amount("-1500m").value(), -2);
  EXPECT_EQ(amount("1500m").milliValue(), 1500);
  EXPECT_EQ(amount("1Gi").value(), 1 << 30);
  EXPECT_EQ(amount("1n").milliValue(), 1);
  EXPECT_EQ(amount("1e30").value(), INT64_MAX);
  EXPECT_EQ(amount("-1e30").value(), INT64_MIN);
  EXPECT_DOUBLE_EQ(amount("250m").asDouble(), 0.25);
  int64_t whole = 0;
  EXPECT_TRUE(amount("2000m").asInt64(whole));
  EXPECT_EQ(whole, 2);
  EXPECT_FALSE(amount("2500m").asInt64(whole));
  EXPECT_EQ(amount("1234567n").roundUp(-3).text(), "2m");
  EXPECT_EQ(Amount::fromMilli(1500).text(), "1500m");
  EXPECT_EQ(Amount::fromInt64(2048, QuantityFormat::BinarySI).text(), "2Ki");
  EXPECT_EQ(Amount::fromInt64(INT64_MIN).value(), INT64_MIN);
}

TEST(Quantity, arithmetic) {
  EXPECT_EQ((amount("1") + amount("100m")).text(), "1100m");
  EXPECT_EQ((amount("1Gi") + amount("1Mi")).text(), "1025Mi");
  EXPECT_EQ((amount("0") + amount("1Mi")).text(), "1Mi");
  EXPECT_EQ((amount("1") - amount("1")).text(), "0");
  EXPECT_EQ((amount("1") - amount("3500m")).text(), "-2500m");
  EXPECT_EQ((amount("0") - amount("1Ki")).text(), "-1Ki");
  EXPECT_EQ((amount("1e40") + amount("1n")).text().substr(0, 8), "10000000");
  EXPECT_TRUE(amount("1Ki") > amount("1k"));
  EXPECT_TRUE(amount("1000m") == amount("1"));
  EXPECT_TRUE(amount("-1") < amount("1n"));
  EXPECT_TRUE(amount("1e500") > amount("1e499"));
  EXPECT_TRUE(amount("-1e500") < amount("-1"));
}

TEST(Duration, goText) {
  const std::pair<int64_t, const char*> cases[] = {{0, "0s"},
                                                   {1, "1ns"},
                                                   {1100, "1.1\xc2\xb5s"},
                                                   {2'200'000, "2.2ms"},
                                                   {3'300'000'000, "3.3s"},
                                                   {245'000'000'000, "4m5s"},
                                                   {245'001'000'000, "4m5.001s"},
                                                   {18'367'001'000'000, "5h6m7.001s"},
                                                   {480'000'000'001, "8m0.000000001s"},
                                                   {3'600'000'000'000, "1h0m0s"},
                                                   {INT64_MAX, "2562047h47m16.854775807s"},
                                                   {INT64_MIN, "-2562047h47m16.854775808s"}};
  for (auto [nanos, text] : cases) {
    EXPECT_EQ(formatDuration(nanos), text);
    EXPECT_EQ(parseDuration(text).value(), nanos) << text;
  }
  EXPECT_EQ(parseDuration("1.5h30m").value(), 7'200'000'000'000);
  EXPECT_EQ(parseDuration("-.5s").value(), -500'000'000);
  EXPECT_EQ(parseDuration("+5m").value(), 300'000'000'000);
  auto error = [](const char* text) { return parseDuration(text).error().message(); };
  EXPECT_EQ(error(""), "time: invalid duration \"\"");
  EXPECT_EQ(error("3"), "time: missing unit in duration \"3\"");
  EXPECT_EQ(error("1d"), "time: unknown unit \"d\" in duration \"1d\"");
  EXPECT_EQ(error("-"), "time: invalid duration \"-\"");
  EXPECT_EQ(error("."), "time: invalid duration \".\"");
  EXPECT_EQ(error("9223372036854775808ns"), "time: invalid duration \"9223372036854775808ns\"");
  EXPECT_EQ(error("100000000000000000000h"), "time: invalid duration \"100000000000000000000h\"");
}

}  // namespace
}  // namespace knarr::schema
