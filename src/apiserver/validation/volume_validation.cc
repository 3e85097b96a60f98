// Volumes of pods. Source: pkg/apis/core/validation: validateVolumes, validateVolumeSource.
#include <fmt/format.h>

#include <set>

#include "apiserver/validation/pod_rules.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"
#include "schema/quantity.h"

namespace knarr::apiserver {

using apimachinery::isDns1123Label;
using apimachinery::isDns1123Subdomain;

namespace {

constexpr int32_t kModeMax = 0777;
constexpr int64_t kTokenSecondsMin = 600, kTokenSecondsMax = int64_t{1} << 32;

void checkMode(FieldErrors& errors, const FieldPath& path, const schema::Opt<int32_t>& mode) {
  if (mode && (*mode < 0 || *mode > kModeMax))
    errors.push_back(invalidError(path, int64_t{*mode}, "must be a number between 0 and 0777 (octal), both inclusive"));
}

// A path below the volume that does not look like what the kubelet keeps for itself.
void checkItemPath(FieldErrors& errors, const FieldPath& path, std::string_view text) {
  if (text.empty()) {
    errors.push_back(requiredError(path));
    return;
  }
  checkDescendingPath(errors, path, text);
  if (text.starts_with("..") && !text.starts_with("../") && text != "..")
    errors.push_back(invalidError(path, text, "must not start with '..'"));
}

void checkItems(FieldErrors& errors, const FieldPath& path, const schema::List<corev1::KeyToPath>& items) {
  for (size_t j = 0; j < items.size(); ++j) {
    requireText(errors, path.index(j).child("key"), items[j].key);
    checkItemPath(errors, path.index(j).child("path"), items[j].path);
    checkMode(errors, path.index(j).child("mode"), items[j].mode);
  }
}

void checkDownwardItems(FieldErrors& errors, const FieldPath& path, const schema::List<corev1::DownwardAPIVolumeFile>& items) {
  for (const auto& item : items) {
    checkItemPath(errors, path.child("path"), item.path);
    if (item.fieldRef && item.resourceFieldRef)
      errors.push_back(invalidError(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"));
    else if (item.fieldRef)
      checkObjectField(errors, path.child("fieldRef"), *item.fieldRef,
                       {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"});
    else if (item.resourceFieldRef)
      checkResourceField(errors, path.child("resourceFieldRef"), *item.resourceFieldRef, true);
    else
      errors.push_back(requiredError(path, "one of fieldRef and resourceFieldRef is required"));
    checkMode(errors, path.child("mode"), item.mode);
  }
}

void checkToken(FieldErrors& errors, const FieldPath& source, const FieldPath& projected,
                const corev1::ServiceAccountTokenProjection& token) {
  FieldPath at = source.child("expirationSeconds");
  int64_t seconds = token.expirationSeconds.valueOr(kTokenSecondsMin);
  if (seconds < kTokenSecondsMin) errors.push_back(invalidError(at, seconds, "may not specify a duration less than 10 minutes"));
  if (seconds > kTokenSecondsMax)
    errors.push_back(invalidError(at, seconds, "may not specify a duration larger than 2^32 seconds"));
  checkItemPath(errors, projected.child("path"), token.path);
}

void checkProjected(FieldErrors& errors, const FieldPath& path, const corev1::ProjectedVolumeSource& projected) {
  checkMode(errors, path.child("defaultMode"), projected.defaultMode);
  std::set<std::string_view> paths;
  auto take = [&](std::string_view target, std::string_view printed) {
    if (!target.empty() && !paths.insert(target).second)
      errors.push_back(invalidError(path, printed, "conflicting duplicate paths"));
  };
  for (size_t j = 0; j < projected.sources.size(); ++j) {
    const auto& source = projected.sources[j];
    FieldPath at = path.child("sources").index(j);
    int count = 0;
    auto first = [&](const void* one) {
      if (!one) return false;
      if (count++ == 0) return true;
      forbid(errors, at, "may not specify more than 1 volume type per source");
      return false;
    };
    if (first(source.secret)) {
      requireText(errors, at.child("secret").child("name"), source.secret->localObjectReference.name);
      checkItems(errors, at.child("secret").child("items"), source.secret->items);
      for (const auto& item : source.secret->items) take(item.path, source.secret->localObjectReference.name);
    }
    if (first(source.configMap)) {
      requireText(errors, at.child("configMap").child("name"), source.configMap->localObjectReference.name);
      checkItems(errors, at.child("configMap").child("items"), source.configMap->items);
      for (const auto& item : source.configMap->items) take(item.path, source.configMap->localObjectReference.name);
    }
    if (first(source.downwardAPI)) {
      checkDownwardItems(errors, at.child("downwardAPI"), source.downwardAPI->items);
      for (const auto& item : source.downwardAPI->items) take(item.path, item.path);
    }
    if (first(source.serviceAccountToken)) {
      checkToken(errors, at.child("serviceAccountToken"), path, *source.serviceAccountToken);
      take(source.serviceAccountToken->path, source.serviceAccountToken->path);
    }
  }
}

void checkCsi(FieldErrors& errors, const FieldPath& path, const corev1::CSIVolumeSource& csi) {
  checkCsiDriverName(errors, path.child("driver"), csi.driver);
  if (csi.nodePublishSecretRef)
    requireText(errors, path.child("nodePublishSecretRef").child("name"), csi.nodePublishSecretRef->name);
}

void checkHostPath(FieldErrors& errors, const FieldPath& path, const corev1::HostPathVolumeSource& source) {
  if (source.path.empty()) {
    errors.push_back(requiredError(path.child("path")));
    return;
  }
  for (std::string_view part : split(source.path, '/'))
    if (part == "..") {
      errors.push_back(invalidError(path.child("path"), source.path, "must not contain '..'"));
      break;
    }
  checkOneOf(errors, path.child("type"), source.type,
             {"", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"});
}

void checkSource(FieldErrors& errors, const FieldPath& path, const corev1::Volume& volume, const PodFacts& facts) {
  const corev1::VolumeSource& source = volume.volumeSource;
  int count = 0;
  // Only the first of several is looked into.
  auto first = [&](const void* one, std::string_view name) {
    if (!one) return false;
    if (count++ == 0) return true;
    forbid(errors, path.child(name), "may not specify more than 1 volume type");
    return false;
  };
  if (first(source.emptyDir, "emptyDir") && source.emptyDir->sizeLimit &&
      schema::amountOf(source.emptyDir->sizeLimit.value).sign() < 0)
    forbid(errors, path.child("emptyDir").child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
  if (first(source.hostPath, "hostPath")) checkHostPath(errors, path.child("hostPath"), *source.hostPath);
  if (first(source.gitRepo, "gitRepo"))
    requireText(errors, path.child("gitRepo").child("repository"), source.gitRepo->repository);
  if (first(source.secret, "secret")) {
    FieldPath at = path.child("secret");
    requireText(errors, at.child("secretName"), source.secret->secretName);
    checkMode(errors, at.child("defaultMode"), source.secret->defaultMode);
    checkItems(errors, at.child("items"), source.secret->items);
  }
  if (first(source.nfs, "nfs")) {
    requireText(errors, path.child("nfs").child("server"), source.nfs->server);
    requireText(errors, path.child("nfs").child("path"), source.nfs->path);
    if (!source.nfs->path.starts_with('/'))
      errors.push_back(invalidError(path.child("nfs").child("path"), source.nfs->path, "must be an absolute path"));
  }
  if (first(source.persistentVolumeClaim, "persistentVolumeClaim"))
    requireText(errors, path.child("persistentVolumeClaim").child("claimName"), source.persistentVolumeClaim->claimName);
  if (first(source.downwardAPI, "downwardAPI")) {
    checkMode(errors, path.child("downwardAPI").child("defaultMode"), source.downwardAPI->defaultMode);
    checkDownwardItems(errors, path.child("downwardAPI"), source.downwardAPI->items);
  }
  if (first(source.configMap, "configMap")) {
    FieldPath at = path.child("configMap");
    requireText(errors, at.child("name"), source.configMap->localObjectReference.name);
    checkMode(errors, at.child("defaultMode"), source.configMap->defaultMode);
    checkItems(errors, at.child("items"), source.configMap->items);
  }
  if (first(source.projected, "projected")) checkProjected(errors, path.child("projected"), *source.projected);
  if (first(source.csi, "csi")) checkCsi(errors, path.child("csi"), *source.csi);
  if (first(source.ephemeral, "ephemeral")) {
    FieldPath at = path.child("ephemeral").child("volumeClaimTemplate");
    if (!source.ephemeral->volumeClaimTemplate)
      errors.push_back(requiredError(at));
    else
      addAll(errors, validateClaimSpec(source.ephemeral->volumeClaimTemplate->spec, at.child("spec")));
  }
  if (first(source.image, "image")) {
    if (facts.isPod) requireText(errors, path.child("image").child("reference"), source.image->reference);
    requireOneOf(errors, path.child("image").child("pullPolicy"), source.image->pullPolicy, {"Always", "IfNotPresent", "Never"});
  }
  for (auto [one, name] : {std::pair<const void*, std::string_view>{source.gcePersistentDisk, "gcePersistentDisk"},
                           {source.awsElasticBlockStore, "awsElasticBlockStore"},
                           {source.iscsi, "iscsi"},
                           {source.glusterfs, "glusterfs"},
                           {source.flocker, "flocker"},
                           {source.rbd, "rbd"},
                           {source.cinder, "cinder"},
                           {source.cephfs, "cephfs"},
                           {source.quobyte, "quobyte"},
                           {source.fc, "fc"},
                           {source.flexVolume, "flexVolume"},
                           {source.azureFile, "azureFile"},
                           {source.vsphereVolume, "vsphereVolume"},
                           {source.photonPersistentDisk, "photonPersistentDisk"},
                           {source.portworxVolume, "portworxVolume"},
                           {source.azureDisk, "azureDisk"},
                           {source.storageos, "storageos"},
                           {source.scaleIO, "scaleIO"}})
    first(one, name);
  if (count == 0) errors.push_back(requiredError(path, "must specify a volume type"));
}

}  // namespace

void checkCsiDriverName(FieldErrors& errors, const FieldPath& path, std::string_view name) {
  constexpr size_t kDriverBytesMax = 63;
  if (name.empty()) errors.push_back(requiredError(path));
  if (name.size() > kDriverBytesMax) errors.push_back(tooLongError(path, static_cast<int64_t>(kDriverBytesMax)));
  if (!name.empty())
    for (const std::string& message : isDns1123Subdomain(toLower(name))) errors.push_back(invalidError(path, name, message));
}

void checkVolumes(FieldErrors& errors, const FieldPath& path, PodFacts& facts) {
  for (size_t i = 0; i < facts.spec->volumes.size(); ++i) {
    const auto& volume = facts.spec->volumes[i];
    FieldPath at = path.index(i);
    size_t before = errors.size();
    checkSource(errors, at, volume, facts);
    requireName(errors, at.child("name"), volume.name, isDns1123Label);
    if (facts.volumes.contains(volume.name)) errors.push_back(duplicateError(at.child("name"), volume.name));
    // One that is wrong is not known to the mounts.
    if (errors.size() == before) facts.volumes.emplace(volume.name, &volume);
  }
}

}  // namespace knarr::apiserver
