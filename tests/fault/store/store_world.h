// StoreWorld: a small device for store tests: simulated boot, slots and factory under one power supply,
// packages that are a version and a digest, and the real ModelStore. Shared by the unit tests and the crash
// harness.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "agent/base/sha256.h"
#include "agent/store/model_store.h"
#include "hal/sim/partition_sim.h"

namespace dipper::store {

using Bytes = std::vector<uint8_t>;

/// A package of the fake format: {magic, epoch, version} body {SHA-256 of all before}.
inline Bytes MakePackage(uint32_t version, uint8_t content, size_t body_bytes = 1500) {
  Bytes bytes(12 + body_bytes, content);
  base::Store<uint32_t>(bytes.data(), 0x474B5046);
  base::Store<uint32_t>(bytes.data() + 4, 1);
  base::Store<uint32_t>(bytes.data() + 8, version);
  const base::Digest digest = base::Sha256Of(bytes);
  bytes.insert(bytes.end(), digest.bytes.begin(), digest.bytes.end());
  return bytes;
}

inline base::Digest DigestOf(const Bytes& package) {
  base::Digest digest;
  std::copy(package.end() - 32, package.end(), digest.bytes.begin());
  return digest;
}

inline base::SecurityVersion VersionOf(const Bytes& package) {
  return {base::Load<uint32_t>(package.data() + 4), base::Load<uint32_t>(package.data() + 8)};
}

class FakeVerifier final : public SlotVerifier {
 public:
  base::Result<SlotFacts> Verify(hal::Partition& partition, uint64_t offset, uint64_t bytes) override {
    if (bytes < 44 || bytes > 64 * 1024) return base::Status::kDataLoss;
    Bytes package(bytes);
    DIPPER_RETURN_IF_ERROR(partition.Read(offset, package));
    const base::Digest computed = base::Sha256Of(base::ByteView(package).first(bytes - 32));
    if (base::Load<uint32_t>(package.data()) != 0x474B5046 || computed != DigestOf(package)) {
      return base::Status::kDataLoss;
    }
    return SlotFacts{computed, VersionOf(package), 2048};
  }
};

/// Everything that outlives a power cut.
struct Media {
  std::array<Bytes, 4> bytes;  ///< boot, a, b, factory
  bool operator==(const Media&) const = default;
};

class StoreWorld {
 public:
  static constexpr hal::Geometry kBoot{28 * 1024, 1, 512};
  static constexpr hal::Geometry kSlot{64 * 1024, 1, 512};
  static constexpr hal::Geometry kFactory{4 * 1024, 1, 512};

  hal::SimPower power;
  hal::PartitionSim boot{kBoot, &power};
  hal::PartitionSim a{kSlot, &power};
  hal::PartitionSim b{kSlot, &power};
  hal::PartitionSim factory{kFactory, &power};
  FakeVerifier verifier;
  Mutation mutation = Mutation::kNone;
  bool has_factory = true;

  std::array<hal::PartitionSim*, 4> parts() { return {&boot, &a, &b, &factory}; }
  hal::PartitionSim& slot(SlotId id) { return id == SlotId::kA ? a : id == SlotId::kB ? b : factory; }

  std::unique_ptr<ModelStore> NewStore() {
    ModelStoreConfig config;
    config.boot = &boot;
    config.slot_a = &a;
    config.slot_b = &b;
    config.factory = has_factory ? &factory : nullptr;
    config.max_image_bytes = 2048;
    auto store = std::make_unique<ModelStore>(config, verifier);
#if defined(DIPPER_TEST_FAULTS)
    store->SetMutationForTest(mutation);
#endif
    return store;
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
    for (size_t i = 0; i < 4; ++i) {
      media.bytes[i] = parts()[i]->OutcomeWith(landed);
      landed >>= parts()[i]->pending_touches();
    }
    return media;
  }
  Media Outcome(uint64_t seed) {
    Media media;
    for (size_t i = 0; i < 4; ++i) media.bytes[i] = parts()[i]->Outcome(seed < 2 ? seed : seed * 4 + i);
    return media;
  }
  void Restart(uint64_t seed) { Load(Outcome(seed)); }
  Media Save() {
    Media media;
    for (size_t i = 0; i < 4; ++i)
      media.bytes[i].assign(parts()[i]->bytes().begin(), parts()[i]->bytes().end());
    return media;
  }
  void Load(const Media& media) {
    for (size_t i = 0; i < 4; ++i) parts()[i]->Load(media.bytes[i]);
    power.Restore();
  }

  static uint64_t RecordOffset(uint32_t copy) {
    const CopyPairLayout layout = ComputeBootLayout(kBoot).value().Record(0);
    return layout.offset + copy * layout.stride;
  }
  std::optional<BootRecord> RecordCopy(uint32_t copy) {
    const auto record = DecodeBootRecord(boot.bytes().subspan(RecordOffset(copy), kBootRecordBytes));
    if (!record.ok()) return std::nullopt;
    return *record;
  }
  /// The record that rule 1 would choose.
  std::optional<BootRecord> CurrentRecord() {
    const auto first = RecordCopy(0);
    const auto second = RecordCopy(1);
    if (!first || (second && second->sequence > first->sequence)) return second;
    return first;
  }
  void LoseRecordCopy(uint32_t copy) { boot.FlipBits(RecordOffset(copy) + 100, 0x40); }
  void LosePackage(SlotId id) { slot(id).FlipBits(kSlot.erase_unit_bytes + 700, 0x10); }
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
