// Forwarding; a position of the outbox is a sequence of the store.
#include "agent/app/backlog_ring.h"

namespace dipper::app {

base::Status StoreBacklogRing::Append(base::ByteView entry) {
  const auto sequence = backlog_.Append(0, entry);
  return sequence.ok() ? base::Status::kOk : sequence.status();
}

base::Result<telemetry::BacklogRing::Entry> StoreBacklogRing::Peek(uint64_t from, base::MutableBytes buffer) {
  DIPPER_ASSIGN_OR_RETURN(const store::BacklogEntry entry, backlog_.Peek(from, buffer));
  return Entry{.position = entry.sequence, .bytes = entry.payload};
}

}  // namespace dipper::app
