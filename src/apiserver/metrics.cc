#include "apiserver/metrics.h"

#include <fmt/format.h>

#include <set>

#include "base/strings.h"

namespace knarr::apiserver {
namespace {

constexpr int64_t kTicksPerSecond = 100;  // USER_HZ of every Linux on amd64
constexpr int64_t kPageBytes = 4096;

std::string labelText(const RequestLabels& labels) {
  return fmt::format(
      "component=\"apiserver\",dry_run=\"{}\",group=\"{}\",resource=\"{}\",scope=\"{}\",subresource=\"{}\",verb=\"{}\",version="
      "\"{}\"",
      labels.dryRun ? "All" : "", labels.group, labels.resource, labels.scope, labels.subresource, labels.verb, labels.version);
}

void head(std::string& out, std::string_view name, std::string_view help, std::string_view type) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

}  // namespace

Metrics::Metrics(env::Env environment) : env_(environment), startUnixSeconds_(environment.clock.unixSeconds()) {}

void Metrics::count(const RequestLabels& labels, int code, env::Duration took, bool longRunning) {
  ++requests_[{labels, code}];
  if (longRunning) return;
  Histogram& histogram = durations_[labels];
  double seconds = std::chrono::duration<double>(took).count();
  for (size_t i = 0; i < kBuckets.size(); ++i)
    if (seconds <= kBuckets[i]) ++histogram.buckets[i];
  ++histogram.count;
  histogram.sum += seconds;
}

void Metrics::appendRequests(std::string& out) const {
  head(out, "apiserver_current_inflight_requests", "Requests that are being answered now, by whether they change something.",
       "gauge");
  out += fmt::format("apiserver_current_inflight_requests{{request_kind=\"mutating\"}} {}\n", inFlight_[1]);
  out += fmt::format("apiserver_current_inflight_requests{{request_kind=\"readOnly\"}} {}\n", inFlight_[0]);
  head(out, "apiserver_request_total", "Answered requests by what they asked for and the code of the answer.", "counter");
  for (const auto& [key, count] : requests_)
    out += fmt::format("apiserver_request_total{{code=\"{}\",{}}} {}\n", key.second, labelText(key.first), count);
  head(out, "apiserver_request_duration_seconds", "How long answers took.", "histogram");
  for (const auto& [labels, histogram] : durations_) {
    std::string text = labelText(labels);
    for (size_t i = 0; i < kBuckets.size(); ++i)
      out +=
          fmt::format("apiserver_request_duration_seconds_bucket{{{},le=\"{}\"}} {}\n", text, kBuckets[i], histogram.buckets[i]);
    out += fmt::format("apiserver_request_duration_seconds_bucket{{{},le=\"+Inf\"}} {}\n", text, histogram.count);
    out += fmt::format("apiserver_request_duration_seconds_sum{{{}}} {}\n", text, histogram.sum);
    out += fmt::format("apiserver_request_duration_seconds_count{{{}}} {}\n", text, histogram.count);
  }
}

void Metrics::appendObjects(std::string& out, const Registry& registry) const {
  std::string now, before;
  std::set<const ResourceCache*> seen;
  for (const auto& resource : registry.resources()) {
    if (!seen.insert(resource->cache).second) continue;  // another version of the same objects
    size_t count = resource->cache->objects().size();
    now += fmt::format("apiserver_resource_objects{{group=\"{}\",resource=\"{}\"}} {}\n", resource->info->group,
                       resource->info->resource, count);
    before += fmt::format("apiserver_storage_objects{{resource=\"{}\"}} {}\n", groupResource(*resource->info), count);
  }
  head(out, "apiserver_resource_objects", "Stored objects by resource.", "gauge");
  out += now;
  head(out, "apiserver_storage_objects", "Stored objects by resource (older name).", "gauge");
  out += before;
}

void Metrics::appendProcess(std::string& out) const {
  head(out, "process_start_time_seconds", "When the process began, in seconds since 1970.", "gauge");
  out += fmt::format("process_start_time_seconds {}\n", startUnixSeconds_);
  // Where there is no /proc (in simulation), the rest is left out.
  if (auto statm = env_.files.readFile("/proc/self/statm")) {
    auto words = split(*statm, ' ');
    if (words.size() > 1) {
      head(out, "process_resident_memory_bytes", "Memory of the process that is resident.", "gauge");
      out += fmt::format("process_resident_memory_bytes {}\n", parseInt(words[1]).value_or(0) * kPageBytes);
      head(out, "process_virtual_memory_bytes", "Virtual memory of the process.", "gauge");
      out += fmt::format("process_virtual_memory_bytes {}\n", parseInt(words[0]).value_or(0) * kPageBytes);
    }
  }
  if (auto stat = env_.files.readFile("/proc/self/stat")) {
    // The fields after the name, which stands in brackets and may hold blanks: utime and stime are the 12th and 13th.
    size_t close = stat->rfind(')');
    auto words =
        close == std::string::npos ? std::vector<std::string_view>() : split(std::string_view(*stat).substr(close + 2), ' ');
    if (words.size() > 12) {
      int64_t ticks = parseInt(words[11]).value_or(0) + parseInt(words[12]).value_or(0);
      head(out, "process_cpu_seconds_total", "Time that the process computed, for itself and in the kernel.", "counter");
      out += fmt::format("process_cpu_seconds_total {}\n", static_cast<double>(ticks) / static_cast<double>(kTicksPerSecond));
    }
  }
}

std::string Metrics::text(const Registry& registry) const {
  std::string out;
  appendRequests(out);
  appendObjects(out, registry);
  appendProcess(out);
  return out;
}

}  // namespace knarr::apiserver
