// The ring of samples that wait for labels: prompt, late, missing, unmatched, overflowing, out of order.
#include <gtest/gtest.h>

#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

using base::Status;

schema::SpecT WithRing(uint32_t capacity, uint64_t max_age = 0) {
  schema::SpecT spec = MakeSpec("linear", 1, 0);
  spec.pending = std::make_unique<schema::PendingT>();
  spec.pending->capacity = capacity;
  spec.pending->max_age_samples = max_age;
  return spec;
}

Status Observe(Fixture& model, uint64_t id, float x = 1.0F) {
  return model->Observe(id, 0, std::span<const float>(&x, 1), nullptr);
}

TEST(Pending, PromptAndLate) {
  Fixture model(WithRing(8));
  for (uint64_t id = 1; id <= 20; ++id) {
    ASSERT_EQ(Observe(model, id), Status::kOk);
    if (id <= 5) continue;
    Outcome outcome;
    ASSERT_EQ(model->Learn(id - 5, 1.0, 1.0, &outcome), Status::kOk);
    EXPECT_TRUE(outcome.valid);
    EXPECT_EQ(outcome.id, id - 5);
  }
  const Metrics metrics = model->ReadMetrics();
  EXPECT_EQ(metrics.labels, 15U);
  EXPECT_EQ(metrics.learned, 15U);
  EXPECT_EQ(metrics.pending, 5U);
  EXPECT_EQ(metrics.pending_age_samples, 5U);
  EXPECT_EQ(metrics.lost_samples, 0U);
}

TEST(Pending, ScoresTheStoredAnswer) {
  Fixture model(WithRing(8));
  Output out;
  const float x = 1.0F;
  for (uint64_t id = 1; id <= 3; ++id) ASSERT_EQ(model->Observe(id, 0, {&x, 1}, &out), Status::kOk);
  EXPECT_EQ(out.value, 0.0);
  ASSERT_EQ(model->Learn(1, 10.0, 1.0, nullptr), Status::kOk);
  ASSERT_EQ(model->Learn(2, 10.0, 1.0, nullptr), Status::kOk);
  Outcome outcome;
  ASSERT_EQ(model->Learn(3, 10.0, 1.0, &outcome), Status::kOk);
  EXPECT_EQ(outcome.predicted, 0.0);  // what was said, not what would be said now
  EXPECT_EQ(outcome.loss, 10.0);
  EXPECT_EQ(outcome.trivial_loss, 10.0);  // the rival knew no label either
  ASSERT_EQ(model->Predict({&x, 1}, &out), Status::kOk);
  EXPECT_NEAR(out.value, 10.0, 1.0);
}

TEST(Pending, OverflowDropsTheOldest) {
  Fixture model(WithRing(4));
  for (uint64_t id = 1; id <= 10; ++id) ASSERT_EQ(Observe(model, id), Status::kOk);
  EXPECT_EQ(model->ReadMetrics().lost_samples, 6U);
  EXPECT_EQ(model->Learn(6, 1.0, 1.0, nullptr), Status::kNotFound);
  EXPECT_EQ(model->Learn(7, 1.0, 1.0, nullptr), Status::kOk);
  EXPECT_EQ(model->Learn(10, 1.0, 1.0, nullptr), Status::kOk);
  EXPECT_EQ(model->Learn(10, 1.0, 1.0, nullptr), Status::kNotFound);  // only once
  EXPECT_EQ(model->Learn(8, 1.0, 1.0, nullptr), Status::kOk);         // out of order
  EXPECT_EQ(model->Learn(9, 1.0, 1.0, nullptr), Status::kOk);
  const Metrics metrics = model->ReadMetrics();
  EXPECT_EQ(metrics.unmatched_labels, 2U);
  EXPECT_EQ(metrics.pending, 0U);
  EXPECT_TRUE(model->AllFinite());
}

TEST(Pending, AgeDropsTheOldest) {
  Fixture model(WithRing(16, 3));
  for (uint64_t id = 1; id <= 10; ++id) ASSERT_EQ(Observe(model, id), Status::kOk);
  EXPECT_EQ(model->Learn(6, 1.0, 1.0, nullptr), Status::kNotFound);
  EXPECT_EQ(model->Learn(7, 1.0, 1.0, nullptr), Status::kOk);
}

