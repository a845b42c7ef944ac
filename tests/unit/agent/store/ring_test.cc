// Event log and backlog: rings that survive cuts, loss and being full.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "agent/store/backlog.h"
#include "agent/store/event_log.h"
#include "tests/fault/store/store_world.h"

namespace dipper::store {
namespace {

using base::Status;

struct Data {
  hal::SimPower power;
  hal::PartitionSim partition{{64 * 1024, 1, 512}, &power};
  void Cut(uint64_t seed) {
    power.Restore();
    partition.Restart(seed);
  }
};

Bytes Payload(uint64_t number, size_t size) {
  Bytes bytes(size, static_cast<uint8_t>(number * 31));
  base::Store(bytes.data(), number);
  return bytes;
}

TEST(EventLog, ChainsWrapsAndFindsItsEnd) {
  Data data;
  EventLog log(data.partition);
  ASSERT_EQ(log.Open(), Status::kOk);
  EXPECT_EQ(log.oldest(), 0U);
  const uint64_t count = log.capacity() * 3 + 5;
  for (uint64_t i = 1; i <= count; ++i) {
    const Bytes payload = Payload(i, 20);
    ASSERT_EQ(*log.Append({0, static_cast<int64_t>(i), 3, 42, 0, payload}), i);
  }
  ASSERT_EQ(log.Sync(), Status::kOk);
  data.Cut(0);
  EventLog again(data.partition);
  ASSERT_EQ(again.Open(), Status::kOk);
  EXPECT_EQ(again.newest(), count);
  EXPECT_EQ(again.oldest(), count - again.capacity() + 1);
  EXPECT_EQ(*again.CountBreaks(), 0U);
  Bytes buffer(kEventBytes);
  const auto event = again.Read(count - 1, buffer);
  ASSERT_TRUE(event.ok());
  EXPECT_EQ(event->time_ns, static_cast<int64_t>(count - 1));
  EXPECT_EQ(event->kind, 3);
  EXPECT_EQ(event->reason, 42);
  EXPECT_EQ(Bytes(event->payload.begin(), event->payload.end()), Payload(count - 1, 20));
  EXPECT_EQ(again.Read(again.oldest() - 1, buffer).status(), Status::kNotFound);
  EXPECT_EQ(again.Append({0, 0, 0, 0, 0, Bytes(kMaxEventPayload + 1)}).status(), Status::kInvalidArgument);
}

TEST(EventLog, AChangedEntryShows) {
  Data data;
  EventLog log(data.partition);
  ASSERT_EQ(log.Open(), Status::kOk);
  for (uint64_t i = 1; i <= 6; ++i) ASSERT_TRUE(log.Append({0, 1, 1, 1, 0, Payload(i, 30)}).ok());
  EXPECT_EQ(*log.CountBreaks(), 0U);
  // Entry 3 replaced by a well-formed other one: only the chain can tell.
  Bytes entry(kEventBytes);
  ASSERT_EQ(data.partition.Read(3 * kEventBytes, entry), Status::kOk);
  const uint32_t length = base::Load<uint32_t>(entry.data() + 8);
  entry[80] ^= 1;
  Seal(base::MutableBytes(entry).first(length), base::Load<uint32_t>(entry.data()), 1);
  ASSERT_EQ(data.partition.Write(3 * kEventBytes, entry), Status::kOk);
  EXPECT_EQ(*log.CountBreaks(), 1U);
  data.partition.FlipBits(5 * kEventBytes + 100, 1);
  EXPECT_EQ(*log.CountBreaks(), 2U);
  Bytes buffer(kEventBytes);
  EXPECT_EQ(log.Read(5, buffer).status(), Status::kNotFound);
}

TEST(EventLog, SyncedEventsSurviveEveryCut) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Data data;
    EventLog log(data.partition);
    ASSERT_EQ(log.Open(), Status::kOk);
    for (uint64_t i = 1; i <= 8; ++i) {
      ASSERT_TRUE(log.Append({0, 1, 1, 1, 0, Payload(i, 300)}).ok());
      if (i == 5) {
        ASSERT_EQ(log.Sync(), Status::kOk);
      }
    }
    data.Cut(seed);
    EventLog again(data.partition);
    ASSERT_EQ(again.Open(), Status::kOk);
    EXPECT_GE(again.newest(), 5U);
    Bytes buffer(kEventBytes);
    for (uint64_t i = 1; i <= 5; ++i) EXPECT_TRUE(again.Read(i, buffer).ok()) << seed;
    const uint64_t newest = again.newest();
    EXPECT_EQ(*again.Append({0, 1, 1, 1, 0, {}}), newest + 1);
  }
}

