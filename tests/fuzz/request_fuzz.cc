// What a client says before its body is read: the URL, its query, a bearer token, a certificate. No input harms; what was
// understood has a verb; a token that was taken apart is never verified without its signature.
#include <cstdint>
#include <string_view>

#include "apiserver/request_info.h"
#include "base/assert.h"
#include "wire/pki.h"

using namespace knarr;

namespace {

const std::string& publicKey() {
  static const std::string key = *wire::publicKeyPem(*wire::makeEcKey());
  return key;
}

void checkUrl(std::string_view method, std::string_view target) {
  size_t mark = target.find('?');
  auto query = apiserver::Query::parse(mark == std::string_view::npos ? "" : target.substr(mark + 1));
  if (!query) return;
  auto info = apiserver::resolveRequestInfo(method, target.substr(0, mark), *query);
  if (info) ASSERT(!info->verb.empty());
  (void)query->flag("watch");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const char* methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"};
  checkUrl(methods[data[0] % 6], text);
  (void)wire::splitJwt(text);
  ASSERT(!wire::verifyJwt(publicKey(), text));  // nobody guesses a signature
  return 0;
}
