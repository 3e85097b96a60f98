// Pods from the JSON of their spec, and runtime states in a line each, for table tests.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "api/core_v1.h"
#include "codec/codec.h"
#include "kubelet/runtime_pod.h"

namespace knarr::kubelet {

inline schema::Ref<corev1::Pod> podOf(const std::string& spec, const std::string& more = "") {
  std::string json = fmt::format(
      R"({{"metadata":{{"name":"web","namespace":"shop","uid":"u1"{}}},"spec":{{"restartPolicy":"Always","nodeName":"n1",{}}}}})",
      more, spec);
  auto decoded = codec::decodeJson(schema::typeInfoOf<corev1::Pod>(), json);
  EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().describe()) << " " << json;
  return schema::Ref<corev1::Pod>(std::move(decoded->object).publish());
}

// "name:running", "name:exited=3", "name:created", "name:unknown"; the first listed is the newest.
inline RuntimePod runtimeOf(const std::vector<std::string>& containers, bool sandboxReady = true) {
  RuntimePod runtime;
  runtime.uid = "u1";
  runtime.sandboxes.push_back({"s1", 0, sandboxReady, 1, {"10.0.0.9"}, false});
  int64_t created = 1000;
  for (const std::string& text : containers) {
    ContainerRecord record;
    size_t colon = text.find(':'), equals = text.find('=');
    record.name = text.substr(0, colon);
    std::string state = text.substr(colon + 1, equals == std::string::npos ? equals : equals - colon - 1);
    record.id = fmt::format("{}-{}", record.name, created);
    record.sandboxId = "s1";
    record.createdAt = created--;
    record.startedAt = record.createdAt * 1'000'000'000;
    if (state == "running") record.state = cri::kContainerRunning;
    if (state == "created") record.state = cri::kContainerCreated;
    if (state == "exited") {
      record.state = cri::kContainerExited;
      record.exitCode = std::stoi(text.substr(equals + 1));
      record.reason = record.exitCode == 0 ? "Completed" : "Error";
      record.finishedAt = record.startedAt + 1;
    }
    runtime.containers.push_back(record);
  }
  return runtime;
}

}  // namespace knarr::kubelet
