// What a batch leaves out, and what brings everything again.
#include "agent/runtime/metric_filter.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <random>
#include <vector>

#include "agent/base/time.h"

namespace dipper::runtime {
namespace {

using telemetry::MakeMetric;
using telemetry::MetricId;
using telemetry::MetricValue;

constexpr int64_t kRepeat = 600 * base::kSecondNs;

class MetricFilterTest : public ::testing::Test {
 protected:
  /// Ids of what is sent after `seconds`; `*whole` says whether it is a whole batch.
  std::vector<uint16_t> Send(std::vector<MetricValue> readings, int64_t seconds = 1, bool* whole = nullptr) {
    now_ns_ += seconds * base::kSecondNs;
    const auto choice = filter_.Choose(readings, now_ns_, kRepeat, &buffer_);
    if (whole != nullptr) *whole = !choice.partial;
    std::vector<uint16_t> ids;
    for (const MetricValue& value : choice.values) ids.push_back(value.id());
    if (!choice.values.empty()) filter_.Sent(choice, now_ns_);
    return ids;
  }
  static uint16_t Id(MetricId id) { return static_cast<uint16_t>(id); }

  MetricFilter filter_;
  MetricFilter::Buffer buffer_;
  int64_t now_ns_ = 0;
};

TEST_F(MetricFilterTest, OnlyWhatChangedIsSentAfterTheFirst) {
  const MetricValue labels = MakeMetric(MetricId::kLabelsTotal, 5, 0);
  bool whole = false;
  EXPECT_EQ(Send({labels, MakeMetric(MetricId::kSamplesTotal, 10, 0)}, 1, &whole).size(), 2u);
  EXPECT_TRUE(whole);
  EXPECT_EQ(Send({labels, MakeMetric(MetricId::kSamplesTotal, 11, 1)}, 1, &whole),
            std::vector<uint16_t>{Id(MetricId::kSamplesTotal)});
  EXPECT_FALSE(whole);
  EXPECT_TRUE(Send({labels, MakeMetric(MetricId::kSamplesTotal, 11, 2)}).empty());
}

TEST_F(MetricFilterTest, EverythingComesAgainInTimeAndWhenAsked) {
  const MetricValue labels = MakeMetric(MetricId::kLabelsTotal, 5, 0);
  bool whole = false;
  Send({labels});
  EXPECT_TRUE(Send({labels}, 599).empty());
  EXPECT_EQ(Send({labels}, 1, &whole).size(), 1u);
  EXPECT_TRUE(whole);
  EXPECT_TRUE(Send({labels}, 599).empty()) << "the time begins anew";
  filter_.Renew();
  EXPECT_EQ(Send({labels}, 0, &whole).size(), 1u);
  EXPECT_TRUE(whole);
}

TEST_F(MetricFilterTest, WithoutARepeatEveryBatchIsWhole) {
  const std::vector<MetricValue> readings = {MakeMetric(MetricId::kLabelsTotal, 5, 0)};
  for (int i = 0; i < 3; ++i) {
    const auto choice = filter_.Choose(readings, i, 0, &buffer_);
    EXPECT_EQ(choice.values.size(), 1u);
    EXPECT_FALSE(choice.partial);
    filter_.Sent(choice, i);
  }
}

TEST_F(MetricFilterTest, WhatWasNotSentIsNews) {
  Send({MakeMetric(MetricId::kLabelsTotal, 5, 0)});
  const std::vector<MetricValue> next = {MakeMetric(MetricId::kLabelsTotal, 6, 1)};
  EXPECT_EQ(filter_.Choose(next, now_ns_, kRepeat, &buffer_).values.size(), 1u);
  EXPECT_EQ(filter_.Choose(next, now_ns_, kRepeat, &buffer_).values.size(), 1u) << "Sent was not called";
}

TEST_F(MetricFilterTest, MeasuredValuesMayTrembleByAThousandth) {
  EXPECT_EQ(Send({MakeMetric(MetricId::kMae, 2.0, 0)}).size(), 1u);
  EXPECT_TRUE(Send({MakeMetric(MetricId::kMae, 2.0019, 0)}).empty());
  EXPECT_EQ(Send({MakeMetric(MetricId::kMae, 2.0021, 0)}).size(), 1u);
  EXPECT_TRUE(Send({MakeMetric(MetricId::kMae, 2.0021, 0)}).empty());
  // Small steps do not add up unseen: the distance counts from what was sent.
  size_t sent = 0;
  for (int i = 1; i <= 100; ++i) sent += Send({MakeMetric(MetricId::kMae, 2.0021 + i * 0.001, 0)}).size();
  EXPECT_GT(sent, 30u);
  EXPECT_LT(sent, 70u);
  EXPECT_EQ(Send({MakeMetric(MetricId::kAnomalyScore, 0, 0)}).size(), 1u);
  EXPECT_EQ(Send({MakeMetric(MetricId::kAnomalyScore, 1e-9, 0)}).size(), 1u) << "from zero all is news";
}

TEST_F(MetricFilterTest, CountersAndStatesAreExact) {
  EXPECT_EQ(Send({MakeMetric(MetricId::kSamplesTotal, 1e9, 0)}).size(), 1u);
  EXPECT_EQ(Send({MakeMetric(MetricId::kSamplesTotal, 1e9 + 1, 0)}).size(), 1u);
  EXPECT_EQ(Send({MakeMetric(MetricId::kLastSampleId, 1e9, 0)}).size(), 1u);
  EXPECT_EQ(Send({MakeMetric(MetricId::kLastSampleId, 1e9 + 1, 0)}).size(), 1u);
  EXPECT_EQ(Send({MetricValue(0, 1e9, 60000, 0)}).size(), 1u);
  EXPECT_EQ(Send({MetricValue(0, 1e9 + 1, 60000, 0)}).size(), 1u) << "an id without a row";
}

TEST_F(MetricFilterTest, UnknownIsAValueToo) {
  const double unknown = std::numeric_limits<double>::quiet_NaN();
  const double infinite = std::numeric_limits<double>::infinity();
  const auto send = [&](double value) { return Send({MakeMetric(MetricId::kMae, value, 0)}).size(); };
  EXPECT_EQ(send(unknown), 1u);
  EXPECT_EQ(send(unknown), 0u);
  EXPECT_EQ(send(1), 1u);
  EXPECT_EQ(send(unknown), 1u);
  EXPECT_EQ(send(infinite), 1u);
  EXPECT_EQ(send(infinite), 0u);
  EXPECT_EQ(send(1), 1u);
  EXPECT_EQ(send(infinite), 1u);
}

TEST_F(MetricFilterTest, FeaturesAreToldApartByIndex) {
  const auto readings = [](double second) {
    return std::vector<MetricValue>{MakeMetric(MetricId::kDriftFeatureStatistic, 1, 0, 0),
                                    MakeMetric(MetricId::kDriftFeatureStatistic, second, 0, 1)};
  };
  EXPECT_EQ(Send(readings(1)).size(), 2u);
  EXPECT_EQ(Send(readings(2)).size(), 1u);
  EXPECT_TRUE(Send(readings(2)).empty());
}

// Whatever comes and goes: a reader who keeps the newest of each has, at any time, every value to a
// thousandth.
TEST_F(MetricFilterTest, AReaderConverges) {
  std::mt19937 random(7);
  std::map<std::pair<uint16_t, uint16_t>, double> reader, device;
  std::uniform_int_distribution<int> small(0, 9);
  for (int turn = 0; turn < 2000; ++turn) {
    std::vector<MetricValue> readings;
    for (const telemetry::MetricRow& row : telemetry::MetricCatalogue()) {
      const std::pair<uint16_t, uint16_t> key{static_cast<uint16_t>(row.id), 0};
      if (small(random) == 0) device[key] = device[key] * (1 + small(random) * 1e-4) + small(random) / 7;
      if (small(random) < 9 && device.contains(key))
        readings.push_back(MetricValue(turn, device[key], key.first, 0));
    }
    now_ns_ += 10 * base::kSecondNs;
    if (small(random) == 0 && small(random) == 0) filter_.Renew();
    const auto choice = filter_.Choose(readings, now_ns_, kRepeat, &buffer_);
    if (small(random) == 0) continue;  // not sent
    filter_.Sent(choice, now_ns_);
    for (const MetricValue& value : choice.values) reader[{value.id(), value.index()}] = value.value();
    for (const MetricValue& value : readings) {
      const double had = reader.at({value.id(), value.index()});
      ASSERT_LE(std::abs(had - value.value()), std::abs(had) * 0.001) << turn << " " << value.id();
    }
  }
}

TEST_F(MetricFilterTest, MoreKindsThanABatchHoldsStartAnew) {
  for (uint16_t first = 0; first < 400; first = static_cast<uint16_t>(first + 100)) {
    std::vector<MetricValue> readings;
    for (uint16_t i = 0; i < 100; ++i)
      readings.push_back(MetricValue(0, 1, static_cast<uint16_t>(1000 + first + i), 0));
    EXPECT_EQ(Send(readings).size(), 100u);
  }
}

}  // namespace
}  // namespace dipper::runtime
