// Steps that several scenarios share; each tells `told` what it has reported, in the order in which the agent
// does.
#pragma once

#include <initializer_list>

#include "tests/fault/store/told.h"

namespace dipper::store {

/// Packages: two of one security version, two that raise the floor, the factory's, one of a new role epoch.
struct Packages {
  Bytes p1 = MakePackage(1, 1);
  Bytes p2 = MakePackage(1, 2);
  Bytes p3 = MakePackage(2, 3);
  Bytes factory = MakePackage(1, 4);
  Bytes next_epoch = MakePackage(1, 5, 1200, 2);
};
const Packages& Pack();

inline DigestBytes Key(const Bytes& package) { return DigestOf(package).bytes; }

/// A healthy period, then a checkpoint with a gate state.
base::Status Checkpoint(Run& run, SlotId slot, const Bytes& package, uint64_t samples);
base::Status Healthy(Run& run);
base::Status StageNext(Run& run, const Bytes& package);
base::Status BeginTrial(Run& run);
base::Status Confirm(Run& run, const Bytes& package);
/// @param own  The end is the model's own failure.
base::Status EndTrial(Run& run, const Bytes& package, schema::Reason reason);
/// @returns the refusal, None when done; Unknown: no power.
schema::Reason Undo(Run& run, const Bytes& package);

/// A device with the factory model and, one after another, these packages confirmed, each with a checkpoint.
Scenario Prepared(const char* name, const std::vector<Bytes>& packages, bool has_factory = true);
/// Lets `run` happen on the prepared device, without a cut; afterwards the power is gone, cleanly.
void RunBefore(Scenario& scenario, const LastRun& last, const std::function<void(Run&)>& run);
std::string ServedIs(StoreWorld& world, const Bytes& package);
inline LastRun Crashed(const Bytes& package) { return {true, DigestOf(package), schema::Reason::Crash}; }

void AddInstallScenarios(std::vector<Scenario>* scenarios);
void AddTrialScenarios(std::vector<Scenario>* scenarios);
void AddChampionScenarios(std::vector<Scenario>* scenarios);
void AddUndoScenarios(std::vector<Scenario>* scenarios);
void AddTrustScenarios(std::vector<Scenario>* scenarios);
void AddModelsScenarios(std::vector<Scenario>* scenarios);
void AddRingScenarios(std::vector<Scenario>* scenarios);

}  // namespace dipper::store
