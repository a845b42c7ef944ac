// StoreWorld: a small device for store tests: simulated boot, slots, factory and data under one power supply,
// packages that are a version and a digest, and the real ModelStore. Shared by the unit tests and the crash
// harness.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "agent/store/model_store.h"
#include "agent/store/mutation.h"
#include "hal/sim/partition_sim.h"
#include "tests/fault/store/fake_package.h"

namespace dipper::store {

inline constexpr size_t kParts = 5;  ///< boot, a, b, factory, data

/// Everything that outlives a power cut.
struct Media {
  std::array<hal::SimSnapshot, kParts> parts;
  bool operator==(const Media&) const = default;
  uint64_t Hash() const {
    uint64_t hash = 0;
    for (const hal::SimSnapshot& part : parts) hash = hash * 0x9E3779B97F4A7C15 + part.Hash();
    return hash;
  }
};

class StoreWorld {
 public:
  static constexpr hal::Geometry kBoot{28 * 1024, 1, 512};
  static constexpr hal::Geometry kSlot{64 * 1024, 1, 512};
  static constexpr hal::Geometry kFactory{4 * 1024, 1, 512};
  static constexpr hal::Geometry kData{64 * 1024, 1, 4096};

  hal::SimPower power;
  hal::PartitionSim boot{kBoot, &power};
  hal::PartitionSim a{kSlot, &power};
  hal::PartitionSim b{kSlot, &power};
  hal::PartitionSim factory{kFactory, &power};
  hal::PartitionSim data{kData, &power};
  FakeVerifier verifier;
  bool has_factory = true;

  std::array<hal::PartitionSim*, kParts> parts() { return {&boot, &a, &b, &factory, &data}; }
  hal::PartitionSim& slot(SlotId id) { return id == SlotId::kA ? a : id == SlotId::kB ? b : factory; }

  std::unique_ptr<ModelStore> NewStore() {
    ModelStoreConfig config;
    config.boot = &boot;
    config.slot_a = &a;
    config.slot_b = &b;
    config.factory = has_factory ? &factory : nullptr;
    config.max_image_bytes = 2048;
    return std::make_unique<ModelStore>(config, verifier);
  }

  void BurnFactory(const Bytes& package) {
    Bytes image(kFactory.size_bytes, 0xFF);
    EncodeSlotHeader({DigestOf(package), package.size()}, base::MutableBytes(image).first(kSlotHeaderBytes));
    std::copy(package.begin(), package.end(), image.begin() + kFactory.erase_unit_bytes);
    factory.Load(image);
  }

  uint64_t pending_touches() {
    uint64_t sum = 0;
    for (hal::PartitionSim* part : parts()) sum += part->pending_touches();
    return sum;
  }
  /// One combination of all pending touches; pending_touches() < 64.
  Media OutcomeWith(uint64_t landed) {
    Media media;
    for (size_t i = 0; i < kParts; ++i) {
      media.parts[i] = parts()[i]->OutcomeSnapshotWith(landed);
      landed >>= parts()[i]->pending_touches();
    }
    return media;
  }
  Media Outcome(uint64_t seed) {
    Media media;
    for (size_t i = 0; i < kParts; ++i) {
      media.parts[i] = parts()[i]->OutcomeSnapshot(seed < 4 ? seed : seed * kParts + i);
    }
    return media;
  }
  /// Scripted faults stay.
  void Restart(uint64_t seed) { GoOn(Outcome(seed)); }
  Media Save() {
    Media media;
    for (size_t i = 0; i < kParts; ++i) media.parts[i] = parts()[i]->Save();
    return media;
  }
  /// Goes on from there, with power and without scripted faults.
  void Load(const Media& media) {
    GoOn(media);
    for (hal::PartitionSim* part : parts()) part->SetFault({});
  }

  static uint64_t RecordOffset(uint32_t copy) {
    const CopyPairLayout layout = ComputeBootLayout(kBoot).value().Record(0);
    return layout.offset + copy * layout.stride;
  }
  std::optional<BootRecord> RecordCopy(uint32_t copy) {
    const auto bytes = boot.bytes().subspan(RecordOffset(copy), kBootRecordBytes);
    Decoded& known = decoded_[copy];
    if (!std::equal(bytes.begin(), bytes.end(), known.bytes.begin(), known.bytes.end())) {
      const auto record = DecodeBootRecord(bytes);
      known.bytes.assign(bytes.begin(), bytes.end());
      known.record = record.ok() ? std::optional<BootRecord>(*record) : std::nullopt;
    }
    return known.record;
  }
  /// The record that rule 1 would choose.
  std::optional<BootRecord> CurrentRecord() {
    const auto first = RecordCopy(0);
    const auto second = RecordCopy(1);
    if (!first || (second && second->sequence > first->sequence)) return second;
    return first;
  }
  /// Bits flip in it; what was not valid stays so.
  void LoseRecordCopy(uint32_t copy) {
    if (RecordCopy(copy)) boot.FlipBits(RecordOffset(copy) + 100, 0x40);
  }
  void LosePackage(SlotId id) { slot(id).FlipBits(kSlot.erase_unit_bytes + 700, 0x10); }

 private:
  struct Decoded {
    Bytes bytes;
    std::optional<BootRecord> record;
  };
  std::array<Decoded, 2> decoded_;

  void GoOn(const Media& media) {
    for (size_t i = 0; i < kParts; ++i) parts()[i]->Restore(media.parts[i]);
    power.Restore();
  }
};

inline constexpr size_t kChunkBytes = 512;

/// Writes the package's chunks in an order that no straight download has, syncing half-way.
inline base::Status StageBytes(ModelStore& store, const Bytes& package) {
  const size_t chunks = (package.size() + kChunkBytes - 1) / kChunkBytes;
  for (size_t i = 0; i < chunks; ++i) {
    const size_t offset = (chunks - 1 - i) * kChunkBytes;
    const size_t length = std::min(kChunkBytes, package.size() - offset);
    DIPPER_RETURN_IF_ERROR(store.WriteStage(offset, base::ByteView(package).subspan(offset, length)));
    if (i == chunks / 2) DIPPER_RETURN_IF_ERROR(store.SyncStage());
  }
  return base::Status::kOk;
}

inline base::Status Stage(ModelStore& store, const Bytes& package) {
  DIPPER_RETURN_IF_ERROR(store.BeginStage(DigestOf(package), VersionOf(package), package.size()));
  DIPPER_RETURN_IF_ERROR(StageBytes(store, package));
  return store.CommitStage();
}

/// Stage, trial and confirm in one run of a healthy device.
inline base::Status Install(ModelStore& store, const Bytes& package) {
  if (!store.healthy()) DIPPER_RETURN_IF_ERROR(store.HealthyMark());
  DIPPER_RETURN_IF_ERROR(Stage(store, package));
  DIPPER_RETURN_IF_ERROR(store.BeginTrial());
  return store.Confirm();
}

inline Bytes MakeImage(uint64_t samples) { return Bytes(1040, static_cast<uint8_t>(samples)); }

}  // namespace dipper::store