TEST(Backlog, KeepsOrderAndDropsOnlyWhatWasAcknowledged) {
  Data data;
  Backlog backlog(data.partition);
  ASSERT_EQ(backlog.Open(), Status::kOk);
  EXPECT_TRUE(backlog.empty());
  for (uint64_t i = 1; i <= 5; ++i) ASSERT_EQ(*backlog.Append(9, Payload(i, 600)), i);
  Bytes buffer(4096);
  for (uint64_t i = 1; i <= 5; ++i) {
    const auto entry = backlog.Peek(i, buffer);  // Several in flight before any is acknowledged.
    ASSERT_TRUE(entry.ok());
    EXPECT_EQ(entry->sequence, i);
    EXPECT_EQ(entry->kind, 9);
    EXPECT_EQ(Bytes(entry->payload.begin(), entry->payload.end()), Payload(i, 600));
  }
  EXPECT_EQ(backlog.Peek(6, buffer).status(), Status::kNotFound);
  ASSERT_EQ(backlog.Drop(3), Status::kOk);
  EXPECT_EQ(backlog.entries(), 2U);
  EXPECT_EQ(backlog.Peek(0, buffer)->sequence, 4U);
  EXPECT_EQ(backlog.Drop(99), Status::kInvalidArgument);
  Bytes small(10);
  EXPECT_EQ(backlog.Peek(0, small).status(), Status::kResourceExhausted);
  EXPECT_EQ(backlog.dropped_total(), 0U);
  ASSERT_EQ(backlog.Flush(), Status::kOk);
  data.Cut(0);
  Backlog again(data.partition);
  ASSERT_EQ(again.Open(), Status::kOk);
  EXPECT_EQ(again.oldest(), 4U);
  EXPECT_EQ(again.entries(), 2U);
}

TEST(Backlog, KeepsTheCallersTally) {
  Data data;
  Backlog backlog(data.partition);
  ASSERT_EQ(backlog.Open(), Status::kOk);
  EXPECT_EQ(backlog.tally().bytes, 0U);
  ASSERT_TRUE(backlog.Append(1, Payload(1, 100)).ok());
  backlog.SetTally(20000, 123456);
  ASSERT_EQ(backlog.Flush(), Status::kOk);
  Backlog again(data.partition);
  ASSERT_EQ(again.Open(), Status::kOk);
  EXPECT_EQ(again.tally().day, 20000U);
  EXPECT_EQ(again.tally().bytes, 123456U);
  EXPECT_EQ(again.entries(), 1U);
}

TEST(Backlog, FullRingDropsTheOldestAndCounts) {
  Data data;
  Backlog backlog(data.partition);
  ASSERT_EQ(backlog.Open(), Status::kOk);
  EXPECT_EQ(backlog.Append(1, {}).status(), Status::kInvalidArgument);
  EXPECT_EQ(backlog.Append(1, Bytes(backlog.capacity_bytes())).status(), Status::kInvalidArgument);
  Bytes buffer(8192);
  uint64_t appended = 0;
  for (uint64_t round = 0; round < 400; ++round) {
    const size_t size = 8 + (round * 7919) % 5000;
    ASSERT_EQ(*backlog.Append(1, Payload(++appended, size)), appended);
    ASSERT_EQ(backlog.dropped_total() + backlog.entries(), appended);
    if (round % 50 == 0) {
      for (uint64_t i = backlog.oldest(); i < backlog.next_sequence(); ++i) {
        const auto entry = backlog.Peek(i, buffer);
        ASSERT_TRUE(entry.ok());
        ASSERT_EQ(entry->sequence, i);
        ASSERT_EQ(base::Load<uint64_t>(entry->payload.data()), i);
      }
    }
  }
  EXPECT_GT(backlog.dropped_total(), 100U);
  ASSERT_EQ(backlog.Flush(), Status::kOk);
  data.Cut(0);
  Backlog again(data.partition);
  ASSERT_EQ(again.Open(), Status::kOk);
  EXPECT_EQ(again.oldest(), backlog.oldest());
  EXPECT_EQ(again.next_sequence(), backlog.next_sequence());
  EXPECT_EQ(again.dropped_total(), backlog.dropped_total());
}

