// agent/runtime/block_turns: one wish on the wire, everybody gets a turn.
#include "agent/runtime/block_turns.h"

#include <gtest/gtest.h>

#include <utility>

#include "tests/support/memory_broker.h"

namespace dipper::runtime {
namespace {

base::Digest DigestOf(uint8_t first) {
  base::Digest digest;
  digest.bytes[0] = first;
  return digest;
}

class Turns : public ::testing::Test {
 protected:
  Turns() {
    publisher_.Connect();
    wire_.Connect();
    for (const base::Digest& package : {a, b, c}) {
      broker_.retained[std::string(telemetry::ManifestTopic("plant", package).view())] = {1};
      for (uint32_t block : {0U, 64U}) {
        broker_.retained[std::string(telemetry::BlockTopic("plant", package, block).view())] = {2};
      }
    }
    Drain();
  }

  /// Everything that has come goes to the turns; topics of messages are kept for Drain.
  void Pump() {
    telemetry::TransportEvent event;
    while (Ok(wire_.Poll(&event))) {
      turns.OnEvent(event);
      if (event.kind == telemetry::TransportEvent::Kind::kMessage) came_.emplace_back(event.topic);
    }
  }
  /// Topics that came since the last call.
  std::vector<std::string> Drain() {
    Pump();
    return std::exchange(came_, {});
  }
  bool HasTurn(uint32_t model) {
    Pump();
    return turns.Of(model).HasTurn();
  }
  std::vector<std::string> Manifest(const base::Digest& package) {
    return {std::string(telemetry::ManifestTopic("plant", package).view())};
  }
  std::vector<std::string> Block(const base::Digest& package, uint32_t block) {
    return {std::string(telemetry::BlockTopic("plant", package, block).view())};
  }

  const base::Digest a = DigestOf(1), b = DigestOf(2), c = DigestOf(3);
  dipper::testing::MemoryBroker broker_;
  dipper::testing::MemoryTransport wire_{broker_}, publisher_{broker_};
  BlockTurns turns{"plant", wire_};
  std::vector<std::string> came_;
};

TEST_F(Turns, OneAloneKeepsItsTurn) {
  turns.Of(0).WantManifest(a);
  EXPECT_TRUE(HasTurn(0));
  EXPECT_EQ(Drain(), Manifest(a));
  turns.Of(0).WantGroup(a, 1);
  EXPECT_EQ(Drain(), Block(a, 64));
  turns.Poll(10 * BlockTurns::kSliceNs);
  EXPECT_TRUE(HasTurn(0));
  EXPECT_TRUE(Drain().empty());
  turns.Of(0).Done(a);
  EXPECT_FALSE(turns.WhoWants(a).has_value());
}

TEST_F(Turns, AFinishedGroupPassesTheTurnOn) {
  turns.Of(0).WantManifest(a);
  turns.Of(1).WantManifest(b);
  turns.Of(3).WantManifest(c);
  EXPECT_EQ(Drain(), Manifest(a));
  EXPECT_FALSE(HasTurn(1));
  turns.Of(0).WantGroup(a, 0);  // its manifest has come
  EXPECT_TRUE(HasTurn(1));
  EXPECT_EQ(Drain(), Manifest(b));
  turns.Of(1).WantGroup(b, 0);
  EXPECT_TRUE(HasTurn(3));
  EXPECT_EQ(Drain(), Manifest(c));
  turns.Of(3).WantGroup(c, 0);
  EXPECT_TRUE(HasTurn(0));
  EXPECT_EQ(Drain(), Block(a, 0));
  turns.Of(0).Done(a);
  EXPECT_EQ(Drain(), Block(b, 0));
  turns.Of(1).Done(b);
  EXPECT_EQ(Drain(), Block(c, 0));
}

TEST_F(Turns, ASlowOneHoldsTheOthersUpForASliceOnly) {
  turns.Poll(0);
  turns.Of(0).WantGroup(a, 0);
  turns.Of(1).WantGroup(b, 0);
  turns.Poll(BlockTurns::kSliceNs - 1);
  EXPECT_TRUE(HasTurn(0));
  turns.Poll(BlockTurns::kSliceNs);
  EXPECT_TRUE(HasTurn(1));
  // What comes late is still its own.
  EXPECT_EQ(turns.WhoWants(a), 0U);
  EXPECT_EQ(turns.WhoWants(b), 1U);
  turns.Poll(2 * BlockTurns::kSliceNs);
  EXPECT_TRUE(HasTurn(0));
}

TEST_F(Turns, WhoGivesUpWaitingIsSkipped) {
  turns.Of(0).WantGroup(a, 0);
  turns.Of(1).WantGroup(b, 0);
  turns.Of(2).WantGroup(c, 0);
  turns.Of(1).Done(b);
  turns.Of(1).Done(a);  // not its package: means nothing
  Drain();
  turns.Of(0).Done(a);
  EXPECT_TRUE(HasTurn(2));
  EXPECT_EQ(Drain(), Block(c, 0));
}

TEST_F(Turns, ANewConnectionIsAskedAgain) {
  turns.Of(0).WantGroup(a, 0);
  Drain();
  wire_.Disconnect();
  Drain();
  wire_.Connect();
  Drain();
  turns.OnConnected();
  turns.Poll(1);
  EXPECT_EQ(Drain(), Block(a, 0));
  turns.Poll(2);
  EXPECT_TRUE(Drain().empty());
}

}  // namespace
}  // namespace dipper::runtime
