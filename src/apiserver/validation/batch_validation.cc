// Jobs and CronJobs. Source: pkg/apis/batch/validation, pkg/registry/batch/job/strategy.go.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "api/batch_v1.h"
#include "apimachinery/labels.h"
#include "apiserver/validation/rules.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"

namespace knarr::apiserver {

using apimachinery::isDns1123Label;
using apimachinery::isQualifiedName;

namespace {

constexpr int32_t kIndexedParallelismMax = 100000;
constexpr size_t kFailureRulesMax = 20, kFailurePatternsMax = 20, kExitCodesMax = 255, kSuccessRulesMax = 20;
constexpr size_t kCronJobNameMax = 52;
constexpr std::string_view kGenerated[] = {"controller-uid", "job-name", "batch.kubernetes.io/controller-uid",
                                           "batch.kubernetes.io/job-name"};

void checkExitCodes(FieldErrors& errors, const FieldPath& path, const batchv1::PodFailurePolicyOnExitCodesRequirement& rule,
                    const corev1::PodSpec& pod) {
  if (rule.operator_.empty())
    errors.push_back(requiredError(path.child("operator"), "valid values: [\"In\" \"NotIn\"]"));
  else
    checkOneOf(errors, path.child("operator"), rule.operator_, {"In", "NotIn"});
  if (rule.containerName) {
    bool known = false;
    for (const auto* list : {&pod.containers, &pod.initContainers})
      for (const auto& container : *list) known = known || container.name == *rule.containerName;
    if (!known)
      errors.push_back(invalidError(path.child("containerName"), *rule.containerName,
                                    "must be one of the container or initContainer names in the pod template"));
  }
  FieldPath values = path.child("values");
  if (rule.values.empty()) errors.push_back(invalidValueError(values, "[]", "at least one value is required"));
  if (rule.values.size() > kExitCodesMax)
    errors.push_back(tooManyError(values, static_cast<int64_t>(rule.values.size()), static_cast<int64_t>(kExitCodesMax)));
  std::set<int32_t> seen;
  for (size_t j = 0; j < rule.values.size(); ++j) {
    int32_t value = rule.values[j];
    if (rule.operator_ == "In" && value == 0)
      errors.push_back(invalidError(values.index(j), int64_t{0}, "must not be 0 for the In operator"));
    if (!seen.insert(value).second)
      errors.push_back({apimachinery::FieldError::Duplicate, values.index(j).str(), fmt::format("Duplicate value: {}", value)});
  }
  if (!std::is_sorted(rule.values.begin(), rule.values.end()))
    errors.push_back(invalidValueError(values, "[]", "must be ordered"));
}

void checkFailurePolicy(FieldErrors& errors, const FieldPath& path, const batchv1::JobSpec& spec) {
  const auto& rules = spec.podFailurePolicy->rules;
  FieldPath all = path.child("rules");
  if (rules.size() > kFailureRulesMax)
    errors.push_back(tooManyError(all, static_cast<int64_t>(rules.size()), static_cast<int64_t>(kFailureRulesMax)));
  for (size_t i = 0; i < rules.size(); ++i) {
    const auto& rule = rules[i];
    FieldPath at = all.index(i);
    if (rule.action.empty())
      errors.push_back(requiredError(at.child("action"), "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"));
    else if (rule.action == "FailIndex" && !spec.backoffLimitPerIndex)
      errors.push_back(invalidError(at.child("action"), rule.action, "requires the backoffLimitPerIndex to be set"));
    else
      checkOneOf(errors, at.child("action"), rule.action, {"Count", "FailIndex", "FailJob", "Ignore"});
    if (rule.onExitCodes && !rule.onPodConditions.empty())
      errors.push_back({apimachinery::FieldError::Invalid, at.str(),
                        "Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"});
    if (!rule.onExitCodes && rule.onPodConditions.empty())
      errors.push_back({apimachinery::FieldError::Invalid, at.str(),
                        "Invalid value: specifying one of OnExitCodes and OnPodConditions is required"});
    if (rule.onExitCodes) checkExitCodes(errors, at.child("onExitCodes"), *rule.onExitCodes, spec.template_.spec);
    FieldPath conditions = at.child("onPodConditions");
    if (rule.onPodConditions.size() > kFailurePatternsMax)
      errors.push_back(
          tooManyError(conditions, static_cast<int64_t>(rule.onPodConditions.size()), static_cast<int64_t>(kFailurePatternsMax)));
    for (size_t j = 0; j < rule.onPodConditions.size(); ++j) {
      const auto& pattern = rule.onPodConditions[j];
      for (const std::string& message : isQualifiedName(pattern.type))
        errors.push_back(invalidError(conditions.index(j).child("type"), pattern.type, message));
      if (pattern.status.empty())
        errors.push_back(requiredError(conditions.index(j).child("status"), "valid values: [\"False\" \"True\" \"Unknown\"]"));
      else
        checkOneOf(errors, conditions.index(j).child("status"), pattern.status, {"False", "True", "Unknown"});
    }
  }
}

void checkIndexed(FieldErrors& errors, const FieldPath& path, const batchv1::JobSpec& spec) {
  if (!spec.completions) errors.push_back(requiredError(path.child("completions"), "when completion mode is Indexed"));
  if (spec.parallelism.valueOr(0) > kIndexedParallelismMax)
    errors.push_back(invalidError(path.child("parallelism"), int64_t{*spec.parallelism},
                                  "must be less than or equal to 100000 when completion mode is Indexed"));
  if (!spec.maxFailedIndexes) return;
  if (spec.completions && *spec.maxFailedIndexes > *spec.completions)
    errors.push_back(invalidError(path.child("maxFailedIndexes"), int64_t{*spec.maxFailedIndexes},
                                  "must be less than or equal to completions"));
  if (*spec.maxFailedIndexes > kIndexedParallelismMax)
    errors.push_back(
        invalidError(path.child("maxFailedIndexes"), int64_t{*spec.maxFailedIndexes}, "must be less than or equal to 100000"));
}

void checkSuccessPolicy(FieldErrors& errors, const FieldPath& path, const batchv1::JobSpec& spec) {
  const auto& rules = spec.successPolicy->rules;
  FieldPath all = path.child("rules");
  if (spec.completionMode.valueOr("") != "Indexed") {
    errors.push_back(invalidValueError(path, "{}", "requires indexed completion mode"));
    return;
  }
  if (rules.empty())
    errors.push_back(requiredError(all, "at least one rules must be specified when the successPolicy is specified"));
  if (rules.size() > kSuccessRulesMax)
    errors.push_back(tooManyError(all, static_cast<int64_t>(rules.size()), static_cast<int64_t>(kSuccessRulesMax)));
  for (size_t i = 0; i < rules.size(); ++i) {
    FieldPath at = all.index(i);
    if (!rules[i].succeededCount && !rules[i].succeededIndexes)
      errors.push_back(requiredError(at, "at least one of succeededCount or succeededIndexes must be specified"));
    nonNegative(errors, at.child("succeededCount"), rules[i].succeededCount);
    if (rules[i].succeededCount && *rules[i].succeededCount > spec.completions.valueOr(0))
      errors.push_back(invalidError(
          at.child("succeededCount"), int64_t{*rules[i].succeededCount},
          fmt::format("must be less than or equal to {} (the number of specified completions)", spec.completions.valueOr(0))));
  }
}

void checkRestartPolicy(FieldErrors& errors, const FieldPath& path, const batchv1::JobSpec& spec) {
  Str policy = spec.template_.spec.restartPolicy;
  if (policy.empty() || policy == "Always")
    errors.push_back(requiredError(path, "valid values: \"OnFailure\", \"Never\""));
  else if (policy != "OnFailure" && policy != "Never")
    errors.push_back(notSupportedError(path, policy, {"OnFailure", "Never"}));
  else if (spec.podFailurePolicy && policy != "Never")
    errors.push_back(invalidError(path, policy, "only \"Never\" is supported when podFailurePolicy is specified"));
}

// What jobs and the templates of CronJobs have in common.
void checkJobSpec(FieldErrors& errors, const FieldPath& path, const batchv1::JobSpec& spec) {
  nonNegative(errors, path.child("parallelism"), spec.parallelism);
  nonNegative(errors, path.child("completions"), spec.completions);
  nonNegative(errors, path.child("activeDeadlineSeconds"), spec.activeDeadlineSeconds);
  nonNegative(errors, path.child("backoffLimit"), spec.backoffLimit);
  nonNegative(errors, path.child("ttlSecondsAfterFinished"), spec.ttlSecondsAfterFinished);
  nonNegative(errors, path.child("backoffLimitPerIndex"), spec.backoffLimitPerIndex);
  nonNegative(errors, path.child("maxFailedIndexes"), spec.maxFailedIndexes);
  if (spec.maxFailedIndexes && !spec.backoffLimitPerIndex)
    errors.push_back(requiredError(path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
  Str mode = spec.completionMode.valueOr("NonIndexed");
  checkOneOf(errors, path.child("completionMode"), mode, {"NonIndexed", "Indexed"});
  if (mode == "Indexed") {
    checkIndexed(errors, path, spec);
  } else {
    if (spec.backoffLimitPerIndex)
      errors.push_back(invalidError(path.child("backoffLimitPerIndex"), int64_t{*spec.backoffLimitPerIndex},
                                    "requires indexed completion mode"));
    if (spec.maxFailedIndexes)
      errors.push_back(
          invalidError(path.child("maxFailedIndexes"), int64_t{*spec.maxFailedIndexes}, "requires indexed completion mode"));
  }
  if (spec.podFailurePolicy) checkFailurePolicy(errors, path.child("podFailurePolicy"), spec);
  if (spec.successPolicy) checkSuccessPolicy(errors, path.child("successPolicy"), spec);
  if (spec.podFailurePolicy)
    checkOneOf(errors, path.child("podReplacementPolicy"), spec.podReplacementPolicy, {"Failed"});
  else
    checkOneOf(errors, path.child("podReplacementPolicy"), spec.podReplacementPolicy, {"Failed", "TerminatingOrFailed"});
  addAll(errors, validatePodTemplateSpec(spec.template_, path.child("template")));
  checkRestartPolicy(errors, path.child("template").child("spec").child("restartPolicy"), spec);
}

// A schedule is five fields, or one of the words; each field is of the characters that cron knows.
std::string scheduleProblem(std::string_view schedule) {
  if (schedule.starts_with("TZ=") || schedule.starts_with("CRON_TZ=")) {
    size_t blank = schedule.find(' ');
    if (blank == std::string_view::npos) return fmt::format("expected exactly 5 fields, found 0: [{}]", schedule);
    schedule = schedule.substr(blank + 1);
  }
  if (schedule.starts_with('@')) {
    static const std::set<std::string_view> kWords{"@yearly", "@annually", "@monthly", "@weekly",
                                                   "@daily",  "@midnight", "@hourly"};
    if (kWords.contains(schedule) || schedule.starts_with("@every ")) return "";
    return fmt::format("unrecognized descriptor: {}", schedule);
  }
  std::vector<std::string> fields;
  for (std::string_view field : split(schedule, ' '))
    if (!field.empty()) fields.emplace_back(field);
  if (fields.size() != 5) return fmt::format("expected exactly 5 fields, found {}: [{}]", fields.size(), join(fields, " "));
  struct Bound {
    int64_t least, most;
  };
  constexpr Bound kBounds[] = {{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}};
  for (size_t i = 0; i < 5; ++i)
    for (std::string_view item : split(fields[i], ',')) {
      std::string_view range = item.substr(0, item.find('/'));
      for (std::string_view part : split(range, '-')) {
        if (part == "*" || part == "?") continue;
        bool word = i >= 3 && part.size() == 3 && part.find_first_of("0123456789") == std::string_view::npos;
        if (word) continue;
        auto number = parseInt(part);
        if (!number || part.empty())
          return fmt::format("failed to parse int from {}: strconv.Atoi: parsing {}: invalid syntax", part, quote(part));
        if (*number < kBounds[i].least)
          return fmt::format("beginning of range ({}) below minimum ({}): {}", *number, kBounds[i].least, item);
        if (*number > kBounds[i].most)
          return fmt::format("end of range ({}) above maximum ({}): {}", *number, kBounds[i].most, item);
      }
    }
  return "";
}

template <class T>
bool samePointers(const T* a, const T* b) {
  return !a == !b && (!a || schema::equal(*a, *b));
}

}  // namespace

void generateJobSelector(Mut<>& object) {
  auto& job = *static_cast<batchv1::Job*>(object.root());
  if (job.spec.manualSelector.valueOr(false)) return;
  Arena& arena = object.arena();
  schema::StringMap& labels = job.spec.template_.metadata.labels;
  for (std::string_view label : kGenerated)
    if (!labels.contains(label))
      schema::set(labels, arena, label, label.ends_with("job-name") ? job.metadata.name : job.metadata.uid);
  if (!job.spec.selector) job.spec.selector = arena.make<metav1::LabelSelector>();
  constexpr std::string_view kUid = "batch.kubernetes.io/controller-uid";
  if (!job.spec.selector->matchLabels.contains(kUid)) schema::set(job.spec.selector->matchLabels, arena, kUid, job.metadata.uid);
}

FieldErrors validateJob(const Mut<>& object) {
  const auto& job = *static_cast<const batchv1::Job*>(object.root());
  FieldErrors errors;
  FieldPath path("spec"), labels = path.child("template").child("metadata").child("labels");
  bool generated = !job.spec.manualSelector.valueOr(false);
  const schema::StringMap& have = job.spec.template_.metadata.labels;
  if (generated) {
    for (std::string_view label : kGenerated) {
      Str expected = label.ends_with("job-name") ? job.metadata.name : job.metadata.uid;
      const Str* found = have.find(label);
      if (!found)
        errors.push_back(requiredError(labels.key(label), fmt::format("must be '{}'", expected)));
      else if (*found != expected)
        errors.push_back(invalidValueError(labels.key(label), printMap(have), fmt::format("must be '{}'", expected)));
    }
  }
  if (!job.spec.selector) {
    errors.push_back(requiredError(path.child("selector")));
  } else {
    checkLabelSelector(errors, path.child("selector"), job.spec.selector);
    auto selector = apimachinery::LabelSelector::from(job.spec.selector);
    if (selector && !selector->matches(have))
      errors.push_back(invalidValueError(labels, printMap(have), "`selector` does not match template `labels`"));
  }
  checkJobSpec(errors, path, job.spec);
  int32_t completions = job.spec.completions.valueOr(0);
  if (job.spec.completionMode.valueOr("") == "Indexed" && completions > 0) {
    std::string last = fmt::format("{}-{}", job.metadata.name, completions - 1);
    if (!isDns1123Label(last).empty())
      errors.push_back(invalidError(FieldPath("metadata").child("name"), job.metadata.name,
                                    fmt::format("will not able to create pod with invalid DNS label: {}", last)));
  }
  return errors;
}

FieldErrors validateJobUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& spec = static_cast<const batchv1::Job*>(object.root())->spec;
  Ref<batchv1::Job> job(oldObject);
  const auto& old = job->spec;
  FieldErrors errors;
  FieldPath path("spec");
  auto fixed = [&](std::string_view field, bool same, std::string_view printed) {
    if (!same) errors.push_back(invalidValueError(path.child(field), printed, kImmutable));
  };
  auto sameNumber = [](const schema::Opt<int32_t>& a, const schema::Opt<int32_t>& b) {
    return a.present == b.present && (!a || *a == *b);
  };
  bool indexed = spec.completionMode.valueOr("") == "Indexed";
  std::string completions = spec.completions ? fmt::format("{}", *spec.completions) : "null";
  if (!indexed)
    fixed("completions", sameNumber(spec.completions, old.completions), completions);
  else if (!sameNumber(spec.completions, old.completions) && !sameNumber(spec.completions, spec.parallelism))
    errors.push_back(
        invalidValueError(path.child("completions"), completions, "can only be modified in tandem with spec.parallelism"));
  fixed("selector", samePointers(spec.selector, old.selector), "{}");
  fixed("completionMode", spec.completionMode.valueOr("") == old.completionMode.valueOr(""),
        quote(spec.completionMode.valueOr("")));
  fixed("podFailurePolicy", samePointers(spec.podFailurePolicy, old.podFailurePolicy), "{}");
  fixed("backoffLimitPerIndex", sameNumber(spec.backoffLimitPerIndex, old.backoffLimitPerIndex), "null");
  fixed("managedBy", spec.managedBy.valueOr("") == old.managedBy.valueOr(""), quote(spec.managedBy.valueOr("")));
  fixed("successPolicy", samePointers(spec.successPolicy, old.successPolicy), "{}");
  bool suspended = old.suspend.valueOr(false) && job->status.active == 0 && !job->status.startTime;
  for (const auto& condition : job->status.conditions)
    suspended = suspended || (condition.type == "Suspended" && condition.status == "True" && old.suspend.valueOr(false) &&
                              job->status.active == 0);
  corev1::PodTemplateSpec rest = spec.template_;
  if (suspended) {
    // What says where and how big may change while nothing runs.
    rest.metadata.labels = old.template_.metadata.labels;
    rest.metadata.annotations = old.template_.metadata.annotations;
    rest.spec.nodeSelector = old.template_.spec.nodeSelector;
    rest.spec.tolerations = old.template_.spec.tolerations;
    rest.spec.schedulingGates = old.template_.spec.schedulingGates;
    rest.spec.affinity = old.template_.spec.affinity;
  }
  if (!schema::equal(rest, old.template_))
    errors.push_back(
        invalidValueError(suspended ? path.child("template").child("spec") : path.child("template"), "{}", kImmutable));
  return errors;
}

FieldErrors validateCronJob(const Mut<>& object) {
  const auto& spec = static_cast<const batchv1::CronJob*>(object.root())->spec;
  FieldErrors errors;
  FieldPath path("spec");
  if (spec.schedule.empty()) {
    errors.push_back(requiredError(path.child("schedule")));
  } else {
    if (std::string why = scheduleProblem(spec.schedule); !why.empty())
      errors.push_back(invalidError(path.child("schedule"), spec.schedule, why));
    if (spec.schedule.find("TZ") != std::string_view::npos)
      errors.push_back(invalidError(path.child("schedule"), spec.schedule,
                                    "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
  }
  nonNegative(errors, path.child("startingDeadlineSeconds"), spec.startingDeadlineSeconds);
  if (spec.timeZone) {
    FieldPath at = path.child("timeZone");
    Str zone = *spec.timeZone;
    if (zone.empty())
      errors.push_back(invalidError(at, zone, "timeZone must be nil or non-empty string"));
    else if (toLower(zone) == "local")
      errors.push_back(
          invalidError(at, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"));
    for (std::string_view part : split(zone, '/'))
      if (!zone.empty() && (part.empty() || part == "." || part == ".." || part.starts_with('-') || part.size() > 14)) {
        errors.push_back(invalidError(at, zone, fmt::format("unknown time zone {}", zone)));
        break;
      }
  }
  requireOneOf(errors, path.child("concurrencyPolicy"), spec.concurrencyPolicy, {"Allow", "Forbid", "Replace"});
  nonNegative(errors, path.child("successfulJobsHistoryLimit"), spec.successfulJobsHistoryLimit);
  nonNegative(errors, path.child("failedJobsHistoryLimit"), spec.failedJobsHistoryLimit);
  FieldPath job = path.child("jobTemplate").child("spec");
  checkJobSpec(errors, job, spec.jobTemplate.spec);
  if (spec.jobTemplate.spec.selector)
    errors.push_back(invalidValueError(job.child("selector"), "{}", "`selector` will be auto-generated"));
  if (spec.jobTemplate.spec.manualSelector.valueOr(false))
    errors.push_back(notSupportedError(job.child("manualSelector"), "true", {"nil", "false"}));
  return errors;
}

FieldErrors validateNewCronJob(const Mut<>& object) {
  FieldErrors errors;
  Str name = schema::metadataOf(object.object())->name;
  if (name.size() > kCronJobNameMax)
    errors.push_back(invalidError(FieldPath("metadata").child("name"), name, "must be no more than 52 characters"));
  return errors;
}

}  // namespace knarr::apiserver
