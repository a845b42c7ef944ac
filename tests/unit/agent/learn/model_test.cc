// The model as a whole: door, flags, weights, freezing, anomaly and drift reports, images.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

using base::Status;

const float kInf = std::numeric_limits<float>::infinity();

TEST(Model, CreateAndAttachCheckTheirMemory) {
  Compiled compiled(MakeSpec("linear", 2, 2));
  const Spec spec = compiled.Parse().value();
  const uint64_t bytes = Model::StateBytes(spec).value();
  AlignedBytes memory(bytes + 32);
  EXPECT_EQ(Model::Create(spec, memory.bytes().first(bytes - 16)).status(), Status::kInvalidArgument);
  EXPECT_EQ(Model::Create(spec, memory.bytes().first(bytes + 16)).status(), Status::kInvalidArgument);
  EXPECT_EQ(Model::Create(spec, memory.bytes().subspan(8, bytes)).status(), Status::kInvalidArgument);
  const base::MutableBytes good = memory.bytes().first(bytes);
  EXPECT_EQ(Model::Attach(spec, good).status(), Status::kDataLoss);  // zeros are no image
  ASSERT_TRUE(Model::Create(spec, good).ok());
  ASSERT_TRUE(Model::Attach(spec, good).ok());
  good[12] ^= 1;  // numerics version
  EXPECT_EQ(Model::Attach(spec, good).status(), Status::kUnimplemented);
  good[12] ^= 1;
  Compiled other(MakeSpec("linear", 2, 2));
  schema::SpecT changed = MakeSpec("linear", 2, 2);
  changed.seed = 2;
  Compiled another(changed);
  EXPECT_TRUE(Model::Attach(other.Parse().value(), good).ok());
  EXPECT_EQ(Model::Attach(another.Parse().value(), good).status(), Status::kDataLoss);  // of another spec
}

TEST(Model, DoorCountsMissingAndCutsHuge) {
  schema::SpecT table = MakeSpec("linear", 2, 0);
  AddFeature(&table, "kind", {"a", "b"});
  AddStage(&table, schema::OneHotT());
  Fixture model(table);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float samples[][3] = {
      {nan, kInf, -kInf}, {3e38F, -3e38F, 0.0F}, {1.0F, 1.0F, 1.5F}, {0.0F, 0.0F, 1e20F}};
  uint64_t id = 0;
  for (const auto& x : samples) ASSERT_EQ(model->Observe(++id, 0, x, nullptr), Status::kOk);
  const Metrics metrics = model->ReadMetrics();
  EXPECT_EQ(metrics.missing_values, 3U);
  EXPECT_EQ(metrics.clamped_values, 2U);
  EXPECT_TRUE(model->AllFinite());
  const float two[2] = {1.0F, 2.0F};
  EXPECT_EQ(model->Observe(++id, 0, two, nullptr), Status::kInvalidArgument);
  EXPECT_EQ(model->ReadMetrics().skipped, 1U);
}

TEST(Model, AnswersClassZeroAndIsColdBeforeLabels) {
  schema::SpecT table = MakeSpec("linear", 1, 2);
  table.min_labels = 3;
  Fixture model(table);
  Output out;
  for (uint64_t id = 1; id <= 5; ++id) {
    const float x = 1.0F;
    ASSERT_EQ(model->Observe(id, 77, {&x, 1}, &out), Status::kOk);
    if (id == 1) {
      EXPECT_EQ(out.class_index, 0);
      EXPECT_EQ(out.probabilities.size(), 2U);
    }
    EXPECT_EQ(out.cold, id <= 3) << id;
    ASSERT_EQ(model->Learn(id, 1.0, 1.0, nullptr), Status::kOk);
  }
  EXPECT_EQ(out.class_index, 1);
  EXPECT_EQ(model->last_time_ns(), 77);
  EXPECT_EQ(model->last_id(), 5U);
  EXPECT_EQ(model->Learn(5, 2.0, 1.0, nullptr), Status::kInvalidArgument);  // no such class
  EXPECT_EQ(model->Learn(5, 0.5, 1.0, nullptr), Status::kInvalidArgument);
}

