// What was told, and a process's objects.
#include "tests/fault/store/told.h"

namespace dipper::store {
namespace {

void Mix(uint64_t* hash, uint64_t value) {
  *hash = (*hash ^ value) * 0x9E3779B97F4A7C15;
  *hash ^= *hash >> 32;
}

uint64_t Head(const base::Digest& digest) { return base::Load<uint64_t>(digest.bytes.data()); }

}  // namespace

/// Two states with the same media but different promises are different states.
uint64_t Told::Fingerprint() const {
  uint64_t hash = 1;
  for (const base::Digest* digest : {&champion, &in_flight, &staged}) Mix(&hash, Head(*digest));
  for (const auto* set : {&confirmed, &denied, &allowed, &ended}) {
    for (const DigestBytes& digest : *set) Mix(&hash, Head(base::Digest{digest}));
    Mix(&hash, set->size());
  }
  for (const auto& [digest, count] : samples) Mix(&hash, count);
  for (const bool flag : {leaving, stage_begun, recorded, ladder, erased, forgotten, offer.in_flight,
                          command.in_flight, transfer.in_flight, time.in_flight, root.in_flight}) {
    Mix(&hash, flag ? 1 : 0);
  }
  Mix(&hash, floor.epoch);
  Mix(&hash, floor.version);
  Mix(&hash, trial_starts);
  Mix(&hash, offer.reported.number);
  Mix(&hash, command.reported.number * 4 + static_cast<uint64_t>(command.reported.state));
  Mix(&hash, time.reported);
  Mix(&hash, root.reported.size());
  for (const uint8_t byte : transfer.reported.bitmap) hash += byte;
  Mix(&hash, events.empty() ? 0 : events.rbegin()->first);
  Mix(&hash, newest_event);
  Mix(&hash, backlog.size());
  Mix(&hash, backlog.empty() ? 0 : backlog.rbegin()->first);
  Mix(&hash, next_entry);
  return hash;
}

Session::Session(StoreWorld& world, const Told& told) : world_(world), store_(world.NewStore()) {
  if (told.trust) {
    counters_ = std::make_unique<Counters>(world.boot);
    roots_ = std::make_unique<RootStore>(world.boot);
  }
  if (told.rings) {
    log_ = std::make_unique<EventLog>(world.data);
    backlog_ = std::make_unique<Backlog>(world.data);
  }
}

base::Result<StartDecision> Session::Start(const LastRun& last) {
  if (counters_ != nullptr) DIPPER_RETURN_IF_ERROR(counters_->Load());
  if (roots_ != nullptr) DIPPER_RETURN_IF_ERROR(roots_->Open());
  if (log_ != nullptr) DIPPER_RETURN_IF_ERROR(log_->Open());
  if (backlog_ != nullptr) DIPPER_RETURN_IF_ERROR(backlog_->Open());
  return store_->Start(last);
}

Run Session::MakeRun(Told& told) {
  return {world_, *store_, told, counters_.get(), roots_.get(), log_.get(), backlog_.get()};
}

void TakeReport(const StartDecision& decision, const BootRecord& record, Told* told) {
  if (decision.serve != SlotId::kNone) told->confirmed.insert(decision.digest.bytes);
  told->champion = decision.digest;
  told->in_flight = {};
  if (told->leaving) told->samples.clear();  // a reset that had begun may have erased them
  told->leaving = false;
  told->recorded = true;
  told->floor = std::max(told->floor, record.floor);
  for (const DeniedEntry& entry : record.denied) {
    if (!entry.digest.IsZero()) told->denied.insert(entry.digest.bytes);
  }
  if (decision.trial) ++told->trial_starts;
  if (!record.HasTrial()) told->staged = {};
  if (decision.trial_ended) told->ended.insert(decision.ended_digest.bytes);
}

}  // namespace dipper::store
