// Options of a spec that change what a model says or learns: intervals, balanced classes, known delays,
// detectors on features.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

using base::Status;

schema::SpecT WithIntervals(schema::SpecT spec, double coverage = 0.9) {
  spec.intervals = std::make_unique<schema::IntervalsT>();
  spec.intervals->coverage = coverage;
  return spec;
}

TEST(Intervals, HoldTheTargetsShareAlsoWhenTheNoiseGrows) {
  for (const uint64_t delay : {uint64_t{0}, uint64_t{30}}) {
    for (const double coverage : {0.9, 0.6}) {
      Fixture model(WithIntervals(MakeSpec("linear", 1, 0), coverage));
      Numbers numbers(1);
      std::vector<double> labels;
      double held = 0, widths = 0;
      uint64_t bounded = 0;
      constexpr uint64_t kSamples = 8000;
      std::vector<Output> outputs;
      for (uint64_t id = 1; id <= kSamples; ++id) {
        const auto x = static_cast<float>(numbers.Normal());
        const double noise = (id > kSamples / 2 ? 3.0 : 1.0) * numbers.Normal();
        labels.push_back(2.0 * static_cast<double>(x) + noise);
        Output out;
        ASSERT_EQ(model->Observe(id, 0, {&x, 1}, &out), Status::kOk);
        ASSERT_TRUE(out.has_interval);
        ASSERT_EQ(out.unbounded, out.low == 0.0 && out.high == 0.0) << id;
        if (id == 1) {
          EXPECT_TRUE(out.unbounded);  // nothing is known yet
        }
        if (!out.unbounded) {
          ASSERT_NEAR(out.value - out.low, out.high - out.value, 1e-6);
          held += out.low <= labels.back() && labels.back() <= out.high ? 1.0 : 0.0;
          widths += out.high - out.low;
          ++bounded;
        }
        if (id > delay) {
          ASSERT_EQ(model->Learn(id - delay, labels[id - delay - 1], 1.0, nullptr), Status::kOk);
        }
      }
      const Metrics metrics = model->ReadMetrics();
      EXPECT_NEAR(metrics.interval_coverage, coverage, 0.02) << delay;
      EXPECT_NEAR(held / static_cast<double>(bounded), coverage, 0.02) << delay;
      EXPECT_NEAR(metrics.interval_width, widths / static_cast<double>(bounded),
                  0.05 * metrics.interval_width);
      EXPECT_LT(metrics.interval_unbounded, 0.02);
      EXPECT_GT(metrics.interval_unbounded, 0.0);
    }
  }
}

TEST(Intervals, SetsOfClassesHoldTheClass) {
  Fixture model(WithIntervals(MakeSpec("linear", 2, 3)));
  Numbers numbers(2);
  double held = 0, sizes = 0;
  Output out;
  for (uint64_t id = 1; id <= 6000; ++id) {
    const float x[2] = {static_cast<float>(numbers.Normal()), static_cast<float>(numbers.Normal())};
    const double place = static_cast<double>(x[0]) + 0.6 * numbers.Normal();
    const double y = place < -0.5 ? 0.0 : (place < 0.5 ? 1.0 : 2.0);
    ASSERT_EQ(model->Observe(id, 0, x, &out), Status::kOk);
    ASSERT_TRUE(out.has_interval);
    ASSERT_EQ(out.class_set >> 3, 0U);
    if (id == 1) {
      EXPECT_TRUE(out.unbounded);
      EXPECT_EQ(out.class_set, 7U);  // every class
    }
    if (id > 1000) {
      held += (out.class_set >> static_cast<uint32_t>(y) & 1U) != 0 ? 1.0 : 0.0;
      for (uint32_t c = 0; c < 3; ++c) sizes += (out.class_set >> c & 1U) != 0 ? 1.0 : 0.0;
    }
    ASSERT_EQ(model->Learn(id, y, 1.0, nullptr), Status::kOk);
  }
  EXPECT_NEAR(held / 5000, 0.9, 0.02);
  EXPECT_LT(sizes / 5000, 2.2);  // it says something
  EXPECT_NEAR(model->ReadMetrics().interval_coverage, 0.9, 0.02);
}

