// ModelRunner: one model of a device: its samples go to champion and challenger, what they answer goes to the
// gate, to alarms and to telemetry, and everything that happens to it is told under its name. Models of one
// device share the loop (agent.h), the trust state and the wire, and nothing else: a fault in one leaves the
// others as they are. One thread calls everything. No heap after construction.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "agent/base/event_limit.h"
#include "agent/runtime/alarm.h"
#include "agent/runtime/anomaly_scorer.h"
#include "agent/runtime/answer_line.h"
#include "agent/runtime/drift_filter.h"
#include "agent/runtime/latency.h"
#include "agent/runtime/metric_batch.h"
#include "agent/runtime/recording/recorder.h"
#include "agent/runtime/recording/snapshot.h"
#include "agent/runtime/reporter.h"
#include "agent/runtime/sample_feed.h"
#include "agent/runtime/storage_watch.h"
#include "agent/runtime/uncertain_queue.h"
#include "agent/telemetry/home_assistant.h"
#include "agent/telemetry/transport.h"
#include "agent/update/updater.h"

namespace dipper::runtime {

struct ModelRunnerConfig {
  std::string_view id;     ///< Outlives the runner.
  uint32_t number = 0;     ///< In the agent's list of models.
  uint8_t place = 0;       ///< In boot and the event log.
  std::string_view truth;  ///< Column for scoring alarms, "" for none; outlives the runner.
  bool publish_predictions = false;
  double labels_per_s = 10;  ///< Most labels a second from the network.
  /// Features whose values may leave the device with the least certain samples, and how many samples wait
  /// for it; 0: none ever leaves. The names outlive the runner.
  std::span<const std::string_view> uncertain_features{};
  size_t uncertain_samples = 0;
  uint64_t max_image_bytes = 0;
  uint64_t slot_bytes = 0;
};

/// All of it outlives the runner.
struct ModelRunnerParts {
  hal::Clock& clock;
  telemetry::Transport& transport;
  Reporter& reporter;
  RunMarker& marker;
  Recorder* recorder = nullptr;        ///< Null: nothing is recorded.
  SnapshotSender* snapshot = nullptr;  ///< Null: nothing may be fetched.
};

class ModelRunner final : public update::UpdateObserver {
 public:
  ModelRunner(const ModelRunnerConfig& config, const ModelRunnerParts& parts);

  /// Before the updater is started: each needs the other at construction. It outlives the runner.
  void Connect(update::Updater& updater) { updater_ = &updater; }
  /// The updater has started. `first_row`: the first record that the champion has not seen; those before it
  /// come again only because another model needs them. `loss`: what served before and could not be read, for
  /// an event; empty: nothing.
  void OnStarted(uint64_t first_row, std::string_view loss = {});

  std::string_view id() const { return config_.id; }
  uint32_t number() const { return config_.number; }
  update::Updater& updater() { return *updater_; }

  // ---- the device's loop
  void Poll(int64_t now_ns);
  /// A header, a sample or a label of the model's source.
  void OnRecord(const hal::Record& record, int64_t now_ns);
  /// Predictions that were asked for and found the wire full.
  uint64_t predictions_dropped() const { return predictions_dropped_; }
  /// To the last record, if it has an origin; empty: none. Valid until the next record.
  std::string_view answer() const { return answer_; }
  /// All components answered for the healthy time: once a start, again after it could not be stored.
  void OnHealthyPeriod();
  void OnConnected();
  /// Monotonic time at which Poll has more to do; 0: not known, nothing that waits.
  int64_t NextDueNs() const { return at_.snapshot != nullptr ? at_.snapshot->NextDueNs() : 0; }
  /// Every event of the wire.
  void OnTransportEvent(const telemetry::TransportEvent& event) {
    if (event.FromBroker()) updater_->OnLinkReached();
    if (at_.snapshot != nullptr) at_.snapshot->OnEvent(event);
  }
  /// What is retained and has changed, as far as the wire takes it.
  void SendDueStates();
  bool TakeBirthDue() { return std::exchange(birth_due_, false); }
  void SendMetrics(int64_t wall_ns);
  /// Of this model in the birth; `features`: room for as many as may be told.
  telemetry::ModelInfo Describe(std::span<telemetry::FeatureInfo> features);
  telemetry::HomeAssistantModel HomeAssistantParts();
  void Stop();

