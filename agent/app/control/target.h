// ControlTarget: what the control socket works on: the running agent's models, log and readings, looked up
// anew for every request. agent/app/app.cc implements it. Not thread-safe: called from the agent's loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "agent/runtime/recording/recorder.h"
#include "agent/store/event_log.h"
#include "agent/update/updater.h"
#include "hal/api/partition.h"

namespace dipper::app {

/// One model of the device. Views and pointers live as long as the agent.
struct ControlModel {
  std::string_view id;
  update::Updater* updater = nullptr;
  hal::Partition* slot_a = nullptr;
  hal::Partition* slot_b = nullptr;
  hal::Partition* factory = nullptr;      ///< Null: there is none.
  runtime::Recorder* recorder = nullptr;  ///< Null: nothing is recorded.
  std::string_view lost{};                ///< As ModelUnit::lost.
};

/// Readings of the running agent.
struct ControlReadings {
  std::string device, fleet, broker;
  std::string link_error;  ///< Of the last failed connection; empty: none.
  bool connected = false;
  std::string source;          ///< What the samples come from.
  std::string source_trouble;  ///< Why one of them gives nothing; empty: they work.
  bool clock_synchronized = false;
  int64_t wall_ns = 0;          ///< Now, as the system tells it.
  uint64_t trusted_time_s = 0;  ///< Signed documents say that it is at least that late; 0: none yet.
  uint32_t root_version = 0;    ///< Of the trust root in force; 0: there is none, or it is not known.
  int64_t root_expires_s = 0;   ///< Seconds since 1970.
  bool root_expired = false;    ///< By a synchronized clock: no offer or command is taken.
  int64_t uptime_ns = 0;        ///< Of this run of the agent.
  int64_t healthy_after_s = 0;  ///< From health.healthy_after_s.
};

class ControlTarget {
 public:
  virtual size_t ControlModelCount() = 0;
  /// @param index  < ControlModelCount(); the model's place in the boot partition.
  virtual ControlModel ControlModelAt(size_t index) = 0;
  virtual ControlReadings ReadForControl() = 0;
  virtual store::EventLog& ControlLog() = 0;
  /// An operator on this device asked for something: for log and telemetry.
  virtual void OnOperator(std::string_view model, std::string_view what, schema::Reason outcome) = 0;

 protected:
  ~ControlTarget() = default;
};

}  // namespace dipper::app
