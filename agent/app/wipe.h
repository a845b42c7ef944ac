// Wipe: erases what a device has learned and holds, after the signed command of that name and before anything
// else of a start. Not thread-safe. Heap: as its values need.
#pragma once

#include <string>

#include "agent/app/config/config.h"
#include "agent/app/devices.h"
#include "agent/base/status.h"
#include "agent/store/counters.h"

namespace dipper::app {

/// Erases the slots of every model of the configuration, with packages, images and checkpoints, and the whole
/// of `data`: event log, backlog, recordings. Boot records go back to the factory model, or to none; floor,
/// denied digests, trust root, trusted time and the numbers of offers and commands stay, so that nothing that
/// was signed before counts again. What was under way of an offer has failed. Safe to cut at any point and to
/// do again.
///
/// Cost: one pass of writes over slots and data.
/// @param counters  Loaded; its `wipe` stays for whoever tells the end.
/// @param left      Models whose partitions are not open, so that nothing of them could be erased; for
/// people.
/// @returns kUnavailable, kResourceExhausted: a medium did not take it; do it again.
base::Status Wipe(const Config& config, Devices& devices, store::Counters& counters, std::string* left);

}  // namespace dipper::app