/// Reads everything: in order, and only what was appended under that sequence.
std::set<uint64_t> CheckEntries(Backlog& backlog, const std::map<uint64_t, Bytes>& written) {
  std::set<uint64_t> found;
  Bytes buffer(8192);
  uint64_t previous = 0;
  for (auto entry = backlog.Peek(0, buffer); entry.ok(); entry = backlog.Peek(previous + 1, buffer)) {
    EXPECT_GT(entry->sequence, previous);
    previous = entry->sequence;
    const auto own = written.find(previous);
    const Bytes payload(entry->payload.begin(), entry->payload.end());
    EXPECT_TRUE(own != written.end() && own->second == payload) << previous;
    found.insert(previous);
  }
  return found;
}

/// Random appends, drops and syncs; a cut at any operation, any outcome: synced and not acknowledged entries
/// come back whole and in order, nothing comes back that is not what was appended, and sequences never
/// restart.
TEST(Backlog, SurvivesCuts) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    Data data;
    std::map<uint64_t, Bytes> written;
    std::set<uint64_t> durable;  // Appended and synced; neither acknowledged nor pushed out.
    uint64_t random = seed;
    for (uint64_t life = 0; life < 3; ++life) {
      Backlog backlog(data.partition);
      ASSERT_EQ(backlog.Open(), Status::kOk) << seed;
      const std::set<uint64_t> found = CheckEntries(backlog, written);
      for (uint64_t sequence : durable)
        ASSERT_TRUE(found.contains(sequence)) << "seed " << seed << ": " << sequence;
      ASSERT_TRUE(durable.empty() || backlog.next_sequence() > *durable.rbegin()) << seed;
      durable = found;
      std::set<uint64_t> fresh;
      const auto forget_before = [&](uint64_t sequence) {
        durable.erase(durable.begin(), durable.lower_bound(sequence));
        fresh.erase(fresh.begin(), fresh.lower_bound(sequence));
      };
      data.power.Restore();
      data.power.cut_at = seed % 97 + life * 13;
      while (data.power.on) {
        random = random * 6364136223846793005 + 1442695040888963407;
        const uint64_t dice = random >> 40;
        if (dice % 8 < 5) {
          const Bytes payload = Payload(dice, 8 + dice % 3000);
          const uint64_t sequence = backlog.next_sequence();
          written[sequence] = payload;
          const bool appended = backlog.Append(1, payload).ok();
          forget_before(backlog.oldest());
          if (appended) fresh.insert(sequence);
        } else if (dice % 8 < 7) {
          if (base::Ok(backlog.Sync())) durable.merge(fresh);
        } else if (!backlog.empty()) {
          static_cast<void>(backlog.Drop(backlog.oldest()));
          forget_before(backlog.oldest());
        }
      }
      data.Cut(random % 50);
    }
  }
}

TEST(Backlog, ADamagedEntryIsCountedAndPassedOver) {
  Data data;
  Backlog backlog(data.partition);
  ASSERT_EQ(backlog.Open(), Status::kOk);
  for (uint64_t i = 1; i <= 3; ++i) ASSERT_TRUE(backlog.Append(1, Payload(i, 100)).ok());
  const DataLayout layout = *ComputeDataLayout(data.partition.geometry());
  data.partition.FlipBits(layout.backlog_offset + 60, 1);
  Bytes buffer(512);
  EXPECT_EQ(backlog.Peek(0, buffer)->sequence, 2U);
  EXPECT_EQ(backlog.dropped_total(), 1U);
  data.partition.FlipBits(layout.backlog_offset + 512 + 20, 1);
  EXPECT_EQ(backlog.Peek(0, buffer)->sequence, 3U);
  EXPECT_EQ(backlog.dropped_total(), 2U);
}

}  // namespace
}  // namespace dipper::store
