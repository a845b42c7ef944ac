// PartitionSim: a simulated partition that loses power, tears and reorders unsynced writes, and fails by
// script; all of it a function of a seed. Several partitions share one SimPower, so that a cut at operation k
// hits all of them. Not thread-safe. Uses the heap for its pending operations.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "hal/api/partition.h"

namespace dipper::hal {

enum class SimCall : uint8_t { kRead = 0, kWrite = 1, kErase = 2, kSync = 3 };
inline constexpr size_t kSimCalls = 4;

class PartitionSim;

/// What was done, for a trace.
struct SimOperation {
  const PartitionSim* partition = nullptr;
  SimCall call = SimCall::kWrite;
  uint64_t offset = 0;
  uint64_t length = 0;
};

/// One power supply. Every write, erase and sync of its partitions is an operation.
struct SimPower {
  static constexpr uint64_t kNever = UINT64_MAX;
  std::vector<SimOperation>* trace = nullptr;  ///< Takes every operation begun; null: no trace.
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

/// The calls of one kind from number `first` on, `count` of them, fail with `status`; a failed read or write
/// has done its first half when `partial`. With kOk the medium lies: half is done, or one bit is wrong, and
/// nobody says so.
struct SimFault {
  SimCall call = SimCall::kWrite;
  uint64_t first = 0;
  uint64_t count = 0;
  base::Status status = base::Status::kUnavailable;
  bool partial = false;
  bool flip_bit = false;  ///< The read or write is whole, with one bit wrong; where follows from its number.
};

/// A partition's content as what differs from a base that many snapshots share: cheap to take, to go back to
/// and to compare.
struct SimSnapshot {
  std::shared_ptr<const std::vector<uint8_t>> base;
  std::vector<uint32_t> sectors;  ///< That differ from the base, ascending.
  std::vector<uint8_t> bytes;     ///< Theirs, one sector after the other.

  /// The same for the same content over the same base.
  uint64_t Hash() const;
  std::vector<uint8_t> Content() const;
  bool operator==(const SimSnapshot& other) const;
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
  /// Seed 0: nothing unsynced landed. 1: everything did. 2: half of each sector. 3: garbage in each. Others:
  /// any subset, in either order, some sectors torn at any byte or garbage.
  std::vector<uint8_t> Outcome(uint64_t seed) const;
  /// The same outcomes as snapshots, at the cost of what differs from the base.
  SimSnapshot OutcomeSnapshotWith(uint64_t landed);
  SimSnapshot OutcomeSnapshot(uint64_t seed);
  /// Goes on from that outcome.
  void Restart(uint64_t seed) { Load(Outcome(seed)); }
  /// All bytes, to copy; call only without pending touches.
  base::ByteView bytes() const { return memory_; }
  void Load(base::ByteView bytes);
  /// What a reader sees now, over the base of the last Restore, or over itself as a new base.
  SimSnapshot Save();
  /// Goes on from there; the unsynced is forgotten.
  void Restore(const SimSnapshot& snapshot);

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

  bool Begin(SimCall call, uint64_t offset, uint64_t length, bool* fails, bool* cut);
  bool InRange(uint64_t offset, uint64_t length) const;
  void Put(uint64_t offset, base::ByteView from);
  base::MutableBytes SectorBytes(uint64_t sector) const;
  void MarkDirty(uint64_t sector);
  void Land(const Touch& touch, uint32_t length) const;
  void UndoTouches() const;
  void LandWith(uint64_t landed) const;
  void LandSeed(uint64_t seed) const;
  void FlipOne(base::MutableBytes bytes) const;
  void Forget();
  void Rebase(std::shared_ptr<const std::vector<uint8_t>> to);
  template <typename LandAll>
  std::vector<uint8_t> ContentOf(const LandAll& land) const;
  template <typename LandAll>
  SimSnapshot SnapshotOf(const LandAll& land);

  Geometry geometry_;
  std::vector<uint8_t> own_;
  base::MutableBytes memory_;  ///< What a reader sees: everything, synced or not.
  SimPower* power_;
  SimFault fault_;
  std::array<uint64_t, kSimCalls> calls_{};
  uint64_t written_bytes_ = 0;
  std::vector<Touch> touches_;
  std::vector<uint8_t> data_;                         ///< Bytes of the touches.
  std::vector<uint8_t> former_;                       ///< Bytes under the touches, in the same places.
  std::shared_ptr<const std::vector<uint8_t>> base_;  ///< Null: no snapshot was taken yet.
  std::vector<uint32_t> dirty_;                       ///< Sectors that may differ from the base.
  std::vector<bool> is_dirty_;
};

}  // namespace dipper::hal
