// What the fake's containers use: a hundredth of a processor since their start, and one MiB.
#include "cri/fake.h"

namespace knarr::cri {

namespace {
v1::UInt64Value* valueOf(Arena& arena, int64_t number) {
  auto* value = arena.make<v1::UInt64Value>();
  value->value = static_cast<uint64_t>(number);
  return value;
}
}  // namespace

Answer<v1::ListContainerStatsResponse> FakeRuntime::listContainerStats(Mut<v1::ListContainerStatsRequest>) {
  CO_TRY(co_await enter("ListContainerStats", delays.other));
  constexpr int64_t kMemoryBytes = 1 << 20;
  auto answer = schema::newObject<v1::ListContainerStatsResponse>();
  Arena& arena = answer.arena();
  int64_t now = env_.clock.unixNanos();
  for (const auto& [id, container] : containers_) {
    if (container.state != kContainerRunning) continue;
    v1::ContainerStats& item = answer->stats.append(arena);
    item.attributes = arena.make<v1::ContainerAttributes>();
    item.attributes->id = arena.copy(id);
    for (const auto& entry : container.config().labels) schema::set(item.attributes->labels, arena, entry.key, entry.value);
    item.cpu = arena.make<v1::CpuUsage>();
    item.cpu->timestamp = now;
    item.cpu->usageCoreNanoSeconds = valueOf(arena, (now - container.startedAt) / 100);
    item.memory = arena.make<v1::MemoryUsage>();
    item.memory->timestamp = now;
    item.memory->workingSetBytes = valueOf(arena, kMemoryBytes);
  }
  co_return std::move(answer).publish();
}

Answer<v1::ImageFsInfoResponse> FakeRuntime::imageFsInfo() {
  CO_TRY(co_await enter("ImageFsInfo", delays.other));
  auto answer = schema::newObject<v1::ImageFsInfoResponse>();
  v1::FilesystemUsage& usage = answer->imageFilesystems.append(answer.arena());
  usage.timestamp = env_.clock.unixNanos();
  usage.fsId = answer.arena().make<v1::FilesystemIdentifier>();
  usage.fsId->mountpoint = "/";
  co_return std::move(answer).publish();
}

}  // namespace knarr::cri
