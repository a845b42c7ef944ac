// KeptSource over real files: away at the start, there later, and what it says meanwhile. The same with a
// sensor is tests/integration/sources/away_test.py.
#include "agent/app/kept_source.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/hand_clock.h"

namespace dipper::app {
namespace {

using base::Status;

class KeptSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "dipper-kept-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    config_.kind = "csv_replay";
    config_.path = folder_ / "stream.csv";
    config_.rate_hz = 0;
    clock_.now_ns = 5'000'000'000;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& text) const { std::ofstream(config_.path) << text; }
  std::string Next(KeptSource& source) {
    hal::Record record;
    const Status status = source.Poll(&record);
    if (!Ok(status)) return base::StatusName(status);
    return std::to_string(record.sequence) + " " + std::string(base::AsText(record.payload));
  }

  std::filesystem::path folder_;
  SourceConfig config_;
  test::HandClock clock_;
};

TEST_F(KeptSourceTest, GivesNothingBeforeItIsStarted) {
  Write("x\n1\n");
  KeptSource source(clock_, config_);
  EXPECT_EQ(Next(source), base::StatusName(Status::kUnavailable));
  EXPECT_EQ(source.NextDueNs(), 0);
  EXPECT_EQ(source.trouble(), "");
}

TEST_F(KeptSourceTest, AFileThatComesLaterIsRead) {
  KeptSource source(clock_, config_);
  source.Start(0, -1);
  EXPECT_NE(source.trouble().find("there is no file"), std::string_view::npos);
  Write("x\n1\n2\n");
  EXPECT_EQ(Next(source), base::StatusName(Status::kUnavailable)) << "before its time";
  EXPECT_EQ(source.NextDueNs(), clock_.now_ns + KeptSource::kFirstRetryNs);
  clock_.now_ns += KeptSource::kFirstRetryNs;
  EXPECT_EQ(Next(source), "0 x");
  EXPECT_EQ(source.trouble(), "");
  EXPECT_EQ(Next(source), "0 1");
  EXPECT_EQ(Next(source), "1 2");
  EXPECT_EQ(Next(source), base::StatusName(Status::kOutOfRange));
}

TEST_F(KeptSourceTest, WaitsLongerEachTimeAndNeverLongerThanAMinute) {
  KeptSource source(clock_, config_);
  source.Start(0, -1);
  int64_t before_ns = 0;
  for (int i = 0; i < 20; ++i) {
    const int64_t wait_ns = source.NextDueNs() - clock_.now_ns;
    EXPECT_EQ(wait_ns,
              i == 0 ? KeptSource::kFirstRetryNs : std::min(before_ns * 2, KeptSource::kLongestRetryNs));
    before_ns = wait_ns;
    clock_.now_ns += wait_ns;
    EXPECT_EQ(Next(source), base::StatusName(Status::kUnavailable));
  }
  EXPECT_EQ(before_ns, KeptSource::kLongestRetryNs);
}

TEST_F(KeptSourceTest, BeginsAtTheRowThatAModelHasNotSeen) {
  KeptSource source(clock_, config_);
  source.Start(2, -1);
  Write("x\n1\n2\n3\n");
  clock_.now_ns += KeptSource::kFirstRetryNs;
  EXPECT_EQ(Next(source), "0 x");
  EXPECT_EQ(Next(source), "2 3");
}

TEST_F(KeptSourceTest, WhatCannotBeReadIsNotAskedWithoutPause) {
  std::filesystem::create_directory(config_.path);
  KeptSource source(clock_, config_);
  source.Start(0, -1);
  EXPECT_NE(source.trouble().find("cannot read"), std::string_view::npos);
  EXPECT_GT(source.NextDueNs(), clock_.now_ns);
}

TEST_F(KeptSourceTest, ItsLossesAreCounted) {
  Write("x\n1\n" + std::string(40'000, 'z') + "\n2\n");
  KeptSource source(clock_, config_);
  source.Start(0, -1);
  EXPECT_EQ(Next(source), "0 x");
  EXPECT_EQ(Next(source), "0 1");
  EXPECT_EQ(Next(source), base::StatusName(Status::kDataLoss));
  EXPECT_EQ(Next(source), "2 2");
  EXPECT_EQ(source.totals().unreadable, 1U);
}

}  // namespace
}  // namespace dipper::app
