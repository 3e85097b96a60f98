// The tables that strategies.cc puts together, one a group of groups.
#pragma once

#include <map>
#include <string>

#include "apiserver/strategy.h"

namespace knarr::apiserver {

// By "resource" (core) or "group/resource".
using StrategyTable = std::map<std::string, Strategy, std::less<>>;

void addCoreStrategies(StrategyTable& table);
void addGroupStrategies(StrategyTable& table);
Strategy podStrategy();

}  // namespace knarr::apiserver
