// What runtimes send on their streams of events, as RuntimeEvent: the CRI's own call (containerd from 1.7, CRI-O), and
// containerd's event service, which 1.6 has too. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "contracts/cri/cri.h"

namespace knarr::cri {

// The message that asks containerd for events of CRI's containers. A container's exit is taken from the deletion of its task
// (/tasks/delete): that is the last step before the CRI plugin changes the state that it tells, tens of milliseconds after
// /tasks/exit. Starts are not asked for: whoever starts a container has the answer.
std::string containerdSubscribeRequest();
// Of an Envelope; nothing for an event that says nothing to us (other namespaces, other topics, an exec that ended).
// Errors: the bytes are no message.
Result<std::optional<RuntimeEvent>> eventOfContainerd(const std::string& envelope);
// Of a ContainerEventResponse; nothing for creations and starts.
Result<std::optional<RuntimeEvent>> eventOfCri(const std::string& response);

}  // namespace knarr::cri