TEST(Intervals, NoneUnlessAsked) {
  Fixture model(MakeSpec("linear", 1, 0));
  const float x = 1.0F;
  Output out;
  for (uint64_t id = 1; id <= 100; ++id) {
    ASSERT_EQ(model->Observe(id, 0, {&x, 1}, &out), Status::kOk);
    ASSERT_EQ(model->Learn(id, 1.0, 1.0, nullptr), Status::kOk);
  }
  EXPECT_FALSE(out.has_interval);
  EXPECT_TRUE(std::isnan(model->ReadMetrics().interval_coverage));
  ASSERT_EQ(model->Predict({&x, 1}, &out), Status::kOk);
  EXPECT_FALSE(out.has_interval);
}

/// One label in 25 is of the rare class, which overlaps the other.
Metrics RunRare(const std::string& learner, bool balanced) {
  schema::SpecT table = MakeSpec(learner, 2, 2);
  table.target->balanced = balanced;
  Fixture model(table);
  Numbers numbers(3);
  for (uint64_t id = 1; id <= 6000; ++id) {
    const bool rare = numbers.Below(25) == 0;
    const float x[2] = {static_cast<float>(numbers.Normal() + (rare ? 1.5 : 0.0)),
                        static_cast<float>(numbers.Normal())};
    EXPECT_EQ(model->Observe(id, 0, x, nullptr), Status::kOk);
    EXPECT_EQ(model->Learn(id, rare ? 1.0 : 0.0, 1.0, nullptr), Status::kOk);
  }
  return model->ReadMetrics();
}

TEST(Balanced, RareClassesAreFound) {
  for (const char* learner : {"linear", "naive_bayes", "knn", "adaptive_forest"}) {
    const Metrics plain = RunRare(learner, false);
    const Metrics balanced = RunRare(learner, true);
    EXPECT_GT(balanced.balanced_accuracy, plain.balanced_accuracy + 0.05) << learner;
    EXPECT_GT(balanced.balanced_accuracy, 0.6) << learner;
    EXPECT_LT(balanced.accuracy, plain.accuracy) << learner;  // what it costs
  }
}

TEST(Balanced, OnlyForClassification) {
  schema::SpecT table = MakeSpec("linear", 1, 0);
  table.target->balanced = true;
  EXPECT_FALSE(Compiled(table).Parse().ok());
}

const LinearConfig& LinearOf(const Spec& spec) {
  return std::get<LinearConfig>(spec.plan().layout.learners[0].config);
}

TEST(LabelDelay, IsWhatTheLearnerIsTold) {
  schema::SpecT table = MakeSpec("linear", 1, 2);
  EXPECT_EQ(LinearOf(Fixture(table).spec()).delay, 0U);
  table.target->label_delay = 48;
  EXPECT_EQ(LinearOf(Fixture(table).spec()).delay, 48U);
  table.target->label_delay = 65537;
  EXPECT_FALSE(Compiled(table).Parse().ok());
  // A forecast knows its delay: the label is `ahead` samples away, and comes before the sample is answered.
  schema::SpecT ahead = MakeSpec("linear", 1, 0);
  AddFeature(&ahead, "kind", {"a", "b"});
  AddStage(&ahead, schema::OneHotT());
  ahead.task = schema::Task::Classification;
  ahead.target->kind = schema::TargetKind::FeatureAhead;
  ahead.target->feature = 1;
  ahead.target->ahead = 10;
  EXPECT_EQ(LinearOf(Fixture(ahead).spec()).delay, 9U);
}

/// Labels that stay as they are for some 60 samples and come 48 late: what the last one was says little about
/// the sample at hand, its inputs say more.
double LateError(uint32_t label_delay) {
  schema::SpecT table = MakeSpec("linear", 2, 2);
  table.target->label_delay = label_delay;
  Fixture model(table);
  Numbers numbers(4);
  constexpr uint64_t kDelay = 48;
  std::vector<double> labels;
  double y = 0;
  for (uint64_t id = 1; id <= 20000; ++id) {
    if (numbers.Below(60) == 0) y = 1.0 - y;
    const float x[2] = {static_cast<float>(y + 0.8 * numbers.Normal()), static_cast<float>(numbers.Normal())};
    labels.push_back(y);
    EXPECT_EQ(model->Observe(id, 0, x, nullptr), Status::kOk);
    if (id > kDelay) {
      EXPECT_EQ(model->Learn(id - kDelay, labels[id - kDelay - 1], 1.0, nullptr), Status::kOk);
    }
  }
  EXPECT_TRUE(model->AllFinite());
  return 1.0 - model->ReadMetrics().accuracy;
}

