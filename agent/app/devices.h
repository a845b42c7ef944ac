// Devices: everything of hal that one agent opens, with messages for whoever installs it. Not thread-safe.
#pragma once

#include <optional>
#include <string>

#include "agent/app/config.h"
#include "hal/linux/clock.h"
#include "hal/linux/csv_replay.h"
#include "hal/linux/partition_file.h"
#include "hal/linux/system.h"

namespace dipper::app {

struct Devices {
  hal::LinuxClock clock;
  hal::LinuxEntropy entropy;
  hal::DeviceIdentity identity;
  hal::PartitionFile boot;
  hal::PartitionFile data;
  hal::PartitionFile slot_a;
  hal::PartitionFile slot_b;
  hal::PartitionFile factory;
  bool has_factory = false;
  std::optional<hal::LinuxSystemMetrics> system;
  std::optional<hal::CsvReplay> source;
};

/// Opens partitions, identity and readings. False: `*message` says what, why and what to do; nothing was
/// written but partition files that `storage.create` asked for.
bool OpenDevices(const Config& config, Devices* devices, std::string* message);

/// Opens the sample source, which gives `first_row` first (if the configuration says to resume). Same result.
bool OpenSource(const Config& config, uint64_t first_row, Devices* devices, std::string* message);

}  // namespace dipper::app
