// What an update changed, read straight from the structs: the comparison that compareTyped makes of the JSON of both, without
// encoding or parsing anything. Every write is compared, so this is on the way of all of them.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "apimachinery/patch/typed.h"

namespace knarr::apimachinery {

// `before` is null for an object that is new. Fields of the object itself named in `unchanged` count as equal. Nothing when a
// list has items that cannot be told apart; compareTyped says what is wrong with it. Empty lists and maps that are written
// equal those that are null.
std::optional<Comparison> compareStructs(const schema::TypeInfo& type, const void* before, const void* after,
                                         std::span<const std::string_view> unchanged = {});

}  // namespace knarr::apimachinery
