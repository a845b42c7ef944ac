// Real packages at rest: each byte of slot header, package header, manifest, signatures and blocks flipped,
// in the champion's slot, the previous model's, the challenger's and factory. A start serves what it names or
// something else that was confirmed, never the bytes that were flipped.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

#include "agent/package/format.h"
#include "agent/update/slot_source.h"
#include "tests/fault/update/update_world.h"

namespace dipper::update::test {
namespace {

using base::Ok;
using base::Status;
using store::SlotId;
using store::StartDecision;

constexpr uint64_t kUnit = 4096;
constexpr hal::Geometry kFactory{64 * 1024, 1, kUnit};

/// A run of bytes in a slot, and how many bits of each are flipped.
struct Section {
  const char* name;
  uint64_t offset, length;
  uint32_t bits;
};

std::vector<Section> SectionsOf(const Bytes& package) {
  package::Header header;
  DIPPER_CHECK(package::ParseHeader(package, &header) == schema::Reason::None);
  const uint64_t manifest = kUnit + package::kHeaderBytes;
  const uint64_t signatures = manifest + header.manifest_bytes;
  const uint64_t blocks = signatures + header.signature_bytes;
  return {{"slot header", 0, store::kSlotHeaderBytes, 8},
          {"package header", kUnit, package::kHeaderBytes, 8},
          {"manifest", manifest, header.manifest_bytes, 1},
          {"signatures", signatures, header.signature_bytes, 8},
          {"blocks", blocks, header.block_area_bytes, 1}};
}

/// With every optional part that a start parses, and encrypted for a group.
Release Rich() {
  ReleaseChange change;
  change.groups = {TestKeys().stranger.public_key()};
  change.edit = [](schema::ManifestT& manifest, Bytes&) {
    manifest.hardware = {"generic-linux", "other board"};
    manifest.lineage = std::make_unique<schema::LineageT>();
    manifest.lineage->notes = "what its maker claims";
    manifest.lineage->code_version = "1.0";
  };
  return MakeRelease("2", 1, change);
}

struct StoreDevice {
  StoreDevice() : factory(kFactory, &media.power) {}

  StartDecision Start() {
    store::ModelStoreConfig config;
    config.boot = &media.boot;
    config.slot_a = &media.slot_a;
    config.slot_b = &media.slot_b;
    config.factory = &factory;
    config.max_image_bytes = 64 * 1024;
    store = std::make_unique<store::ModelStore>(config, verifier);
    const auto decision = store->Start({});
    DIPPER_CHECK(decision.ok() && Ok(decision->storage));
    return *decision;
  }
  void StageRelease(const Release& release) {
    if (!store->healthy()) DIPPER_CHECK(Ok(store->HealthyMark()));
    DIPPER_CHECK(Ok(store->BeginStage(release.digest, {0, 1}, release.package.size())));
    DIPPER_CHECK(Ok(store->WriteStage(0, release.package)) && Ok(store->CommitStage()));
  }
  void InstallRelease(const Release& release) {
    StageRelease(release);
    DIPPER_CHECK(Ok(store->BeginTrial()) && Ok(store->Confirm()));
  }
  void Burn(const Release& release) {
    Bytes image(kFactory.size_bytes, 0xFF);
    store::EncodeSlotHeader({release.digest, release.package.size()},
                            base::MutableBytes(image).first(store::kSlotHeaderBytes));
    std::copy(release.package.begin(), release.package.end(), image.begin() + kUnit);
    factory.Load(image);
  }
  hal::PartitionSim& slot(SlotId id) {
    return id == SlotId::kA ? media.slot_a : id == SlotId::kB ? media.slot_b : factory;
  }
  /// All parts, without what was not synced.
  std::array<hal::SimSnapshot, 4> Save() {
    return {media.boot.Save(), media.slot_a.Save(), media.slot_b.Save(), factory.Save()};
  }
  void Load(const std::array<hal::SimSnapshot, 4>& parts) {
    media.boot.Restore(parts[0]);
    media.slot_a.Restore(parts[1]);
    media.slot_b.Restore(parts[2]);
    factory.Restore(parts[3]);
    media.power.Restore();
  }

  Media media;
  hal::PartitionSim factory;
  std::vector<uint64_t> memory = std::vector<uint64_t>(package::kWholeMemoryBytes / 8 + 2);
  PackageVerifier verifier{Aligned(), "main"};
  std::unique_ptr<store::ModelStore> store;

