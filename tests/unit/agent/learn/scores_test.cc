// A model without a target: anomaly scores of every sample, events, the truth that comes later.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

using base::Status;

/// Two correlated features around a daily wave, and a noisy one; `bad` takes one of them out of its range,
/// later the other one.
void Fill(uint64_t id, bool bad, Numbers* numbers, float* x) {
  const double wave = 10.0 * std::sin(static_cast<double>(id) * 0.01);
  const bool second = id >= 6000;
  x[0] = static_cast<float>(wave - (bad && second ? 25.0 : 0.0) + 0.3 * numbers->Normal());
  x[1] = static_cast<float>(wave + (bad && !second ? 25.0 : 0.0) + 0.3 * numbers->Normal());
  x[2] = static_cast<float>(numbers->Normal());
}

/// Samples 4000 .. 4019 are bad, later 6000 .. 6019.
bool Bad(uint64_t id) { return id >= 4000 && id % 2000 < 20; }

struct Played {
  uint64_t raised = 0, cleared = 0, found = 0;
  Metrics metrics;
};

/// Truth comes 20 samples late.
Played Play(uint64_t samples) {
  Fixture model(MakeSpec("half_space_trees", 3, 0));
  Numbers numbers(1);
  Played run;
  Output out;
  for (uint64_t id = 1; id <= samples; ++id) {
    float x[3];
    Fill(id, Bad(id), &numbers, x);
    EXPECT_EQ(model->Observe(id, 0, x, &out), Status::kOk);
    EXPECT_EQ(out.class_index, -1);
    EXPECT_TRUE(out.anomaly_raw >= 0.0 && out.anomaly_raw <= 1.0);
    EXPECT_TRUE(out.anomaly_score >= 0.0 && out.anomaly_score <= 1.0);
    if (out.anomaly_cleared) ++run.cleared;
    if (out.anomaly_raised) ++run.raised;
    if (out.anomaly_raised && Bad(id)) ++run.found;
    if (id < 500) continue;
    Outcome outcome;
    EXPECT_EQ(model->Learn(id - 20, Bad(id - 20) ? 1.0 : 0.0, 1.0, &outcome), Status::kOk);
    EXPECT_TRUE(outcome.has_score);
    EXPECT_FALSE(outcome.valid);  // nothing was forecast
  }
  run.metrics = model->ReadMetrics();
  return run;
}

TEST(Scores, FindsRareSamplesRaisesAnEventAndScoresTheTruth) {
  const Played run = Play(4500);
  EXPECT_EQ(run.found, 1U);
  EXPECT_LE(run.raised, 2U);
  EXPECT_EQ(run.cleared, run.raised);
  EXPECT_EQ(run.metrics.anomaly_events, run.raised);
  EXPECT_EQ(run.metrics.samples, 4500U);
  EXPECT_EQ(run.metrics.learned, 4500U);
  EXPECT_GT(run.metrics.auc, 0.99);
  EXPECT_GT(run.metrics.pr_auc, 0.9);
  EXPECT_TRUE(std::isnan(run.metrics.mae) && std::isnan(run.metrics.accuracy));
  EXPECT_TRUE(std::isnan(run.metrics.windowed_loss));
  EXPECT_FALSE(run.metrics.cold);
  EXPECT_EQ(run.metrics.pending, 0U);
}

TEST(Scores, ALaterEventIsRaisedToo) { EXPECT_EQ(Play(7000).found, 2U); }

TEST(Scores, ColdAtFirst) {
  Fixture model(MakeSpec("half_space_trees", 3, 0));
  Numbers numbers(2);
  Output out;
  for (uint64_t id = 1; id <= 200; ++id) {
    float x[3];
    Fill(id, false, &numbers, x);
    ASSERT_EQ(model->Observe(id, 0, x, &out), Status::kOk);
    if (id <= 30) {
      EXPECT_TRUE(out.cold && !out.has_score) << id;
      EXPECT_EQ(out.anomaly_raw, 0.0);
    }
  }
  EXPECT_FALSE(out.cold);
  EXPECT_TRUE(out.has_score);
}

