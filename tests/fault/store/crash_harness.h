// CrashHarness: runs a scenario of the real ModelStore, cuts its power at every operation, lets unsynced
// writes land, vanish or tear in every way (all combinations while few, seeded samples beyond), loses records
// or the champion's bytes at rest, starts again, cuts the recovery too, and checks invariants I1 to I8 after
// each start.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "tests/fault/store/store_world.h"

namespace dipper::store {

/// What the outside has been told so far; the store must never contradict it.
struct Told {
  base::Digest champion;                        ///< Last reported champion; zero: none yet.
  base::Digest in_flight;                       ///< Confirm or undo begun and not yet reported.
  std::set<std::array<uint8_t, 32>> confirmed;  ///< May ever be served.
  std::set<std::array<uint8_t, 32>> denied;     ///< Reported as denied.
  std::set<std::array<uint8_t, 32>> good;  ///< Models without any failure of their own: never to be denied.
  base::SecurityVersion floor;
  std::map<std::array<uint8_t, 32>, uint64_t>
      samples;            ///< Per package: of the newest checkpoint reported as written.
  bool recorded = false;  ///< A start has been reported: from now on a valid record exists (I1).
  bool ladder = false;    ///< The scenario makes the champion fail: it may leave its slot and its learning.
};

struct Scenario {
  std::string name;
  Media before;
  Told told;
  LastRun last;  ///< What the note says at the first start; a power cut loses it.
  /// Runs on a started store until done or until the power is gone. Tells `told` what it has reported.
  std::function<void(StoreWorld&, ModelStore&, Told&)> run;
  /// The update really happened: what must hold after the clean run. Empty: fine.
  std::function<std::string(StoreWorld&, const Told&)> reached;
};

struct HarnessLimits {
  uint64_t enumerated_touches = 6;  ///< All combinations up to that many.
  uint64_t samples = 6;             ///< Seeded outcomes beyond.
  uint64_t second_cut_samples = 2;
  uint64_t second_cut_stride = 1;  ///< Of the recovery's operations, every n-th is cut.
  uint64_t seed = 1;
};

class CrashHarness {
 public:
  CrashHarness(const HarnessLimits& limits, Mutation mutation) : limits_(limits) {
    world_.mutation = mutation;
  }

  /// Runs everything; stops at the first violation.
  void Run(const Scenario& scenario);

  uint64_t states() const { return states_; }  ///< Different media contents that were started from.
  uint64_t starts() const { return starts_; }
  uint64_t operations() const { return operations_; }
  const std::string& violation() const { return violation_; }  ///< Empty: none.

 private:
  enum class Loss : uint8_t { kNone, kCopy0, kCopy1, kBoth, kChampionBytes };

  void CleanRun(const Scenario& scenario);
  void CutAt(const Scenario& scenario, uint64_t operation);
  void Explore(const Media& media, const Told& told);
  void CutRecovery(const Media& media, const Told& told);
  bool StartAndCheck(const Media& media, Told told, Loss first, Loss second);
  void FirstStart(const Scenario& scenario, Told* told);
  bool CheckedStart(Told* told, Loss loss);
  void Lose(Loss loss);
  std::string Check(ModelStore& store, const StartDecision& decision, const Told& told, Loss loss);
  std::string CheckTry(const std::optional<BootRecord>& before, const StartDecision& decision);
  std::string CheckUpdateStillWorks();
  std::string CheckServed(const StartDecision& decision, const Told& told, Loss loss);
  void ForEachOutcome(uint64_t samples, const std::function<void()>& then);
  void Violate(const std::string& what);

  HarnessLimits limits_;
  StoreWorld world_;
  std::unordered_set<uint64_t> seen_;
  uint64_t states_ = 0;
  uint64_t starts_ = 0;
  uint64_t operations_ = 0;
  std::string where_;
  std::string violation_;
};

/// The scenarios: install and confirm (with and without a raised floor), install and fall back,
/// undo, checkpoint, ladder, stage after confirm, first start on blank media.
std::vector<Scenario> MakeScenarios();

}  // namespace dipper::store
