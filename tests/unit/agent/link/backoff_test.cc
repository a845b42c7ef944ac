// agent/link/backoff: how a fleet comes back to its broker, in a simulation of a thousand devices.
#include "agent/link/backoff.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <queue>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

namespace dipper::link {
namespace {

constexpr uint32_t kMinMs = 1000;
constexpr uint32_t kMaxMs = 64000;
constexpr uint32_t kDevices = 1000;

TEST(Backoff, DoublesFromOneToSixtyFourSeconds) {
  const std::vector<std::pair<uint32_t, uint32_t>> waits = {{1000, 8000},   {2000, 16000},  {4000, 32000},
                                                            {8000, 64000},  {16000, 64000}, {32000, 64000},
                                                            {32000, 64000}, {32000, 64000}};
  Backoff lucky(kMinMs, kMaxMs), unlucky(kMinMs, kMaxMs);
  for (const auto& [shortest, longest] : waits) {
    EXPECT_EQ(lucky.NextMs(0), shortest);
    EXPECT_EQ(unlucky.NextMs(UINT32_MAX), longest);
  }
  for (int i = 0; i < 1000; ++i) lucky.NextMs(0);
  EXPECT_EQ(lucky.NextMs(0), 32000u) << "no overflow after weeks";
  lucky.Reset();
  EXPECT_EQ(lucky.NextMs(0), 1000u);
}

uint32_t Bits(std::mt19937& random) { return static_cast<uint32_t>(random()); }

TEST(Backoff, IsUniform) {
  std::mt19937 random(1);
  constexpr uint32_t kBins = 16;
  std::vector<uint32_t> bins(kBins);
  constexpr uint32_t kDraws = 16000;
  for (uint32_t i = 0; i < kDraws; ++i) {
    Backoff backoff(kMinMs, kMaxMs);
    ++bins[std::min((backoff.NextMs(Bits(random)) - kMinMs) * kBins / (7 * kMinMs), kBins - 1)];
  }
  // Chi-squared with 15 degrees of freedom: 37.7 is passed once in a thousand seeds.
  double sum = 0;
  for (uint32_t count : bins) {
    const double off = count - double{kDraws} / kBins;
    sum += off * off / (double{kDraws} / kBins);
  }
  EXPECT_LT(sum, 37.7);
}

// A broker that is back at `back_ms` and takes `a_second` connections in each second; more are refused.
struct Outcome {
  uint32_t most_in_a_second = 0;
  uint64_t last_ms = 0;
};
Outcome Simulate(uint64_t back_ms, uint32_t a_second) {
  std::mt19937 random(7);
  std::vector<Backoff> devices(kDevices, Backoff(kMinMs, kMaxMs));
  using Try = std::pair<uint64_t, uint32_t>;
  std::priority_queue<Try, std::vector<Try>, std::greater<>> tries;
  for (uint32_t i = 0; i < kDevices; ++i) tries.emplace(devices[i].NextMs(Bits(random)), i);
  std::map<uint64_t, uint32_t> attempts;
  Outcome outcome;
  while (!tries.empty()) {
    const auto [at_ms, device] = tries.top();
    tries.pop();
    if (at_ms >= back_ms && attempts[at_ms / 1000]++ < a_second) {
      outcome.last_ms = at_ms - back_ms;
      continue;
    }
    tries.emplace(at_ms + devices[device].NextMs(Bits(random)), device);
  }
  for (const auto& [second, count] : attempts) {
    outcome.most_in_a_second = std::max(outcome.most_in_a_second, count);
  }
  return outcome;
}

TEST(Backoff, AThousandDevicesDoNotComeBackAtOnce) {
  std::printf("  broker gone for | most attempts in a second | all back after (100 taken a second)\n");
  for (const auto& [gone_s, most, all_back_s] :
       {std::tuple{0u, 190u, 60u}, {10u, 120u, 60u}, {60u, 50u, 80u}, {600u, 45u, 66u}, {86400u, 45u, 66u}}) {
    const Outcome outcome = Simulate(uint64_t{gone_s} * 1000, 100);
    std::printf("  %13u s | %25u | %.1f s\n", gone_s, outcome.most_in_a_second,
                static_cast<double>(outcome.last_ms) / 1000);
    EXPECT_LE(outcome.most_in_a_second, most) << gone_s;
    EXPECT_LE(outcome.last_ms, all_back_s * 1000) << gone_s;
  }
}

}  // namespace
}  // namespace dipper::link
