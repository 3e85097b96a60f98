// Volumes, claims and their classes. Source: pkg/apis/core/validation, pkg/apis/storage/validation.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "api/storage_v1.h"
#include "apiserver/validation/rules.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"
#include "schema/quantity.h"

namespace knarr::apiserver {

using apimachinery::isDns1123Subdomain;
using apimachinery::isQualifiedName;

namespace {

constexpr size_t kParametersMax = 512, kParameterBytesMax = 262144;
constexpr std::string_view kStorageClassAnnotation = "volume.beta.kubernetes.io/storage-class";

void checkAccessModes(FieldErrors& errors, const FieldPath& path, const schema::List<Str>& modes) {
  bool single = false, other = false;
  for (Str mode : modes) {
    checkOneOf(errors, path, mode, {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"});
    (mode == "ReadWriteOncePod" ? single : other) = true;
  }
  if (single && other) forbid(errors, path, "may not use ReadWriteOncePod with other access modes");
}

int countSources(const corev1::PersistentVolumeSource& source) {
  int count = 0;
  const auto& type = schema::typeInfoOf<corev1::PersistentVolumeSource>();
  for (const schema::FieldInfo& field : type.fields)
    count += *reinterpret_cast<void* const*>(reinterpret_cast<const char*>(&source) + field.offset) != nullptr ? 1 : 0;
  return count;
}

template <class Reference>
void checkDataSource(FieldErrors& errors, const FieldPath& path, const Reference& source) {
  requireText(errors, path.child("name"), source.name);
  requireText(errors, path.child("kind"), source.kind);
  Str group = source.apiGroup.valueOr("");
  if (group.empty() && source.kind != "PersistentVolumeClaim")
    errors.push_back(invalidError(path, source.kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"));
  checkName(errors, path.child("apiGroup"), group, isDns1123Subdomain);
}

Str textOf(const schema::Opt<Str>& value) { return value.valueOr(""); }

}  // namespace

FieldErrors validateClaimSpec(const corev1::PersistentVolumeClaimSpec& spec, const FieldPath& path) {
  FieldErrors errors;
  if (spec.accessModes.empty()) errors.push_back(requiredError(path.child("accessModes"), "at least 1 access mode is required"));
  checkLabelSelector(errors, path.child("selector"), spec.selector);
  checkAccessModes(errors, path.child("accessModes"), spec.accessModes);
  FieldPath storage = path.child("resources").key("storage");
  const schema::Quantity* request = spec.resources.requests.find("storage");
  if (!request)
    errors.push_back(requiredError(storage));
  else if (schema::amountOf(*request).sign() <= 0)
    errors.push_back(invalidError(storage, request->text, "must be greater than zero"));
  checkName(errors, path.child("storageClassName"), textOf(spec.storageClassName), isDns1123Subdomain);
  checkOneOf(errors, path.child("volumeMode"), spec.volumeMode, {"Block", "Filesystem"});
  if (spec.dataSource) checkDataSource(errors, path.child("dataSource"), *spec.dataSource);
  if (spec.dataSourceRef) checkDataSource(errors, path.child("dataSourceRef"), *spec.dataSourceRef);
  checkName(errors, path.child("volumeAttributesClassName"), textOf(spec.volumeAttributesClassName), isDns1123Subdomain);
  return errors;
}

FieldErrors validatePersistentVolumeClaim(const Mut<>& object) {
  return validateClaimSpec(static_cast<const corev1::PersistentVolumeClaim*>(object.root())->spec, FieldPath("spec"));
}

FieldErrors validatePersistentVolumeClaimUpdate(const Mut<>& object, const Ref<>& oldObject) {
  Ref<corev1::PersistentVolumeClaim> old(oldObject);
  Mut<corev1::PersistentVolumeClaim> next = schema::newObject<corev1::PersistentVolumeClaim>();
  schema::deepCopy(object.type(), next.root(), object.root(), next.arena());
  FieldErrors errors;
  FieldPath path("spec");
  Str annotated = schema::valueOf(old->metadata.annotations, kStorageClassAnnotation);
  const schema::Quantity* asked = next->spec.resources.requests.find("storage");
  const schema::Quantity* had = old->spec.resources.requests.find("storage");
  const schema::Quantity* capacity = old->status.capacity.find("storage");
  if (asked && had && schema::amountOf(*asked) < schema::amountOf(*had) && capacity &&
      schema::amountOf(*asked) <= schema::amountOf(*capacity))
    forbid(errors, path.child("resources").child("requests").child("storage"), "field can not be less than status.capacity");
  if (textOf(next->spec.volumeMode) != textOf(old->spec.volumeMode))
    errors.push_back(invalidError(FieldPath("volumeMode"), textOf(next->spec.volumeMode), kImmutable));
  if (!textOf(old->status.currentVolumeAttributesClassName).empty()) {
    FieldPath at = path.child("volumeAttributesClassName");
    if (!next->spec.volumeAttributesClassName)
      forbid(errors, at, "update to nil is forbidden when status.currentVolumeAttributesClassName is not nil");
    else if ((*next->spec.volumeAttributesClassName).empty())
      forbid(errors, at, "update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil");
  }
  // What may change is made equal; the rest must be.
  if (old->spec.volumeName.empty()) next->spec.volumeName = {};
  if (!old->spec.storageClassName && next->spec.storageClassName &&
      (annotated.empty() || annotated == *next->spec.storageClassName))
    next->spec.storageClassName.clear();
  if (old->status.phase == "Bound") {
    if (asked && had) *next->spec.resources.requests.find("storage") = *had;
    next->spec.volumeAttributesClassName = old->spec.volumeAttributesClassName;
  }
  next->spec.volumeMode = old->spec.volumeMode;
  if (!schema::equal(next->spec, old->spec))
    forbid(errors, path,
           "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims");
  return errors;
}

FieldErrors validatePersistentVolumeClaimStatusUpdate(const Mut<>& object, const Ref<>&) {
  const auto& claim = *static_cast<const corev1::PersistentVolumeClaim*>(object.root());
  FieldErrors errors;
  if (claim.spec.accessModes.empty()) errors.push_back(requiredError(FieldPath("Spec").child("accessModes")));
  auto check = [&](std::string_view field, const schema::Map<schema::Quantity>& list) {
    for (const auto& [name, quantity] : list)
      if (schema::amountOf(quantity).sign() < 0)
        errors.push_back(invalidError(FieldPath("status").child(field).key(name), schema::amountOf(quantity).value(),
                                      "must be a valid resource quantity"));
  };
  check("capacity", claim.status.capacity);
  check("allocatedResources", claim.status.allocatedResources);
  return errors;
}

FieldErrors validatePersistentVolume(const Mut<>& object) {
  const auto& spec = static_cast<const corev1::PersistentVolume*>(object.root())->spec;
  const auto& source = spec.persistentVolumeSource;
  FieldErrors errors;
  FieldPath path("spec");
  if (spec.accessModes.empty()) errors.push_back(requiredError(path.child("accessModes")));
  checkAccessModes(errors, path.child("accessModes"), spec.accessModes);
  if (spec.capacity.empty()) errors.push_back(requiredError(path.child("capacity")));
  if (!spec.capacity.empty() && (!spec.capacity.contains("storage") || spec.capacity.size() > 1))
    errors.push_back({apimachinery::FieldError::NotSupported, path.child("capacity").str(),
                      "Unsupported value: supported values: \"storage\""});
  for (const auto& [name, quantity] : spec.capacity) {
    FieldPath at = path.child("capacity").key(name);
    schema::Amount amount = schema::amountOf(quantity);
    if (amount.sign() < 0) errors.push_back(invalidError(at, amount.value(), "must be a valid resource quantity"));
    if (amount.sign() <= 0) errors.push_back(invalidError(at, quantity.text, "must be greater than zero"));
  }
  checkOneOf(errors, path.child("persistentVolumeReclaimPolicy"), spec.persistentVolumeReclaimPolicy,
             {"Delete", "Recycle", "Retain"});
  if (spec.nodeAffinity) {
    FieldPath required = path.child("nodeAffinity").child("required");
    if (!spec.nodeAffinity->required)
      errors.push_back(requiredError(required, "must specify required node constraints"));
    else
      checkNodeSelector(errors, required, *spec.nodeAffinity->required);
  }
  int sources = countSources(source);
  if (sources == 0) errors.push_back(requiredError(path, "must specify a volume type"));
  if (sources > 1) forbid(errors, path, "may not specify more than 1 volume type");
  if (source.hostPath) requireText(errors, path.child("hostPath").child("path"), source.hostPath->path);
  if (source.nfs) {
    requireText(errors, path.child("nfs").child("server"), source.nfs->server);
    requireText(errors, path.child("nfs").child("path"), source.nfs->path);
  }
  if (source.local) {
    requireText(errors, path.child("local").child("path"), source.local->path);
    if (!spec.nodeAffinity) errors.push_back(requiredError(path.child("nodeAffinity"), "Local volume requires node affinity"));
  }
  if (source.csi) {
    checkCsiDriverName(errors, path.child("csi").child("driver"), source.csi->driver);
    requireText(errors, path.child("csi").child("volumeHandle"), source.csi->volumeHandle);
  }
  if (source.hostPath && source.hostPath->path == "/" && spec.persistentVolumeReclaimPolicy == "Recycle")
    forbid(errors, path.child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'");
  checkName(errors, path.child("storageClassName"), spec.storageClassName, isDns1123Subdomain);
  checkOneOf(errors, path.child("volumeMode"), spec.volumeMode, {"Block", "Filesystem"});
  if (spec.volumeAttributesClassName) {
    FieldPath at = path.child("volumeAttributesClassName");
    if ((*spec.volumeAttributesClassName).empty()) errors.push_back(requiredError(at, "an empty string is disallowed"));
    checkName(errors, at, *spec.volumeAttributesClassName, isDns1123Subdomain);
    if (!source.csi)
      errors.push_back(requiredError(path.child("csi"), "has to be specified when using volumeAttributesClassName"));
  }
  return errors;
}

FieldErrors validatePersistentVolumeUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& spec = static_cast<const corev1::PersistentVolume*>(object.root())->spec;
  const auto& old = Ref<corev1::PersistentVolume>(oldObject)->spec;
  FieldErrors errors;
  if (!schema::equal(spec.persistentVolumeSource, old.persistentVolumeSource))
    forbid(errors, FieldPath("spec").child("persistentvolumesource"), "spec.persistentvolumesource is immutable after creation");
  if (textOf(spec.volumeMode) != textOf(old.volumeMode))
    errors.push_back(invalidError(FieldPath("volumeMode"), textOf(spec.volumeMode), kImmutable));
  bool same = spec.nodeAffinity && old.nodeAffinity ? schema::equal(*spec.nodeAffinity, *old.nodeAffinity) : !old.nodeAffinity;
  if (!same)
    errors.push_back(
        invalidValueError(FieldPath("nodeAffinity"), "{}", "field is immutable, except for updating from beta label to GA"));
  if (old.volumeAttributesClassName && !spec.volumeAttributesClassName)
    forbid(errors, FieldPath("spec").child("volumeAttributesClassName"), "update from non-nil value to nil is forbidden");
  return errors;
}

FieldErrors validateStorageClass(const Mut<>& object) {
  const auto& storageClass = *static_cast<const storagev1::StorageClass*>(object.root());
  FieldErrors errors;
  requireText(errors, FieldPath("provisioner"), storageClass.provisioner);
  if (!storageClass.provisioner.empty())
    for (const std::string& message : isQualifiedName(toLower(storageClass.provisioner)))
      errors.push_back(invalidError(FieldPath("provisioner"), storageClass.provisioner, message));
  FieldPath parameters("parameters");
  if (storageClass.parameters.size() > kParametersMax) {
    errors.push_back(tooLongError(parameters, static_cast<int64_t>(kParametersMax)));
  } else {
    size_t bytes = 0;
    for (const auto& [key, value] : storageClass.parameters) {
      if (key.empty()) errors.push_back(invalidError(parameters, "", "field can not be empty."));
      bytes += key.size() + value.size();
    }
    if (bytes > kParameterBytesMax) errors.push_back(tooLongError(parameters, static_cast<int64_t>(kParameterBytesMax)));
  }
  checkOneOf(errors, FieldPath("reclaimPolicy"), storageClass.reclaimPolicy.valueOr(""), {"Delete", "Retain"});
  if (!storageClass.volumeBindingMode)
    errors.push_back(requiredError(FieldPath("volumeBindingMode")));
  else
    checkOneOf(errors, FieldPath("volumeBindingMode"), storageClass.volumeBindingMode, {"Immediate", "WaitForFirstConsumer"});
  for (size_t i = 0; i < storageClass.allowedTopologies.size(); ++i) {
    const auto& term = storageClass.allowedTopologies[i];
    for (size_t j = 0; j < term.matchLabelExpressions.size(); ++j) {
      FieldPath at = FieldPath("allowedTopologies").index(i).child("matchLabelExpressions").index(j);
      const auto& expression = term.matchLabelExpressions[j];
      for (const std::string& message : isQualifiedName(expression.key))
        errors.push_back(invalidError(at.child("key"), expression.key, message));
      if (expression.values.empty()) errors.push_back(requiredError(at.child("values")));
      std::set<std::string_view> values;
      for (size_t k = 0; k < expression.values.size(); ++k)
        if (!values.insert(expression.values[k]).second)
          errors.push_back(duplicateError(at.child("values").index(k), expression.values[k]));
    }
  }
  return errors;
}

FieldErrors validateStorageClassUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& now = *static_cast<const storagev1::StorageClass*>(object.root());
  Ref<storagev1::StorageClass> old(oldObject);
  FieldErrors errors;
  bool sameParameters = now.parameters.size() == old->parameters.size();
  for (const auto& [key, value] : now.parameters)
    sameParameters = sameParameters && schema::valueOf(old->parameters, key) == value;
  if (!sameParameters) errors.push_back(invalidValueError(FieldPath("parameters"), printMap(now.parameters), kImmutable));
  auto fixed = [&](const char* field, Str a, Str b) {
    if (a != b) errors.push_back(invalidError(FieldPath(field), a, kImmutable));
  };
  fixed("provisioner", now.provisioner, old->provisioner);
  fixed("reclaimPolicy", textOf(now.reclaimPolicy), textOf(old->reclaimPolicy));
  fixed("volumeBindingMode", textOf(now.volumeBindingMode), textOf(old->volumeBindingMode));
  return errors;
}

}  // namespace knarr::apiserver