TEST(Model, WeightZeroScoresAndLearnsNothing) {
  Fixture model(MakeSpec("rls", 1, 0));
  const float x = 1.0F;
  ASSERT_EQ(model->Observe(1, 0, {&x, 1}, nullptr), Status::kOk);
  ASSERT_EQ(model->Learn(1, 5.0, 0.0, nullptr), Status::kOk);
  const Metrics metrics = model->ReadMetrics();
  EXPECT_EQ(metrics.labels, 0U);
  EXPECT_EQ(metrics.learned, 0U);
  EXPECT_TRUE(std::isnan(metrics.mae));
  Output out;
  ASSERT_EQ(model->Predict({&x, 1}, &out), Status::kOk);
  EXPECT_EQ(out.value, 0.0);
}

TEST(Model, FrozenScoresButDoesNotLearn) {
  schema::SpecT table = MakeSpec("rls", 1, 0);
  AddStage(&table, schema::StandardScalerT());
  Fixture model(table);
  Numbers numbers(1);
  const auto step = [&](uint64_t id) {
    const auto x = static_cast<float>(numbers.Normal());
    ASSERT_EQ(model->Observe(id, 0, {&x, 1}, nullptr), Status::kOk);
    ASSERT_EQ(model->Learn(id, 2.0 * static_cast<double>(x), 1.0, nullptr), Status::kOk);
  };
  for (uint64_t id = 1; id <= 50; ++id) step(id);
  model->SetFrozen(true);
  const float probe = 0.7F;
  Output before, after;
  ASSERT_EQ(model->Predict({&probe, 1}, &before), Status::kOk);
  for (uint64_t id = 51; id <= 80; ++id) step(id);
  ASSERT_EQ(model->Predict({&probe, 1}, &after), Status::kOk);
  EXPECT_EQ(before.value, after.value);
  EXPECT_EQ(model->ReadMetrics().labels, 80U);
  EXPECT_EQ(model->labels_learned(), 50U);
  // The flag is part of the image.
  EXPECT_TRUE(Model::Attach(model.spec(), model.memory())->frozen());
  model->SetFrozen(false);
  step(81);
  EXPECT_EQ(model->labels_learned(), 51U);
}

TEST(Model, PredictEqualsTheNextObserveAndChangesNothing) {
  Fixture model(MakeForecastSpec("linear", 2, 1));
  Numbers numbers(2);
  for (uint64_t id = 1; id <= 200; ++id) {
    const float x[2] = {static_cast<float>(numbers.Normal()), static_cast<float>(numbers.Normal())};
    if (id == 200) {
      // FeatureAhead learns the label that this sample brings before it answers; compare on a frozen model.
      model->SetFrozen(true);
      const base::Digest before = model->ImageDigest();
      Output peek, out;
      ASSERT_EQ(model->Predict(x, &peek), Status::kOk);
      EXPECT_EQ(model->ImageDigest(), before);
      ASSERT_EQ(model->Observe(id, 0, x, &out), Status::kOk);
      EXPECT_NEAR(peek.value, out.value, 0.5);
      return;
    }
    ASSERT_EQ(model->Observe(id, 0, x, nullptr), Status::kOk);
  }
}

/// A slow wave with noise; from `from` to `to` it jumps wildly.
float Wave(uint64_t i, uint64_t from, uint64_t to, Numbers* numbers) {
  const double calm = 20.0 + std::sin(static_cast<double>(i) * 0.01) + 0.02 * numbers->Normal();
  return static_cast<float>(i >= from && i < to ? calm + 15.0 * numbers->Uniform() : calm);
}

