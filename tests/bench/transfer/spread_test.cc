// The spread of an offer on a real broker: 300 devices, each begins at its own place of the window, none
// before it, and every one of them gets the package. Prints the histogram.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "tests/bench/transfer/load_run.h"
#include "tests/integration/support/mosquitto.h"

namespace dipper::bench {
namespace {

constexpr uint32_t kDevices = 300, kSpreadS = 12, kParts = 6;

std::array<uint32_t, kParts> Histogram(const std::vector<double>& seconds) {
  std::array<uint32_t, kParts> parts{};
  for (const double second : seconds) {
    const auto part = static_cast<uint32_t>(std::max(second, 0.0) * kParts / kSpreadS);
    ++parts[std::min(part, kParts - 1)];
  }
  return parts;
}

TEST(Spread, DevicesBeginAtTheirPlaceInTheWindowAndNoneMisses) {
  const auto figures =
      RunLoad({.devices = kDevices, .block_bytes = 1024, .blocks = 70, .spread_s = kSpreadS});
  ASSERT_TRUE(figures.has_value());
  EXPECT_EQ(figures->complete, kDevices);
  EXPECT_EQ(figures->failed, 0U);
  EXPECT_EQ(figures->delivered, figures->expected);
  ASSERT_EQ(figures->first_block_s.size(), kDevices);
  double latest = 0;
  for (uint32_t i = 0; i < kDevices; ++i) {
    EXPECT_LT(figures->delay_s[i], kSpreadS);
    EXPECT_GE(figures->first_block_s[i], figures->delay_s[i]) << "device " << i << " began too early";
    latest = std::max(latest, figures->first_block_s[i] - figures->delay_s[i]);
  }
  const auto parts = Histogram(figures->first_block_s);
  std::printf("first blocks in each sixth of %u s:", kSpreadS);
  for (const uint32_t count : parts) std::printf(" %u", count);
  std::printf("; the latest %.2f s after its place; the window's last block after %.1f s\n", latest,
              figures->blocks_s);
  // 50 each on average, standard deviation 6.5: five of them below.
  for (const uint32_t count : parts) EXPECT_GE(count, 18U);
  EXPECT_GE(figures->blocks_s, kSpreadS * 0.8);
}

TEST(Spread, WithoutAWindowAllBeginAtOnce) {
  const auto figures = RunLoad({.devices = kDevices, .block_bytes = 1024, .blocks = 70});
  ASSERT_TRUE(figures.has_value());
  EXPECT_EQ(figures->complete, kDevices);
  for (const uint32_t delay_s : figures->delay_s) EXPECT_EQ(delay_s, 0U);
}

}  // namespace
}  // namespace dipper::bench

int main(int argc, char** argv) {
  if (const int skip = dipper::testing::SkipWithoutMosquitto(); skip != 0) return skip;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
