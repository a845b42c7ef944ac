// Devices: everything of hal that one agent opens, with messages for whoever installs it. Not thread-safe.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/app/config/config.h"
#include "agent/app/kept_source.h"
#include "agent/runtime/join.h"
#include "agent/runtime/mqtt_source.h"
#include "agent/store/model_places.h"
#include "hal/linux/clock.h"
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

/// One configured source of samples: the machine itself, the broker, or one that may be away.
using SourceDevice = std::variant<std::monostate, KeptSource, hal::SystemSource, runtime::MqttSource>;

struct Devices {
  Devices() = default;
  ~Devices();
  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;

  hal::LinuxClock clock;
  hal::LinuxEntropy entropy;
  hal::DeviceIdentity identity;
  hal::PartitionFile boot;
  hal::PartitionFile data;
  std::array<ModelDevices, kMaxModels> models;  ///< In the order of the configuration.
  std::string notice;                           ///< Lines about what is open and not as it should be.
  std::optional<hal::LinuxSystemMetrics> system;
  std::vector<std::unique_ptr<SourceDevice>> sources;  ///< In the order of the configuration.
  std::optional<runtime::Join> join;                   ///< Of several.
  std::optional<runtime::MqttSource> labels;           ///< Late labels over MQTT.
  std::vector<runtime::MqttSource*> inlets;            ///< All that messages go to.
  hal::SampleSource* source = nullptr;                 ///< What they are to the loop.
  /// Readable when a source may have something; -1: they know when by themselves.
  int source_fd() const { return source_events; }
  /// Whether a restart goes on with the row after the last one that a model has seen.
  bool resumes(const Config& config) const;

  int source_events = -1;
};

/// Smallest that is opened.
inline constexpr uint64_t kLeastBootBytes = 32 * 1024, kLeastPartitionBytes = 64 * 1024;

/// What is wrong with a node that is no partition, and what to do. @param error  hal::PartitionFile's, of
/// kInvalidArgument.
std::string WhyUnusable(int error);

/// Opens partitions, identity and readings. False: `*message` says what, why and what to do; nothing was
/// written but partition files that `storage.create` asked for. A model's partitions that cannot be opened
/// are that model's trouble only, unless no model's can be.
bool OpenDevices(const Config& config, Devices* devices, std::string* message);

/// Who asks for a place in boot, in the order of the configuration; points into both.
std::vector<store::PlaceRequest> PlaceRequests(const Config& config, Devices& devices);

/// Starts the sample sources; a single file gives `first_row` first (if the configuration says to resume).
/// What cannot be opened is said and tried again by itself.
void StartSources(const Config& config, uint64_t first_row, Devices* devices);

}  // namespace dipper::app
