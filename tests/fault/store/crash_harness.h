// CrashHarness: runs a scenario of the real store, cuts its power at every operation, lets unsynced writes
// land, vanish or tear in every way (all combinations while few, seeded samples beyond), loses records or
// packages at rest, starts again, cuts the recovery at every operation too, and checks invariants I1 to I8
// after each start. Each state has an id from which it is replayed alone.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_set>

#include "tests/fault/store/told.h"

namespace dipper::store {

/// What is lost at rest before a start.
enum class Loss : uint8_t { kNone, kCopy0, kCopy1, kBoth, kChampion, kTrial, kRoot0, kRoot1 };
inline constexpr std::array<const char*, 8> kLossNames = {"none",     "copy0", "copy1", "both",
                                                          "champion", "trial", "root0", "root1"};

/// What became of the unsynced writes: every sector by a mask of what landed, or by a seed.
struct Outcome {
  bool seeded = false;
  uint64_t value = 0;
  std::string Text() const { return (seeded ? "s" : "m") + std::to_string(value); }
};

/// The way to one state: `<scenario>:<cut>:<outcome>[:r<cut>:<outcome>][:<loss>[:<loss>]]`.
struct StatePath {
  static constexpr uint64_t kNotCut = UINT64_MAX;
  uint64_t cut = kNotCut;  ///< Of the scenario; not cut: "end", it ran to its end.
  Outcome outcome;
  uint64_t recovery_cut = kNotCut;
  Outcome recovery_outcome;
  Loss first = Loss::kNone, second = Loss::kNone;  ///< Before the first and the second start.
  uint8_t starts = 1;                              ///< Checked starts, 1 or 2; 3: an update after them.

  std::string Text() const;
  /// kInvalidArgument: not such a path.
  static base::Result<StatePath> Parse(const std::string& text);
};

struct HarnessLimits {
  uint64_t enumerated_touches = 4;  ///< All combinations up to that many.
  uint64_t samples = 4;             ///< Seeded outcomes beside them.
  uint64_t recovery_touches = 1;    ///< The same for the cuts of the recovery.
  uint64_t recovery_samples = 1;
  uint64_t update_every = 8;  ///< Every n-th state must take an update afterwards.
  uint64_t max_states = UINT64_MAX;
};

class CrashHarness {
 public:
  explicit CrashHarness(const HarnessLimits& limits) : limits_(limits) {}

  /// Runs everything; stops at the first violation.
  void Run(const Scenario& scenario);
  /// Runs to that state only and prints every step.
  void Replay(const Scenario& scenario, const StatePath& path);

  uint64_t states() const { return states_; }  ///< Different contents and promises that were started from.
  uint64_t starts() const { return starts_; }
  uint64_t operations() const { return operations_; }
  const std::string& violation() const { return violation_; }        ///< Empty: none.
  const std::string& violation_id() const { return violation_id_; }  ///< To replay it.

 private:
  base::Result<StartDecision> StartOf(Session* session, const LastRun& last, Told* told);
  bool FirstRun(const Scenario& scenario, uint64_t cut, Told* told);
  void CleanRun(const Scenario& scenario);
  void CutAt(const Scenario& scenario, uint64_t operation);
  void Explore(const Media& media, const Told& told);
  void CutRecovery(const Media& media, const Told& told);
  bool StartAndCheck(Told* told, Loss loss);
  void TryUpdate(const Media& media, const Told& told, Loss first);
  bool Recover(Told* told, uint64_t cut);
  bool Lose(Loss loss);
  bool LoseRoot(uint32_t copy);
  bool RootValid(uint32_t copy);
  bool HasRoot() { return RootValid(0) || RootValid(1); }
  std::optional<Media> ReplayCut(Told* told, uint64_t cut, const Outcome& outcome);
  void ForEachOutcome(uint64_t touches, uint64_t samples, const std::function<void(const Outcome&)>& then);
  void Apply(const Outcome& outcome);
  bool IsNew(const Told& told, uint64_t salt);
  void Violate(const std::string& what);
  void Say(const std::string& what) const;

  HarnessLimits limits_;
  StoreWorld world_;
  const Scenario* scenario_ = nullptr;
  StatePath path_;
  std::unordered_set<uint64_t> seen_;
  uint64_t states_ = 0;
  uint64_t starts_ = 0;
  uint64_t operations_ = 0;
  uint64_t salt_ = 0;
  bool verbose_ = false;
  std::string violation_;
  std::string violation_id_;
};

/// Invariants after a start whose process has died again; empty: all hold. In checks.cc.
std::string CheckState(StoreWorld& world, Session& session, const StartDecision& decision, const Told& told,
                       const std::optional<BootRecord>& before, Loss loss);
/// Trust state and rings; settles the promises in `told`.
std::string CheckTrust(Session& session, Told* told);
std::string CheckRings(Session& session, Told* told);
/// Places in boot: no model ever finds another one's record or numbers in its own.
std::string CheckPlaces(StoreWorld& world, const Told& told);
/// After whatever happened: the device takes a new package, and keeps it through a loss of both records.
std::string CheckUpdateStillWorks(StoreWorld& world);

}  // namespace dipper::store
