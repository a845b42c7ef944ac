// agent/runtime/drift_filter: a zone is told once, a flood is cut and counted.
#include "agent/runtime/drift_filter.h"

#include <gtest/gtest.h>

namespace dipper::runtime {
namespace {

using Answer = DriftFilter::Answer;
constexpr auto kModel = DriftSource::kModel;
constexpr auto kFeatures = DriftSource::kFeatures;

TEST(DriftFilter, AZoneIsToldWhenItIsEntered) {
  DriftFilter filter;
  uint64_t left_out = 0;
  EXPECT_EQ(filter.Take(kModel, true, false, -1, 0, &left_out), Answer::kWarning);
  EXPECT_EQ(filter.Take(kModel, true, false, -1, 1, &left_out), Answer::kNothing);
  // Features have zones of their own, each feature one.
  EXPECT_EQ(filter.Take(kFeatures, true, false, 3, 2, &left_out), Answer::kWarning);
  EXPECT_EQ(filter.Take(kFeatures, true, false, 3, 3, &left_out), Answer::kNothing);
  EXPECT_EQ(filter.Take(kFeatures, true, false, 1, 4, &left_out), Answer::kWarning);
  EXPECT_EQ(filter.Take(kModel, false, false, -1, 5, &left_out), Answer::kNothing);
  EXPECT_EQ(filter.Take(kModel, true, false, -1, 6, &left_out), Answer::kWarning);
  // An alarm goes before a warning of the same sample, and ends the zone.
  EXPECT_EQ(filter.Take(kModel, true, true, -1, 7, &left_out), Answer::kAlarm);
  EXPECT_EQ(filter.Take(kModel, true, false, -1, 8, &left_out), Answer::kWarning);
  filter.OnModelsChanged();
  EXPECT_EQ(filter.Take(kModel, true, false, -1, 9, &left_out), Answer::kWarning);
  EXPECT_EQ(left_out, 0U);
}

TEST(DriftFilter, AFloodIsCutAndCounted) {
  DriftFilter filter;
  uint64_t left_out = 99;
  const auto alarm_at = [&](int64_t now_ns) {
    return filter.Take(kFeatures, false, true, 0, now_ns, &left_out) == Answer::kAlarm;
  };
  uint32_t told = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    if (alarm_at(i)) ++told;
  }
  EXPECT_EQ(told, DriftFilter::kBurst);
  EXPECT_EQ(left_out, 0U);
  // Warnings have an allowance of their own.
  EXPECT_EQ(filter.Take(kFeatures, true, false, 0, 1000, &left_out), Answer::kWarning);
  EXPECT_TRUE(alarm_at(DriftFilter::kRefillNs + 1));
  EXPECT_EQ(left_out, 1000U - DriftFilter::kBurst);
  EXPECT_FALSE(alarm_at(DriftFilter::kRefillNs + 2));
  // After a quiet time the whole burst is there again, and no more.
  told = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    if (alarm_at(100 * DriftFilter::kRefillNs + i)) ++told;
  }
  EXPECT_EQ(told, DriftFilter::kBurst);
}

}  // namespace
}  // namespace dipper::runtime
