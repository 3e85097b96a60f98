// Admission plugins that look other objects up to complete or refuse one: limits, runtime classes, default classes, signers.
#pragma once

#include <memory>

#include "apiserver/admission.h"
#include "apiserver/authorizer.h"
#include "apiserver/registry.h"

namespace knarr::apiserver {

// Source: plugin/pkg/admission/limitranger.
std::unique_ptr<AdmissionPlugin> makeLimitRanger(Registry& registry);
// Claims without a class get the newest default one. Source: plugin/pkg/admission/storage/storageclass/setdefault.
std::unique_ptr<AdmissionPlugin> makeDefaultStorageClass(Registry& registry);
// Source: plugin/pkg/admission/runtimeclass.
std::unique_ptr<AdmissionPlugin> makeRuntimeClassAdmission(Registry& registry);
// Source: plugin/pkg/admission/network/defaultingressclass.
std::unique_ptr<AdmissionPlugin> makeDefaultIngressClass(Registry& registry);
// Who approves or signs a request needs the right for its signer; nobody asks for a client certificate of system:masters.
// Source: plugin/pkg/admission/certificates.
std::unique_ptr<AdmissionPlugin> makeCertificateAdmission(const Authorizer& authorizer);

}  // namespace knarr::apiserver
