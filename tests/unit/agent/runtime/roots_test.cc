// agent/runtime and the trust root: a device says itself that its root has expired, and what a new root
// changes about offers that are on the broker is seen at once, without another connection.
#include <gtest/gtest.h>

#include "tests/unit/agent/learn/spec_maker.h"
#include "tests/unit/agent/runtime/agent_world.h"

namespace dipper::runtime::test {
namespace {

using learn::testing::MakeForecastSpec;
using schema::UpdateState;
using update::test::TestKeys;

class Roots : public ::testing::Test {
 protected:
  Roots() { DIPPER_CHECK(world.Serve(MakeRelease(MakeForecastSpec("linear", 1, 1), "1"), 1)); }

  void Turns(int count) {
    for (int i = 0; i < count; ++i) world.Turn();
  }

  const Release next = MakeRelease(MakeForecastSpec("linear", 1, 1), "2");
  World world{"f0", Wave};
};

TEST_F(Roots, AnExpiredRootIsToldOnceARoot) {
  const auto told = [&] { return world.EventsOf("", "root_expired"); };
  EXPECT_EQ(world.DeviceMetric("trust_root_expires_timestamp_seconds"), 4'000'000'000U);
  // Not by a clock that nobody vouches for.
  world.clock.wall_ns = 4'000'000'000 * base::kSecondNs;
  world.Metrics();
  EXPECT_TRUE(told().empty());
  world.clock.synchronized = true;
  world.Metrics();
  world.Metrics();
  ASSERT_EQ(told().size(), 1U);
  EXPECT_EQ(told()[0]["count"], 1);
  // Another root that has expired too.
  world.PublishRoot(2, update::test::NextRootDocument(0));
  world.Turn();
  world.Metrics();
  world.Metrics();
  ASSERT_EQ(told().size(), 2U);
  EXPECT_EQ(told()[1]["count"], 2);
  EXPECT_EQ(world.updater().state(), UpdateState::Confirmed);
  EXPECT_NE(world.updater().champion(), nullptr) << "what runs goes on";
}

TEST_F(Roots, AnOfferThatCameBeforeItsRootIsTakenWithIt) {
  world.Publish(next, 2, "main", nullptr, TestKeys().stranger);
  world.Reconnect();
  Turns(100);
  EXPECT_EQ(world.updater().state(), UpdateState::Confirmed);
  EXPECT_NE(world.updater().Status().champion, next.digest);
  const uint64_t connects = world.wire().stats().connects;
  world.PublishRoot(2, update::test::NextRolloutRootDocument(0));
  ASSERT_TRUE(world.RunTo(UpdateState::Trial));
  ASSERT_TRUE(world.RunTo(UpdateState::Confirmed));
  EXPECT_EQ(world.updater().Status().champion, next.digest);
  EXPECT_EQ(world.wire().stats().connects, connects);
}

TEST_F(Roots, AnOfferThatWaitsForItsTurnOutlivesAKeyThatIsAdded) {
  world.Publish(next, 2, "main", [](schema::OfferT& offer) { offer.spread_seconds = 3600; });
  world.Reconnect();
  Turns(2);
  ASSERT_EQ(world.updater().state(), UpdateState::Offered);
  world.PublishRoot(2, update::test::BothRolloutKeysRootDocument());
  Turns(10);
  ASSERT_EQ(world.Events("root_changed").size(), 1U);
  EXPECT_EQ(world.updater().state(), UpdateState::Offered);
  world.clock.now_ns += 3600 * base::kSecondNs;
  ASSERT_TRUE(world.RunTo(UpdateState::Trial));
}

// A root that came before is nothing new, however often it comes, so that asking anew has an end.
TEST_F(Roots, ARootThatIsKnownAsksForNothing) {
  world.PublishRoot(2, update::test::BothRolloutKeysRootDocument());
  Turns(10);
  const uint64_t asked = world.wire().subscribes;
  for (int i = 0; i < 5; ++i) world.PublishRoot(2, update::test::BothRolloutKeysRootDocument());
  Turns(10);
  EXPECT_EQ(world.wire().subscribes, asked);
}

}  // namespace
}  // namespace dipper::runtime::test
