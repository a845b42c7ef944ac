// What status advises while no model serves.
#include "agent/app/control/text.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "agent/base/time.h"

namespace dipper::app {
namespace {

using schema::UpdateState;

class NoChampion : public ::testing::Test {
 protected:
  NoChampion() {
    view_.running = true;
    view_.readings.healthy_after_s = 120;
    view_.readings.uptime_ns = 30 * base::kSecondNs;
    view_.models.emplace_back();
    model().id = "main";
    model().has_record = true;
  }
  ModelView& model() { return view_.models[0]; }
  /// The last line: what to do, or what comes next.
  std::string Last(UpdateState state) {
    model().state = state;
    return StatusText(view_).back();
  }
  bool Says(const std::string& text) {
    const Lines lines = StatusText(view_);
    return std::ranges::any_of(lines, [&](const std::string& line) { return line.find(text) != line.npos; });
  }

  ControlView view_;
};

TEST_F(NoChampion, AskedForOnlyWhenNoneIsOnItsWay) {
  for (const UpdateState state : {UpdateState::Idle, UpdateState::Rejected, UpdateState::FellBack}) {
    EXPECT_NE(Last(state).find("install one (dipper-agent install FILE)"), std::string::npos);
  }
  for (const UpdateState state : {UpdateState::Offered, UpdateState::Transferring, UpdateState::Verifying,
                                  UpdateState::Staged, UpdateState::Trial}) {
    EXPECT_EQ(Last(state).find("install"), std::string::npos) << Last(state);
    EXPECT_NE(Last(state).find("nothing serves yet, one is on "), std::string::npos) << Last(state);
  }
}

TEST_F(NoChampion, WhatItWaitsForIsSaid) {
  EXPECT_NE(Last(UpdateState::Offered).find("the healthy mark, in about 90 s"), std::string::npos);
  view_.readings.uptime_ns = 500 * base::kSecondNs;  // a part does not work
  EXPECT_NE(Last(UpdateState::Offered).find("which comes when every part works"), std::string::npos);
  EXPECT_NE(Last(UpdateState::Transferring).find("blocks are coming"), std::string::npos);
  model().healthy = true;
  EXPECT_NE(Last(UpdateState::Offered).find("this device's place in the offer's window"), std::string::npos);
  EXPECT_NE(Last(UpdateState::Trial).find("dipper-agent confirm makes it serve now"), std::string::npos);
  view_.running = false;
  EXPECT_NE(Last(UpdateState::Offered).find("when the agent runs"), std::string::npos);
}

TEST_F(NoChampion, OneThatWasLostIsNamed) {
  model().lost = "pump 1 (1f0c22ab91d4) in slot A is damaged or gone";
  model().record.floor = {.epoch = 0, .version = 3};
  EXPECT_NE(Last(UpdateState::Idle).find("install it again"), std::string::npos);
  EXPECT_NE(Last(UpdateState::Idle).find("at or above security version 3"), std::string::npos);
  EXPECT_TRUE(Says("no model: pump 1 (1f0c22ab91d4) in slot A is damaged or gone"));
  // Another one has taken its place.
  model().record.lkg_slot = store::SlotId::kB;
  model().champion.digest.bytes[0] = 1;
  EXPECT_EQ(Last(UpdateState::Idle).find("install it again"), std::string::npos);
  EXPECT_TRUE(Says("slot A is damaged or gone; the model above took its place"));
}

TEST(LostText, NamesTheNewestMarkThatIsLeft) {
  store::BootRecord record;
  std::vector<SlotView> slots(2);
  slots[0].id = store::SlotId::kA;
  slots[1].id = store::SlotId::kB;
  EXPECT_EQ(LostText(record, slots), "") << "a new device";
  record.floor = {.epoch = 0, .version = 1};
  EXPECT_EQ(LostText(record, slots), "what served here was reset, or its slot is gone");
  for (uint8_t i = 0; i < 2; ++i) {
    slots[i].has_mark = true;
    slots[i].mark.sequence = 5 + i;
    slots[i].mark.digest.bytes[0] = i;
  }
  EXPECT_EQ(LostText(record, slots), "package (010000000000) in slot B is damaged or gone");
  slots[1].package.digest = slots[1].mark.digest;
  slots[1].package.name = "pump\x1b";
  slots[1].package.version = "2";
  EXPECT_EQ(LostText(record, slots), "pump? 2 (010000000000) in slot B is damaged or gone");
  record.rung = store::Rung::kNone;
  EXPECT_EQ(LostText(record, slots), "") << "its ladder ended, and says so";
}

}  // namespace
}  // namespace dipper::app
