// StoreBacklogRing: the store's backlog as the outbox wants to see it. Not thread-safe.
#pragma once

#include "agent/store/backlog.h"
#include "agent/telemetry/outbox.h"

namespace dipper::app {

class StoreBacklogRing final : public telemetry::BacklogRing {
 public:
  explicit StoreBacklogRing(store::Backlog& backlog) : backlog_(backlog) {}
  base::Status Append(base::ByteView entry) override;
  base::Result<Entry> Peek(uint64_t from, base::MutableBytes buffer) override;
  base::Status Drop(uint64_t position) override { return backlog_.Drop(position); }
  uint64_t oldest_position() override { return backlog_.oldest(); }
  uint64_t entries() override { return backlog_.entries(); }
  uint64_t dropped_total() override { return backlog_.dropped_total(); }

 private:
  store::Backlog& backlog_;
};

}  // namespace dipper::app
