// A device whose boot partition and slots hold anything that their formats can say: records, marks and
// checkpoints that contradict each other, packages that are there or not. The real ModelStore starts from it
// and is driven by a script; what it serves, confirms and undoes must keep the rules of
// docs/reference/storage.md.
#include <memory>
#include <optional>

#include "tests/fault/store/store_world.h"
#include "tests/fuzz/input.h"

namespace {

using namespace dipper;         // NOLINT(google-build-using-namespace): an entry file, not a header
using namespace dipper::store;  // NOLINT(google-build-using-namespace)
using base::Status;
using schema::Reason;

constexpr size_t kSteps = 16;
constexpr uint32_t kPackages = 5;

const Bytes& Package(uint32_t index) {
  static const std::array<Bytes, kPackages> packages = {MakePackage(1, 0xA1), MakePackage(2, 0xA2),
                                                        MakePackage(3, 0xA3), MakePackage(3, 0xB3),
                                                        MakePackage(7, 0xA7, 3000)};
  return packages[index];
}

/// A digest that means something, or (index kPackages) one that nobody has.
base::Digest DigestAt(uint32_t index) {
  if (index < kPackages) return DigestOf(Package(index));
  base::Digest digest;
  digest.bytes.fill(0x77);
  return digest;
}

base::SecurityVersion VersionFrom(fuzz::Input& input) { return {input.Below(3), input.Below(9)}; }

BootRecord RecordFrom(fuzz::Input& input) {
  const auto version_of = [](const base::Digest& digest) {
    for (uint32_t i = 0; i < kPackages; ++i) {
      if (DigestAt(i) == digest) return VersionOf(Package(i));
    }
    return base::SecurityVersion{};
  };
  BootRecord record;
  record.sequence = input.Flag() ? input.Get<uint64_t>() : input.Below(8);
  record.lkg_slot = static_cast<SlotId>(std::array<uint8_t, 4>{0, 1, 2, 255}[input.Below(4)]);
  record.lkg_digest =
      record.lkg_slot == SlotId::kNone ? base::Digest{} : DigestAt(input.Below(kPackages + 1));
  record.lkg_version = version_of(record.lkg_digest);  // whoever writes a digest has read its package
  record.floor = VersionFrom(input);
  record.trial_slot = static_cast<SlotId>(std::array<uint8_t, 3>{0, 1, 255}[input.Below(3)]);
  record.trial_digest =
      record.trial_slot == SlotId::kNone ? base::Digest{} : DigestAt(input.Below(kPackages + 1));
  record.tries_left = static_cast<uint8_t>(input.Below(4));
  record.tries_given_back = static_cast<uint8_t>(input.Below(13));
  record.own_failures = static_cast<uint8_t>(input.Below(4));
  record.unexplained_starts = static_cast<uint8_t>(input.Below(14));
  record.rung = static_cast<Rung>(input.Below(6));
  const uint32_t denied = input.Below(9);
  for (uint32_t i = 0; i < denied; ++i)
    record.denied[i] = {DigestAt(input.Below(kPackages + 1)), static_cast<Reason>(40 + input.Below(20))};
  return record;
}

void PlantRecords(fuzz::Input& input, StoreWorld& world) {
  Bytes boot(world.boot.bytes().begin(), world.boot.bytes().end());
  for (uint32_t copy = 0; copy < 2; ++copy) {
    const auto place = base::MutableBytes(boot).subspan(StoreWorld::RecordOffset(copy), kBootRecordBytes);
    const uint8_t how = input.Get<uint8_t>();
    if (how % 8 == 0) continue;
    if (how % 8 == 1) {
      input.Fill(place);
      continue;
    }
    EncodeBootRecord(RecordFrom(input), place);
    if (how == 0xFF) place[60] = static_cast<uint8_t>(place[60] ^ 1);
  }
  world.boot.Load(boot);
}

void PlantSlot(fuzz::Input& input, hal::PartitionSim& part) {
  const SlotLayout layout = *ComputeSlotLayout(StoreWorld::kSlot);
  Bytes bytes(StoreWorld::kSlot.size_bytes, 0xFF);
  const auto at = [&](uint64_t offset, uint64_t length) {
    return base::MutableBytes(bytes).subspan(offset, length);
  };
  const uint32_t chosen = input.Below(kPackages + 2);
  if (chosen < kPackages) {
    const Bytes& package = Package(chosen);
    const uint64_t told = input.Below(8) == 0 ? input.Get<uint64_t>() : package.size();
    EncodeSlotHeader({DigestAt(input.Below(8) == 0 ? kPackages : chosen), told}, at(0, kSlotHeaderBytes));
    std::copy(package.begin(), package.end(), bytes.begin() + static_cast<ptrdiff_t>(layout.package_offset));
    if (input.Below(8) == 0) bytes[layout.package_offset + 700] ^= 1;
  }
  const uint32_t marks = input.Below(18);
  for (uint32_t i = 0; i < marks; ++i) {
    const uint32_t place = input.Below(16);
    const uint32_t digest = input.Below(4) == 0 ? input.Below(kPackages + 1) : std::min(chosen, kPackages);
    const ConfirmMark mark = {DigestAt(digest), VersionFrom(input),
                              input.Below(8) == 0 ? input.Get<uint64_t>() : input.Below(20)};
    const uint64_t offset =
        layout.mark_offset + place / 8 * layout.mark_bank_bytes + place % 8 * layout.mark_stride;
    EncodeConfirmMark(mark, at(offset, kConfirmMarkBytes));
  }
  for (uint32_t area = 0; area < 2; ++area) {
    if (!input.Flag()) continue;
    const uint64_t begin = layout.checkpoint_offset + area * layout.checkpoint_bytes;
    CheckpointInfo info;
    info.package_digest =
        DigestAt(input.Below(4) == 0 ? input.Below(kPackages + 1) : std::min(chosen, kPackages));
    info.sequence = input.Below(8) == 0 ? input.Get<uint64_t>() : input.Below(9);
    info.samples = input.Get<uint16_t>();
    info.image_bytes = input.Below(8) == 0 ? input.Get<uint64_t>() : 1040;
    info.gate_bytes = input.Below(8) == 0 ? input.Get<uint16_t>() : 0;
    const Bytes image = MakeImage(info.samples);
    info.image_digest = base::Sha256Of(image);
    std::copy(image.begin(), image.end(),
              bytes.begin() + static_cast<ptrdiff_t>(begin + layout.checkpoint_header));
    EncodeCheckpointInfo(info, at(begin, kCheckpointInfoBytes));
  }
  part.Load(bytes);
}

/// I7: what is served is a whole package whose digest is the one that is named.
void CheckServed(StoreWorld& world, const StartDecision& decision) {
  if (decision.serve == SlotId::kNone) return;
  const hal::Geometry& geometry =
      decision.serve == SlotId::kFactory ? StoreWorld::kFactory : StoreWorld::kSlot;
  hal::PartitionSim& part = world.slot(decision.serve);
  const auto header = DecodeSlotHeader(part.bytes().first(kSlotHeaderBytes));
  DIPPER_CHECK(header.ok());
  const auto facts = world.verifier.Verify(part, geometry.erase_unit_bytes, header->package_bytes);
  DIPPER_CHECK(facts.ok() && facts->digest == decision.digest && facts->version == decision.version);
  DIPPER_CHECK(decision.rung != Rung::kNone && decision.source != ImageSource::kNone);
}

bool Lower(base::SecurityVersion a, base::SecurityVersion b) {
  return a.epoch != b.epoch ? a.epoch < b.epoch : a.version < b.version;
}

/// A new start on the same media, as after a planned stop.
std::unique_ptr<ModelStore> StartAgain(StoreWorld& world, StartDecision* decision) {
  auto store = world.NewStore();
  const auto started = store->Start({});
  DIPPER_CHECK(started.ok());
  CheckServed(world, *started);
  *decision = *started;
  return store;
}

class Device {
 public:
  explicit Device(fuzz::Input& input) : input_(input) {
    world_.has_factory = input.Flag();
    if (input.Flag()) world_.BurnFactory(Package(0));
    PlantRecords(input, world_);
    PlantSlot(input, world_.a);
    PlantSlot(input, world_.b);
  }

