// Admission: a chain of small parts that may change an object (first) or refuse it (then).
//
// Upstream counterpart: k8s.io/apiserver/pkg/admission; the order of the parts is that of
// pkg/kubeapiserver/options/plugins.go.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/user.h"
#include "async/task.h"
#include "base/result.h"
#include "schema/object.h"
#include "schema/type_info.h"

namespace knarr::apiserver {

enum class Operation : uint8_t { Create, Update, Delete };

struct AdmissionAttributes {
  Operation operation = Operation::Create;
  const schema::ResourceInfo* resource = nullptr;
  std::string subresource;
  std::string nameSpace;
  std::string name;
  schema::Mut<>* object = nullptr;  // what is written; null for Delete
  schema::Ref<> oldObject;          // what is there; null for Create
  const UserInfo* user = nullptr;
  bool dryRun = false;
  // What plugins keep until the write is over, whatever came of it.
  mutable std::vector<std::shared_ptr<void>> held = {};
};

class AdmissionPlugin {
 public:
  virtual ~AdmissionPlugin() = default;
  virtual std::string_view name() const = 0;
  // The attributes outlive the task.
  virtual async::Task<Result<void>> admit(const AdmissionAttributes& attributes);
  virtual async::Task<Result<void>> validate(const AdmissionAttributes& attributes);
};

class AdmissionChain {
 public:
  void add(std::unique_ptr<AdmissionPlugin> plugin) { plugins_.push_back(std::move(plugin)); }
  // Every plugin's admit, then every plugin's validate, each in order; the first error ends it.
  async::Task<Result<void>> admit(const AdmissionAttributes& attributes);
  async::Task<Result<void>> validate(const AdmissionAttributes& attributes);

 private:
  std::vector<std::unique_ptr<AdmissionPlugin>> plugins_;
};

}  // namespace knarr::apiserver
