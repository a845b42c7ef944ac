// Wear: what updates and checkpoints cost the medium, counted on the real store over units as flash has them:
// boot records and slots. The counters, which the updater writes, are in updater_wear_test.cc. The ceilings
// are what docs/reference/storage.md promises; flash that is worn out by a learning agent would be a brick in
// the field.
#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <memory>

#include "tests/fault/store/store_world.h"
#include "tests/unit/agent/store/wear_meter.h"

namespace dipper::store {
namespace {

using base::Status;

/// Writes of boot records that one transition may cost.
constexpr uint64_t kRecordBudget = 3;
constexpr uint64_t kUpdates = 10'000;
/// A package by its number; more different ones than the denied ring keeps.
Bytes PackageNumber(uint64_t i) { return MakePackage(1, static_cast<uint8_t>(i % 250), 200); }

class Wear : public testing::Test {
 protected:
  static constexpr hal::Geometry kBoot{64 * 1024, 1, 4096};
  static constexpr hal::Geometry kSlot{128 * 1024, 1, 4096};

  void SetUp() override {
    const Bytes package = PackageNumber(249);
    Bytes image(2 * 4096, 0xFF);
    EncodeSlotHeader({DigestOf(package), package.size()}, base::MutableBytes(image).first(kSlotHeaderBytes));
    std::copy(package.begin(), package.end(), image.begin() + 4096);
    factory.Load(image);
  }
  StartDecision Start(const LastRun& last = {}) {
    ModelStoreConfig config;
    config.boot = &boot;
    config.slot_a = &a;
    config.slot_b = &b;
    config.factory = &factory;
    config.max_image_bytes = 2048;
    store = std::make_unique<ModelStore>(config, verifier);
    const auto decision = store->Start(last);
    EXPECT_TRUE(decision.ok());
    EXPECT_EQ(decision->storage, Status::kOk);
    return *decision;
  }
  void StartAs(const char* name, const LastRun& last = {}) {
    meter.Measure(name, [&] { Start(last); });
  }
  void Do(const char* name, const std::function<Status()>& step) {
    meter.Measure(name, [&] { ASSERT_EQ(step(), Status::kOk) << name; });
  }
  void Healthy() {
    Do("healthy mark", [&] { return store->HealthyMark(); });
  }
  void StageAndTry(const Bytes& package) {
    Do("stage", [&] { return Stage(*store, package); });
    Do("trial start", [&] { return store->BeginTrial(); });
  }
  void Confirm() {
    Do("confirm", [&] { return store->Confirm(); });
  }
  void FallBack(schema::Reason reason) {
    Do(IsOwnFailure(reason) ? "fall back, denied" : "fall back, not denied",
       [&] { return store->EndTrial(reason); });
  }
  void Save() {
    store->HealthyPeriod();
    ++samples;
    Do("checkpoint",
       [&] { return store->WriteCheckpoint(store->record().lkg_slot, samples, MakeImage(samples)); });
  }
  LastRun Crashed() { return {true, store->record().lkg_digest, schema::Reason::Crash}; }
  void Report(const char* title) {
    meter.Print(title, kRecordBudget);
    std::printf("rewrites of the worst unit: boot records %llu, slot A %llu, slot B %llu\n\n",
                WearMeter::Number(meter.WorstUnit(boot)), WearMeter::Number(meter.WorstUnit(a)),
                WearMeter::Number(meter.WorstUnit(b)));
  }
  /// No transition writes more records than its budget, nor more than one mark.
  void ExpectWithinBudget() {
    for (const WearMeter::Row& row : meter.rows()) {
      EXPECT_LE(row.most.records, kRecordBudget) << row.name;
      EXPECT_LE(row.most.marks, row.name.ends_with("factory reset") ? 2U : 1U) << row.name;
    }
  }