  // ---- what comes for this model
  void OnOffer(base::ByteView document);
  /// A verified command. None, or why it was refused.
  schema::Reason Run(const package::CommandFacts& command);
  /// Why `command` was refused with NotAllowed.
  static std::string_view WhyNotAllowed(std::string_view command);
  /// After a command: the champion's image, for the answer; zero without one.
  base::Digest OnCommandDone(std::string_view command, uint64_t number, schema::Reason reason);
  void OnManifest(const base::Digest& package, base::ByteView head) { updater_->OnManifest(package, head); }
  void OnBlock(const base::Digest& package, uint32_t index, base::ByteView stored) {
    updater_->OnBlock(package, index, stored);
  }

  // ---- from the updater
  void OnUpdateEvent(const update::UpdateEvent& event) override;
  void OnModelsChanged() override {
    models_changed_ = true;
    if (at_.recorder != nullptr) at_.recorder->OnModelsChanged();
  }
  void OnModelCode(const base::Digest& package) override { at_.marker.Enter(config_.number, package); }
  void OnModelCodeEnd() override { at_.marker.Leave(); }
  void OnCheckpoint(const update::Checkpointed& saved) override;
  void OnRestored(const update::Restored& loaded) override;
  void OnRung(store::Rung rung, schema::Reason reason) override;

 private:
  void Send(const telemetry::Event& event) { at_.reporter.Send(event, config_.id, config_.place); }
  void BindModels();
  schema::Reason Freeze(bool frozen);
  void OnSample(const FeedResult& result, bool wanted, int64_t now_ns);
  void ReportDrift(const FeedResult& result, int64_t now_ns);
  void ReportFrozen();
  void ReportStorage(const update::UpdateStatus& status);
  // model_alarms.cc
  void BindAlarm();
  void ReportAnomaly(const FeedResult& result, int64_t now_ns);
  // model_wishes.cc: what the fleet asks to see of single samples.
  void SendPrediction(const FeedResult& result, bool wanted);
  schema::Reason AskPredictions(const package::CommandFacts& command);
  schema::Reason AskUncertain(const package::CommandFacts& command);
  void BindUncertain();
  void KeepUncertain(const FeedResult& result);
  bool SendUncertain();
  void AddChampionMetrics(MetricBatch* batch);
  void AddUpdateMetrics(const update::UpdateStatus& status, MetricBatch* batch);
  bool SendUpdateStatus();

  ModelRunnerConfig config_;
  ModelRunnerParts at_;
  update::Updater* updater_ = nullptr;
  SampleFeed feed_;
  std::unique_ptr<AnomalyScorer> scorer_;  ///< Null: the source knows no truth.
  DriftFilter drift_;
  AlarmFilter alarm_;
  base::Digest alarm_package_;  ///< Whose alarms they are.
  bool alarm_bound_ = false;
  base::EventLimit checkpoint_limit_, data_error_limit_;
  LatencyHistogram latency_;
  UncertainQueue uncertain_;
  base::FixedVector<std::string_view, UncertainQueue::kMaxFeatures> uncertain_names_;
  base::Digest uncertain_package_;  ///< Whose samples they are.
  uint64_t uncertain_asked_ = 0;    ///< Number of the command that is not answered yet; 0: none.
  uint64_t predictions_dropped_ = 0;
  uint64_t predictions_asked_ = 0;                        ///< So many more are to be published.
  uint64_t confirms_ = 0, fall_backs_ = 0, rejects_ = 0;  ///< In this run.
  uint64_t first_row_ = 0;
  uint64_t fed_ = 0;
  bool timing_due_ = false;
  std::array<uint8_t, kAnswerBytes> answer_buffer_;
  std::string_view answer_;
  /// Newest checkpoints of this run's champion and challenger, and when they were written or read.
  struct Saved {
    base::Digest package;
    int64_t at_ns = 0;
  };
  std::array<Saved, 2> saved_{};
  bool models_changed_ = true;
  bool started_ = false;
  bool healthy_ = false;
  StorageWatch checkpoint_watch_;
  bool frozen_ = false;  ///< As last told.
  bool birth_due_ = false;
  bool update_due_ = false;
  bool scored_ = false;
  base::Digest served_image_;
  update::UpdateStatus described_;  ///< Texts that a description points into.
};

}  // namespace dipper::runtime
