// Store-and-forward over a broker in memory and a ring in memory: nothing lost, order, rate, counted losses.
#include "agent/telemetry/outbox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "tests/support/memory_broker.h"

namespace dipper::telemetry {
namespace {

using base::Status;
using testing::MemoryBroker;
using testing::MemoryTransport;

constexpr int64_t kMs = 1'000'000;

// A ring of so many entries.
class FakeRing final : public BacklogRing {
 public:
  explicit FakeRing(size_t capacity) : capacity_(capacity) {}
  Status Append(base::ByteView entry) override {
    if (fail) return Status::kUnavailable;
    if (entries_.size() == capacity_) {
      entries_.pop_front();
      ++first_;
      ++dropped_;
    }
    entries_.emplace_back(entry.begin(), entry.end());
    return Status::kOk;
  }
  base::Result<Entry> Peek(uint64_t from, base::MutableBytes buffer) override {
    const uint64_t at = std::max(from, first_);
    if (at - first_ >= entries_.size()) return Status::kNotFound;
    const auto& entry = entries_[at - first_];
    if (entry.size() > buffer.size()) return Status::kResourceExhausted;
    std::copy(entry.begin(), entry.end(), buffer.begin());
    return Entry{at, buffer.first(entry.size())};
  }
  Status Drop(uint64_t position) override {
    while (!entries_.empty() && first_ <= position) {
      entries_.pop_front();
      ++first_;
    }
    return Status::kOk;
  }
  uint64_t oldest_position() override { return first_; }
  uint64_t entries() override { return entries_.size(); }
  uint64_t dropped_total() override { return dropped_; }
  bool fail = false;