  hal::SimPower power;
  hal::PartitionSim boot{kBoot, &power}, a{kSlot, &power}, b{kSlot, &power};
  hal::PartitionSim factory{{2 * 4096, 1, 4096}, &power};
  FakeVerifier verifier;
  WearMeter meter{power, boot, a};
  std::unique_ptr<ModelStore> store;
  uint64_t samples = 0;
};

TEST_F(Wear, TenThousandConfirmedUpdates) {
  Start();
  Healthy();
  for (uint64_t i = 0; i < kUpdates; ++i) {
    StageAndTry(PackageNumber(i));
    Confirm();
  }
  Report("10,000 updates, all confirmed");
  ExpectWithinBudget();
  // Stage, trial start, confirm and its duplicate: four records, in turns to two copies.
  EXPECT_LE(meter.WorstUnit(boot), 2 * kUpdates + 10);
  // Every other update is a slot's: header erased, then written; a bank erased, then marked.
  EXPECT_LE(meter.WorstUnit(a), kUpdates + 2);
  EXPECT_LE(meter.WorstUnit(b), kUpdates + 2);
}

TEST_F(Wear, TenThousandUpdatesThatFallBack) {
  Start();
  ASSERT_EQ(Install(*store, MakePackage(1, 251, 200)), Status::kOk);
  meter.Take();
  const SlotId champion = store->record().lkg_slot;
  const uint64_t before = meter.WorstUnit(champion == SlotId::kA ? a : b);
  for (uint64_t i = 0; i < kUpdates; ++i) {
    StageAndTry(PackageNumber(i));
    FallBack(i % 2 == 0 ? schema::Reason::ShownWorse : schema::Reason::Deadline);
  }
  Report("10,000 updates, all fallen back");
  ExpectWithinBudget();
  EXPECT_LE(meter.WorstUnit(boot), 2 * kUpdates + 10);
  EXPECT_LE(meter.WorstUnit(champion == SlotId::kA ? b : a), 2 * kUpdates + 2);
  EXPECT_EQ(meter.WorstUnit(champion == SlotId::kA ? a : b), before)
      << "the champion's slot is never written";
}

/// As in the field: each with restarts, a planned stop in the trial, checkpoints, some undone.
TEST_F(Wear, TenThousandMixedUpdates) {
  Start();
  ASSERT_EQ(Install(*store, MakePackage(1, 251, 200)), Status::kOk);
  Save();
  for (uint64_t i = 0; i < kUpdates; ++i) {
    StartAs("start");
    Healthy();
    Save();
    StageAndTry(PackageNumber(i));
    Do("planned stop in a trial", [&] { return store->PlannedStop(); });
    StartAs("start with a trial");
    Healthy();
    if (i % 4 == 0) FallBack(schema::Reason::ShownWorse);
    if (i % 4 == 1) FallBack(schema::Reason::Cancelled);
    if (i % 4 >= 2) Confirm();
    if (i % 4 == 3) {
      StartDecision decision;
      Do("undo", [&] { return store->Undo(&decision).status(); });
      ASSERT_EQ(decision.serve, store->record().lkg_slot);
    }
    Do("planned stop", [&] { return store->PlannedStop(); });
  }
  Report("10,000 updates, half of them confirmed, each with two starts and a checkpoint");
  ExpectWithinBudget();
  // 4 records of the update; start, healthy mark, stop, start, healthy mark, stop; undo adds two.
  EXPECT_LE(meter.WorstUnit(boot), 6 * kUpdates);
  EXPECT_LE(std::max(meter.WorstUnit(a), meter.WorstUnit(b)), 3 * kUpdates);
}

TEST_F(Wear, AYearOfHourlyCheckpointsAndDailyRestarts) {
  constexpr uint64_t kDays = 365, kHours = 24;
  Start();
  ASSERT_EQ(Install(*store, MakePackage(1, 1)), Status::kOk);
  meter.Take();
  const uint64_t boot_before = meter.WorstUnit(boot);
  for (uint64_t day = 0; day < kDays; ++day) {
    for (uint64_t hour = 0; hour < kHours; ++hour) Save();
    Do("planned stop", [&] { return store->PlannedStop(); });
    StartAs("start");
    Healthy();
  }
  const uint64_t checkpoints = meter.WorstUnit(a, meter.slot().checkpoint_offset);
  const uint64_t records = meter.WorstUnit(boot) - boot_before;
  Report("a year of hourly checkpoints and daily restarts");
  std::printf("a unit of a checkpoint %llu, of a boot record %llu\n", WearMeter::Number(checkpoints),
              WearMeter::Number(records));
  ExpectWithinBudget();
  // The areas take turns; a restart costs a counted start and its healthy mark, in turns to two copies.
  EXPECT_LE(checkpoints, kDays * kHours / 2 + 2);
  EXPECT_LE(records, kDays + 2);
  EXPECT_EQ(meter.WorstUnit(b), 0U);
  EXPECT_LE(meter.WorstUnit(a, 0, meter.slot().checkpoint_offset), 4U) << "not the champion's package";
}

/// What seldom happens: losses, the ladder, denials, a factory reset.
TEST_F(Wear, SeldomTransitions) {
  StartAs("first start on blank media");
  ASSERT_EQ(Install(*store, PackageNumber(1)), Status::kOk);
  ASSERT_EQ(Install(*store, PackageNumber(2)), Status::kOk);
  Save();
  Save();
  Do("denial", [&] { return store->Deny(DigestOf(PackageNumber(7)), schema::Reason::SelfTest); });
  Do("override of a denial", [&] { return store->OverrideDenied(DigestOf(PackageNumber(7))); });
  const CopyPairLayout record = ComputeBootLayout(kBoot).value().Record(0);
  boot.FlipBits(record.offset + 100, 1);
  StartAs("start with a record copy lost");
  for (const uint64_t copy : {0U, 1U}) boot.FlipBits(record.offset + copy * record.stride + 100, 1);
  StartAs("start with both copies lost");
  a.FlipBits(4096 + 100, 1);
  b.FlipBits(4096 + 100, 1);
  StartAs("start with the champion's bytes lost");
  EXPECT_EQ(store->record().lkg_slot, SlotId::kFactory);
  Healthy();
  ASSERT_EQ(Install(*store, PackageNumber(1)), Status::kOk);
  ASSERT_EQ(Install(*store, PackageNumber(2)), Status::kOk);
  Save();
  Save();
  for (const char* name : {"first failure", "second failure", "step to the older checkpoint"}) {
    const LastRun crash = Crashed();
    StartAs(name, crash);
  }
  Healthy();
  store->HealthyPeriod();
  Do("checkpoint on a lower rung",
     [&] { return store->WriteCheckpoint(store->record().lkg_slot, ++samples, MakeImage(9)); });
  for (int failure = 0; failure < 9; ++failure)
    StartAs(failure < 8 ? "failure" : "step to the other slot", Crashed());
  EXPECT_EQ(store->record().rung, Rung::kOtherSlot);
  Healthy();
  Do("stage", [&] { return Stage(*store, PackageNumber(3)); });
  for (int start = 0; start < kTriesPerTrial; ++start) StartAs("start with a trial");
  StartAs("start with a trial out of tries");
  Do("factory reset", [&] {
    StartDecision decision;
    return store->FactoryReset(&decision).status();
  });
  EXPECT_EQ(store->record().lkg_slot, SlotId::kFactory);
  StartAs("start after it");
  Healthy();
  Do("stage", [&] { return Stage(*store, PackageNumber(4)); });
  power.cut_at = power.operations + 3;  // After the record and its duplicate, in the midst of the erases.
  StartDecision decision;
  ASSERT_FALSE(store->FactoryReset(&decision).ok());
  for (hal::PartitionSim* part : {&boot, &a, &b, &factory}) part->Restart(1);
  power.Restore();
  ASSERT_EQ(meter.Take().records, 2U);
  StartAs("start that finishes a factory reset");
  EXPECT_EQ(store->record().trial_slot, SlotId::kNone);
  Report("what seldom happens");
  ExpectWithinBudget();
}

}  // namespace
}  // namespace dipper::store
