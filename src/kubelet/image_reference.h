// Names of images: [HOST[:PORT]/]PATH[:TAG][@DIGEST].
// Source: github.com/distribution/reference (grammar, normalizing), pkg/util/parsers.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace knarr::kubelet {

// The name as it is asked for from a runtime: "busybox" becomes "busybox:latest". Errors (Invalid): `couldn't parse image name
// "Bad//name": invalid reference format`.
Result<std::string> withDefaultTag(std::string_view image);

}  // namespace knarr::kubelet
