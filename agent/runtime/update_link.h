// UpdateLink: what the updater says and asks for, handed to the agent: events to the reporter, wishes for
// package blocks as topic filters. Not thread-safe. It exists because updater and agent each need the other
// at construction.
#pragma once

#include "agent/runtime/agent.h"

namespace dipper::runtime {

class UpdateLink final : public update::UpdateObserver, public update::BlockTransport {
 public:
  /// @param fleet  Outlives this.
  explicit UpdateLink(std::string_view fleet) : fleet_(fleet) {}
  /// Before the updater is started.
  void Connect(Agent& agent) { agent_ = &agent; }

  void OnUpdateEvent(const update::UpdateEvent& event) override { agent_->OnUpdateEvent(event); }
  void OnModelsChanged() override { agent_->OnModelsChanged(); }
  void WantManifest(const base::Digest& package) override {
    agent_->WantTopic(telemetry::ManifestTopic(fleet_, package));
  }
  void WantGroup(const base::Digest& package, uint32_t group) override {
    agent_->WantTopic(telemetry::BlockGroupFilter(fleet_, package, group));
  }
  void WantBlock(const base::Digest& package, uint32_t block) override {
    agent_->WantTopic(telemetry::BlockTopic(fleet_, package, block));
  }
  void Done(const base::Digest& package) override {
    (void)package;  // at most one package is wanted at a time
    agent_->WantNothing();
  }

 private:
  std::string_view fleet_;
  Agent* agent_ = nullptr;
};

}  // namespace dipper::runtime
