// ModelUnit: one model of the device with everything that is its own: partitions, image memory, updater,
// runner. Its memory is taken at construction. Not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/app/config/config.h"
#include "agent/app/devices.h"
#include "agent/app/kill_point.h"
#include "agent/runtime/block_turns.h"
#include "agent/runtime/model_runner.h"
#include "agent/telemetry/outbox.h"
#include "agent/update/updater.h"

namespace dipper::app {

/// In the message of a model whose storage a newer agent has written.
inline constexpr const char* kNewerAgent = "it was written by a newer agent; install that one again";

/// A line on stderr.
void Say(const std::string& text);

/// What the models of a device share; all of it outlives them.
struct SharedParts {
  const Config& config;
  Devices& devices;
  telemetry::Transport& transport;
  telemetry::Outbox& outbox;
  runtime::BlockTurns& turns;
  runtime::Reporter& reporter;
  runtime::RunMarker& marker;
  update::Trust& trust;
  const package::GroupKeys& group_keys;
  uint64_t session = 0;
};

class ModelUnit final : private update::UpdateObserver {
 public:
  /// @param number  Of the model in the configuration.
  /// @param place   In boot.
  ModelUnit(const SharedParts& shared, uint32_t number, uint32_t place);

  const std::string& id() const { return config_.id; }
  uint32_t place() const { return place_; }
  ModelDevices& devices() { return devices_; }
  update::Updater& updater() { return updater_; }
  runtime::ModelRunner& runner() { return runner_; }
  /// Null: nothing is recorded.
  runtime::Recorder* recorder() { return recorder_.get(); }
  /// Update steps so far: what they needed can be given back some time later.
  uint64_t events() const { return events_; }

  /// Repairs, chooses and loads. Unless kOk `*message` says why this model does not run. kUnimplemented: its
  /// storage was written by a newer agent, and nothing was changed.
  base::Status Start(const store::LastRun& last, std::string* message);
  /// What served before this start, and could not be read at it: "pump 1 (1f0c22ab91d4) in slot A is damaged
  /// or gone". Empty: nothing, or another model has taken its place since.
  std::string_view lost() { return updater_.Status().champion == after_loss_ ? lost_ : std::string_view(); }
  /// First record that its champion has not seen; 0: from the beginning.
  uint64_t FirstRow();
  /// Of the champion, for a line on stderr: "name version", "no model yet", or what was lost.
  std::string ServingText();

 private:
  // One line on stderr for each update step, then on to the runner.
  void OnUpdateEvent(const update::UpdateEvent& event) override;
  void OnModelsChanged() override { runner_.OnModelsChanged(); }
  void OnModelCode(const base::Digest& package) override { runner_.OnModelCode(package); }
  void OnModelCodeEnd() override { runner_.OnModelCodeEnd(); }
  void OnLeaving(schema::UpdateState state) override { MaybeKill(state, "exit"); }
  void OnCheckpoint(const update::Checkpointed& saved) override { runner_.OnCheckpoint(saved); }
  void OnRestored(const update::Restored& loaded) override { runner_.OnRestored(loaded); }
  void OnRung(store::Rung rung, schema::Reason reason) override {
    stepped_down_ = true;
    runner_.OnRung(rung, reason);
  }

  std::string FindLoss(const base::Result<store::BootRecord>& before);

  /// 16-byte aligned and zeroed.
  class ImageMemory {
   public:
    explicit ImageMemory(uint64_t bytes) : blocks_(static_cast<size_t>(base::AlignUp(bytes, 16) / 16)) {}
    base::MutableBytes bytes() { return {blocks_.data()->bytes, blocks_.size() * sizeof(Block)}; }

   private:
    struct alignas(16) Block {
      uint8_t bytes[16] = {};
    };
    std::vector<Block> blocks_;
  };

  const ModelConfig& config_;
  ModelDevices& devices_;
  uint32_t place_;
  std::string prefix_;  ///< Of lines on stderr: which model, when there are several.
  uint64_t events_ = 0;
  bool stepped_down_ = false;  ///< In this run: that is told by itself.
  std::string lost_;
  base::Digest after_loss_;  ///< What serves since then; zero: nothing.
  hal::Partition& boot_;
  ImageMemory first_image_, second_image_;
  std::unique_ptr<store::RecorderRing> recorder_ring_;
  std::unique_ptr<runtime::Recorder> recorder_;
  std::unique_ptr<runtime::SnapshotSender> snapshot_;
  std::vector<std::string_view> uncertain_features_;
  runtime::ModelRunner runner_;
  update::Updater updater_;
};

/// Where model `number` records. kNotFound: nothing is recorded. kResourceExhausted: there is no room.
base::Result<store::RecorderArea> RecorderAreaOf(const Config& config, const hal::Geometry& data,
                                                 uint32_t number);
/// Why there is no room, for a line on stderr; empty: there is, or nothing is to be recorded.
std::string RecorderProblem(const Config& config, const hal::Geometry& data);

/// Why the partitions of model `id` cannot be used: they cannot be opened, or hold a package of another
/// model. Slots of two models that were exchanged in the configuration must not look like damaged ones.
/// Empty: they can.
std::string TroubleOf(ModelDevices& devices, const std::string& id);

}  // namespace dipper::app
