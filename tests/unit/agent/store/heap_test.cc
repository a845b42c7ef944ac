// The store allocates nothing: operator new is counted over a whole life of a device.
#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "agent/base/sha256.h"
#include "agent/store/backlog.h"
#include "agent/store/counters.h"
#include "agent/store/event_log.h"
#include "agent/store/model_store.h"
#include "agent/store/root_store.h"
#include "tests/support/counted_heap.h"
#include "tests/support/memory_partition.h"

namespace dipper::store {
namespace {

using base::Status;

/// A package is its own 100 bytes; its digest is their SHA-256.
class PlainVerifier final : public SlotVerifier {
 public:
  ~PlainVerifier() = default;
  base::Result<SlotFacts> Verify(hal::Partition& partition, uint64_t offset, uint64_t) override {
    std::array<uint8_t, 100> bytes;
    DIPPER_RETURN_IF_ERROR(partition.Read(offset, bytes));
    return SlotFacts{base::Sha256Of(bytes), {1, 1}, 0};
  }
};

struct Device {
  test::MemoryPartition<64 * 1024, 512> boot, a, b, data;
  PlainVerifier verifier;
  ModelStore store{{&boot, 0, &a, &b, nullptr, 2048}, verifier};
  Counters counters{boot};
  RootStore roots{boot};
  EventLog events{data};
  Backlog backlog{data};
  std::array<uint8_t, 9000> buffer{};
};

TEST(StoreHeap, NothingIsAllocatedAfterConstruction) {
  const auto device = std::make_unique<Device>();
  const uint64_t before = test::HeapAllocations();
  bool fine = device->store.Start({}).ok() && base::Ok(device->store.HealthyMark());
  fine = fine && base::Ok(device->counters.Load()) && base::Ok(device->roots.Open());
  fine = fine && base::Ok(device->events.Open()) && base::Ok(device->backlog.Open());
  for (uint8_t round = 1; round <= 20 && fine; ++round) {
    std::array<uint8_t, 100> package;
    package.fill(round);
    fine = base::Ok(device->store.BeginStage(base::Sha256Of(package), {1, 1}, package.size())) &&
           base::Ok(device->store.WriteStage(0, package)) && base::Ok(device->store.CommitStage()) &&
           base::Ok(device->store.BeginTrial());
    fine = fine && base::Ok(round % 3 == 0 ? device->store.EndTrial(schema::Reason::ShownWorse)
                                           : device->store.Confirm());
    device->store.HealthyPeriod();
    const auto image = base::ByteView(device->buffer).first(1024);
    fine = fine && base::Ok(device->store.WriteCheckpoint(device->store.record().lkg_slot, round, image));
    fine = fine && device->store
                       .ReadCheckpoint(device->store.record().lkg_slot, ImageSource::kNewestCheckpoint,
                                       device->buffer)
                       .ok();
    fine = fine && base::Ok(device->counters.SetOffer(0, {round, base::Sha256Of(package)}));
    fine = fine && base::Ok(device->roots.Store(package)) && device->roots.Load(device->buffer).ok();
    fine = fine && device->events.Append({0, 1, 1, 1, 0, package}).ok();
    fine = fine && device->backlog.Append(1, package).ok() && device->backlog.Peek(0, device->buffer).ok();
    fine = fine && base::Ok(device->backlog.Drop(round)) && base::Ok(device->backlog.Flush());
  }
  const uint64_t after = test::HeapAllocations();
  EXPECT_TRUE(fine);
  EXPECT_EQ(after, before);
  EXPECT_TRUE(test::HeapCounterCounts());
}

}  // namespace
}  // namespace dipper::store
