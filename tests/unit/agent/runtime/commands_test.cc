// agent/runtime/agent_report: commands that are not carried out cost next to nothing, whoever sends them and
// however many.
#include <gtest/gtest.h>

#include "tests/unit/agent/learn/spec_maker.h"
#include "tests/unit/agent/runtime/agent_world.h"

namespace dipper::runtime::test {
namespace {

using learn::testing::MakeForecastSpec;
using package::Bytes;
using telemetry::TopicKind;
using update::test::CommandDocument;
using update::test::TestKeys;

constexpr size_t kTold = base::EventLimit::kBurst;

class Commands : public ::testing::Test {
 protected:
  Commands() { DIPPER_CHECK(world.Serve(MakeRelease(MakeForecastSpec("linear", 1, 1), "1"), 1)); }

  void Send(const Bytes& document, int times) {
    for (int i = 0; i < times; ++i) {
      world.Send(document);
      world.Turn(0);
    }
  }
  std::vector<json> Answers() { return world.Messages(TopicKind::kResponse); }
  std::vector<json> Told() { return world.EventsOf("", "command_refused"); }
  uint64_t Writes() { return world.boot().calls(hal::SimCall::kWrite); }

  World world{"f0", Wave};
};

TEST_F(Commands, WhatNobodyHasSignedIsCountedAndSeldomTold) {
  const Bytes good = CommandDocument("checkpoint", 5, 4'000'000'000, "main");
  Bytes changed = good;
  changed[changed.size() / 2] ^= 1;
  const uint64_t logged = world.log().newest();
  const uint64_t written = Writes();
  const size_t states = world.Messages(TopicKind::kUpdate).size();
  Send(CommandDocument("checkpoint", 5, 4'000'000'000, "main", TestKeys().stranger), 20);
  Send(changed, 20);
  Send(Bytes(64, uint8_t{7}), 20);
  Send(Bytes(package::kMaxDocumentBytes + 1, uint8_t{7}), 20);
  EXPECT_EQ(Answers().size(), kTold);
  for (const json& answer : Answers()) {
    EXPECT_EQ(answer["status"], "refused");
    EXPECT_FALSE(answer.contains("image")) << "the image was hashed for a stranger";
  }
  EXPECT_TRUE(world.EventsOf("main", "command_done").empty());
  EXPECT_EQ(world.log().newest(), logged + kTold);
  EXPECT_EQ(Writes(), written);
  EXPECT_EQ(world.Messages(TopicKind::kUpdate).size(), states) << "it changed nothing that would be told";
  ASSERT_EQ(Told().size(), kTold);
  EXPECT_EQ(Told()[0]["reason"], "unknown_key");
  EXPECT_NE(Told()[0]["detail"].get<std::string>().find("no key of the command role"), std::string::npos);
  EXPECT_EQ(world.DeviceMetric("commands_refused_total"), 80U);
  // A minute later one more, which says how many were not told.
  world.clock.now_ns += base::EventLimit::kRefillNs;
  Send(changed, 2);
  ASSERT_EQ(Told().size(), kTold + 1);
  EXPECT_EQ(Told().back()["count"], 80 - kTold);
  // The flood has not used up what signed ones are answered by, nor their numbers.
  Send(good, 1);
  EXPECT_EQ(Answers().back()["status"], "done");
  EXPECT_TRUE(Answers().back().contains("image"));
  Send(CommandDocument("checkpoint", 4, 4'000'000'000, "main"), 1);
  EXPECT_EQ(Answers().back()["reason"], "old_number");
  EXPECT_EQ(Answers().back()["number"], 4);
}

TEST_F(Commands, OneThatIsPlayedAgainAndAgainIsCheap) {
  const Bytes once = CommandDocument("freeze", 5, 4'000'000'000, "main");
  Send(once, 1);
  ASSERT_EQ(Answers().size(), 1U);
  ASSERT_EQ(Answers()[0]["status"], "done");
  const uint64_t logged = world.log().newest();
  const uint64_t written = Writes();
  Send(once, 50);
  EXPECT_EQ(world.EventsOf("main", "command_done").size(), 1U);
  EXPECT_EQ(Answers().size(), 1 + kTold);
  EXPECT_EQ(Answers().back()["status"], "done");
  EXPECT_EQ(Answers().back()["repeated"], true);
  EXPECT_FALSE(Answers().back().contains("image"));
  EXPECT_EQ(world.log().newest(), logged + kTold);
  EXPECT_EQ(Writes(), written);
  ASSERT_EQ(Told().size(), kTold);
  EXPECT_EQ(Told()[0]["detail"], "freeze, number 5: carried out before: answered again");
  EXPECT_EQ(world.DeviceMetric("commands_refused_total"), 50U);
}

TEST_F(Commands, OldOnesAreRefusedCheaply) {
  Send(CommandDocument("checkpoint", 9, 4'000'000'000, "main"), 1);
  const uint64_t written = Writes();
  Send(CommandDocument("undo", 8, 4'000'000'000, "main"), 50);
  EXPECT_EQ(Told().size(), kTold);
  EXPECT_EQ(Answers().size(), 1 + kTold);
  EXPECT_EQ(Answers().back()["reason"], "old_number");
  EXPECT_EQ(Answers().back()["name"], "undo");
  EXPECT_FALSE(Answers().back().contains("image"));
  EXPECT_EQ(Writes(), written);
}

TEST_F(Commands, ATurnChecksAFewAndTheRestWaits) {
  const uint64_t samples = world.updater().champion()->samples();
  for (uint64_t number = 1; number <= 10; ++number) {
    world.Send(CommandDocument("freeze", number, 4'000'000'000, "main"));
  }
  world.Turn(1);
  const size_t first = Answers().size();
  EXPECT_LT(first, 10U);
  EXPECT_EQ(world.updater().champion()->samples(), samples + 1) << "the model has its turn in between";
  for (int turn = 0; turn < 10; ++turn) world.Turn(0);
  ASSERT_EQ(Answers().size(), 10U) << "none is lost";
  for (uint64_t number = 1; number <= 10; ++number) EXPECT_EQ(Answers()[number - 1]["number"], number);
}

}  // namespace
}  // namespace dipper::runtime::test
