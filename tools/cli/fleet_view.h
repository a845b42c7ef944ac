// FleetView: what a watcher knows of each device from the messages it has seen. Input is hostile: whatever
// does not decode is counted and ignored. Not thread-safe.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "agent/base/bytes.h"
#include "agent/schema/telemetry_generated.h"
#include "agent/telemetry/topics.h"

namespace dipper::cli {

/// Which sequences of one session have come.
class SequenceTracker {
 public:
  void Add(uint64_t sequence);
  uint64_t received() const { return received_; }  ///< Different ones.
  uint64_t highest() const { return highest_; }
  /// Not come yet, between the first one seen and the highest.
  uint64_t missing() const { return gaps_.size() + gaps_uncounted_; }

 private:
  static constexpr size_t kMaxGaps = 100000;
  uint64_t lowest_ = 0;
  uint64_t highest_ = 0;
  uint64_t received_ = 0;
  uint64_t gaps_uncounted_ = 0;  // beyond kMaxGaps: never filled again
  std::set<uint64_t> gaps_;
};

struct DeviceView {
  std::string state = "?";  ///< online, offline
  std::string model;
  std::string package;  ///< Name and version that serve.
  std::string update;   ///< Word of the update state, with progress or reason.
  uint64_t samples = 0;
  double loss = std::numeric_limits<double>::quiet_NaN();
  double trivial_loss = std::numeric_limits<double>::quiet_NaN();
  std::string last_event;
  std::map<uint64_t, SequenceTracker> sessions;

  uint64_t missing() const;
};

class FleetView {
 public:
  /// Empty: every device.
  explicit FleetView(std::set<std::string> devices) : wanted_(std::move(devices)) {}

  /// Takes a message in. False: of no device that is watched, or not readable.
  bool Add(const telemetry::ParsedTopic& topic, base::ByteView payload);

  const std::map<std::string, DeviceView>& devices() const { return devices_; }
  uint64_t unreadable() const { return unreadable_; }

 private:
  static constexpr size_t kMaxDevices = 10000;
  bool AddMessage(DeviceView& device, base::ByteView payload, bool live);

  std::set<std::string> wanted_;
  std::map<std::string, DeviceView> devices_;
  uint64_t unreadable_ = 0;
};

}  // namespace dipper::cli
