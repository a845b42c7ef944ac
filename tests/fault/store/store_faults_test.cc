// A medium that fails, fills up, lies or forgets: each read, write, erase and sync of each scenario in turn,
// each byte of what the store keeps, and what a newer agent wrote.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/fault/store/crash_harness.h"
#include "tests/fault/store/mutations.h"

namespace dipper::store {
namespace {

using base::Ok;
using base::Status;
using hal::SimCall;

const std::vector<Scenario>& Scenarios() {
  static const std::vector<Scenario> scenarios = MakeScenarios();
  return scenarios;
}

struct FaultKind {
  const char* name;
  SimCall call;
  Status status;
  bool partial;
  bool flip_bit;
  bool lies() const { return Ok(status); }
};

constexpr FaultKind kFaults[] = {
    {"read fails", SimCall::kRead, Status::kUnavailable, false, false},
    {"short read", SimCall::kRead, Status::kUnavailable, true, false},
    {"read with one bit wrong", SimCall::kRead, Status::kOk, false, true},
    {"write fails", SimCall::kWrite, Status::kUnavailable, false, false},
    {"no space", SimCall::kWrite, Status::kResourceExhausted, false, false},
    {"short write", SimCall::kWrite, Status::kUnavailable, true, false},
    {"short write that nobody reports", SimCall::kWrite, Status::kOk, true, false},
    {"write with one bit wrong", SimCall::kWrite, Status::kOk, false, true},
    {"erase fails", SimCall::kErase, Status::kUnavailable, false, false},
    {"sync fails", SimCall::kSync, Status::kUnavailable, false, false},
};

/// The bytes under a name are that model's: no wrong model, whatever failed.
bool ServesWhatItNames(StoreWorld& world, const StartDecision& decision) {
  if (decision.serve == SlotId::kNone) return decision.digest.IsZero();
  hal::PartitionSim& part = world.slot(decision.serve);
  const auto header = DecodeSlotHeader(part.bytes().first(kSlotHeaderBytes));
  if (!header.ok()) return false;
  // Past the scripted fault: the bytes themselves.
  const auto bytes = part.bytes().subspan(StoreWorld::kSlot.erase_unit_bytes, header->package_bytes);
  return base::Sha256Of(bytes.first(bytes.size() - 32)) == decision.digest;
}

/// One call of the scenario goes wrong; then a clean start, and an update. What went wrong, or nothing.
std::string OneFault(const Scenario& scenario, const FaultKind& kind, size_t part, uint64_t k,
                     bool* reached) {
  StoreWorld world;
  world.has_factory = scenario.has_factory;
  world.Load(scenario.before);
  hal::PartitionSim& partition = *world.parts()[part];
  partition.SetFault({kind.call, k, 1, kind.status, kind.partial, kind.flip_bit});
  Told told = scenario.told;
  const base::Digest before = told.champion;
  {
    Session session(world, told);
    const auto decision = session.Start(scenario.last);
    *reached = partition.calls(kind.call) > k;
    if (!decision.ok()) return "a start was refused";
    if (!ServesWhatItNames(world, *decision)) return "bytes are served under a wrong name";
    if (!kind.lies() && !told.ladder && decision->digest != before) return "the champion does not serve";
    if (!told.ladder && decision->digest != before && !decision->recovered) return "another model serves";
    TakeReport(*decision, session.store().record(), &told);
    Run run = session.MakeRun(told);
    scenario.run(run);
    *reached = partition.calls(kind.call) > k;
  }
  partition.SetFault({});
  world.Restart(1);
  Session session(world, told);
  const auto decision = session.Start({});
  if (!decision.ok() || !Ok(decision->storage)) return "a later start was refused";
  if (!ServesWhatItNames(world, *decision)) return "later, bytes are served under a wrong name";
  const bool expected = decision->digest == told.champion || decision->digest == told.in_flight;
  if (!told.ladder && !expected) return "a reported champion is lost";
  const std::string trust = CheckTrust(session, &told);
  return trust.empty() ? CheckUpdateStillWorks(world) : trust;
}

/// The scenarios that set faults of their own have theirs in the place of ours.
bool SetsFaults(const Scenario& scenario) {
  return scenario.name == "confirm_during_checkpoint" || scenario.name == "stage_after_failed_confirm";
}

TEST(StoreFaults, EachCallOfEachScenarioFailsOnce) {
  const bool all_reads = std::getenv("DIPPER_ALL_READS") != nullptr;
  uint64_t tried = 0;
  for (const FaultKind& kind : kFaults) {
    uint64_t of_kind = 0;
    for (const Scenario& scenario : Scenarios()) {
      if (SetsFaults(scenario)) continue;
      for (size_t part = 0; part < kParts; ++part) {
        bool reached = true;
        for (uint64_t k = 0; reached; ++k) {
          // Reads are many: beyond the first ones a growing step, which another scenario begins elsewhere.
          if (kind.call == SimCall::kRead && !all_reads && k > 16) k += k / 4 + scenario.name.size() % 3;
          const std::string broken = OneFault(scenario, kind, part, k, &reached);
          if (reached) ++of_kind;
          ASSERT_EQ(broken, "") << kind.name << ", call " << k << " of partition " << part << " in "
                                << scenario.name;
        }
      }
    }
    std::printf("%-34s %7llu places\n", kind.name, static_cast<unsigned long long>(of_kind));
    tried += of_kind;
  }
  std::printf("in all %llu failing calls\n", static_cast<unsigned long long>(tried));
}

// Bit flips at rest
// ---------------------------------------------------------------------------------------------------------
struct Range {
  const char* name;
  size_t part;
  uint64_t offset;
  uint64_t length;
};

/// A device with everything on it: two confirmed packages, checkpoints, a pending trial is the third.
struct FullDevice {
  Media media;
  Told told;
  std::vector<Range> ranges;
};

FullDevice MakeFullDevice(bool trial) {
  FullDevice full;
  StoreWorld world;
  world.BurnFactory(MakePackage(1, 4));
  full.told.trust = true;
  Session session(world, full.told);
  DIPPER_CHECK(session.Start({}).ok());
  ModelStore& store = session.store();
  for (const uint8_t content : {uint8_t{1}, uint8_t{2}}) {
    DIPPER_CHECK(Ok(Install(store, MakePackage(1, content))));
    full.told.confirmed.insert(DigestOf(MakePackage(1, content)).bytes);
    for (const uint64_t samples : {100U, 200U}) {
      store.HealthyPeriod();
      DIPPER_CHECK(Ok(store.WriteCheckpoint(store.record().lkg_slot, samples, MakeImage(samples))));
    }
  }
  if (trial) DIPPER_CHECK(Ok(Stage(store, MakePackage(1, 3))));
  full.told.confirmed.insert(DigestOf(MakePackage(1, 4)).bytes);
  full.told.champion = DigestOf(MakePackage(1, 2));
  full.told.root.reported = Bytes(900, 5);
  DIPPER_CHECK(Ok(session.roots().Store(full.told.root.reported)));
  DIPPER_CHECK(Ok(session.counters().RaiseTrustedTime(1'700'000'000)));
  DIPPER_CHECK(Ok(session.counters().SetOffer(0, {5, full.told.champion, {}, {}})));
  world.Restart(0);
  full.media = world.Save();
  const BootLayout boot = ComputeBootLayout(StoreWorld::kBoot).value();
  const SlotLayout slot = ComputeSlotLayout(StoreWorld::kSlot).value();
  const uint64_t package = MakePackage(1, 1).size();
  full.ranges = {{"record copy 0", 0, StoreWorld::RecordOffset(0), kBootRecordBytes},
                 {"record copy 1", 0, StoreWorld::RecordOffset(1), kBootRecordBytes},
                 {"root copy 0", 0, boot.roots.offset, kPagedHeadBytes + 900},
                 {"root copy 1", 0, boot.roots.offset + boot.roots.stride, kPagedHeadBytes + 900},
                 {"counters page 0", 0, boot.counters.offset, 2500},
                 {"counters page 1", 0, boot.counters.offset + boot.counters.stride, 2500}};
  for (const size_t part : {1U, 2U}) {
    full.ranges.push_back({"slot header", part, slot.header_offset, kSlotHeaderBytes});
    full.ranges.push_back({"package", part, slot.package_offset, package});
    full.ranges.push_back({"confirm mark", part, slot.mark_offset, kConfirmMarkBytes});
    for (const uint64_t area : {0U, 1U}) {
      const uint64_t offset = slot.checkpoint_offset + area * slot.checkpoint_bytes;
      full.ranges.push_back({"checkpoint header", part, offset, kCheckpointInfoBytes});
      full.ranges.push_back({"checkpoint image", part, offset + slot.checkpoint_header, 1040});
    }
  }
  return full;
}

/// After the flip: a confirmed model with its own bytes, trust state that never ran ahead, and an update.
std::string CheckFlipped(StoreWorld& world, const FullDevice& full, const Range& range) {
  Session session(world, full.told);
  const auto decision = session.Start({});
  if (!decision.ok()) return "a start was refused";
  if (!ServesWhatItNames(world, *decision)) return "bytes are served under a wrong name";
  if (!full.told.confirmed.contains(decision->digest.bytes)) return "an unconfirmed model serves";
  const std::string name = range.name;
  const bool slot_hit = name == "slot header" || name == "package";
  if (!slot_hit && decision->digest != full.told.champion) return "the champion does not serve";
  Bytes image(2048);
  const auto checkpoint = session.store().ReadCheckpoint(decision->serve, decision->source, image);
  if (checkpoint.ok()) {
    image.resize(checkpoint->image_bytes);
    if (image != MakeImage(checkpoint->samples)) return "a wrong image was handed out";
  }
  if (session.counters().trusted_time_s() > 1'700'000'000 || session.counters().offer(0).number > 5) {
    return "a number ran ahead";
  }
  Bytes document(RootStore::kMaxRootBytes);
  const auto root = session.roots().Load(document);
  const bool same = root.ok() && std::equal(root->begin(), root->end(), full.told.root.reported.begin(),
                                            full.told.root.reported.end());
  return same ? "" : "the trust root is lost or another";
}

TEST(StoreFaults, EveryByteFlippedAtRest) {
  uint64_t tried = 0;
  for (const bool trial : {false, true}) {
    const FullDevice full = MakeFullDevice(trial);
    StoreWorld world;
    for (const Range& range : full.ranges) {
      for (uint64_t i = 0; i < range.length; ++i) {
        world.Load(full.media);
        world.parts()[range.part]->FlipBits(range.offset + i, static_cast<uint8_t>(1U << (i % 8)));
        ASSERT_EQ(CheckFlipped(world, full, range), "") << range.name << " of partition " << range.part
                                                        << ", byte " << i << (trial ? ", in a trial" : "");
        ++tried;
        if (tried % 64 == 0) {
          ASSERT_EQ(CheckUpdateStillWorks(world), "") << range.name << ", byte " << i;
        }
      }
    }
  }
  std::printf("%llu flipped bytes\n", static_cast<unsigned long long>(tried));
}

/// Bytes that change between the check and the use: an image handed out is the image that was checked.
TEST(StoreFaults, BytesThatChangeBetweenCheckAndUse) {
  const FullDevice full = MakeFullDevice(false);
  uint64_t refused = 0, given = 0;
  for (uint64_t k = 0; k < 200; ++k) {
    StoreWorld world;
    world.Load(full.media);
    auto store = world.NewStore();
    const auto decision = store->Start({});
    ASSERT_TRUE(decision.ok());
    hal::PartitionSim& slot = world.slot(decision->serve);
    slot.SetFault({SimCall::kRead, slot.calls(SimCall::kRead) + k, 1, Status::kOk, false, true});
    Bytes image(2048);
    const auto checkpoint = store->ReadCheckpoint(decision->serve, decision->source, image);
    if (!checkpoint.ok()) {
      ++refused;
      continue;
    }
    image.resize(checkpoint->image_bytes);
    ASSERT_EQ(image, MakeImage(checkpoint->samples)) << "read " << k;
    ++given;
  }
  EXPECT_GT(refused, 0U);
  EXPECT_GT(given, 0U);
}

// Agent upgraded and downgraded
// ---------------------------------------------------------------------------------------------------------
/// A newer agent's structures, one at a time: nothing is written, the start says why.
std::string Downgraded() {
  const FullDevice full = MakeFullDevice(true);
  StoreWorld world;
  uint64_t tried = 0;
  for (const Range& range : full.ranges) {
    const std::string name = range.name;
    if (name == "package" || name == "checkpoint image") continue;
    world.Load(full.media);
    hal::PartitionSim& part = *world.parts()[range.part];
    Bytes bytes(part.bytes().begin(), part.bytes().end());
    const uint32_t magic = base::Load<uint32_t>(bytes.data() + range.offset);
    const uint32_t length = base::Load<uint32_t>(bytes.data() + range.offset + 8);
    if (magic == UINT32_MAX) continue;  // erased: nothing of anybody's
    Seal(base::MutableBytes(bytes).subspan(range.offset, length), magic, 2);
    part.Load(bytes);
    world.power.Restore();
    const Media before = world.Save();
    Session session(world, full.told);
    const auto decision = session.Start({});
    if (decision.ok()) return name + ": taken for absent";
    if (decision.status() != Status::kUnimplemented) return name + ": refused for another reason";
    if (world.power.operations != 0 || !(world.Save() == before)) return name + ": something was written";
    ++tried;
  }
  return tried > 8 ? "" : "too few structures";
}

TEST(StoreFaults, AnOlderAgentWritesNothing) { EXPECT_EQ(Downgraded(), ""); }

/// Bits that a later agent may give a meaning, in places that are 0 now: read, and the state is kept.
TEST(StoreFaults, ALaterAgentsSpareBitsAreKeptReadable) {
  const FullDevice full = MakeFullDevice(false);
  StoreWorld world;
  world.Load(full.media);
  Bytes boot(world.boot.bytes().begin(), world.boot.bytes().end());
  for (uint32_t copy = 0; copy < 2; ++copy) {
    const auto record = base::MutableBytes(boot).subspan(StoreWorld::RecordOffset(copy), kBootRecordBytes);
    record[31] = 0x80;
    Seal(record, base::Load<uint32_t>(record.data()), kBootRecordLayout);
  }
  world.boot.Load(boot);
  world.power.Restore();
  const auto decision = world.NewStore()->Start({});
  ASSERT_TRUE(decision.ok());
  EXPECT_EQ(decision->digest, full.told.champion);
}

#if defined(DIPPER_TEST_FAULTS)
TEST(StoreFaults, RulesTakenOutAreNoticedHereToo) {
  ASSERT_FALSE(Scenarios().empty());
  {
    const WithMutation with(Mutation::kUnknownLayoutIsAbsent);
    const std::string broken = Downgraded();
    EXPECT_NE(broken, "");
    std::printf(
        "| an unknown layout is not absent | 5 | UnknownLayoutIsAbsent | AnOlderAgentWritesNothing | %s |\n",
        broken.c_str());
  }
  const WithMutation with(Mutation::kRecordNotReadBack);
  std::string found;
  const FaultKind& lie = kFaults[7];  // A write with one bit wrong.
  for (const Scenario& scenario : Scenarios()) {
    bool reached = true;
    for (uint64_t k = 0; reached && found.empty() && !SetsFaults(scenario); ++k) {
      const std::string broken = OneFault(scenario, lie, 0, k, &reached);
      if (!broken.empty()) found = scenario.name + ", write " + std::to_string(k) + ": " + broken;
    }
  }
  EXPECT_NE(found, "");
  std::printf("| each page is read back | 1 | RecordNotReadBack | EachCallOfEachScenarioFailsOnce | %s |\n",
              found.c_str());
}
#endif

}  // namespace
}  // namespace dipper::store
