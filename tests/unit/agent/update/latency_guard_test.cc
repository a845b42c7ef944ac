// The rule of the latency budget: medians of windows, two in a row.
#include "agent/update/latency_guard.h"

#include <gtest/gtest.h>

namespace dipper::update {
namespace {

constexpr uint64_t kLimit = 1000;

/// One window of which `slow` samples are above the limit.
void Window(LatencyGuard* guard, uint32_t slow) {
  for (uint32_t i = 0; i < LatencyGuard::kWindow; ++i) guard->Add(i < slow ? 1'000'000 : kLimit);
}

TEST(LatencyGuard, NothingIsAskedWithoutALimit) {
  LatencyGuard guard;
  EXPECT_TRUE(guard.within());
  EXPECT_FALSE(guard.urgent());
  for (int i = 0; i < 10; ++i) Window(&guard, LatencyGuard::kWindow);
  EXPECT_FALSE(guard.condemned());
}

TEST(LatencyGuard, TheMedianDecidesAWindow) {
  LatencyGuard guard(kLimit);
  EXPECT_TRUE(guard.urgent());
  EXPECT_FALSE(guard.within());
  Window(&guard, 16);  // half of them slow: the median is not
  EXPECT_TRUE(guard.within());
  EXPECT_FALSE(guard.urgent());
  Window(&guard, 17);
  EXPECT_FALSE(guard.within());
}

// Found by the soak: slow from its 24th sample on, confirmed before a second window was full.
TEST(LatencyGuard, AWindowUnderWayCountsToo) {
  LatencyGuard guard(kLimit);
  Window(&guard, 9);
  ASSERT_TRUE(guard.within());
  guard.Add(1'000'000);
  EXPECT_FALSE(guard.within());
  EXPECT_TRUE(guard.urgent()) << "looked at closely until it is judged";
  guard.Add(kLimit);
  EXPECT_TRUE(guard.within()) << "one busy moment";
  EXPECT_TRUE(guard.urgent());
  for (uint32_t i = 2; i < LatencyGuard::kWindow; ++i) guard.Add(kLimit);
  EXPECT_FALSE(guard.urgent());
  EXPECT_TRUE(guard.within());
}

TEST(LatencyGuard, OneBusyWindowCondemnsNobodyTwoDo) {
  LatencyGuard guard(kLimit);
  for (int i = 0; i < 20; ++i) {
    Window(&guard, LatencyGuard::kWindow);
    EXPECT_FALSE(guard.condemned());
    Window(&guard, 0);
    EXPECT_TRUE(guard.within());
  }
  Window(&guard, 20);
  EXPECT_FALSE(guard.condemned());
  Window(&guard, 20);
  EXPECT_TRUE(guard.condemned());
}

}  // namespace
}  // namespace dipper::update
