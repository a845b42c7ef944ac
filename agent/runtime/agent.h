// Agent: the main loop of a device over interfaces: what arrives goes to the models it is for, records go to
// every model of their source, what is due is sent and synced. What happens inside one model is in
// model_runner.h. No main, no Paho, no Linux here; agent/app wires it. One thread calls everything. No heap
// after construction.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "agent/base/event_limit.h"
#include "agent/base/fixed.h"
#include "agent/runtime/block_turns.h"
#include "agent/runtime/health.h"
#include "agent/runtime/metric_batch.h"
#include "agent/runtime/model_runner.h"
#include "agent/runtime/mqtt_source.h"
#include "agent/runtime/reporter.h"
#include "agent/runtime/storage_watch.h"
#include "agent/store/backlog.h"
#include "agent/telemetry/transport.h"
#include "agent/update/trust.h"
#include "hal/api/clock.h"
#include "hal/api/sample_source.h"
#include "hal/api/system_metrics.h"

namespace dipper::runtime {

struct AgentConfig {
  std::string_view fleet;
  std::string_view device;
  std::span<const std::string_view> groups;
  int64_t telemetry_interval_ns = 0;
  int64_t healthy_after_ns = 0;
  std::string_view home_assistant{};  ///< Prefix of its discovery topics; empty: it is told nothing.
  std::string_view hardware{};        ///< For it, as the next.
  std::string_view agent_version{};
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
  BlockTurns& turns;
  /// Sources whose records come as messages; `source` or `labels` gives their records.
  std::span<MqttSource* const> inlets{};
  hal::SampleSource* labels = nullptr;  ///< Late labels beside `source`; null: none.
};

class Agent {
 public:
  Agent(const AgentConfig& config, const AgentParts& parts);

  /// A model whose updater has started; it outlives the agent. At most store::kMaxModels, in the order of
  /// their numbers.
  void Add(ModelRunner& model);

  /// One turn: what has arrived, what is due. Never blocks on the network; writes to storage may wait for the
  /// medium.
  /// @returns monotonic time at which the next turn is due at the latest.
  int64_t Step();

  /// How the run before this one ended; None: as planned. Unknown without a call.
  void SetLastEnd(schema::Reason reason) { last_end_ = static_cast<double>(reason); }

  /// Who answers and who does not; whoever owns another part of the process adds it.
  Answers& answers() { return health_.answers(); }

  /// A command has everything erased, and its answer is out, or would not go out: whoever owns the process
  /// ends it without Stop and starts it anew; the start erases before anything else.
  bool WipeDue() const { return wipe_due_; }

  /// Planned stop: checkpoints, tries given back, backlog saved, "offline" said if there is a connection.
  void Stop();

 private:
  void DrainTransport();
  void OnConnected();
  bool OnMessage(const telemetry::TransportEvent& message);
  void OnCommand(base::ByteView document);
  void OnRoot(base::ByteView document);
  void Answer(telemetry::CommandResponse response, ModelRunner* about);
  void Refuse(const update::Trust::Ticket& ticket);
  void BeginWipe(const package::CommandFacts& facts, telemetry::CommandResponse* response);
  void PollWipe(int64_t now_ns);
  ModelRunner* Find(std::string_view model);
  ModelRunner* WhoWants(const base::Digest& package);
  void SubscribeWanted();
  void SendDueStates();
  // agent_sources.cc
  void FeedRecords(int64_t now_ns);
  bool FeedRecord(hal::SampleSource& source, int64_t now_ns);
  void TakeMessage(const telemetry::TransportEvent& message);
  hal::SourceTotals SourceTotals() const;
  void ReportSources(int64_t now_ns);
  void ReportTrouble(int64_t now_ns);
  void SendMetrics(int64_t now_ns);
  void AddDeviceMetrics(MetricBatch* batch);
  void AddLinkMetrics(MetricBatch* batch);
  void ReportDrops(int64_t now_ns);
  void ReportCap();
  void ReportRoot();
  void TickBudget(int64_t now_ns);
  void SyncStorage(int64_t now_ns);
  void ReportStorage(int64_t now_ns);
  bool SendBirth();
  void SendDiscovery();

  AgentConfig config_;
  AgentParts at_;
  telemetry::DeviceTopics topics_;
  base::FixedVector<ModelRunner*, store::kMaxModels> models_;
  base::FixedVector<uint32_t, store::kMaxModels> answers_of_models_;
  Health health_;
  base::EventLimit drop_limit_, source_limit_, trouble_limit_;
  base::FixedString<telemetry::kMaxTextBytes> source_trouble_;  ///< As it was told.
  base::EventLimit repeat_limit_, junk_limit_;  ///< Of commands not carried out: signed ones, and all others.
  uint64_t commands_refused_ = 0;
  uint32_t root_told_ = 0;  ///< Version of the root whose expiry was told.
  hal::SourceTotals sources_told_;
  int64_t started_ns_ = 0;
  int64_t next_metrics_ns_ = 0;
  int64_t next_sync_ns_ = 0;
  StorageWatch data_watch_;
  uint64_t sync_failures_ = 0;
  int64_t next_reminder_ns_ = 0;
  uint64_t synced_ = 0;  // sum of the log's and backlog's positions at the last sync
  uint64_t drops_told_ = 0;
  double last_end_ = std::numeric_limits<double>::quiet_NaN();
  int64_t next_tick_ns_ = 0, next_tally_ns_ = 0;
  uint64_t capped_told_ = 0;
  uint64_t cap_day_ = UINT64_MAX;  ///< The day of which the cap was told,
  bool cap_told_hard_ = false;     ///< and whether also that its bytes are spent.
  uint64_t wipe_ = 0;              ///< Number of the command; 0: none.
  int64_t wipe_by_ns_ = 0;
  bool wipe_told_ = false;
  bool wipe_due_ = false;
  bool online_due_ = false;
  bool birth_due_ = false;
  size_t discovered_ = SIZE_MAX;  ///< Entities told to Home Assistant since the last birth.
  bool source_ended_ = false;
  bool subscribe_due_ = false;
  size_t subscribed_ = 0;  ///< Filters of this connection that were asked for.
};

}  // namespace dipper::runtime