 private:
  size_t capacity_;
  std::deque<std::vector<uint8_t>> entries_;
  uint64_t first_ = 100;
  uint64_t dropped_ = 5;  // from an earlier session: not ours to count
};

// A device with an outbox, and a watcher on the same broker.
class OutboxTest : public ::testing::Test {
 protected:
  void Make(OutboxConfig config = {}, size_t ring_entries = 1000) {
    ring_ = std::make_unique<FakeRing>(ring_entries);
    outbox_ = std::make_unique<Outbox>(config, DeviceTopics("demo", "mote-1"), device_, *ring_);
    watcher_.Connect();
    Watch();
    ASSERT_TRUE(base::Ok(watcher_.Subscribe("dipper/1/#", Qos::kAtLeastOnce)));
  }
  Status SendOne(bool* live = nullptr) {
    alignas(16) static std::array<uint8_t, kMessageBufferBytes> buffer;
    const std::array<MetricValue, 2> values = {MakeMetric(MetricId::kMae, 0.5, 1),
                                               MakeMetric(MetricId::kRmse, 0.5, 1)};
    const auto message =
        Encode(MetricsBatch{{"boot", 7, outbox_->NextSequence(), now_ns_, "main"}, values}, buffer);
    return outbox_->Send(message.value(), live);
  }
  void Step(int64_t step_ns = 100 * kMs) {
    now_ns_ += step_ns;
    TransportEvent event;
    while (base::Ok(device_.Poll(&event))) outbox_->OnEvent(event);
    outbox_->Poll(now_ns_);
    while (base::Ok(device_.Poll(&event))) outbox_->OnEvent(event);
    Watch();
  }
  void Watch() {
    TransportEvent event;
    while (base::Ok(watcher_.Poll(&event))) {
      if (event.kind != TransportEvent::Kind::kMessage) continue;
      ++topics_[std::string(event.topic)];
      if (event.topic.ends_with("/backlog")) backlog_bytes_ += event.topic.size() + event.payload.size();
      const auto batch = Decode<schema::MetricsBatch>(event.payload);
      if (!batch.ok()) continue;
      const uint64_t sequence = batch.value()->envelope()->sequence();
      ++seen_[sequence];
      order_.push_back(sequence);
    }
  }
  /// A long backlog takes its time: everything that goes out for it is within the rate.
  void ExpectRate(const OutboxConfig& config) {
    const auto rate = static_cast<double>(config.backlog_bytes_per_s);
    Make(config, 5000);
    for (int i = 0; i < 500; ++i) EXPECT_EQ(SendOne(), Status::kOk);
    Step();
    device_.Connect();
    const int64_t start = now_ns_;
    for (int i = 0; i < 100; ++i) Step();  // 10 s
    const double seconds = static_cast<double>(now_ns_ - start) / 1e9;
    EXPECT_GT(static_cast<double>(backlog_bytes_), 0.9 * rate * seconds);
    EXPECT_LT(static_cast<double>(backlog_bytes_), 1.1 * rate * seconds);
    Step(3600 * int64_t{1'000'000'000});  // a long pause is no licence for a burst
    EXPECT_LT(static_cast<double>(backlog_bytes_), 1.2 * rate * seconds);
  }
  size_t Missing() const {
    size_t missing = 0;
    for (uint64_t s = 1; s <= outbox_->counters().sequence; ++s) missing += seen_.contains(s) ? 0u : 1u;
    return missing;
  }

  MemoryBroker broker_;
  MemoryTransport device_{broker_};
  MemoryTransport watcher_{broker_};
  std::unique_ptr<FakeRing> ring_;
  std::unique_ptr<Outbox> outbox_;
  int64_t now_ns_ = 1;
  std::map<uint64_t, int> seen_;
  std::vector<uint64_t> order_;
  std::map<std::string, int> topics_;
  uint64_t backlog_bytes_ = 0;  ///< Topics and payloads, with the mirror's.
};

TEST_F(OutboxTest, LiveWhileConnected) {
  Make();
  device_.Connect();
  Step();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(SendOne(), Status::kOk);
    Step();
  }
  EXPECT_EQ(topics_["dipper/1/demo/mote-1/m/main/metrics"], 20);
  EXPECT_EQ(outbox_->counters().live, 20u);
  EXPECT_EQ(outbox_->counters().stored, 0u);
  EXPECT_EQ(Missing(), 0u);
}

TEST_F(OutboxTest, ADaysBytesHoldBackMeasurementsThenEventsButNeverUpdates) {
  Make({.max_bytes_per_day = 10000});
  device_.Connect();
  Step();
  const auto tell = [&](schema::EventKind kind) {
    alignas(16) static std::array<uint8_t, kMessageBufferBytes> buffer;
    const Event event{.envelope = {"boot", 7, outbox_->NextSequence(), now_ns_, "main"}, .kind = kind};
    EXPECT_EQ(outbox_->Send(Encode(event, buffer).value()), Status::kOk);
    Step();
  };
  constexpr int64_t kSomeMidnight = int64_t{20000} * 86400 * 1000 * kMs;
  outbox_->budget().Tick(kSomeMidnight, now_ns_, true);
  while (outbox_->MayMeasure()) {
    ASSERT_EQ(SendOne(), Status::kOk);
    Step();
  }
  EXPECT_GE(outbox_->budget().spent(), 1000u);
  EXPECT_LT(outbox_->budget().spent(), 1000u + 200u);
  EXPECT_FALSE(outbox_->MayMeasure());
  EXPECT_EQ(outbox_->counters().capped, 2u);
  while (outbox_->budget().MayTell()) tell(schema::EventKind::DriftAlarm);
  const int told = topics_["dipper/1/demo/mote-1/m/main/event"];
  tell(schema::EventKind::DriftAlarm);
  EXPECT_EQ(topics_["dipper/1/demo/mote-1/m/main/event"], told);
  EXPECT_EQ(outbox_->counters().backlog_entries, 1u) << "it waits, it is not lost";
  tell(schema::EventKind::UpdateStep);
  EXPECT_EQ(topics_["dipper/1/demo/mote-1/m/main/event"], told + 1);
  for (int i = 0; i < 100; ++i) Step();
  EXPECT_EQ(outbox_->counters().backlog_entries, 1u);
  outbox_->budget().Tick(kSomeMidnight + int64_t{86400} * 1000 * kMs, now_ns_, true);
  for (int i = 0; i < 100; ++i) Step();
  EXPECT_EQ(outbox_->counters().backlog_entries, 0u);
  EXPECT_EQ(topics_["dipper/1/demo/mote-1/backlog"], 1);
  EXPECT_EQ(outbox_->counters().dropped, 0u);
}

TEST_F(OutboxTest, StoresOfflineAndSendsInOrderAfterwards) {
  Make();
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(SendOne(), Status::kOk);
    Step();
  }
  EXPECT_TRUE(seen_.empty());
  EXPECT_EQ(outbox_->counters().backlog_entries, 50u);
  EXPECT_GT(outbox_->counters().oldest_time_ns, 0);
  device_.Connect();
  for (int i = 0; i < 100; ++i) Step();
  EXPECT_EQ(Missing(), 0u);
  EXPECT_TRUE(std::is_sorted(order_.begin(), order_.end()));
  EXPECT_EQ(topics_["dipper/1/demo/mote-1/backlog"], 50);
  EXPECT_EQ(outbox_->counters().backlog_sent, 50u);
  EXPECT_EQ(outbox_->counters().backlog_entries, 0u);
}

TEST_F(OutboxTest, DeletesOnlyWhatIsAcknowledged) {
  Make();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(SendOne(), Status::kOk);
  device_.hold_acknowledgements = true;
  device_.Connect();
  for (int i = 0; i < 20; ++i) Step();
  EXPECT_EQ(outbox_->counters().backlog_entries, 3u) << "published, not acknowledged: kept";
  device_.Disconnect();
  for (int i = 0; i < 20; ++i) Step();
  EXPECT_EQ(outbox_->counters().backlog_entries, 3u);
  device_.hold_acknowledgements = false;
  device_.Connect();
  for (int i = 0; i < 20; ++i) Step();
  EXPECT_EQ(outbox_->counters().backlog_entries, 0u);
  EXPECT_EQ(Missing(), 0u);
}

TEST_F(OutboxTest, UnacknowledgedLiveMessagesGoToTheBacklog) {
  Make();
  device_.hold_acknowledgements = true;
  device_.Connect();
  Step();
  for (int i = 0; i < 12; ++i) EXPECT_EQ(SendOne(), Status::kOk);  // more than the window: the rest is stored
  EXPECT_EQ(outbox_->counters().stored, 12u - kOutboxWindow);
  device_.Disconnect();
  Step();
  EXPECT_EQ(outbox_->counters().stored, 12u);
  device_.hold_acknowledgements = false;
  device_.Connect();
  for (int i = 0; i < 50; ++i) Step();
  EXPECT_EQ(Missing(), 0u);
}

TEST_F(OutboxTest, TellsWhatWentOutLive) {
  Make();
  bool live = true;
  EXPECT_EQ(SendOne(&live), Status::kOk);
  EXPECT_FALSE(live) << "not connected";
  device_.hold_acknowledgements = true;
  device_.Connect();
  TransportEvent event;
  while (base::Ok(device_.Poll(&event))) outbox_->OnEvent(event);
  for (size_t i = 0; i < kOutboxWindow + 3; ++i) {
    EXPECT_EQ(SendOne(&live), Status::kOk);
    EXPECT_EQ(live, i < kOutboxWindow) << "a full wire: stored, and only readers of the backlog will see it";
  }
  EXPECT_EQ(outbox_->counters().stored, 4u);
}

TEST_F(OutboxTest, RateIsCapped) { ExpectRate({.backlog_bytes_per_s = 2000}); }

TEST_F(OutboxTest, RateIsCappedWithTheMirrorToo) {
  ExpectRate({.backlog_bytes_per_s = 8000, .json_mirror = true});
  EXPECT_GT(topics_["dipper/1/demo/mote-1/json/backlog"], 100);
}

TEST_F(OutboxTest, AFullRingDropsTheOldestAndCounts) {
  Make({}, 10);
  for (int i = 0; i < 25; ++i) EXPECT_EQ(SendOne(), Status::kOk);
  EXPECT_EQ(outbox_->counters().dropped, 15u);
  device_.Connect();
  for (int i = 0; i < 50; ++i) Step();
  EXPECT_EQ(Missing(), 15u) << "exactly what is counted is missing";
  EXPECT_EQ(order_.front(), 16u);
}

TEST_F(OutboxTest, AFailingRingCounts) {
  Make();
  ring_->fail = true;
  EXPECT_EQ(SendOne(), Status::kUnavailable);
  EXPECT_EQ(outbox_->counters().dropped, 1u);
}

TEST_F(OutboxTest, RefusedMessagesAreCountedNotRepeated) {
  Make();
  device_.refuse_reason = 135;
  EXPECT_EQ(SendOne(), Status::kOk);  // stored
  device_.Connect();
  Step();
  EXPECT_EQ(SendOne(), Status::kOk);
  for (int i = 0; i < 10; ++i) Step();
  EXPECT_EQ(outbox_->counters().refused, 2u);
  EXPECT_EQ(outbox_->counters().backlog_entries, 0u);
  EXPECT_EQ(device_.stats().sent_messages, 2u);
}

TEST_F(OutboxTest, LocalFailuresAreStored) {
  Make();
  device_.Connect();
  Step();
  device_.refuse_reason = -3;
  EXPECT_EQ(SendOne(), Status::kOk);
  TransportEvent event;
  while (base::Ok(device_.Poll(&event))) outbox_->OnEvent(event);
  EXPECT_EQ(outbox_->counters().backlog_entries, 1u);
  EXPECT_EQ(outbox_->counters().refused, 0u);
  device_.refuse_reason = 0;
  for (int i = 0; i < 10; ++i) Step();
  EXPECT_EQ(Missing(), 0u);
}

TEST_F(OutboxTest, OtherAndDamagedEntriesAreSkippedAndCounted) {
  Make();
  const std::vector<uint8_t> junk(100, 0xEE);
  ASSERT_TRUE(base::Ok(ring_->Append(junk)));
  EXPECT_EQ(SendOne(), Status::kOk);
  const std::vector<uint8_t> huge(kOutboxMessageBytes + 1, 0xEE);
  ASSERT_TRUE(base::Ok(ring_->Append(huge)));
  EXPECT_EQ(SendOne(), Status::kOk);
  device_.Connect();
  for (int i = 0; i < 20; ++i) Step();
  EXPECT_EQ(Missing(), 0u);
  EXPECT_EQ(outbox_->counters().dropped, 2u);
  EXPECT_EQ(outbox_->counters().backlog_entries, 0u);
  EXPECT_EQ(outbox_->Send(junk), Status::kInvalidArgument);
}

TEST_F(OutboxTest, MirrorFollows) {
  Make({.json_mirror = true});
  EXPECT_EQ(SendOne(), Status::kOk);
  device_.Connect();
  Step();
  EXPECT_EQ(SendOne(), Status::kOk);
  for (int i = 0; i < 10; ++i) Step();
  EXPECT_EQ(topics_["dipper/1/demo/mote-1/json/m/main/metrics"], 1);
  EXPECT_EQ(topics_["dipper/1/demo/mote-1/json/backlog"], 1);
}

TEST_F(OutboxTest, PlannedStopKeepsWhatIsInFlight) {
  Make();
  device_.hold_acknowledgements = true;
  device_.Connect();
  Step();
  EXPECT_EQ(SendOne(), Status::kOk);
  outbox_->FlushToBacklog();
  EXPECT_EQ(outbox_->counters().backlog_entries, 1u);
}

// Random sends, cuts, held acknowledgements and stalls: with a ring that is large enough, nothing is ever
// missing.
TEST_F(OutboxTest, NothingIsLostInARandomLife) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    seen_.clear();
    order_.clear();
    Make({.backlog_bytes_per_s = 200000}, 100000);
    std::mt19937 random(seed);
    for (int i = 0; i < 2000; ++i) {
      switch (random() % 8) {
        case 0:
          device_.Connect();
          break;
        case 1:
          if (random() % 4 == 0) device_.Disconnect();
          break;
        case 2:
          device_.hold_acknowledgements = random() % 2 == 0;
          break;
        case 3:
          device_.Acknowledge(random() % 5);
          break;
        default:
          EXPECT_EQ(SendOne(), Status::kOk);
      }
      if (random() % 3 == 0) Step();
    }
    device_.hold_acknowledgements = false;
    device_.Acknowledge(1000);
    Step();
    device_.Connect();
    Step();
    for (int i = 0; i < 2000 && outbox_->counters().backlog_entries > 0; ++i) Step();
    Step();
    EXPECT_EQ(Missing(), 0u) << "seed " << seed;
    EXPECT_EQ(outbox_->counters().dropped, 0u);
    device_.Disconnect();
    Step();
  }
}

}  // namespace
}  // namespace dipper::telemetry
