// The far client: the same calls as the near one, over HTTPS to an API server elsewhere.
//
// Objects travel as protobuf; watches are length-prefixed protobuf frames. One HTTP/2 connection carries requests and
// watches. remove() answers with null where the server says no more than that it succeeded.
// Upstream counterpart: k8s.io/client-go/rest.
#pragma once

#include <memory>
#include <string>

#include "client/client.h"
#include "env/env.h"
#include "wire/tls.h"

namespace knarr::client {

struct FarClientOptions {
  std::string address;                          // "10.0.0.1:6443" or a name with a port
  std::shared_ptr<wire::TlsClientContext> tls;  // CA of the server, and our certificate if we have one; null: plain HTTP
  std::string serverName;                       // what the server's certificate must name; "" takes the host of `address`
  std::string bearerToken;                      // sent over TLS only; "" sends none
  std::string userAgent = "knarr";
};

std::unique_ptr<Client> makeFarClient(env::Env environment, FarClientOptions options);

// The path of a resource: /api/v1/namespaces/NS/pods/NAME/status. Parts are percent-encoded.
std::string pathOf(const ResourceInfo& resource, const std::string& nameSpace, const std::string& name);

}  // namespace knarr::client