  void Run() {
    store_ = world_.NewStore();
    LastRun last;
    last.own_failure = input_.Below(4) == 0;
    last.digest = DigestAt(input_.Below(kPackages + 1));
    last.reason = Reason::Crash;
    const auto started = store_->Start(last);
    if (!started.ok()) {
      DIPPER_CHECK(started.status() == Status::kUnimplemented);
      return;
    }
    decision_ = *started;
    CheckServed(world_, decision_);
    for (size_t step = 0; step < kSteps && !input_.empty(); ++step) {
      const base::SecurityVersion floor = store_->record().floor;
      Step();
      DIPPER_CHECK(!Lower(store_->record().floor, floor));  // I4
      const BootRecord& record = store_->record();
      DIPPER_CHECK(!record.HasTrial() || record.trial_slot != record.lkg_slot);
    }
  }

 private:
  void Step() {
    switch (input_.Below(9)) {
      case 0:
        (void)store_->HealthyMark();
        break;
      case 1: {
        const Status status = Stage(*store_, Package(input_.Below(kPackages)));
        if (base::Ok(status)) DIPPER_CHECK(store_->record().HasTrial() && store_->healthy());
        break;
      }
      case 2:
        TryTrial();
        break;
      case 3:
        (void)store_->EndTrial(static_cast<Reason>(input_.Below(80)));
        break;
      case 4: {
        StartDecision undone;
        const auto reason = store_->Undo(&undone);
        if (reason.ok() && *reason == Reason::None) {
          CheckServed(world_, undone);
          DIPPER_CHECK(!store_->IsDenied(undone.digest));
          DIPPER_CHECK(!Lower(undone.version, store_->record().floor));
        }
        break;
      }
      case 5: {
        const auto next = store_->ChampionFailed(Reason::NotFinite);
        if (next.ok()) CheckServed(world_, *next);
        break;
      }
      case 6: {
        const SlotId slot = input_.Flag() ? store_->record().lkg_slot : store_->record().trial_slot;
        if (slot == SlotId::kA || slot == SlotId::kB) Checkpoint(slot);
        break;
      }
      case 7:
        (void)store_->PlannedStop();
        store_ = StartAgain(world_, &decision_);
        break;
      default:
        store_->HealthyPeriod();
        break;
    }
  }

