// Wear of whole updates: what the real updater writes to `boot` and the slots from an offer to its end,
// offers and transfers in the counters included. wear_test.cc beside the store has what records and slots
// cost alone; the figures of docs/reference/storage.md are printed here.
#include <cstdio>

#include "tests/unit/agent/store/wear_meter.h"
#include "tests/unit/agent/update/updater_fixture.h"

namespace dipper::update::test {
namespace {

constexpr uint64_t kUpdates = 100;
/// What docs/reference/storage.md says of so many; each update writes the same.
constexpr uint64_t kTold = 10'000;
/// A confirm and a fall back write records four times: stage, trial start, its end and the end's duplicate.
constexpr uint64_t kRecordsAnUpdate = 4;
/// Trusted time, six states, and the transfer's beginning, end and clearing.
constexpr uint64_t kCountersAnUpdate = 10;

class UpdaterWear : public UpdaterTest {
 protected:
  void SetUp() override {
    UpdaterTest::SetUp();
    // A start and its healthy mark are no update's.
    for (int turn = 0; turn < 20 && !updater().store().healthy(); ++turn) device_->PlayTurn(*v1_, 1, kSame);
    ASSERT_TRUE(updater().store().healthy());
    meter_ = std::make_unique<store::WearMeter>(media_.power, media_.boot, media_.slot_a);
  }
  /// More of them than the denied ring keeps, so that each can be offered again.
  static std::vector<Release> Releases() {
    std::vector<Release> releases;
    for (int i = 0; i < 10; ++i) releases.push_back(MakeRelease("2." + std::to_string(i), 2));
    return releases;
  }
  /// Offers each in turn and plays until it has ended; every offer is issued later than the one before.
  void PlayAll(const char* name, double loss, UpdateState end) {
    const std::vector<Release> releases = Releases();
    for (uint64_t i = 0; i < kUpdates; ++i) {
      const Release& release = releases[i % releases.size()];
      const Bytes offer =
          release.Offer(2 + i, [&](schema::OfferT& table) { table.issued += 1 + static_cast<int64_t>(i); });
      meter_->Measure(name, [&] {
        ASSERT_EQ(Offer(offer), Reason::None);
        ASSERT_TRUE(device_->Play(release, 2 + i, loss));
      });
      ASSERT_EQ(updater().state(), end) << schema::EnumNameReason(updater().Status().reason);
    }
    Report(name);
  }
  void Report(const char* title) {
    meter_->Print(title, kRecordsAnUpdate);
    const auto row = [&](const char* what, uint64_t times) {
      std::printf("%-24s %6.2f an update, %llu in %llu\n", what,
                  static_cast<double>(times) / static_cast<double>(kUpdates),
                  store::WearMeter::Number(times * kTold / kUpdates), store::WearMeter::Number(kTold));
    };
    row("a unit of the counters", meter_->WorstCountersUnit());
    row("a unit of the record", meter_->WorstRecordUnit());
    row("worst unit of boot", meter_->WorstUnit(media_.boot));
    row("worst unit of slot A", meter_->WorstUnit(media_.slot_a));
    row("worst unit of slot B", meter_->WorstUnit(media_.slot_b));
  }
  void ExpectWithin(uint64_t records, uint64_t counters) {
    ASSERT_EQ(meter_->rows().size(), 1U);
    EXPECT_LE(meter_->rows()[0].most.records, records);
    EXPECT_LE(meter_->rows()[0].most.counters, counters);
    // The two copies take turns.
    EXPECT_LE(meter_->WorstRecordUnit(), kUpdates * records / 2 + 1);
    EXPECT_LE(meter_->WorstCountersUnit(), kUpdates * counters / 2 + 1);
    // Nothing else in `boot` is written by an update: neither the trust root nor another model's record.
    EXPECT_EQ(meter_->WorstUnit(media_.boot),
              std::max(meter_->WorstRecordUnit(), meter_->WorstCountersUnit()));
  }

  std::unique_ptr<store::WearMeter> meter_;
};

TEST_F(UpdaterWear, OffersThatAreConfirmed) {
  PlayAll("offered, transferred, tried and confirmed", kBetter, UpdateState::Confirmed);
  ExpectWithin(kRecordsAnUpdate, kCountersAnUpdate);
  // A measure that sees nothing would be within everything.
  EXPECT_GE(meter_->WorstCountersUnit(), kUpdates);
}

TEST_F(UpdaterWear, OffersThatFallBack) {
  PlayAll("offered, transferred, tried and fallen back", kWorse, UpdateState::FellBack);
  ExpectWithin(kRecordsAnUpdate, kCountersAnUpdate);
  EXPECT_GE(meter_->WorstCountersUnit(), kUpdates);
}

TEST_F(UpdaterWear, CheckpointsWriteNothingInBoot) {
  constexpr uint64_t kTurns = 2000, kYear = 365 * 24;  // seconds of the device; hours
  const uint64_t before = updater().Status().checkpoints;
  meter_->Measure("seconds of a champion that learns", [&] {
    for (uint64_t turn = 0; turn < kTurns; ++turn) device_->PlayTurn(*v1_, 1, kSame);
  });
  const uint64_t saved = updater().Status().checkpoints - before;
  const hal::PartitionSim& slot =
      updater().Status().champion_slot == store::SlotId::kA ? media_.slot_a : media_.slot_b;
  const uint64_t worst = meter_->WorstUnit(slot);
  std::printf("%llu checkpoints: worst unit of the slot %llu, of boot %llu; in a year of hourly ones %llu\n",
              store::WearMeter::Number(saved), store::WearMeter::Number(worst),
              store::WearMeter::Number(meter_->WorstUnit(media_.boot)),
              store::WearMeter::Number((worst * kYear + saved - 1) / saved));
  EXPECT_GT(saved, 50U);
  EXPECT_GT(worst, 0U);
  EXPECT_LE(worst, saved / 2 + 1) << "the areas take turns";
  EXPECT_EQ(meter_->WorstUnit(media_.boot), 0U);
}

}  // namespace
}  // namespace dipper::update::test
