// Counters and root store: never back, old or new after a cut at every operation.
#include "agent/store/counters.h"

#include <gtest/gtest.h>

#include "agent/store/root_store.h"
#include "tests/fault/store/store_world.h"

namespace dipper::store {
namespace {

using base::Status;

base::Digest DigestFrom(uint8_t value) {
  base::Digest digest;
  digest.bytes.fill(value);
  return digest;
}

struct Boot {
  hal::SimPower power;
  hal::PartitionSim partition{{64 * 1024, 1, 4096}, &power};
  void Cut(uint64_t seed = 0) {
    power.Restore();
    partition.Restart(seed);
  }
};

TEST(Counters, OffersResumeAndNeverGoBack) {
  Boot boot;
  Counters counters(boot.partition);
  EXPECT_EQ(counters.SetOffer(0, {1, DigestFrom(1)}), Status::kFailedPrecondition) << "not loaded";
  ASSERT_EQ(counters.Load(), Status::kOk);
  EXPECT_EQ(counters.CheckOffer(0, 5, DigestFrom(1)), Status::kOk);
  ASSERT_EQ(counters.SetOffer(0, {5, DigestFrom(1), schema::UpdateState::Transferring}), Status::kOk);
  EXPECT_EQ(counters.CheckOffer(0, 5, DigestFrom(1)), Status::kAlreadyExists);
  EXPECT_EQ(counters.CheckOffer(0, 5, DigestFrom(2)), Status::kPermissionDenied);
  EXPECT_EQ(counters.CheckOffer(0, 4, DigestFrom(1)), Status::kPermissionDenied);
  EXPECT_EQ(counters.CheckOffer(1, 4, DigestFrom(1)), Status::kOk) << "another model";
  EXPECT_EQ(counters.SetOffer(0, {4, DigestFrom(9)}), Status::kPermissionDenied);
  EXPECT_EQ(counters.SetOffer(0, {5, DigestFrom(9)}), Status::kPermissionDenied);
  const OfferState ended{5, DigestFrom(1), schema::UpdateState::Failed, schema::Reason::Deadline};
  ASSERT_EQ(counters.SetOffer(0, ended), Status::kOk);
  boot.Cut();
  Counters again(boot.partition);
  ASSERT_EQ(again.Load(), Status::kOk);
  EXPECT_EQ(again.offer(0), ended);
}

TEST(Counters, ACommandIsStoredThenActedOnThenAnswered) {
  Boot boot;
  Counters counters(boot.partition);
  ASSERT_EQ(counters.Load(), Status::kOk);
  EXPECT_EQ(counters.LookUpCommand(7), CommandLookup::kNew);
  ASSERT_EQ(counters.BeginCommand(7), Status::kOk);
  EXPECT_EQ(counters.LookUpCommand(7), CommandLookup::kRunning);
  EXPECT_EQ(counters.BeginCommand(7), Status::kPermissionDenied);
  boot.Cut();
  Counters crashed(boot.partition);
  ASSERT_EQ(crashed.Load(), Status::kOk);
  EXPECT_EQ(crashed.LookUpCommand(7), CommandLookup::kOutcomeUnknown);
  EXPECT_EQ(crashed.FinishCommand(7, 1), Status::kFailedPrecondition);
  EXPECT_EQ(crashed.LookUpCommand(6), CommandLookup::kOld);
  ASSERT_EQ(crashed.BeginCommand(8), Status::kOk);
  ASSERT_EQ(crashed.FinishCommand(8, 42), Status::kOk);
  boot.Cut();
  Counters done(boot.partition);
  ASSERT_EQ(done.Load(), Status::kOk);
  EXPECT_EQ(done.LookUpCommand(8), CommandLookup::kDone);
  EXPECT_EQ(done.command().result, 42);
}

TEST(Counters, AWipeIsOneWriteWithItsResultAndStaysUntilItsEnd) {
  Boot boot;
  Counters counters(boot.partition);
  ASSERT_EQ(counters.Load(), Status::kOk);
  EXPECT_EQ(counters.wipe(), 0U);
  EXPECT_EQ(counters.BeginWipe(7), Status::kFailedPrecondition) << "no such command was begun";
  ASSERT_EQ(counters.BeginCommand(7), Status::kOk);
  EXPECT_EQ(counters.BeginWipe(6), Status::kFailedPrecondition);
  ASSERT_EQ(counters.BeginWipe(7), Status::kOk);
  EXPECT_EQ(counters.BeginWipe(7), Status::kFailedPrecondition) << "it is done";
  boot.Cut();
  Counters cut(boot.partition);
  ASSERT_EQ(cut.Load(), Status::kOk);
  EXPECT_EQ(cut.wipe(), 7U);
  EXPECT_EQ(cut.LookUpCommand(7), CommandLookup::kDone);
  EXPECT_EQ(cut.command().result, 0);
  ASSERT_EQ(cut.RaiseTrustedTime(5), Status::kOk);
  ASSERT_EQ(cut.EndWipe(), Status::kOk);
  boot.Cut();
  Counters ended(boot.partition);
  ASSERT_EQ(ended.Load(), Status::kOk);
  EXPECT_EQ(ended.wipe(), 0U);
  EXPECT_EQ(ended.EndWipe(), Status::kOk);
  EXPECT_EQ(ended.LookUpCommand(7), CommandLookup::kDone) << "the number stays: it cannot come again";
}

TEST(Counters, TimeOnlyForwardsAndTransfersSurvive) {
  Boot boot;
  Counters counters(boot.partition);
  ASSERT_EQ(counters.Load(), Status::kOk);
  ASSERT_EQ(counters.RaiseTrustedTime(1000), Status::kOk);
  ASSERT_EQ(counters.RaiseTrustedTime(500), Status::kOk);
  EXPECT_EQ(counters.trusted_time_s(), 1000U);
  TransferState transfer;
  transfer.digest = DigestFrom(3);
  transfer.slot = SlotId::kB;
  transfer.block_count = 100;
  transfer.Set(0);
  transfer.Set(99);
  ASSERT_EQ(counters.SetTransfer(2, transfer), Status::kOk);
  const uint64_t writes = boot.partition.calls(hal::SimCall::kWrite);
  ASSERT_EQ(counters.SetTransfer(2, transfer), Status::kOk);
  EXPECT_EQ(boot.partition.calls(hal::SimCall::kWrite), writes) << "an unchanged value costs no wear";
  boot.Cut();
  Counters again(boot.partition);
  ASSERT_EQ(again.Load(), Status::kOk);
  EXPECT_EQ(again.trusted_time_s(), 1000U);
  EXPECT_EQ(again.transfer(2), transfer);
  EXPECT_TRUE(again.transfer(2).Has(99));
  EXPECT_FALSE(again.transfer(2).Has(50));
  ASSERT_EQ(again.ClearTransfer(2), Status::kOk);
  EXPECT_TRUE(again.transfer(2).digest.IsZero());
}

TEST(Counters, ACutLeavesTheOldOrTheNewValue) {
  for (uint64_t cut = 0; cut < 2; ++cut) {
    for (uint64_t seed = 0; seed < 40; ++seed) {
      Boot boot;
      Counters counters(boot.partition);
      ASSERT_EQ(counters.Load(), Status::kOk);
      ASSERT_EQ(counters.SetOffer(0, {1, DigestFrom(1)}), Status::kOk);
      ASSERT_EQ(counters.RaiseTrustedTime(10), Status::kOk);
      boot.power.Restore();
      boot.power.cut_at = cut;
      EXPECT_EQ(counters.SetOffer(0, {2, DigestFrom(2)}), Status::kUnavailable);
      EXPECT_EQ(counters.offer(0).number, 1U) << "memory says what was durable";
      boot.Cut(seed);
      Counters again(boot.partition);
      ASSERT_EQ(again.Load(), Status::kOk);
      EXPECT_TRUE(again.offer(0).number == 1 || again.offer(0).number == 2);
      EXPECT_EQ(again.trusted_time_s(), 10U);
    }
  }
}

TEST(Counters, ANewerLayoutIsNeverOverwritten) {
  Boot boot;
  Counters counters(boot.partition);
  ASSERT_EQ(counters.Load(), Status::kOk);
  ASSERT_EQ(counters.RaiseTrustedTime(10), Status::kOk);
  const CopyPairLayout layout = ComputeBootLayout(boot.partition.geometry())->counters;
  Bytes page(layout.page_bytes);
  ASSERT_EQ(boot.partition.Read(layout.offset, page), Status::kOk);
  Seal(page, layout.magic, 2);
  ASSERT_EQ(boot.partition.Write(layout.offset, page), Status::kOk);
  Counters older(boot.partition);
  EXPECT_EQ(older.Load(), Status::kUnimplemented);
  EXPECT_EQ(older.RaiseTrustedTime(99), Status::kFailedPrecondition);
}

TEST(RootStore, KeepsTheNewestDocumentThroughCutsAndLoss) {
  for (uint64_t cut = 0; cut < 2; ++cut) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      Boot boot;
      RootStore roots(boot.partition);
      ASSERT_EQ(roots.Open(), Status::kOk);
      Bytes buffer(RootStore::kMaxRootBytes);
      EXPECT_EQ(roots.Load(buffer).status(), Status::kNotFound);
      const Bytes first(900, 1);
      const Bytes second(RootStore::kMaxRootBytes, 2);
      ASSERT_EQ(roots.Store(first), Status::kOk);
      boot.power.Restore();
      boot.power.cut_at = cut;
      EXPECT_EQ(roots.Store(second), Status::kUnavailable);
      boot.Cut(seed);
      RootStore again(boot.partition);
      ASSERT_EQ(again.Open(), Status::kOk);
      const auto loaded = again.Load(buffer);
      ASSERT_TRUE(loaded.ok());
      const Bytes bytes(loaded->begin(), loaded->end());
      EXPECT_TRUE(bytes == first || bytes == second);
      ASSERT_EQ(again.Store(second), Status::kOk);
      EXPECT_EQ(again.Load(buffer)->size(), second.size());
    }
  }
  Boot boot;
  RootStore roots(boot.partition);
  ASSERT_EQ(roots.Open(), Status::kOk);
  EXPECT_EQ(roots.Store(Bytes(RootStore::kMaxRootBytes + 1)), Status::kResourceExhausted);
  ASSERT_EQ(roots.Store(Bytes(100, 7)), Status::kOk);
  Bytes small(10);
  EXPECT_EQ(roots.Load(small).status(), Status::kResourceExhausted);
}

}  // namespace
}  // namespace dipper::store
