// The real transfer over real sessions and a real Mosquitto: cuts, restarts, junk, strangers, slow and
// endless senders; with MQTT 5 and 3.1.1.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "tests/integration/transfer/transfer_world.h"

namespace dipper::update::test {
namespace {

using dipper::testing::Mosquitto;
using dipper::testing::MosquittoOptions;
using dipper::testing::TemporaryFolder;
using package::Bytes;
using schema::Reason;

constexpr uint32_t kBlocks = 70;  // two groups, of 64 and 6

class TransferMqtt : public ::testing::TestWithParam<Dialect> {
 protected:
  void SetUp() override { ASSERT_TRUE(broker_.Start()); }
  Wire Device(const std::string& id = "device") {
    return OpenWire(MqttOf(broker_, id, GetParam().version), GetParam().paho);
  }
  TemporaryFolder folder_;
  Mosquitto broker_{folder_.path(), {.persistence = true}};
  SmallBlocks release_{kBlocks};
  Media media_;
};

TEST_P(TransferMqtt, CutAtEveryBlockItAsksOnlyForGroupsThatLackOne) {
  Publisher publisher(broker_);
  ASSERT_TRUE(publisher.PutAll(release_));
  uint32_t again = 0;
  for (uint32_t have = 0; have < kBlocks; ++have) {
    {
      Receiver device(media_, Device(), {.persist_blocks = 1});
      device.stop_after = 1;
      device.Begin(release_);
      ASSERT_TRUE(device.Run([&] { return device.transfer.counts().blocks == 1 || device.ended(); })) << have;
      ASSERT_EQ(device.transfer.blocks_have(), have + 1);
      for (const auto& [index, count] : device.came) {
        EXPECT_EQ(index / 64, have / 64) << "asked for a group that was whole, after " << have;
        again += count;
      }
      --again;  // one of them was new
    }
    media_.PowerCut();
  }
  Receiver device(media_, Device());
  device.Begin(release_);
  ASSERT_TRUE(device.RunToEnd());
  EXPECT_EQ(device.result.kind, TransferResult::kComplete);
  EXPECT_TRUE(device.came.empty()) << "nothing was missing";
  EXPECT_TRUE(device.Holds(release_));
  // A group comes whole each time, so a cut costs what of its group was there already, and what was on its
  // way to the session that was cut (Mosquitto's window is 20).
  EXPECT_LE(again, 64U * 63U / 2 + 6U * 5U / 2 + kBlocks * 20U);
  RecordProperty("blocks_sent_again", static_cast<int>(again));
}

TEST_P(TransferMqtt, ABrokerThatKeepsItsMessagesGoesOnAfterARestart) {
  {
    Publisher publisher(broker_);
    ASSERT_TRUE(publisher.PutAll(release_));
  }
  Receiver device(media_, Device());
  device.Begin(release_);
  // The second group has been asked for, or is about to be.
  ASSERT_TRUE(device.Run([&] { return device.transfer.blocks_have() >= 60; }));
  broker_.Stop();
  device.Run([] { return false; }, 0.3);
  ASSERT_TRUE(broker_.Start());
  ASSERT_TRUE(device.RunToEnd());
  EXPECT_EQ(device.result.kind, TransferResult::kComplete);
  EXPECT_TRUE(device.Holds(release_));
}

TEST_P(TransferMqtt, ABrokerThatForgotGoesOnWhenThePublisherRestores) {
  Mosquitto forgetful(folder_.path());
  ASSERT_TRUE(forgetful.Start());
  {
    Publisher publisher(forgetful);
    ASSERT_TRUE(publisher.PutBlocks(release_, 0, 66));
    ASSERT_TRUE(publisher.Put(release_.ManifestTopic(), release_.head()));
  }
  Receiver device(media_, OpenWire(MqttOf(forgetful, "device", GetParam().version), GetParam().paho),
                  {.quiet_ms = 300, .max_quiet_ms = 1000, .attempts = 50});
  device.Begin(release_);
  ASSERT_TRUE(device.Run([&] { return device.transfer.blocks_have() == 66; }));
  forgetful.Kill();
  // However long it takes: without a connection nothing counts as silence.
  device.Run([] { return false; }, 1);
  ASSERT_EQ(device.transfer.counts().resubscribes, 0U);
  device.came.clear();
  ASSERT_TRUE(forgetful.Start());
  Publisher publisher(forgetful);
  ASSERT_TRUE(publisher.PutAll(release_));
  ASSERT_TRUE(device.RunToEnd());
  EXPECT_EQ(device.result.kind, TransferResult::kComplete);
  EXPECT_TRUE(device.Holds(release_));
  for (const auto& [index, count] : device.came) EXPECT_GE(index, 64U) << "a whole group was asked for again";
}

TEST_P(TransferMqtt, PermutedDoubledForeignAndUnheardOfBlocks) {
  Publisher publisher(broker_);
  ASSERT_TRUE(publisher.Put(release_.ManifestTopic(), release_.head()));
  Receiver device(media_, Device(), {.quiet_ms = 20000});
  device.Begin(release_);
  ASSERT_TRUE(device.Run([&] { return device.transfer.manifest() != nullptr; }));
  std::mt19937 random(5);
  const Bytes junk(300, 9);
  for (uint32_t begin = 0; begin < kBlocks; begin += 64) {
    device.Run([] { return false; }, 0.3);  // the subscription of this group
    const uint32_t end = std::min(begin + 64, kBlocks);
    std::vector<uint32_t> order(end - begin);
    std::iota(order.begin(), order.end(), begin);
    order.insert(order.end(), order.begin(), order.end());
    std::shuffle(order.begin(), order.end(), random);
    const std::string group = release_.BlockTopic(begin).substr(0, release_.BlockTopic(begin).rfind('/') + 1);
    for (uint32_t i = 0; i < order.size(); ++i) {
      ASSERT_TRUE(publisher.Put(release_.BlockTopic(order[i]), release_.block(order[i]), false));
      // Topics that no package has, of groups that are not this one, and blocks beyond the last.
      const char* const strange[] = {"x", "-1", "00", "64000", "18446744073709551616", "1e3"};
      ASSERT_TRUE(publisher.Put(group + strange[i % 6], junk, false));
    }
  }
  ASSERT_TRUE(device.RunToEnd());
  EXPECT_EQ(device.result.kind, TransferResult::kComplete);
  EXPECT_TRUE(device.Holds(release_));
  EXPECT_GE(device.transfer.counts().duplicates, 1U);
  EXPECT_EQ(device.transfer.counts().bad, 0U);
}

TEST_P(TransferMqtt, JunkBeyondThePackagesEndIsNotThePackages) {
  Publisher publisher(broker_);
  const Bytes junk(300, 9);
  for (uint32_t i = kBlocks; i < 128; ++i) ASSERT_TRUE(publisher.Put(release_.BlockTopic(i), junk));
  ASSERT_TRUE(publisher.PutAll(release_));
  Receiver device(media_, Device());
  device.Begin(release_);
  ASSERT_TRUE(device.RunToEnd());
  EXPECT_EQ(device.result.kind, TransferResult::kComplete);
  EXPECT_TRUE(device.Holds(release_));
}

TEST_P(TransferMqtt, JunkKeptOnAnyTopicIsRefusedAndNothingOfItIsWritten) {
  const SmallBlocks other(kBlocks, 2);
  Bytes flipped(release_.block(3).begin(), release_.block(3).end());
  flipped.back() ^= 1;
  const Bytes longer(package::kMaxStoredBlockBytes + 1, 7);
  const Bytes huge(200 * 1024, 7);
  const std::vector<std::pair<const char*, base::ByteView>> forgeries = {
      {"one bit", flipped},
      {"another place", release_.block(4)},
      {"another package", other.block(3)},
      {"too long", longer},
      {"huge", huge},
      {"one byte", base::ByteView(flipped).first(1)},
      {"a head", release_.head()}};
  for (const auto& [what, bytes] : forgeries) {
    Media media;
    Publisher publisher(broker_);
    ASSERT_TRUE(publisher.PutAll(release_));
    ASSERT_TRUE(publisher.Put(release_.BlockTopic(3), bytes));
    // Good blocks came after the bad one, so it is the silence behind them that asks for it anew.
    Receiver device(media, Device(), {.quiet_ms = 300, .bad_retry_ms = 20});
    device.Begin(release_);
    ASSERT_TRUE(device.RunToEnd()) << what;
    EXPECT_EQ(device.result.kind, TransferResult::kRefused) << what;
    EXPECT_EQ(device.result.reason, Reason::BadBlock) << what;
    EXPECT_EQ(device.transfer.blocks_have(), 63U) << what << ": the others of its group are good";
    // The right bytes are there again: what is missing comes, the rest stays.
    device.came.clear();
    ASSERT_TRUE(publisher.PutBlocks(release_, 3, 4));
    device.Begin(release_);
    ASSERT_TRUE(device.RunToEnd()) << what;
    EXPECT_EQ(device.result.kind, TransferResult::kComplete) << what;
    EXPECT_TRUE(device.Holds(release_)) << what;
  }
}

TEST_P(TransferMqtt, AForgedHeadCostsNothing) {
  Publisher publisher(broker_);
  ASSERT_TRUE(publisher.PutAll(release_));
  const SmallBlocks other(kBlocks, 2);
  Bytes flipped(release_.head().begin(), release_.head().end());
  flipped[flipped.size() / 2] ^= 1;
  const Bytes huge(200 * 1024, 7);
  for (const base::ByteView head :
       {base::ByteView(flipped), other.head(), base::ByteView(huge), release_.block(0)}) {
    Media media;
    ASSERT_TRUE(publisher.Put(release_.ManifestTopic(), head));
    Receiver device(media, Device(), {.bad_retry_ms = 20});
    device.Begin(release_);
    ASSERT_TRUE(device.RunToEnd());
    EXPECT_EQ(device.result.kind, TransferResult::kRefused);
    EXPECT_TRUE(device.came.empty());
    ASSERT_TRUE(publisher.Put(release_.ManifestTopic(), release_.head()));
    device.Begin(release_);
    ASSERT_TRUE(device.RunToEnd());
    EXPECT_EQ(device.result.kind, TransferResult::kComplete);
  }
}

TEST_P(TransferMqtt, BlocksOfAnEarlierSessionAreNobodys) {
  const SmallBlocks older(kBlocks, 2);
  Publisher publisher(broker_);
  ASSERT_TRUE(publisher.Put(older.ManifestTopic(), older.head()));
  {
    Receiver device(media_, Device());
    device.Begin(older);
    ASSERT_TRUE(device.Run([&] { return device.transfer.manifest() != nullptr; }));
    device.Run([] { return false; }, 0.3);  // its group is subscribed, and the session is kept
  }
  for (uint32_t i = 0; i < 20; ++i) ASSERT_TRUE(publisher.Put(older.BlockTopic(i), older.block(i), false));
  ASSERT_TRUE(publisher.PutAll(release_));
  Receiver device(media_, Device());
  device.Begin(release_);
  ASSERT_TRUE(device.RunToEnd());
  EXPECT_EQ(device.result.kind, TransferResult::kComplete);
  EXPECT_EQ(device.transfer.counts().foreign, 20U);
  EXPECT_TRUE(device.Holds(release_));
}

TEST_P(TransferMqtt, ASlowSenderIsWaitedFor) {
  Publisher publisher(broker_);
  ASSERT_TRUE(publisher.Put(release_.ManifestTopic(), release_.head()));
  Receiver device(media_, Device(), {.quiet_ms = 400, .max_quiet_ms = 400, .attempts = 3});
  device.Begin(release_);
  for (uint32_t i = 0; i < kBlocks; ++i) {
    device.Run([] { return false; }, 0.05);  // 70 blocks take longer than three silences
    ASSERT_FALSE(device.ended());
    ASSERT_TRUE(publisher.PutBlocks(release_, i, i + 1));
  }
  ASSERT_TRUE(device.RunToEnd());
  EXPECT_EQ(device.result.kind, TransferResult::kComplete);
}

TEST_P(TransferMqtt, AnEndlessSenderOfTheSameBlockHoldsNobody) {
  Publisher publisher(broker_);
  ASSERT_TRUE(publisher.Put(release_.ManifestTopic(), release_.head()));
  ASSERT_TRUE(publisher.PutBlocks(release_, 0, 1));
  Receiver device(media_, Device(), {.quiet_ms = 150, .max_quiet_ms = 300, .attempts = 5});
  device.Begin(release_);
  ASSERT_TRUE(device.Run([&] {
    EXPECT_TRUE(publisher.Put(release_.BlockTopic(0), release_.block(0), false));
    return device.ended();
  }));
  EXPECT_EQ(device.result.kind, TransferResult::kFailed);
  EXPECT_EQ(device.result.reason, Reason::BlocksUnavailable);
  EXPECT_GT(device.transfer.counts().duplicates, 3U);
  // Later it goes on where it was.
  ASSERT_TRUE(publisher.PutAll(release_));
  device.Begin(release_);
  ASSERT_TRUE(device.RunToEnd());
  EXPECT_EQ(device.result.kind, TransferResult::kComplete);
}

TEST_P(TransferMqtt, AMessageFarTooLargeLeavesTheSessionAlone) {
  Publisher publisher(broker_);
  ASSERT_TRUE(publisher.PutAll(release_));
  {
    const Bytes enormous(64 << 20, 1);
    ASSERT_TRUE(
        publisher.Put(release_.BlockTopic(kBlocks), enormous));  // beside the blocks of the second group
  }
  Receiver device(media_, Device());
  device.Begin(release_);
  ASSERT_TRUE(device.RunToEnd(60));
  EXPECT_EQ(device.result.kind, TransferResult::kComplete);
  const telemetry::TransportStats stats = device.transport().stats();
  EXPECT_EQ(stats.connects, 1U);
  if (GetParam().version == link::MqttVersion::k5) {
    EXPECT_LT(stats.received_bytes, 1U << 20) << "the broker withholds it";
  } else {
    // Nobody withholds it; it may still be on its way when the last block is there.
    device.Run([&] { return device.transport().stats().received_dropped > 0; }, 20);
    EXPECT_EQ(device.transport().stats().received_dropped, 1U);
    EXPECT_EQ(device.transport().stats().connects, 1U);
  }
  ASSERT_TRUE(publisher.Put(release_.BlockTopic(kBlocks), {}));
}

INSTANTIATE_TEST_SUITE_P(All, TransferMqtt, ::testing::ValuesIn(kDialects),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

/// What Mosquitto cannot be: a broker that keeps messages and gives none to wildcards.
TEST(TransferBroker, OneThatKeepsNothingForWildcardsIsUnfit) {
  dipper::testing::MemoryBroker broker;
  broker.retained_to_wildcards = false;
  const SmallBlocks release(kBlocks);
  const auto keep = [&](const std::string& topic, base::ByteView bytes) {
    broker.retained[topic] = {bytes.begin(), bytes.end()};
  };
  keep(release.ManifestTopic(), release.head());
  for (uint32_t i = 0; i < kBlocks; ++i) keep(release.BlockTopic(i), release.block(i));
  dipper::testing::MemoryTransport wire(broker);
  wire.Connect();
  Media media;
  Receiver device(media, OpenWire(wire), {.quiet_ms = 50, .max_quiet_ms = 200, .attempts = 7});
  device.Begin(release);
  ASSERT_TRUE(device.RunToEnd());
  EXPECT_EQ(device.result.kind, TransferResult::kFailed);
  EXPECT_EQ(device.result.reason, Reason::BrokerUnfit);
}

}  // namespace
}  // namespace dipper::update::test

int main(int argc, char** argv) {
  if (const int skip = dipper::testing::SkipWithoutMosquitto(); skip != 0) return skip;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
