// Wear: what updates and checkpoints cost the medium, counted on the real store. The ceilings are what
// docs/reference/storage.md promises; flash that is worn out by a learning agent would be a brick in the
// field.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>

#include "tests/fault/store/store_world.h"

namespace dipper::store {
namespace {

using base::Status;

/// Passes everything on and counts writes and erases of each erase unit.
class CountingPartition final : public hal::Partition {
 public:
  explicit CountingPartition(hal::Partition& to) : to_(to) {}
  hal::Geometry geometry() const override { return to_.geometry(); }
  Status Read(uint64_t offset, base::MutableBytes bytes) override { return to_.Read(offset, bytes); }
  Status Write(uint64_t offset, base::ByteView bytes) override {
    Count(offset, bytes.size());
    return to_.Write(offset, bytes);
  }
  Status Erase(uint64_t offset, uint64_t length) override {
    Count(offset, length);
    return to_.Erase(offset, length);
  }
  Status Sync() override { return to_.Sync(); }
  /// Of the unit that was written or erased most often.
  uint64_t Most() const {
    uint64_t most = 0;
    for (const auto& [unit, times] : times_) most = std::max(most, times);
    return most;
  }
  uint64_t MostFrom(uint64_t offset) const {
    uint64_t most = 0;
    for (const auto& [unit, times] : times_) {
      if (unit * geometry().erase_unit_bytes >= offset) most = std::max(most, times);
    }
    return most;
  }

 private:
  void Count(uint64_t offset, uint64_t length) {
    const uint64_t unit = geometry().erase_unit_bytes;
    for (uint64_t i = offset / unit; i * unit < offset + length; ++i) ++times_[i];
  }

  hal::Partition& to_;
  std::map<uint64_t, uint64_t> times_;
};

struct Device {
  Device() {
    ModelStoreConfig config;
    config.boot = &boot;
    config.slot_a = &a;
    config.slot_b = &b;
    config.max_image_bytes = 2048;
    store = std::make_unique<ModelStore>(config, world.verifier);
  }
  StoreWorld world;
  CountingPartition boot{world.boot}, a{world.a}, b{world.b};
  std::unique_ptr<ModelStore> store;
};

TEST(Wear, TenThousandUpdates) {
  constexpr uint64_t kUpdates = 10'000;
  Device device;
  ASSERT_TRUE(device.store->Start({}).ok());
  for (uint64_t i = 0; i < kUpdates; ++i) {
    const Bytes package = MakePackage(1, static_cast<uint8_t>(i % 250), 200);
    ASSERT_EQ(Install(*device.store, package), Status::kOk) << i;
  }
  std::printf("%llu updates: the busiest unit of boot %llu, of a slot %llu writes\n",
              static_cast<unsigned long long>(kUpdates), static_cast<unsigned long long>(device.boot.Most()),
              static_cast<unsigned long long>(std::max(device.a.Most(), device.b.Most())));
  // Four records an update, in turns to two copies; a slot's unit is erased and written once every other one.
  EXPECT_LE(device.boot.Most(), 2 * kUpdates + 10);
  EXPECT_LE(device.a.Most(), 2 * kUpdates);
  EXPECT_LE(device.b.Most(), 2 * kUpdates);
}

TEST(Wear, AYearOfHourlyCheckpointsAndDailyRestarts) {
  constexpr uint64_t kDays = 365, kHours = 24;
  Device device;
  ASSERT_TRUE(device.store->Start({}).ok());
  ASSERT_EQ(Install(*device.store, MakePackage(1, 1)), Status::kOk);
  const uint64_t boot_before = device.boot.Most();
  for (uint64_t day = 0; day < kDays; ++day) {
    for (uint64_t hour = 0; hour < kHours; ++hour) {
      ASSERT_EQ(device.store->WriteCheckpoint(SlotId::kA, day * kHours + hour, MakeImage(hour)), Status::kOk);
      device.store->HealthyPeriod();
    }
    ASSERT_EQ(device.store->PlannedStop(), Status::kOk);
    ModelStoreConfig config;
    config.boot = &device.boot;
    config.slot_a = &device.a;
    config.slot_b = &device.b;
    config.max_image_bytes = 2048;
    device.store = std::make_unique<ModelStore>(config, device.world.verifier);
    ASSERT_TRUE(device.store->Start({}).ok());
    ASSERT_EQ(device.store->HealthyMark(), Status::kOk);
  }
  const uint64_t checkpoints = device.a.MostFrom(ComputeSlotLayout(StoreWorld::kSlot)->checkpoint_offset);
  const uint64_t records = device.boot.Most() - boot_before;
  std::printf("a year: %llu writes of a checkpoint's unit, %llu of a record's\n",
              static_cast<unsigned long long>(checkpoints), static_cast<unsigned long long>(records));
  // The areas take turns; a restart costs a counted start and its healthy mark, in turns to two copies.
  EXPECT_LE(checkpoints, kDays * kHours / 2 + 2);
  EXPECT_LE(records, kDays + 2);
  EXPECT_EQ(device.b.Most(), 0U);
}

}  // namespace
}  // namespace dipper::store