  void TryTrial() {
    if (!base::Ok(store_->BeginTrial())) return;
    const base::Digest digest = store_->record().trial_digest;
    if (!input_.Flag() || !base::Ok(store_->Confirm())) return;
    DIPPER_CHECK(store_->record().lkg_digest == digest && !store_->record().HasTrial());
    DIPPER_CHECK(!Lower(store_->record().lkg_version, store_->record().floor));  // I3
    store_ = StartAgain(world_, &decision_);
    DIPPER_CHECK(decision_.digest == digest);  // I6
  }

  void Checkpoint(SlotId slot) {
    const uint64_t samples = input_.Get<uint16_t>();
    const Bytes image = MakeImage(samples);
    if (!base::Ok(store_->WriteCheckpoint(slot, samples, image))) return;
    Bytes read(2048);
    const auto info = store_->ReadCheckpoint(slot, ImageSource::kNewestCheckpoint, read);
    DIPPER_CHECK(info.ok() && info->samples == samples);
    DIPPER_CHECK(std::equal(image.begin(), image.end(), read.begin()));
  }

  fuzz::Input& input_;
  StoreWorld world_;
  std::unique_ptr<ModelStore> store_;
  StartDecision decision_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 4096) return 0;
  fuzz::Input input(data, size);
  Device(input).Run();
  return 0;
}
