// Agent: the main loop of a device over interfaces: samples to models, labels to the gate, everything that
// happens to store and telemetry, messages to the updater. No main, no Paho, no Linux here; agent/app wires
// it. One thread calls everything. No heap after construction.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "agent/runtime/anomaly_scorer.h"
#include "agent/runtime/drift_filter.h"
#include "agent/runtime/health.h"
#include "agent/runtime/latency.h"
#include "agent/runtime/metric_batch.h"
#include "agent/runtime/reporter.h"
#include "agent/runtime/sample_feed.h"
#include "agent/store/backlog.h"
#include "agent/telemetry/transport.h"
#include "agent/update/trust.h"
#include "agent/update/updater.h"
#include "hal/api/clock.h"
#include "hal/api/sample_source.h"
#include "hal/api/system_metrics.h"

namespace dipper::runtime {

struct AgentConfig {
  std::string_view fleet;
  std::string_view device;
  std::span<const std::string_view> groups;
  std::string_view model;
  std::string_view truth;  ///< Column for scoring alarms, "" for none.
  bool publish_predictions = false;
  uint64_t max_image_bytes = 0;
  uint64_t slot_bytes = 0;
  int64_t telemetry_interval_ns = 0;
  int64_t healthy_after_ns = 0;
};

/// What the agent works with; all of it outlives the agent.
struct AgentParts {
  hal::Clock& clock;
  hal::SampleSource& source;
  hal::SystemMetrics& system;
  telemetry::Transport& transport;
  telemetry::Outbox& outbox;
  Reporter& reporter;
  store::Backlog& backlog;
  store::EventLog& log;
  update::Trust& trust;
  update::Updater& updater;
  RunMarker& marker;
};

/// What this run has done, for metrics.
struct AgentCounters {
  uint64_t confirms = 0;
  uint64_t fall_backs = 0;
  uint64_t rejects = 0;
};

class Agent {
 public:
  Agent(const AgentConfig& config, const AgentParts& parts);

  /// One turn: what has arrived, what is due. Never blocks on the network; writes to storage may wait for the
  /// medium.
  /// @returns monotonic time at which the next turn is due at the latest.
  int64_t Step();

  /// Planned stop: checkpoint, try given back, backlog saved, "offline" said if there is a connection.
  void Stop();

  // From the updater, by way of agent/app's observer and agent/runtime's own wishes.
  void OnUpdateEvent(const update::UpdateEvent& event);
  void OnModelsChanged() { models_changed_ = true; }
  void WantTopic(const telemetry::Topic& filter);
  void WantNothing();

 private:
  void DrainTransport();
  void OnConnected();
  void OnMessage(const telemetry::TransportEvent& message);
  void OnCommand(base::ByteView document);
  schema::Reason RunCommand(const package::CommandFacts& command);
  void SubscribeWanted();
  void SendDueStates();
  void FeedSamples(int64_t now_ns);
  void OnSample(const FeedResult& result, int64_t now_ns);
  void ReportAnomaly(const FeedResult& result);
  void ReportDrift(const FeedResult& result, int64_t now_ns);
  void SendPrediction(const FeedResult& result);
  void SendMetrics();
  void AddChampionMetrics(MetricBatch* batch);
  void AddUpdateMetrics(const update::UpdateStatus& status, MetricBatch* batch);
  void AddDeviceMetrics(MetricBatch* batch);
  void SyncStorage(int64_t now_ns);
  bool SendBirth();
  bool SendUpdateStatus();

  AgentConfig config_;
  AgentParts at_;
  telemetry::DeviceTopics topics_;
  SampleFeed feed_;
  AnomalyScorer scorer_;
  Health health_;
  DriftFilter drift_;
  LatencyHistogram latency_;
  AgentCounters counters_;
  int64_t started_ns_ = 0;
  int64_t next_metrics_ns_ = 0;
  int64_t next_sync_ns_ = 0;
  uint64_t fed_ = 0;
  uint64_t synced_ = 0;  // sum of the log's and backlog's positions at the last sync
  bool models_changed_ = true;
  bool healthy_ = false;
  bool online_due_ = false;
  bool birth_due_ = false;
  bool update_due_ = false;
  bool source_ended_ = false;
  bool scored_ = false;
  bool subscribe_due_ = false;
  telemetry::Topic wanted_;  ///< Filter of the package topics wanted now; empty: none.
  base::Digest served_image_;
};

}  // namespace dipper::runtime