 private:
  base::MutableBytes Aligned() {
    auto* bytes = reinterpret_cast<uint8_t*>(memory.data());
    const uint64_t skip = (16 - reinterpret_cast<uintptr_t>(bytes) % 16) % 16;
    return {bytes + skip, package::kWholeMemoryBytes};
  }
};

/// v1 was confirmed before v2, the champion; v3 is the factory's. In a trial v3 is the challenger, too.
class RealPackages : public testing::Test {
 protected:
  void SetUp() override {
    device.Burn(old);
    device.Start();
  }
  /// Flips every byte of the package in `slot`, one start each. @param check  What must hold after it.
  uint64_t FlipEach(SlotId slot, const Bytes& package,
                    const std::function<std::string(const StartDecision&)>& check) {
    const auto before = device.Save();
    uint64_t tried = 0;
    for (const Section& section : SectionsOf(package)) {
      for (uint64_t i = 0; i < section.length * section.bits; ++i) {
        const uint64_t offset = section.offset + i / section.bits;
        const auto mask = static_cast<uint8_t>(1U << (section.bits == 1 ? i % 8 : i % section.bits));
        device.Load(before);
        device.slot(slot).FlipBits(offset, mask);
        const StartDecision decision = device.Start();
        std::string broken = check(decision);
        if (broken.empty() && decision.serve == slot) broken = "flipped bytes are served";
        if (broken.empty() && device.Start().serve == slot)
          broken = "flipped bytes are served by a later start";
        EXPECT_EQ(broken, "") << section.name << ", byte " << offset << ", mask " << int{mask};
        if (!broken.empty()) return tried;
        ++tried;
      }
      std::printf("%-16s %6llu bytes, %u bits of each\n", section.name,
                  static_cast<unsigned long long>(section.length), section.bits);
    }
    device.Load(before);
    return tried;
  }
  std::string Serves(const StartDecision& decision, SlotId slot, const Release& release) {
    if (decision.serve != slot || decision.digest != release.digest) return "another model is served";
    const auto bytes = device.slot(slot).bytes().subspan(kUnit, release.package.size());
    return std::equal(bytes.begin(), bytes.end(), release.package.begin()) ? "" : "other bytes are served";
  }

  const Release v1 = MakeRelease("1", 1), v2 = Rich(), old = MakeRelease("factory", 1);
  StoreDevice device;
};

TEST_F(RealPackages, AFlippedChampionGivesWayToThePreviousModel) {
  device.InstallRelease(v1);
  device.InstallRelease(v2);
  const uint64_t tried = FlipEach(SlotId::kB, v2.package, [&](const StartDecision& decision) {
    if (!decision.recovered) return std::string("nothing was recovered");
    return Serves(decision, SlotId::kA, v1);
  });
  std::printf("champion: %llu flips\n", static_cast<unsigned long long>(tried));
}

TEST_F(RealPackages, AFlippedPreviousModelIsNoUndoTarget) {
  device.InstallRelease(v1);
  device.InstallRelease(v2);
  ASSERT_EQ(device.store->UndoTarget(), SlotId::kA);
  const uint64_t tried = FlipEach(SlotId::kA, v1.package, [&](const StartDecision& decision) {
    if (device.store->UndoTarget() != SlotId::kNone) return std::string("undo would go to flipped bytes");
    return Serves(decision, SlotId::kB, v2);
  });
  std::printf("previous: %llu flips\n", static_cast<unsigned long long>(tried));
}

TEST_F(RealPackages, AFlippedChallengerNeverRunsAndIsNotDenied) {
  device.InstallRelease(v1);
  device.StageRelease(v2);
  const uint64_t tried = FlipEach(SlotId::kB, v2.package, [&](const StartDecision& decision) {
    // The second start of each flip has no trial any more.
    if (decision.trial) return std::string("a trial runs on flipped bytes");
    if (decision.trial_end_reason != schema::Reason::StorageError)
      return std::string("ended for another reason");
    if (device.store->IsDenied(v2.digest)) return std::string("the medium's fault denies the model");
    return Serves(decision, SlotId::kA, v1);
  });
  std::printf("challenger: %llu flips\n", static_cast<unsigned long long>(tried));
}

TEST_F(RealPackages, AFlippedOnlyModelGivesWayToTheFactorys) {
  device.InstallRelease(v1);
  const uint64_t tried = FlipEach(SlotId::kA, v1.package, [&](const StartDecision& decision) {
    return Serves(decision, SlotId::kFactory, old);
  });
  std::printf("the only one: %llu flips\n", static_cast<unsigned long long>(tried));
}

TEST_F(RealPackages, AFlippedFactoryModelIsNeverServed) {
  ASSERT_EQ(device.store->record().lkg_slot, SlotId::kFactory);
  const uint64_t tried = FlipEach(SlotId::kFactory, old.package, [&](const StartDecision& decision) {
    return decision.serve == SlotId::kNone ? std::string() : std::string("another model is served");
  });
  std::printf("factory: %llu flips\n", static_cast<unsigned long long>(tried));
}

/// The whole updater over flipped bytes: it loads the model that the store names, and it predicts.
TEST(RealPackagesInTheUpdater, FlipsNeverReachAModel) {
  const Release v1 = MakeRelease("1", 1), v2 = MakeRelease("2", 1);
  Media media;
  uint64_t number = 1;
  for (const Release* release : {&v1, &v2}) {
    Device device(media);
    ASSERT_EQ(device.Start(), Status::kOk);
    ASSERT_TRUE(device.Play(*release, number++, 0.1));
    ASSERT_TRUE(device.reports().confirmed);
    ASSERT_EQ(device.updater().PlannedStop(), Status::kOk);
    media.Restart(1);
  }
  const std::vector<Bytes> before = media.Copy();
  uint64_t tried = 0;
  for (const Section& section : SectionsOf(v2.package)) {
    for (uint64_t i = 0; i<section.length; i += section.length> 512 ? 13 : 3) {
      media.Load(before);
      media.slot_b.FlipBits(section.offset + i, static_cast<uint8_t>(1U << (i % 8)));
      Device device(media);
      ASSERT_EQ(device.Start(), Status::kOk);
      ASSERT_EQ(device.updater().Status().champion, v1.digest) << section.name << ", byte " << i;
      ASSERT_NE(device.updater().champion(), nullptr);
      ++tried;
    }
  }
  std::printf("updater: %llu flips\n", static_cast<unsigned long long>(tried));
}

}  // namespace
}  // namespace dipper::update::test
