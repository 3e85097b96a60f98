#include "apiserver/admission.h"

namespace knarr::apiserver {

async::Task<Result<void>> AdmissionPlugin::admit(const AdmissionAttributes&) { co_return Result<void>(); }
async::Task<Result<void>> AdmissionPlugin::validate(const AdmissionAttributes&) { co_return Result<void>(); }

async::Task<Result<void>> AdmissionChain::admit(const AdmissionAttributes& attributes) {
  for (size_t i = 0; i < plugins_.size(); ++i) CO_TRY(co_await plugins_[i]->admit(attributes));
  co_return Result<void>();
}

async::Task<Result<void>> AdmissionChain::validate(const AdmissionAttributes& attributes) {
  for (size_t i = 0; i < plugins_.size(); ++i) CO_TRY(co_await plugins_[i]->validate(attributes));
  co_return Result<void>();
}

}  // namespace knarr::apiserver
