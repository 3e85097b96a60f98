#include <gtest/gtest.h>

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "schema/object.h"

namespace knarr::schema {
namespace {

Mut<corev1::Pod> samplePod() {
  auto pod = newObject<corev1::Pod>();
  Arena& arena = pod.arena();
  pod->metadata.name = pod.str("web");
  set(pod->metadata.labels, arena, "app", "web");
  set(pod->metadata.labels, arena, "a", "1");
  corev1::Container& container = pod->spec.containers.append(arena);
  container.name = pod.str("main");
  container.resources.limits.at(arena, "cpu").text = pod.str("100m");
  container.livenessProbe = arena.make<corev1::Probe>();
  container.livenessProbe->probeHandler.httpGet = arena.make<corev1::HTTPGetAction>();
  container.livenessProbe->probeHandler.httpGet->port = {true, 0, pod.str("http")};
  pod->spec.terminationGracePeriodSeconds = 30;
  return pod;
}

TEST(Engine, copiesShareNothing) {
  Mut<corev1::Pod> pod = samplePod();
  Ref<corev1::Pod> copy;
  {
    Ref<corev1::Pod> first = std::move(pod).publish();
    copy = edit(first).publish();
    EXPECT_NE(first->spec.containers.begin(), copy->spec.containers.begin());
    EXPECT_NE(first->metadata.name.data(), copy->metadata.name.data());
    EXPECT_TRUE(equal(*first, *copy));
  }
  EXPECT_EQ(copy->metadata.name, "web");
  EXPECT_EQ(valueOf(copy->metadata.labels, "app"), "web");
  EXPECT_EQ(copy->metadata.labels.entries[0].key, "a");
  EXPECT_EQ(copy->spec.containers[0].livenessProbe->probeHandler.httpGet->port.stringValue, "http");
  EXPECT_EQ(copy->spec.containers[0].resources.limits.find("cpu")->text, "100m");
  EXPECT_EQ(*copy->spec.terminationGracePeriodSeconds, 30);
}

TEST(Engine, equalitySeesEveryShape) {
  auto differs = [](auto change) {
    Mut<corev1::Pod> a = samplePod(), b = samplePod();
    EXPECT_TRUE(equal(*a, *b));
    change(b);
    return !equal(*a, *b);
  };
  using P = Mut<corev1::Pod>;
  EXPECT_TRUE(differs([](P& p) { p->metadata.name = "x"; }));
  EXPECT_TRUE(differs([](P& p) { set(p->metadata.labels, p.arena(), "app", "x"); }));
  EXPECT_TRUE(differs([](P& p) { p->metadata.labels.erase("app"); }));
  EXPECT_TRUE(differs([](P& p) { p->spec.containers[0].resources.limits.find("cpu")->text = "1"; }));
  EXPECT_TRUE(differs([](P& p) { p->spec.terminationGracePeriodSeconds.clear(); }));
  EXPECT_TRUE(differs([](P& p) { p->spec.terminationGracePeriodSeconds = 0; }));
  EXPECT_TRUE(differs([](P& p) { p->spec.containers[0].livenessProbe = nullptr; }));
  EXPECT_TRUE(differs([](P& p) { p->spec.containers[0].livenessProbe->probeHandler.httpGet->port = {false, 80, ""}; }));
  EXPECT_TRUE(differs([](P& p) { p->spec.containers.append(p.arena()); }));
  EXPECT_TRUE(differs([](P& p) { p->metadata.creationTimestamp = Time::fromUnix(1); }));
  EXPECT_FALSE(differs([](P& p) { p->spec.volumes.reserve(p.arena(), 4); }));  // nil equals empty
}

TEST(Engine, zero) {
  Mut<corev1::Pod> pod = newObject<corev1::Pod>();
  EXPECT_TRUE(isZero(typeInfoOf<corev1::Pod>(), pod.root()));
  pod->status.podIP = "10.0.0.1";
  EXPECT_FALSE(isZero(typeInfoOf<corev1::Pod>(), pod.root()));
  EXPECT_TRUE(isZero(typeInfoOf<corev1::PodSpec>(), &pod->spec));
  pod->spec.nodeSelector.entries.reserve(pod.arena(), 0);
  EXPECT_FALSE(isZero(typeInfoOf<corev1::PodSpec>(), &pod->spec));  // empty is not nil
}

TEST(Engine, metadata) {
  Mut<void> pod = samplePod();
  EXPECT_EQ(metadataOf(pod).name, "web");
  EXPECT_EQ(listMetadataOf(pod.object()), nullptr);
  Mut<void> list(typeInfoOf<corev1::PodList>());
  EXPECT_EQ(metadataOf(list.object()), nullptr);
  listMetadataOf(list.object())->resourceVersion = "7";
  EXPECT_EQ(static_cast<corev1::PodList*>(list.root())->metadata.resourceVersion, "7");
}

TEST(Engine, declaredDefaults) {
  Mut<corev1::Pod> pod = newObject<corev1::Pod>();
  Arena& arena = pod.arena();
  corev1::Container& container = pod->spec.containers.append(arena);
  container.ports.append(arena).containerPort = 80;
  container.ports.append(arena).protocol = "UDP";
  container.livenessProbe = arena.make<corev1::Probe>();
  container.livenessProbe->probeHandler.grpc = arena.make<corev1::GRPCAction>();
  corev1::Volume& volume = pod->spec.volumes.append(arena);
  volume.volumeSource.azureDisk = arena.make<corev1::AzureDiskVolumeSource>();
  volume.volumeSource.azureDisk->fsType = Str("xfs");
  applyDeclaredDefaults(pod.type(), pod.root(), arena);
  EXPECT_EQ(container.ports[0].protocol, "TCP");
  EXPECT_EQ(container.ports[1].protocol, "UDP");
  EXPECT_TRUE(container.livenessProbe->probeHandler.grpc->service.present);
  EXPECT_EQ(*volume.volumeSource.azureDisk->fsType, "xfs");
  EXPECT_EQ(*volume.volumeSource.azureDisk->kind, "Shared");
  EXPECT_TRUE(volume.volumeSource.azureDisk->readOnly.present);
  EXPECT_FALSE(*volume.volumeSource.azureDisk->readOnly);
}

}  // namespace
}  // namespace knarr::schema
