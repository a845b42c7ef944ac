// agent/runtime with several models on one device: each has its own update, gate, budgets, topics and
// metrics, and what goes wrong in one leaves the others as they are.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/agent/learn/spec_maker.h"
#include "tests/unit/agent/runtime/agent_world.h"

namespace dipper::runtime::test {
namespace {

using learn::testing::MakeForecastSpec;
using learn::testing::Numbers;
using schema::UpdateState;
using telemetry::TopicKind;

schema::SpecT SpecOf(const std::string& model) {
  schema::SpecT spec = MakeForecastSpec("rls", 1, 1);
  spec.model_id = model;
  return spec;
}

class Models : public ::testing::Test {
 protected:
  Models() {
    EXPECT_TRUE(world.Serve(pump1, 1, 0));
    EXPECT_TRUE(world.Serve(fan1, 1, 1));
  }

  const Release pump1 = MakeRelease(SpecOf("pump"), "1"), fan1 = MakeRelease(SpecOf("fan"), "1");
  World world{"f0", Wave, 0, {"pump", "fan"}};
};

TEST_F(Models, BothAreUpdatedAtOnce) {
  const Release pump2 = MakeRelease(SpecOf("pump"), "2"), fan2 = MakeRelease(SpecOf("fan"), "2");
  world.Publish(pump2, 2, "pump");
  world.Publish(fan2, 2, "fan");
  world.Reconnect();
  bool both_in_trial = false;
  for (int turn = 0; turn < 2000; ++turn) {
    world.Turn();
    both_in_trial = both_in_trial || (world.updater(0).state() == UpdateState::Trial &&
                                      world.updater(1).state() == UpdateState::Trial);
    if (world.updater(0).state() == UpdateState::Confirmed &&
        world.updater(1).state() == UpdateState::Confirmed && both_in_trial) {
      break;
    }
  }
  EXPECT_TRUE(both_in_trial);
  EXPECT_EQ(world.updater(0).Status().champion, pump2.digest);
  EXPECT_EQ(world.updater(1).Status().champion, fan2.digest);
}

TEST_F(Models, EachTellsUnderItsOwnName) {
  for (int turn = 0; turn < 50; ++turn) world.Turn();
  for (const size_t model : {size_t{0}, size_t{1}}) {
    const std::string id = model == 0 ? "pump" : "fan";
    const json metrics = world.Metrics(model);
    EXPECT_EQ(metrics["model"], id);
    EXPECT_EQ(metrics["learner_samples_total"], world.updater(model).champion()->samples());
    EXPECT_EQ(metrics["update_confirms_total"], 1);
    ASSERT_FALSE(world.MessagesOf(TopicKind::kUpdate, id).empty());
    const std::string digest(base::ToHex(model == 0 ? pump1.digest : fan1.digest).view());
    EXPECT_EQ(world.MessagesOf(TopicKind::kUpdate, id).back()["serving.digest"], digest);
    for (const json& step : world.EventsOf(id, "update_step")) {
      EXPECT_EQ(step.value("package.digest", digest), digest);
    }
    EXPECT_FALSE(world.MessagesOf(TopicKind::kPrediction, id).empty());
  }
  const json birth = world.Messages(TopicKind::kBirth).back();
  ASSERT_EQ(birth["models"].size(), 2U);
  EXPECT_EQ(birth["models"][0]["id"], "pump");
  EXPECT_EQ(birth["models"][1]["id"], "fan");
}

TEST_F(Models, OneFallsBackByCommandWhileTheOtherConfirms) {
  world.Publish(MakeRelease(SpecOf("pump"), "2"), 2, "pump");
  const Release fan2 = MakeRelease(SpecOf("fan"), "2");
  world.Publish(fan2, 2, "fan");
  world.Reconnect();
  ASSERT_TRUE(world.RunTo(UpdateState::Trial, 0));
  ASSERT_TRUE(world.RunTo(UpdateState::Trial, 1));
  world.Command("fall_back", 1, "pump");
  EXPECT_EQ(world.updater(0).state(), UpdateState::FellBack);
  EXPECT_EQ(world.updater(1).state(), UpdateState::Trial);
  const uint64_t pump_samples = world.updater(0).champion()->samples();
  ASSERT_TRUE(world.RunTo(UpdateState::Confirmed, 1));
  EXPECT_EQ(world.updater(1).Status().champion, fan2.digest);
  EXPECT_EQ(world.updater(0).Status().champion, pump1.digest);
  EXPECT_GT(world.updater(0).champion()->samples(), pump_samples);
  // An undo of one is none of the other's business either.
  world.Command("undo", 2, "fan");
  EXPECT_EQ(world.updater(1).Status().champion, fan1.digest);
  EXPECT_EQ(world.updater(0).Status().champion, pump1.digest);
  ASSERT_EQ(world.EventsOf("fan", "command_done").size(), 1U);
  EXPECT_EQ(world.EventsOf("pump", "command_done").size(), 1U);
}

TEST_F(Models, ACommandForNobodyHereIsRefused) {
  world.Command("checkpoint", 1, "valve");
  const json answer = world.Messages(TopicKind::kResponse).back();
  EXPECT_EQ(answer["status"], "refused");
  EXPECT_EQ(answer["reason"], "wrong_target");
  EXPECT_NE(answer["detail"].get<std::string>().find("no such model"), std::string::npos);
  // Without a name it is not clear who is meant.
  world.Command("checkpoint", 2, "");
  EXPECT_EQ(world.Messages(TopicKind::kResponse).back()["reason"], "wrong_target");
}

TEST_F(Models, OneOverItsBudgetOfTimeFallsBackAlone) {
  world.Publish(MakeRelease(SpecOf("pump"), "2", kMs / 4), 2, "pump");
  const Release fan2 = MakeRelease(SpecOf("fan"), "2", 1000 * kMs);
  world.Publish(fan2, 2, "fan");
  world.Reconnect();
  world.clock.step_ns = kMs / 2;
  for (int i = 0; i < 400 && (world.updater(0).state() != UpdateState::FellBack ||
                              world.updater(1).state() != UpdateState::Confirmed);
       ++i) {
    world.Turn(32);
  }
  EXPECT_EQ(world.updater(0).state(), UpdateState::FellBack);
  EXPECT_EQ(world.EventsOf("pump", "update_step").back()["reason"], "over_budget");
  EXPECT_EQ(world.updater(1).Status().champion, fan2.digest);
  for (const json& step : world.EventsOf("fan", "update_step")) {
    EXPECT_NE(step.value("reason", ""), "over_budget");
  }
}

TEST_F(Models, OneTooLargeIsRejectedAlone) {
  const Release pump2 = MakeRelease(SpecOf("pump"), "2");
  const Release fan2 = MakeRelease(SpecOf("fan"), "2");
  world.Publish(pump2, 2, "pump",
                [](schema::OfferT& offer) { offer.image_bytes = ModelBox::kImageBytes + 1; });
  world.Publish(fan2, 2, "fan");
  world.Reconnect();
  ASSERT_TRUE(world.RunTo(UpdateState::Rejected, 0));
  EXPECT_EQ(world.EventsOf("pump", "update_step").back()["reason"], "too_large");
  ASSERT_TRUE(world.RunTo(UpdateState::Trial, 1));
  ASSERT_TRUE(world.RunTo(UpdateState::Confirmed, 1));
  EXPECT_EQ(world.updater(1).Status().champion, fan2.digest);
}

TEST_F(Models, OneWhoseSlotsFailEndsItsUpdateAlone) {
  for (hal::PartitionSim* slot : {&world.box(0).slot_a, &world.box(0).slot_b}) {
    slot->SetFault({.call = hal::SimCall::kWrite, .first = 0, .count = UINT64_MAX});
  }
  world.Publish(MakeRelease(SpecOf("pump"), "2"), 2, "pump");
  const Release fan2 = MakeRelease(SpecOf("fan"), "2");
  world.Publish(fan2, 2, "fan");
  world.Reconnect();
  ASSERT_TRUE(world.RunTo(UpdateState::Failed, 0));
  EXPECT_EQ(world.EventsOf("pump", "update_step").back()["reason"], "storage_error");
  ASSERT_TRUE(world.RunTo(UpdateState::Trial, 1));
  ASSERT_TRUE(world.RunTo(UpdateState::Confirmed, 1));
  EXPECT_EQ(world.updater(1).Status().champion, fan2.digest);
  EXPECT_EQ(world.updater(0).Status().champion, pump1.digest);
  const uint64_t samples = world.updater(0).champion()->samples();
  world.Turn(10);
  EXPECT_EQ(world.updater(0).champion()->samples(), samples + 10);
}

TEST_F(Models, OneWhoseChallengerIsNotFiniteFallsBackAlone) {
  world.Publish(MakeRelease(SpecOf("pump"), "2"), 2, "pump");
  const Release fan2 = MakeRelease(SpecOf("fan"), "2");
  world.Publish(fan2, 2, "fan");
  world.Reconnect();
  ASSERT_TRUE(world.RunTo(UpdateState::Trial, 0));
  ASSERT_TRUE(world.RunTo(UpdateState::Trial, 1));
  world.updater(0).OnChallengerFailed(schema::Reason::NotFinite);
  world.Turn();
  EXPECT_EQ(world.updater(0).state(), UpdateState::FellBack);
  EXPECT_TRUE(world.updater(0).store().IsDenied(world.updater(0).Status().offered));
  EXPECT_EQ(world.updater(1).state(), UpdateState::Trial);
  ASSERT_TRUE(world.RunTo(UpdateState::Confirmed, 1));
  EXPECT_EQ(world.updater(1).Status().champion, fan2.digest);
}

TEST_F(Models, AnUnusableChampionOfOneGoesDownItsLadderAlone) {
  world.clock.now_ns += 2'000'000'000;
  for (int failure = 0; failure < 3; ++failure) world.updater(0).OnChampionFailed();
  world.Turn();
  const std::vector<json> rungs = world.EventsOf("pump", "rung");
  ASSERT_EQ(rungs.size(), 1U);
  EXPECT_EQ(rungs[0]["reason"], "not_finite");
  EXPECT_GT(rungs[0]["count"], 0);
  EXPECT_FALSE(rungs[0]["detail"].get<std::string>().empty());
  EXPECT_FALSE(world.EventsOf("pump", "restored").empty());
  EXPECT_TRUE(world.EventsOf("fan", "rung").empty());
  EXPECT_TRUE(world.EventsOf("fan", "restored").empty());
  EXPECT_EQ(world.updater(1).store().record().own_failures, 0);
  EXPECT_EQ(world.updater(1).Status().champion, fan1.digest);
}

TEST_F(Models, FreezingOneIsToldAndLeavesTheOther) {
  world.Command("freeze", 1, "pump");
  ASSERT_EQ(world.EventsOf("pump", "frozen").size(), 1U);
  EXPECT_EQ(world.EventsOf("pump", "frozen")[0]["package.digest"],
            std::string(base::ToHex(pump1.digest).view()));
  EXPECT_TRUE(world.EventsOf("fan", "frozen").empty());
  EXPECT_FALSE(world.updater(1).champion()->frozen());
  EXPECT_EQ(world.MessagesOf(TopicKind::kUpdate, "pump").back()["frozen"], true);
  for (int turn = 0; turn < 20; ++turn) world.Turn();
  EXPECT_EQ(world.EventsOf("pump", "frozen").size(), 1U);
  world.Command("unfreeze", 2, "pump");
  EXPECT_EQ(world.EventsOf("pump", "unfrozen").size(), 1U);
}

TEST_F(Models, ACheckpointIsToldAndItsAgeCounts) {
  const size_t before = world.EventsOf("fan", "checkpoint").size();
  world.clock.now_ns += 120'000'000'000;  // a healthy period since the newest
  for (int turn = 0; turn < 3; ++turn) world.Turn();
  world.Command("checkpoint", 1, "fan");
  const std::vector<json> told = world.EventsOf("fan", "checkpoint");
  ASSERT_EQ(told.size(), before + 1);
  EXPECT_EQ(told.back()["image"],
            std::string(base::ToHex(world.updater(1).champion()->ImageDigest()).view()));
  EXPECT_EQ(told.back()["count"], world.updater(1).champion()->samples());
  EXPECT_EQ(told.back()["detail"], "champion");
  world.clock.now_ns += 5'000'000'000;
  const json metrics = world.Metrics(1);
  EXPECT_NEAR(metrics["learner_checkpoint_age_seconds"].get<double>(), 6, 0.2);
}

TEST_F(Models, LostTelemetryIsToldOnceItCanBe) {
  const auto told = [&] {
    uint64_t sum = 0;
    for (const json& drop : world.EventsOf("", "drop")) sum += drop["count"].get<uint64_t>();
    return sum;
  };
  world.Metrics(0);
  const uint64_t before = told();
  world.CutTheWire();
  world.Metrics(0);  // nothing takes them: this world has no backlog
  world.Metrics(0);
  EXPECT_EQ(told(), before);
  world.Reconnect();
  world.Metrics(0);
  EXPECT_GE(told(), before + 6);  // two batches of the device and of each model
  const uint64_t after = told();
  world.Metrics(0);
  EXPECT_EQ(told(), after) << "each is told once";
}

}  // namespace
}  // namespace dipper::runtime::test