TEST(Scores, PredictIsWhatObserveSaysAndFrozenLearnsNothing) {
  Fixture model(MakeSpec("half_space_trees", 3, 0));
  Numbers numbers(3);
  Output peek, out;
  float x[3];
  for (uint64_t id = 1; id <= 1500; ++id) {
    Fill(id, id % 300 == 0, &numbers, x);
    ASSERT_EQ(model->Predict(x, &peek), Status::kOk);
    ASSERT_EQ(model->Observe(id, 0, x, &out), Status::kOk);
    ASSERT_EQ(peek.anomaly_raw, out.anomaly_raw) << id;
  }
  model->SetFrozen(true);
  const Section& section = model.spec().plan().layout.scorer_section;
  const base::ByteView scorer = model.memory().subspan(section.offset, section.bytes);
  const std::vector<uint8_t> before(scorer.begin(), scorer.end());
  double raw = 0;
  for (uint64_t id = 1501; id <= 2500; ++id) {
    ASSERT_EQ(model->Observe(id, 0, x, &out), Status::kOk);
    if (id == 1501) raw = out.anomaly_raw;
    ASSERT_EQ(out.anomaly_raw, raw);
    ASSERT_TRUE(out.has_score);
  }
  EXPECT_EQ(std::memcmp(scorer.data(), before.data(), before.size()), 0);
  EXPECT_EQ(model->ReadMetrics().learned, 1500U);
  EXPECT_EQ(model->ReadMetrics().samples, 2500U);
}

TEST(Scores, MissingValuesAndNewSeriesAreTaken) {
  schema::SpecT table = MakeSpec("half_space_trees", 3, 0);
  AddFeature(&table, "kind", {"a", "b"});
  Fixture model(table);
  Numbers numbers(4);
  Output out;
  for (uint64_t id = 1; id <= 1000; ++id) {
    float x[4];
    Fill(id, false, &numbers, x);
    x[3] = static_cast<float>(numbers.Below(3));
    if (id % 7 == 0) x[numbers.Below(4)] = std::numeric_limits<float>::quiet_NaN();
    ASSERT_EQ(model->Observe(id, 0, x, &out), Status::kOk);
  }
  float x[4];
  Fill(1, false, &numbers, x);
  x[3] = 1.0F;
  EXPECT_EQ(model->Observe(1000, 0, x, &out), Status::kAlreadyExists);
  EXPECT_EQ(model->Observe(1, 0, x, &out), Status::kOk);  // starts anew, knowing what is normal
  EXPECT_TRUE(out.has_score);
  EXPECT_EQ(model->ReadMetrics().series, 1U);
  EXPECT_EQ(model->Learn(999, 1.0, 1.0, nullptr), Status::kNotFound);  // of the old series
  EXPECT_TRUE(model->AllFinite());
}

TEST(Scores, SpecsThatMakeNoSenseAreRefused) {
  const auto parses = [](const schema::SpecT& spec) { return Compiled(spec).Parse().ok(); };
  schema::SpecT spec = MakeSpec("half_space_trees", 3, 0);
  EXPECT_TRUE(parses(spec));
  spec.intervals = std::make_unique<schema::IntervalsT>();
  EXPECT_FALSE(parses(spec));
  spec = MakeSpec("half_space_trees", 3, 0);
  spec.task = schema::Task::Regression;
  EXPECT_FALSE(parses(spec));
  spec = MakeSpec("half_space_trees", 3, 0);
  SetKind(&spec.learner, "linear");
  EXPECT_FALSE(parses(spec));
  spec = MakeSpec("half_space_trees", 3, 0);
  spec.target->kind = schema::TargetKind::FeatureAhead;
  EXPECT_FALSE(parses(spec));
  spec = MakeSpec("half_space_trees", 3, 0);
  spec.budget_bytes = 2048;
  EXPECT_FALSE(parses(spec));
}

}  // namespace
}  // namespace dipper::learn::testing
