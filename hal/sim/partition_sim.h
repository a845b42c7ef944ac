// PartitionSim: a simulated partition that loses power, tears and reorders unsynced writes, and fails by
// script; all of it a function of a seed. Several partitions share one SimPower, so that a cut at operation k
// hits all of them. Not thread-safe. Uses the heap for its pending operations.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "hal/api/partition.h"

namespace dipper::hal {

/// One power supply. Every write, erase and sync of its partitions is an operation.
struct SimPower {
  static constexpr uint64_t kNever = UINT64_MAX;
  uint64_t operations = 0;
  uint64_t cut_at = kNever;  ///< The operation with that number is the last one begun, and is not completed.
  bool on = true;

  /// Power returns (call PartitionSim::Restart for every partition too).
  void Restore() {
    operations = 0;
    cut_at = kNever;
    on = true;
  }
};

enum class SimCall : uint8_t { kRead = 0, kWrite = 1, kErase = 2, kSync = 3 };
inline constexpr size_t kSimCalls = 4;

/// The calls of one kind from number `first` on, `count` of them, fail with `status`; a failed write has
/// written its first half when `partial`.
struct SimFault {
  SimCall call = SimCall::kWrite;
  uint64_t first = 0;
  uint64_t count = 0;
  base::Status status = base::Status::kUnavailable;
  bool partial = false;
};

class PartitionSim final : public Partition {
 public:
  static constexpr uint32_t kSectorBytes = 512;

  /// Own memory, all 0xFF. `power` (or null: never cut) must outlive this.
  PartitionSim(const Geometry& geometry, SimPower* power);
  /// The caller's memory of geometry.size_bytes, as it is.
  PartitionSim(const Geometry& geometry, base::MutableBytes memory, SimPower* power);
  PartitionSim(const PartitionSim&) = delete;
  PartitionSim& operator=(const PartitionSim&) = delete;
  ~PartitionSim() = default;

  Geometry geometry() const override { return geometry_; }
  base::Status Read(uint64_t offset, base::MutableBytes to) override;
  base::Status Write(uint64_t offset, base::ByteView from) override;
  base::Status Erase(uint64_t offset, uint64_t length) override;
  base::Status Sync() override;

  // After a cut
  // ---------------------------------------------------------------------------------------------------
  /// Unsynced touches of one sector by one operation: each landed or did not.
  uint64_t pending_touches() const { return touches_.size(); }
  /// What may lie on the medium: bit i of `landed` says whether touch i landed. For at most 64 touches.
  std::vector<uint8_t> OutcomeWith(uint64_t landed) const;
  /// Seed 0: nothing unsynced landed. 1: everything did. Others: any subset, some sectors torn at any byte or
  /// garbage.
  std::vector<uint8_t> Outcome(uint64_t seed) const;
  /// Goes on from that outcome.
  void Restart(uint64_t seed) { Load(Outcome(seed)); }
  /// All bytes, to copy; call only without pending touches.
  base::ByteView bytes() const { return memory_; }
  void Load(base::ByteView bytes);

  // Scripted faults and counters
  // ----------------------------------------------------------------------------------
  void SetFault(const SimFault& fault) { fault_ = fault; }
  /// Flips bits at rest.
  void FlipBits(uint64_t offset, uint8_t mask);
  uint64_t calls(SimCall call) const { return calls_[static_cast<size_t>(call)]; }
  uint64_t written_bytes() const { return written_bytes_; }

 private:
  struct Touch {
    uint64_t sector = 0;
    uint32_t begin = 0;  ///< Within the sector.
    uint32_t length = 0;
    size_t data = 0;  ///< Into data_, the bytes written.
  };

  bool Begin(SimCall call, bool* fails, bool* cut);
  bool InRange(uint64_t offset, uint64_t length) const;
  void Put(uint64_t offset, base::ByteView from);
  std::vector<uint8_t> Durable() const;
  void Land(const Touch& touch, uint32_t length, std::vector<uint8_t>* medium) const;

  Geometry geometry_;
  std::vector<uint8_t> own_;
  base::MutableBytes memory_;  ///< What a reader sees: everything, synced or not.
  SimPower* power_;
  SimFault fault_;
  std::array<uint64_t, kSimCalls> calls_{};
  uint64_t written_bytes_ = 0;
  std::vector<Touch> touches_;
  std::vector<uint8_t> data_;    ///< Bytes of the touches.
  std::vector<uint8_t> former_;  ///< Bytes under the touches, in the same places.
};

}  // namespace dipper::hal
