// Devices: everything of hal that one agent opens, with messages for whoever installs it. Not thread-safe.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <variant>

#include "agent/app/config.h"
#include "hal/linux/clock.h"
#include "hal/linux/csv_replay.h"
#include "hal/linux/iio_source.h"
#include "hal/linux/line_source.h"
#include "hal/linux/partition_file.h"
#include "hal/linux/system.h"
#include "hal/linux/system_source.h"

namespace dipper::app {

/// The partitions of one model.
struct ModelDevices {
  hal::PartitionFile slot_a;
  hal::PartitionFile slot_b;
  hal::PartitionFile factory;
  bool has_factory = false;
  std::string trouble;  ///< Why they cannot be used; empty: they can.
};

struct Devices {
  hal::LinuxClock clock;
  hal::LinuxEntropy entropy;
  hal::DeviceIdentity identity;
  hal::PartitionFile boot;
  hal::PartitionFile data;
  std::array<ModelDevices, kMaxModels> models;  ///< In the order of the configuration.
  std::optional<hal::LinuxSystemMetrics> system;
  /// The one kind that the configuration names, and what it is to the loop.
  std::variant<std::monostate, hal::CsvReplay, hal::LineSource, hal::SystemSource, hal::IioSource>
      source_kind;
  hal::SampleSource* source = nullptr;
  /// Readable when the source may have something; -1: it knows when by itself.
  int source_fd() const;
};

/// Opens partitions, identity and readings. False: `*message` says what, why and what to do; nothing was
/// written but partition files that `storage.create` asked for. A model's partitions that cannot be opened
/// are that model's trouble only, unless no model's can be.
bool OpenDevices(const Config& config, Devices* devices, std::string* message);

/// Opens the sample source, which gives `first_row` first (if the configuration says to resume). Same result.
bool OpenSource(const Config& config, uint64_t first_row, Devices* devices, std::string* message);

}  // namespace dipper::app
