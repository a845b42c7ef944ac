// The store allocates nothing: operator new is counted over a whole life of a device.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "agent/base/sha256.h"
#include "agent/store/backlog.h"
#include "agent/store/counters.h"
#include "agent/store/event_log.h"
#include "agent/store/model_store.h"
#include "agent/store/root_store.h"

namespace {
uint64_t g_allocations = 0;
}  // namespace

// GCC does not see that these two belong together.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
void* operator new(size_t size) {
  ++g_allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#pragma GCC diagnostic pop

namespace dipper::store {
namespace {

using base::Status;

/// Plain memory as a partition.
template <size_t kBytes>
class MemoryPartition final : public hal::Partition {
 public:
  MemoryPartition() { bytes_.fill(0xFF); }
  ~MemoryPartition() = default;
  hal::Geometry geometry() const override { return {kBytes, 1, 512}; }
  Status Read(uint64_t offset, base::MutableBytes to) override {
    if (!to.empty()) std::memcpy(to.data(), bytes_.data() + offset, to.size());
    return Status::kOk;
  }
  Status Write(uint64_t offset, base::ByteView from) override {
    if (!from.empty()) std::memcpy(bytes_.data() + offset, from.data(), from.size());
    return Status::kOk;
  }
  Status Erase(uint64_t offset, uint64_t length) override {
    std::memset(bytes_.data() + offset, 0xFF, length);
    return Status::kOk;
  }
  Status Sync() override { return Status::kOk; }

 private:
  std::array<uint8_t, kBytes> bytes_;
};

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
  MemoryPartition<64 * 1024> boot, a, b, data;
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
  const uint64_t before = g_allocations;
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
  const uint64_t after = g_allocations;
  EXPECT_TRUE(fine);
  EXPECT_EQ(after, before);
  ::operator delete(::operator new(8));
  EXPECT_GT(g_allocations, after) << "the counter counts";
}

}  // namespace
}  // namespace dipper::store