TEST(LabelDelay, KnowingItKeepsLabelsThatResembleEachOtherFromMisleading) {
  EXPECT_LT(LateError(48), LateError(0));
}

template <typename Params>
void ExpectFeatureNamed(Params params) {
  schema::SpecT table = MakeSpec("linear", 3, 2);
  AddFeature(&table, "kind", {"a", "b", "c"});
  AddStage(&table, schema::OneHotT());
  AddDetector(&table, params, schema::DriftInput::Features);
  Fixture model(table);
  Numbers numbers(5);
  uint64_t alarm = 0, other = 0;
  int32_t named = -1;
  for (uint64_t id = 1; id <= 6000; ++id) {
    float x[4] = {};
    for (int i = 0; i < 3; ++i) x[i] = static_cast<float>(1000.0 * i + numbers.Normal());
    x[3] = static_cast<float>(id < 3000 ? 0 : 2);  // of a category nothing is watched
    if (id >= 4000) x[1] -= 2.0F;
    if (id % 11 == 0) x[2] = std::numeric_limits<float>::quiet_NaN();
    Output out;
    ASSERT_EQ(model->Observe(id, 0, x, &out), Status::kOk);
    ASSERT_EQ(out.drift_feature >= 0, out.drift_warning || out.drift_alarm);
    ASSERT_LT(out.drift_feature, 3);
    if (out.drift_alarm && id < 4000) ++other;
    if (out.drift_alarm && id >= 4000 && alarm == 0) {
      alarm = id;
      named = out.drift_feature;
    }
  }
  EXPECT_EQ(other, 0U);
  EXPECT_EQ(named, 1);
  EXPECT_GE(alarm, 4000U);
  EXPECT_LE(alarm, 4300U);
  EXPECT_GE(model->ReadMetrics().drift_alarms, 1U);
  EXPECT_TRUE(model->AllFinite());
}

TEST(FeatureDrift, NamesTheFeatureThatMoved) {
  ExpectFeatureNamed(schema::AdwinT());
  ExpectFeatureNamed(schema::CusumT());
  ExpectFeatureNamed(schema::HddmAT());
}

TEST(FeatureDrift, ADetectorThatSeesOnlyRisesIsRefused) {
  schema::SpecT table = MakeSpec("linear", 3, 2);
  AddDrift(&table, schema::DriftInput::Features);
  EXPECT_FALSE(Compiled(table).Parse().ok());
}

TEST(FeatureDrift, ResetAtItsAlarmStartsTheLearnerAnew) {
  const auto rows_after = [](schema::DriftAction action) {
    schema::SpecT table = MakeSpec("knn", 1, 2);
    AddDetector(&table, schema::AdwinT(), schema::DriftInput::Features, action);
    Fixture model(table);
    const LearnerLayout& learner = model.spec().plan().layout.learners[0];
    const Knn knn(std::get<KnnConfig>(learner.config),
                  model.memory().subspan(learner.section.offset, learner.section.bytes));
    Numbers numbers(6);
    for (uint64_t id = 1; id <= 1000; ++id) {
      const auto x = static_cast<float>(numbers.Normal() + (id > 500 ? 8.0 : 0.0));
      Output out;
      EXPECT_EQ(model->Observe(id, 0, {&x, 1}, &out), Status::kOk);
      if (out.drift_alarm && id > 500) return knn.rows();
      EXPECT_EQ(model->Learn(id, x > 0.0F ? 1.0 : 0.0, 1.0, nullptr), Status::kOk);
    }
    return ~0U;
  };
  EXPECT_EQ(rows_after(schema::DriftAction::Reset), 0U);
  EXPECT_GT(rows_after(schema::DriftAction::Report), 400U);
  EXPECT_LT(rows_after(schema::DriftAction::Report), 600U);
}

}  // namespace
}  // namespace dipper::learn::testing
