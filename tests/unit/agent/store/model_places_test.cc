// agent/store/model_places: a place in boot belongs to a model's name, whatever the configuration's order;
// and an end that another model brought about is not held against a model.
#include "agent/store/model_places.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/unit/agent/store/model_store_fixture.h"

namespace dipper::store {
namespace {

using base::Status;

class ModelPlaces : public testing::Test {
 protected:
  struct Slots {
    explicit Slots(hal::SimPower* power) : a(StoreWorld::kSlot, power), b(StoreWorld::kSlot, power) {}
    hal::PartitionSim a, b;
  };

  std::unique_ptr<ModelStore> StoreAt(uint32_t place, Slots& slots) {
    ModelStoreConfig config;
    config.boot = &boot;
    config.record_index = place;
    config.slot_a = &slots.a;
    config.slot_b = &slots.b;
    config.max_image_bytes = 2048;
    auto store = std::make_unique<ModelStore>(config, verifier);
    EXPECT_TRUE(store->Start({}).ok());
    return store;
  }
  PlaceRequest Request(std::string_view name, Slots& slots) { return {name, &slots.a, &slots.b}; }

  /// Places as a new start finds them.
  Status Assign(std::vector<PlaceRequest> models, std::vector<uint32_t>* found) {
    counters = std::make_unique<Counters>(boot);
    EXPECT_EQ(counters->Load(), Status::kOk);
    found->assign(models.size(), 99);
    return AssignPlaces(boot, *counters, models, *found);
  }

