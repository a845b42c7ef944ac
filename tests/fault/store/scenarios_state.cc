// Trust state (roots, counters) and the rings on `data`.
#include "tests/fault/store/scenario_parts.h"

namespace dipper::store {
namespace {

using base::Ok;
using base::Status;

/// Looks like a signed document to the store: bytes.
Bytes RootDocument(uint8_t version, size_t bytes) { return Bytes(bytes, version); }

Status StoreRoot(Run& run, const Bytes& document) {
  run.told.root.Begin(document);
  DIPPER_RETURN_IF_ERROR(run.roots->Store(document));
  run.told.root.Done();
  return Status::kOk;
}

Status SetOffer(Run& run, const OfferState& offer) {
  run.told.offer.Begin(offer);
  DIPPER_RETURN_IF_ERROR(run.counters->SetOffer(0, offer));
  run.told.offer.Done();
  return Status::kOk;
}

Status SetTransfer(Run& run, const TransferState& transfer) {
  run.told.transfer.Begin(transfer);
  DIPPER_RETURN_IF_ERROR(run.counters->SetTransfer(0, transfer));
  run.told.transfer.Done();
  return Status::kOk;
}

Status SetCommand(Run& run, const CommandRecord& command) {
  run.told.command.Begin(command);
  const bool begins = command.state == CommandState::kStarted;
  DIPPER_RETURN_IF_ERROR(begins ? run.counters->BeginCommand(command.number)
                                : run.counters->FinishCommand(command.number, command.result));
  run.told.command.Done();
  return Status::kOk;
}

Status RaiseTime(Run& run, uint64_t seconds) {
  run.told.time.Begin(seconds);
  DIPPER_RETURN_IF_ERROR(run.counters->RaiseTrustedTime(seconds));
  run.told.time.Done();
  return Status::kOk;
}

/// Two successors, the second with a new role epoch; then a package of that epoch, with a lower version.
Scenario RootRotation() {
  Scenario scenario = Prepared("root_rotation_and_epoch", {Pack().p3});
  scenario.told.trust = true;
  RunBefore(scenario, {}, [](Run& run) { DIPPER_CHECK(Ok(StoreRoot(run, RootDocument(1, 700)))); });
  scenario.run = [](Run& run) {
    if (!Ok(StoreRoot(run, RootDocument(2, 1800))) || !Ok(StoreRoot(run, RootDocument(3, 1200)))) return;
    const Bytes& next = Pack().next_epoch;
    if (!Ok(Healthy(run)) || !Ok(StageNext(run, next)) || !Ok(BeginTrial(run))) return;
    static_cast<void>(Confirm(run, next));
  };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    if (told.root.reported.size() != 1200) return std::string("the last root was not stored");
    const auto record = world.CurrentRecord();
    if (!record || record->floor.epoch != 2) return std::string("the epoch was not raised");
    return ServedIs(world, Pack().next_epoch);
  };
  return scenario;
}

/// An offer, its transfer block by block beside the stage, a command with its result, trusted time.
Scenario NumbersOfAnUpdate() {
  Scenario scenario = Prepared("counters", {Pack().p1});
  scenario.told.trust = true;
  scenario.run = [](Run& run) {
    const Bytes& next = Pack().p2;
    OfferState offer{7, DigestOf(next), schema::UpdateState::Offered, schema::Reason::None};
    if (!Ok(Healthy(run)) || !Ok(RaiseTime(run, 1'800'000'000)) || !Ok(SetOffer(run, offer))) return;
    if (!Ok(SetCommand(run, {3, CommandState::kStarted, 0}))) return;
    if (!Ok(run.store.BeginStage(DigestOf(next), VersionOf(next), next.size()))) return;
    run.told.stage_begun = true;
    TransferState transfer{DigestOf(next), SlotId::kB, 3, {}};
    for (uint32_t block = 0; block < 3; ++block) {
      const size_t offset = block * kChunkBytes;
      const size_t length = std::min(kChunkBytes, next.size() - offset);
      if (!Ok(run.store.WriteStage(offset, base::ByteView(next).subspan(offset, length)))) return;
      if (!Ok(run.store.SyncStage())) return;
      transfer.Set(block);
      if (!Ok(SetTransfer(run, transfer))) return;
    }
    if (!Ok(SetCommand(run, {3, CommandState::kDone, 82})) || !Ok(run.store.CommitStage())) return;
    run.told.staged = DigestOf(next);
    offer.state = schema::UpdateState::Staged;
    if (!Ok(SetOffer(run, offer)) || !Ok(SetTransfer(run, {}))) return;
    // Replays: a lower offer, an old command, an earlier time.
    const bool refused =
        run.counters->SetOffer(0, {6, DigestOf(next), {}, {}}) == Status::kPermissionDenied &&
        run.counters->BeginCommand(3) == Status::kPermissionDenied &&
        Ok(run.counters->RaiseTrustedTime(1'700'000'000)) && run.counters->trusted_time_s() == 1'800'000'000;
    if (refused) run.told.note = "replays refused";
  };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    const auto record = world.CurrentRecord();
    if (told.note != "replays refused") return "a number went back";
    return record && record->trial_digest == DigestOf(Pack().p2) ? "" : "nothing is staged";
  };
  return scenario;
}

/// What the cut leaves of a transfer is exactly what its bitmap promises: the stage resumes and completes.
Scenario ResumedTransfer() {
  Scenario scenario = NumbersOfAnUpdate();
  scenario.name = "resumed_transfer";
  const Bytes& next = Pack().p2;
  RunBefore(scenario, {}, [&next](Run& run) {
    DIPPER_CHECK(Ok(Healthy(run)));
    DIPPER_CHECK(Ok(run.store.BeginStage(DigestOf(next), VersionOf(next), next.size())));
    DIPPER_CHECK(Ok(run.store.WriteStage(0, base::ByteView(next).first(kChunkBytes))));
    DIPPER_CHECK(Ok(run.store.SyncStage()));
    TransferState transfer{DigestOf(next), SlotId::kB, 3, {}};
    transfer.Set(0);
    DIPPER_CHECK(Ok(SetTransfer(run, transfer)));
    run.told.stage_begun = true;
  });
  scenario.run = [&next](Run& run) {
    if (!Ok(Healthy(run))) return;
    const TransferState& transfer = run.counters->transfer(0);
    if (!Ok(run.store.ResumeStage(DigestOf(next), VersionOf(next), next.size(), transfer.slot))) return;
    for (uint32_t block = 0; block < 3; ++block) {
      if (transfer.Has(block)) continue;
      const size_t offset = block * kChunkBytes;
      const size_t length = std::min(kChunkBytes, next.size() - offset);
      if (!Ok(run.store.WriteStage(offset, base::ByteView(next).subspan(offset, length)))) return;
    }
    if (!Ok(run.store.SyncStage()) || !Ok(run.store.CommitStage())) return;
    run.told.staged = DigestOf(next);
  };
  scenario.reached = [](StoreWorld& world, const Told&) {
    const auto record = world.CurrentRecord();
    return record && record->trial_digest == DigestOf(Pack().p2) ? "" : "the stage was not completed";
  };
  return scenario;
}

Status Append(Run& run, std::map<uint64_t, Bytes>* unsynced, uint8_t content) {
  const Bytes payload(100 + content % 50, content);
  Event event;
  event.kind = content;
  event.payload = payload;
  ++run.told.newest_event;
  const auto sequence = run.log->Append(event);
  if (!sequence.ok()) return sequence.status();
  (*unsynced)[*sequence] = payload;
  return Status::kOk;
}

/// More events than places, synced now and then.
Scenario EventLogWraps() {
  Scenario scenario = Prepared("event_log_wrap_around", {Pack().p1});
  scenario.told.rings = true;
  RunBefore(scenario, {}, [](Run& run) {
    std::map<uint64_t, Bytes> appended;
    for (uint8_t i = 0; run.log->newest() + 3 < run.log->capacity(); ++i)
      DIPPER_CHECK(Ok(Append(run, &appended, i)));
    DIPPER_CHECK(Ok(run.log->Sync()));
    run.told.events = appended;
  });
  scenario.run = [](Run& run) {
    std::map<uint64_t, Bytes> unsynced;
    for (uint8_t i = 0; i < 8; ++i) {
      if (!Ok(Append(run, &unsynced, static_cast<uint8_t>(200 + i)))) return;
      if (i % 3 != 2) continue;
      if (!Ok(run.log->Sync())) return;
      run.told.events.merge(unsynced);
    }
  };
  scenario.reached = [](StoreWorld& world, const Told&) {
    EventLog log(world.data);
    return Ok(log.Open()) && log.newest() > log.capacity() ? "" : "the log did not wrap around";
  };
  return scenario;
}

/// Entries of one to six sectors, more than the ring takes: the oldest give way, the end is skipped.
Scenario BacklogWraps() {
  Scenario scenario = Prepared("backlog_wrap_around", {Pack().p1});
  scenario.told.rings = true;
  const auto append = [](Run& run, std::map<uint64_t, Bytes>* unsynced, uint8_t content) {
    const Bytes payload(size_t{300} + content % 6U * 500U, content);
    // What gives way to it is no longer promised, whether the new one lands or not.
    const auto sequence = run.backlog->Append(3, payload);
    run.told.backlog.erase(run.told.backlog.begin(), run.told.backlog.lower_bound(run.backlog->oldest()));
    if (!sequence.ok()) return sequence.status();
    (*unsynced)[*sequence] = payload;
    run.told.next_entry = *sequence + 1;
    return Status::kOk;
  };
  RunBefore(scenario, {}, [&append](Run& run) {
    std::map<uint64_t, Bytes> appended;
    for (uint8_t i = 0; i < 12; ++i) DIPPER_CHECK(Ok(append(run, &appended, i)));
    DIPPER_CHECK(Ok(run.backlog->Flush()));
    run.told.backlog.merge(appended);
  });
  scenario.run = [append](Run& run) {
    std::map<uint64_t, Bytes> unsynced;
    for (uint8_t i = 0; i < 12; ++i) {
      if (!Ok(append(run, &unsynced, static_cast<uint8_t>(100 + i)))) return;
      if (i % 4 != 3) continue;
      if (!Ok(run.backlog->Sync())) return;
      unsynced.erase(unsynced.begin(), unsynced.lower_bound(run.backlog->oldest()));
      run.told.backlog.merge(unsynced);
      unsynced.clear();
      // Two are acknowledged: they may come again after a cut, but need not.
      const uint64_t dropped = run.backlog->oldest() + 1;
      run.told.backlog.erase(run.told.backlog.begin(), run.told.backlog.upper_bound(dropped));
      if (!Ok(run.backlog->Drop(dropped)) || !Ok(run.backlog->Flush())) return;
    }
  };
  scenario.reached = [](StoreWorld& world, const Told&) {
    Backlog backlog(world.data);
    return Ok(backlog.Open()) && backlog.dropped_total() > 0 ? "" : "the backlog did not wrap around";
  };
  return scenario;
}

}  // namespace

void AddTrustScenarios(std::vector<Scenario>* scenarios) {
  scenarios->push_back(RootRotation());
  scenarios->push_back(NumbersOfAnUpdate());
  scenarios->push_back(ResumedTransfer());
}

void AddRingScenarios(std::vector<Scenario>* scenarios) {
  scenarios->push_back(EventLogWraps());
  scenarios->push_back(BacklogWraps());
}

}  // namespace dipper::store