TEST(Pending, IdsWithGaps) {
  Fixture model(WithRing(8));
  const uint64_t ids[] = {3, 4, 9, 100, 1000, ~uint64_t{0}};
  for (const uint64_t id : ids) ASSERT_EQ(Observe(model, id), Status::kOk);
  for (const uint64_t id : {5U, 8U, 99U, 101U, 1U})
    EXPECT_EQ(model->Learn(id, 1.0, 1.0, nullptr), Status::kNotFound);
  for (const uint64_t id : {100U, 3U, 9U, 1000U, 4U})
    EXPECT_EQ(model->Learn(id, 1.0, 1.0, nullptr), Status::kOk) << id;
  EXPECT_EQ(model->Learn(~uint64_t{0}, 1.0, 1.0, nullptr), Status::kOk);
}

TEST(Pending, RefusedLabelsKeepTheSampleWaiting) {
  Fixture model(WithRing(8));
  ASSERT_EQ(Observe(model, 1), Status::kOk);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(model->Learn(1, nan, 1.0, nullptr), Status::kInvalidArgument);
  EXPECT_EQ(model->Learn(1, inf, 1.0, nullptr), Status::kInvalidArgument);
  EXPECT_EQ(model->Learn(1, 1.0, -1.0, nullptr), Status::kInvalidArgument);
  EXPECT_EQ(model->Learn(1, 1.0, nan, nullptr), Status::kInvalidArgument);
  EXPECT_EQ(model->ReadMetrics().rejected_labels, 4U);
  EXPECT_EQ(model->Learn(1, 1.0, 1.0, nullptr), Status::kOk);
}

TEST(Pending, RepeatedIdIsRefusedAndALowerOneStartsANewSeries) {
  Fixture model(WithRing(8));
  ASSERT_EQ(Observe(model, 5), Status::kOk);
  ASSERT_EQ(Observe(model, 6), Status::kOk);
  EXPECT_EQ(Observe(model, 6), Status::kAlreadyExists);
  EXPECT_EQ(Observe(model, 5), Status::kAlreadyExists);
  EXPECT_EQ(model->samples(), 2U);
  EXPECT_EQ(model->ReadMetrics().skipped, 2U);
  EXPECT_EQ(Observe(model, 1), Status::kOk);
  const Metrics metrics = model->ReadMetrics();
  EXPECT_EQ(metrics.series, 1U);
  EXPECT_EQ(metrics.lost_samples, 2U);
  EXPECT_EQ(metrics.pending, 1U);
  EXPECT_EQ(model->Learn(5, 1.0, 1.0, nullptr), Status::kNotFound);
}

TEST(Pending, FeatureAheadLabelsComeByThemselves) {
  schema::SpecT spec = MakeSpec("rls", 1, 0);
  spec.target->kind = schema::TargetKind::FeatureAhead;
  spec.target->ahead = 3;
  Fixture model(spec);
  Output out;
  for (uint64_t id = 1; id <= 10; ++id) {
    // The value of sample 7 is missing: sample 4 gets no label.
    const float x = id == 7 ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(id);
    ASSERT_EQ(model->Observe(id, 0, {&x, 1}, &out), Status::kOk);
    EXPECT_EQ(out.outcome.valid, id > 3 && id != 7);
    if (!out.outcome.valid) continue;
    EXPECT_EQ(out.outcome.id, id - 3);
    EXPECT_EQ(out.outcome.label, static_cast<double>(id));
    // The trivial rival answers the last value known then: 6 stood in for 7.
    EXPECT_EQ(out.outcome.trivial_loss, id == 10 ? 4.0 : 3.0);
  }
  const Metrics metrics = model->ReadMetrics();
  EXPECT_EQ(metrics.labels, 6U);
  EXPECT_EQ(metrics.lost_samples, 1U);
  EXPECT_EQ(metrics.pending, 3U);
}

TEST(Pending, TruthAboutAnomaliesIsScoredNotLearned) {
  schema::SpecT spec = MakeForecastSpec("rls", 1, 1);
  Fixture model(spec);
  Numbers numbers(3);
  for (uint64_t id = 1; id <= 600; ++id) {
    const bool strange = id % 200 >= 190;
    const auto x =
        static_cast<float>(numbers.Normal() + (strange ? 60.0 * static_cast<double>(id % 2) : 0.0));
    ASSERT_EQ(model->Observe(id, 0, {&x, 1}, nullptr), Status::kOk);
    const uint64_t learned = model->labels_learned();
    if (id > 10) {
      EXPECT_EQ(model->Learn(id, strange ? 1.0 : 0.0, 1.0, nullptr), Status::kOk) << id;
    }
    EXPECT_EQ(model->labels_learned(), learned);
  }
  EXPECT_EQ(model->Learn(600, 1.0, 1.0, nullptr), Status::kNotFound);
  EXPECT_EQ(model->Learn(600, 2.0, 1.0, nullptr), Status::kInvalidArgument);
  EXPECT_GT(model->ReadMetrics().auc, 0.8);
}

}  // namespace
}  // namespace dipper::learn::testing
