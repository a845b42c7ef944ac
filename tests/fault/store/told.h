// Told: what the outside has been told so far; the store must never contradict it. And Run: one run of the
// agent's storage, from start to power cut.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/store/backlog.h"
#include "agent/store/counters.h"
#include "agent/store/event_log.h"
#include "agent/store/root_store.h"
#include "tests/fault/store/store_world.h"

namespace dipper::store {

using DigestBytes = std::array<uint8_t, 32>;

/// Numbers that never go back. A value being written may be the old or the new one after a cut.
template <typename Value>
struct Promise {
  Value reported{};
  Value pending{};
  bool in_flight = false;

  void Begin(const Value& value) {
    pending = value;
    in_flight = true;
  }
  void Done() {
    reported = pending;
    in_flight = false;
  }
  /// Old or, while in flight, new; what is found is what counts from now on.
  bool Settle(const Value& found) {
    const bool kept = found == reported || (in_flight && found == pending);
    reported = found;
    in_flight = false;
    return kept;
  }
};

struct Told {
  base::Digest champion;            ///< Last reported champion; zero: none.
  base::Digest in_flight;           ///< Confirm, undo or reset begun and not yet reported.
  bool leaving = false;             ///< in_flight counts although it is zero: a reset to no model.
  std::set<DigestBytes> confirmed;  ///< May ever be served.
  std::set<DigestBytes> denied;     ///< Reported as denied.
  std::set<DigestBytes> allowed;    ///< Reported as no longer denied.
  std::set<DigestBytes> good;       ///< Models without any failure of their own: never to be denied.
  std::set<DigestBytes> ended;      ///< Reported ends of trials; they never run again.
  base::Digest staged;              ///< Reported as staged and not yet ended.
  bool stage_begun = false;         ///< The undo target is gone until the next confirm.
  base::SecurityVersion floor;
  std::map<DigestBytes, uint64_t> samples;  ///< Of the newest checkpoint reported as written.
  bool recorded = false;                    ///< A start has been reported: from now on a record exists (I1).
  bool ladder = false;                      ///< The champion fails: it may leave its slot and its learning.
  uint32_t trial_starts = 0;                ///< In a row, without a healthy mark or a planned stop (I5).
  bool erased = false;                      ///< A factory reset is reported: nothing of the past is left.
  uint64_t poisoned = 0;                    ///< Samples of the checkpoint that failed: never served again.
  std::string note;                         ///< What the run wants `reached` to know.
  // Trust state
  bool trust = false;  ///< Counters and roots are part of the scenario.
  Promise<Bytes> root;
  Promise<OfferState> offer;
  Promise<CommandRecord> command;
  Promise<TransferState> transfer;
  Promise<uint64_t> time;
  // Another model of the device, at place 1
  bool second_model = false;
  bool forgotten = false;  ///< Reported: nothing of it is left in boot.
  // Rings on `data`
  bool rings = false;
  std::map<uint64_t, Bytes> events;   ///< Synced, by sequence.
  uint64_t newest_event = 0;          ///< Appended, synced or not.
  std::map<uint64_t, Bytes> backlog;  ///< Synced and not given up.
  uint64_t next_entry = 1;            ///< Appended, synced or not.

  uint64_t Fingerprint() const;
};

struct Run {
  StoreWorld& world;
  ModelStore& store;
  Told& told;
  // Null unless the scenario has them.
  Counters* counters = nullptr;
  RootStore* roots = nullptr;
  EventLog* log = nullptr;
  Backlog* backlog = nullptr;
};

/// Everything one process opens. Not copyable.
class Session {
 public:
  Session(StoreWorld& world, const Told& told);
  /// Opens trust state and rings; then the store's start. An error: refused.
  base::Result<StartDecision> Start(const LastRun& last);
  Run MakeRun(Told& told);
  ModelStore& store() { return *store_; }
  Counters& counters() { return *counters_; }
  RootStore& roots() { return *roots_; }
  EventLog& log() { return *log_; }
  Backlog& backlog() { return *backlog_; }

 private:
  StoreWorld& world_;
  std::unique_ptr<ModelStore> store_;
  std::unique_ptr<Counters> counters_;
  std::unique_ptr<RootStore> roots_;
  std::unique_ptr<EventLog> log_;
  std::unique_ptr<Backlog> backlog_;
};

/// What a start says, as far as it binds the next one.
void TakeReport(const StartDecision& decision, const BootRecord& record, Told* told);

struct Scenario {
  std::string name;  ///< As in a replay id: lower case, no colon.
  Media before;
  bool has_factory = true;
  Told told;
  uint64_t enumerated_touches = 0;  ///< All combinations up to that many, even where the limits are lower.
  LastRun last;                     ///< What the note says at the first start; a power cut loses it.
  /// Runs on a started store until done or until the power is gone. Tells `told` what it has reported.
  std::function<void(Run&)> run;
  /// It really happened: what must hold after the clean run. Empty: fine.
  std::function<std::string(StoreWorld&, const Told&)> reached;
};

std::vector<Scenario> MakeScenarios();

}  // namespace dipper::store
