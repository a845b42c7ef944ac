// What every hal::Watchdog keeps: armed from the start, late only when nobody pats, disarmed for good.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "hal/api/watchdog.h"

namespace dipper::hal {

/// An implementation with a way to see what the machine sees.
struct WatchdogUnderTest {
  virtual ~WatchdogUnderTest() = default;
  virtual Watchdog& watchdog() = 0;
  /// Time passes without a pat.
  virtual void Pass(int64_t ns) = 0;
  /// The machine would have been reset by now.
  virtual bool Fired() = 0;
};
using MakeWatchdog = std::unique_ptr<WatchdogUnderTest> (*)();

class WatchdogContract : public testing::TestWithParam<MakeWatchdog> {
 protected:
  std::unique_ptr<WatchdogUnderTest> under_test_ = GetParam()();
  Watchdog& watchdog_ = under_test_->watchdog();
};

TEST_P(WatchdogContract, FiresOnlyWhenNobodyPats) {
  const int64_t timeout = watchdog_.timeout_ns();
  ASSERT_GT(timeout, 0);
  for (int i = 0; i < 5; ++i) {
    under_test_->Pass(timeout * 3 / 4);
    EXPECT_FALSE(under_test_->Fired());
    EXPECT_EQ(watchdog_.Pat(), base::Status::kOk);
  }
  under_test_->Pass(timeout * 5 / 4);
  EXPECT_TRUE(under_test_->Fired());
}

TEST_P(WatchdogContract, IsArmedFromTheStart) {
  under_test_->Pass(watchdog_.timeout_ns() * 5 / 4);
  EXPECT_TRUE(under_test_->Fired());
}

TEST_P(WatchdogContract, ADisarmedOneNeverFires) {
  ASSERT_EQ(watchdog_.Disarm(), base::Status::kOk);
  under_test_->Pass(watchdog_.timeout_ns() * 10);
  EXPECT_FALSE(under_test_->Fired());
  EXPECT_EQ(watchdog_.Pat(), base::Status::kFailedPrecondition);
  EXPECT_EQ(watchdog_.Disarm(), base::Status::kFailedPrecondition);
}

}  // namespace dipper::hal
