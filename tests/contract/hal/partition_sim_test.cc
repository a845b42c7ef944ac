// What only the simulated partition promises: cuts, torn and reordered writes, scripted faults, the same for
// each seed.
#include "hal/sim/partition_sim.h"

#include <gtest/gtest.h>

#include <set>

namespace dipper::hal {
namespace {

using base::Status;
using Bytes = std::vector<uint8_t>;

constexpr Geometry kGeometry{8192, 1, 512};

Bytes Content(PartitionSim& sim) { return {sim.bytes().begin(), sim.bytes().end()}; }

TEST(PartitionSim, AfterTheCutEverythingFailsUntilRestart) {
  SimPower power;
  PartitionSim sim(kGeometry, &power);
  power.cut_at = 1;
  EXPECT_EQ(sim.Write(0, Bytes(10, 1)), Status::kOk);
  EXPECT_EQ(sim.Sync(), Status::kUnavailable);
  EXPECT_EQ(sim.Write(0, Bytes(10, 2)), Status::kUnavailable);
  Bytes back(1);
  EXPECT_EQ(sim.Read(0, back), Status::kUnavailable);
  power.Restore();
  sim.Restart(0);
  EXPECT_EQ(Content(sim), Bytes(8192, 0xFF));
  EXPECT_EQ(sim.Write(0, Bytes(10, 2)), Status::kOk);
}

TEST(PartitionSim, SyncedBytesSurviveEverySeed) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimPower power;
    PartitionSim sim(kGeometry, &power);
    ASSERT_EQ(sim.Write(512, Bytes(512, 1)), Status::kOk);
    ASSERT_EQ(sim.Sync(), Status::kOk);
    ASSERT_EQ(sim.Write(1024, Bytes(512, 2)), Status::kOk);
    sim.Restart(seed);
    const Bytes content = Content(sim);
    EXPECT_EQ(Bytes(content.begin() + 512, content.begin() + 1024), Bytes(512, 1)) << seed;
  }
}

TEST(PartitionSim, EveryCombinationOfUnsyncedSectorsCanBeAskedFor) {
  std::set<Bytes> outcomes;
  for (uint64_t landed = 0; landed < 8; ++landed) {
    PartitionSim sim(kGeometry, nullptr);
    ASSERT_EQ(sim.Write(500, Bytes(600, 1)), Status::kOk);
    ASSERT_EQ(sim.pending_touches(), 3U);
    outcomes.insert(sim.OutcomeWith(landed));
  }
  EXPECT_EQ(outcomes.size(), 8U);
}

TEST(PartitionSim, AWriteMayLandWithoutTheEraseBeforeIt) {
  PartitionSim sim(kGeometry, nullptr);
  ASSERT_EQ(sim.Write(0, Bytes(512, 1)), Status::kOk);
  ASSERT_EQ(sim.Sync(), Status::kOk);
  ASSERT_EQ(sim.Erase(0, 512), Status::kOk);
  ASSERT_EQ(sim.Write(0, Bytes(16, 2)), Status::kOk);
  const Bytes content = sim.OutcomeWith(0b10);
  EXPECT_EQ(content[0], 2);
  EXPECT_EQ(content[16], 1) << "the erase did not land";
}

TEST(PartitionSim, SeedsTearSectorsAndAreReproducible) {
  bool torn = false;
  for (uint64_t seed = 2; seed < 100; ++seed) {
    std::array<Bytes, 2> content;
    for (Bytes& c : content) {
      PartitionSim sim(kGeometry, nullptr);
      ASSERT_EQ(sim.Write(0, Bytes(4096, 1)), Status::kOk);
      sim.Restart(seed);
      c = Content(sim);
    }
    ASSERT_EQ(content[0], content[1]) << seed;
    for (size_t sector = 0; sector < 8; ++sector) {
      const auto begin = content[0].begin() + static_cast<ptrdiff_t>(sector * 512);
      torn = torn || !std::equal(begin + 1, begin + 512, begin);
    }
  }
  EXPECT_TRUE(torn);
}

TEST(PartitionSim, ScriptedFaultsHitTheNamedCallsOnly) {
  PartitionSim sim(kGeometry, nullptr);
  sim.SetFault({SimCall::kWrite, 1, 1, Status::kResourceExhausted, true});
  EXPECT_EQ(sim.Write(0, Bytes(4, 1)), Status::kOk);
  EXPECT_EQ(sim.Write(8, Bytes(4, 2)), Status::kResourceExhausted);
  EXPECT_EQ(sim.Write(16, Bytes(4, 3)), Status::kOk);
  Bytes back(20);
  ASSERT_EQ(sim.Read(0, back), Status::kOk);
  EXPECT_EQ(back, (Bytes{1, 1, 1, 1, 255, 255, 255, 255, 2, 2, 255, 255, 255, 255, 255, 255, 3, 3, 3, 3}));
  EXPECT_EQ(sim.calls(SimCall::kWrite), 3U);
  sim.FlipBits(16, 0x81);
  ASSERT_EQ(sim.Read(0, back), Status::kOk);
  EXPECT_EQ(back[16], 3 ^ 0x81);
}

TEST(PartitionSim, UsesTheCallersMemory) {
  Bytes memory(8192, 0);
  PartitionSim sim(kGeometry, memory, nullptr);
  ASSERT_EQ(sim.Write(100, Bytes(3, 9)), Status::kOk);
  EXPECT_EQ(memory[101], 9);
}

}  // namespace
}  // namespace dipper::hal
