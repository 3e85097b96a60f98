// Which directories of the host were not there before the cluster, so that `down` takes exactly those away.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "env/env.h"

namespace knarr::cluster {

// Writes into `record` which of `directories` and of those above them are absent now, beside what it names already: an `up` that
// was cut short or is repeated forgets nothing. Makes the directory that holds the record. Paths are absolute.
Result<void> recordAbsentDirectories(env::Files& files, const std::string& record, const std::vector<std::string>& directories);

// What the record names, the deepest first; none without a record.
std::vector<std::string> recordedDirectories(env::Files& files, const std::string& record);

// Removes those that are empty. What holds something of somebody else stays.
void removeEmptyDirectories(env::Files& files, const std::vector<std::string>& directories);

}  // namespace knarr::cluster
