#include "kubelet/image_reference.h"

#include <gtest/gtest.h>

#include <string>

namespace knarr::kubelet {
namespace {

const std::string kDigest = "@sha256:" + std::string(64, 'a');

TEST(ImageReference, getsTheDefaultTag) {
  for (const char* bare :
       {"busybox", "library/busybox", "r.io:5000/x", "localhost/a", "[::1]:5000/x", "UPPER/x", "a/b-c__d/e.f_g", "a--b"})
    EXPECT_EQ(withDefaultTag(bare).value_or(""), std::string(bare) + ":latest");
  for (const std::string& whole : {std::string("r.io:5000/x:1"), "x" + kDigest, "x:v1.2_3" + kDigest, std::string("a/b:_t")})
    EXPECT_EQ(withDefaultTag(whole).value_or(""), whole);
}

TEST(ImageReference, isRefusedByUpstreamsRules) {
  struct Case {
    std::string image, wrong;
  };
  const Case kCases[] = {
      {"", "invalid reference format"},
      {"Bad//name", "invalid reference format"},
      {"a b", "invalid reference format"},
      {"/x", "invalid reference format"},
      {"x:", "invalid reference format"},
      {"x/", "invalid reference format"},
      {"a..b", "invalid reference format"},
      {"a___b", "invalid reference format"},
      {"-a", "invalid reference format"},
      {"a-", "invalid reference format"},
      {"x:" + std::string(129, 't'), "invalid reference format"},
      {"x@sha256:0", "invalid reference format"},
      {"x@" + std::string(64, 'a'), "invalid reference format"},
      {"-r.io/x", "invalid reference format"},
      {"r.io:port/x", "invalid reference format"},
      {"Upper", "invalid reference format: repository name (library/Upper) must be lowercase"},
      {"r.io/a/Upper:1", "invalid reference format: repository name (a/Upper) must be lowercase"},
      {std::string(64, 'a'),
       "invalid repository name (" + std::string(64, 'a') + "), cannot specify 64-byte hexadecimal strings"},
      {"r.io/" + std::string(260, 'a'), "repository name must not be more than 255 characters"},
  };
  for (const Case& one : kCases) {
    auto full = withDefaultTag(one.image);
    ASSERT_FALSE(full) << one.image;
    EXPECT_EQ(full.error().message(), "couldn't parse image name \"" + one.image + "\": " + one.wrong);
  }
}

}  // namespace
}  // namespace knarr::kubelet