TEST(Model, AnomalyIsRaisedClearedAndDoesNotPoison) {
  Fixture model(MakeForecastSpec("rls", 1, 1));
  Numbers numbers(3);
  Output out;
  uint64_t raised = 0, cleared = 0, events = 0;
  double before = 0, after = 0;
  for (uint64_t i = 1; i <= 4000; ++i) {
    const float x = Wave(i, 2000, 2030, &numbers);
    ASSERT_EQ(model->Observe(i, 0, {&x, 1}, &out), Status::kOk);
    if (out.anomaly_raised) {
      ++events;
      if (raised == 0 && i >= 2000) raised = i;
    }
    if (out.anomaly_cleared && i >= 2030 && cleared == 0) cleared = i;
    if (i >= 1500 && i < 2000) before += out.outcome.loss;
    if (i >= 2150 && i < 2650) after += out.outcome.loss;
  }
  EXPECT_GE(raised, 2000U);
  EXPECT_LE(raised, 2010U);
  EXPECT_GE(cleared, 2030U);
  EXPECT_LE(cleared, 2200U);
  EXPECT_LE(events, 4U);
  EXPECT_LT(after, 2.0 * before);
  EXPECT_EQ(model->ReadMetrics().anomaly_events, events);
}

TEST(Model, PermanentLevelShiftIsLearned) {
  schema::SpecT table = MakeForecastSpec("rls", 2, 1);
  Fixture model(table);
  Numbers numbers(4);
  Output out;
  double last = 0;
  for (uint64_t i = 1; i <= 3000; ++i) {
    const double other = numbers.Normal();
    // f0 follows the other feature's last value; from 1500 on with another sign and a new level.
    static double previous = 0;
    const double level = i < 1500 ? previous : 30.0 - previous;
    previous = other;
    const float x[2] = {static_cast<float>(level), static_cast<float>(other)};
    ASSERT_EQ(model->Observe(i, 0, x, &out), Status::kOk);
    if (i > 2500) last += out.outcome.loss / 500;
  }
  EXPECT_LT(last, 0.2);
}

TEST(Model, DriftAlarms) {
  schema::SpecT table = MakeSpec("linear", 1, 2);
  AddDrift(&table);
  Fixture model(table);
  Numbers numbers(5);
  uint64_t alarm = 0;
  for (uint64_t i = 1; i <= 6000; ++i) {
    const auto x = static_cast<float>(numbers.Normal());
    ASSERT_EQ(model->Observe(i, 0, {&x, 1}, nullptr), Status::kOk);
    // The concept dissolves at 3000: labels become a coin.
    const double y = i < 3000 ? (x > 0.0F ? 1.0 : 0.0) : static_cast<double>(numbers.Below(2));
    Outcome outcome;
    ASSERT_EQ(model->Learn(i, y, 1.0, &outcome), Status::kOk);
    if (outcome.drift_alarm && i >= 3000 && alarm == 0) alarm = i;
  }
  EXPECT_GE(alarm, 3000U);
  EXPECT_LE(alarm, 3600U);
  EXPECT_GE(model->ReadMetrics().drift_alarms, 1U);
}

#ifdef DIPPER_TEST_FAULTS
TEST(Model, NotANumberFaultIsNoticed) {
  schema::SpecT table = MakeSpec("linear", 1, 2);
  schema::FaultT fault;
  fault.kind = schema::FaultKind::NotANumber;
  fault.at_sample = 3;
  AddStage(&table, fault);
  Fixture model(table);
  for (uint64_t id = 1; id <= 4; ++id) {
    const float x = 1.0F;
    EXPECT_TRUE(model->AllFinite());
    ASSERT_EQ(model->Observe(id, 0, {&x, 1}, nullptr), Status::kOk);
  }
  EXPECT_FALSE(model->AllFinite());
}

TEST(ModelDeathTest, AbortFault) {
  schema::SpecT table = MakeSpec("linear", 1, 2);
  schema::FaultT fault;
  fault.kind = schema::FaultKind::Abort;
  AddStage(&table, fault);
  Fixture model(table);
  const float x = 1.0F;
  EXPECT_DEATH((void)model->Observe(1, 0, {&x, 1}, nullptr), "");
}
#endif

}  // namespace
}  // namespace dipper::learn::testing
