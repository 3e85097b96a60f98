// The keys and certificates of a cluster, made once and kept on disk.
//
// Source of names and usages: kubeadm's certificate layout (kubernetes.io/docs/setup/best-practices/certificates).
#pragma once

#include <string>

#include "cluster/cluster.h"
#include "wire/pki.h"

namespace knarr::cluster {

struct Certificates {
  wire::KeyAndCertificate authority;
  wire::KeyAndCertificate apiServer;      // serves the API
  wire::KeyAndCertificate kubeletServer;  // serves logs and exec
  wire::KeyAndCertificate kubeletClient;  // how the API server calls kubelets
  wire::KeyAndCertificate admin;          // system:masters
  std::string serviceAccountKeyPem;
};

// Reads them from the configuration directory, making what is not there. Blocks for some milliseconds.
Result<Certificates> ensureCertificates(env::Env environment, const ClusterConfig& config);

// A kubeconfig for one user of this cluster.
std::string kubeconfigText(const ClusterConfig& config, const Certificates& certificates, const wire::KeyAndCertificate& user,
                           const std::string& userName);
// Puts cluster, user and context into an existing kubeconfig text ("" for none) and makes the context current; removal
// takes them out again. Invalid when the text is no kubeconfig.
Result<std::string> mergeKubeconfig(const std::string& existing, const std::string& ours, const std::string& name);
Result<std::string> removeFromKubeconfig(const std::string& existing, const std::string& name);

}  // namespace knarr::cluster