  hal::SimPower power;
  hal::PartitionSim boot{StoreWorld::kBoot, &power};
  FakeVerifier verifier;
  Slots pump{&power}, fan{&power}, valve{&power};
  std::unique_ptr<Counters> counters;
  std::vector<uint32_t> places;
};

TEST_F(ModelPlaces, StayWithTheNameInAnyOrder) {
  ASSERT_EQ(Assign({Request("pump", pump), Request("fan", fan)}, &places), Status::kOk);
  EXPECT_EQ(places, (std::vector<uint32_t>{0, 1}));
  ASSERT_EQ(Assign({Request("fan", fan), Request("pump", pump)}, &places), Status::kOk);
  EXPECT_EQ(places, (std::vector<uint32_t>{1, 0}));
  ASSERT_EQ(Assign({Request("valve", valve), Request("fan", fan)}, &places), Status::kOk);
  EXPECT_EQ(places, (std::vector<uint32_t>{2, 1}));
  ASSERT_EQ(Assign({Request("pump", pump)}, &places), Status::kOk);
  EXPECT_EQ(places, (std::vector<uint32_t>{0})) << "kept while the model was out of the configuration";
}

TEST_F(ModelPlaces, AreNotGivenAwayBeforeTheyAreForgotten) {
  ASSERT_EQ(Assign({Request("a", pump), Request("b", fan), Request("c", valve), {"d"}}, &places),
            Status::kOk);
  EXPECT_EQ(Assign({Request("e", pump)}, &places), Status::kResourceExhausted);
  ASSERT_EQ(StoreAt(1, fan)->record().sequence > 0, true);
  ASSERT_EQ(counters->SetOffer(1, {.number = 7, .digest = DigestOf(MakePackage(1, 1))}), Status::kOk);
  ASSERT_EQ(ForgetModel(boot, *counters, "b"), Status::kOk);
  EXPECT_EQ(ForgetModel(boot, *counters, "b"), Status::kNotFound);
  EXPECT_EQ(ForgetModel(boot, *counters, ""), Status::kNotFound);
  ASSERT_EQ(Assign({Request("e", valve), Request("a", pump)}, &places), Status::kOk);
  EXPECT_EQ(places, (std::vector<uint32_t>{1, 0}));
  EXPECT_EQ(counters->offer(1).number, 0U) << "nothing of the one before";
}

TEST_F(ModelPlaces, WithoutNamesThePackageTells) {
  // Two records as if written before there were names, the second model's at place 0.
  ASSERT_EQ(Install(*StoreAt(0, fan), MakePackage(1, 1)), Status::kOk);
  ASSERT_EQ(Install(*StoreAt(2, pump), MakePackage(1, 2)), Status::kOk);
  ASSERT_EQ(Assign({Request("pump", pump), Request("fan", fan), Request("valve", valve)}, &places),
            Status::kOk);
  EXPECT_EQ(places, (std::vector<uint32_t>{2, 0, 1}));
  EXPECT_EQ(counters->name(0), "fan");
}

TEST_F(ModelPlaces, TheOnlyRecordIsTheOnlyModelsEvenIfItsSlotsAreLost) {
  const Bytes package = MakePackage(3, 1);
  ASSERT_EQ(Install(*StoreAt(0, pump), package), Status::kOk);
  ASSERT_EQ(Assign({Request("main", valve)}, &places), Status::kOk);  // slots are blank
  EXPECT_EQ(places, (std::vector<uint32_t>{0}));
  EXPECT_EQ(StoreAt(places[0], valve)->record().floor, VersionOf(package)) << "the floor is kept";
}

TEST_F(ModelPlaces, ARecordThatFitsNobodyIsLeftAlone) {
  ASSERT_EQ(Install(*StoreAt(0, pump), MakePackage(1, 1)), Status::kOk);
  ASSERT_EQ(Assign({Request("fan", fan), Request("valve", valve)}, &places), Status::kOk);
  EXPECT_EQ(places, (std::vector<uint32_t>{1, 2}));
}

TEST_F(ModelPlaces, AnOffersNumberOfAnOlderAgentIsKept) {
  counters = std::make_unique<Counters>(boot);
  ASSERT_EQ(counters->Load(), Status::kOk);
  ASSERT_EQ(counters->SetOffer(0, {.number = 7, .digest = DigestOf(MakePackage(1, 1))}), Status::kOk);
  ASSERT_EQ(Assign({Request("main", pump)}, &places), Status::kOk);
  ASSERT_EQ(Assign({Request("main", pump)}, &places), Status::kOk);
  EXPECT_EQ(counters->offer(places[0]).number, 7U);
  EXPECT_EQ(counters->name(places[0]), "main");
}

TEST_F(ModelPlaces, AreFoundOnABootThatCannotBeWritten) {
  ASSERT_EQ(Install(*StoreAt(0, fan), MakePackage(1, 1)), Status::kOk);
  boot.SetFault({.call = hal::SimCall::kWrite, .first = 0, .count = UINT64_MAX});
  EXPECT_EQ(Assign({Request("pump", pump), Request("fan", fan)}, &places), Status::kUnavailable);
  EXPECT_EQ(places, (std::vector<uint32_t>{1, 0}));
}

class AnothersEnd : public ModelStoreTest {
 protected:
  LastRun Another() {
    LastRun last;
    last.another = true;
    return last;
  }
};

TEST_F(AnothersEnd, UsesUpNoStart) {
  StartWithChampion(p1_);
  for (int start = 0; start < 40; ++start) {
    const StartDecision decision = Start(Another());
    ASSERT_EQ(decision.digest, DigestOf(p1_)) << start;
    ASSERT_FALSE(decision.stepped_down) << start;
    ASSERT_LE(store_->record().unexplained_starts, 1) << start;
  }
}

TEST_F(AnothersEnd, UsesUpNoTryOfATrial) {
  StartWithChampion(p1_);
  ASSERT_EQ(store_->HealthyMark(), base::Status::kOk);
  ASSERT_EQ(Stage(*store_, p2_), base::Status::kOk);
  ASSERT_EQ(store_->BeginTrial(), base::Status::kOk);
  for (int start = 0; start < kMaxTriesGivenBack; ++start) {
    const StartDecision decision = Start(Another());
    ASSERT_TRUE(decision.trial) << start;
    ASSERT_EQ(store_->record().tries_left, kTriesPerTrial - 1) << start;
  }
  // Not for ever: after that it is as any other end.
  Start(Another());
  Start(Another());
  EXPECT_TRUE(Start(Another()).trial_ended);
  EXPECT_FALSE(store_->IsDenied(DigestOf(p2_)));
}

/// The last try was taken in a run that another model ended: it comes back before the trial is judged.
TEST_F(AnothersEnd, GivesBackTheLastTry) {
  StartWithChampion(p1_);
  ASSERT_EQ(store_->HealthyMark(), base::Status::kOk);
  ASSERT_EQ(Stage(*store_, p2_), base::Status::kOk);
  for (int start = 0; start < kTriesPerTrial; ++start) ASSERT_TRUE(Start().trial);
  ASSERT_EQ(store_->record().tries_left, 0);
  const StartDecision decision = Start(Another());
  EXPECT_TRUE(decision.trial);
  EXPECT_FALSE(decision.trial_ended);
  EXPECT_TRUE(Start().trial_ended) << "and once only";
}

/// Its start is counted in the place of the one that another model ended, and a planned stop takes it back.
TEST_F(AnothersEnd, IsFollowedByAStartThatAPlannedStopTakesBack) {
  StartWithChampion(p1_);
  Start();
  ASSERT_EQ(store_->record().unexplained_starts, 1);
  Start(Another());
  ASSERT_EQ(store_->record().unexplained_starts, 1);
  ASSERT_EQ(store_->PlannedStop(), base::Status::kOk);
  EXPECT_EQ(store_->record().unexplained_starts, 0);
}

}  // namespace
}  // namespace dipper::store
