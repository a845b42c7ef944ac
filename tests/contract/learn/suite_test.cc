// One contract for every learner and target: finite on hostile input, deterministic, exact bytes, no use of
// memory beyond the image, nothing learned where nothing may be. Labels: labels_test.cc. Scale and order of
// the inputs: invariance_test.cc. Damaged images: image_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <variant>

#include "agent/learn/math/nan.h"
#include "tests/contract/learn/cases.h"

namespace dipper::learn::testing {
namespace {

class Contract : public ::testing::TestWithParam<ModelCase> {};

void CheckOutput(const Output& out, const Spec& spec) {
  if (spec.class_count() > 0) {
    ASSERT_GE(out.class_index, 0);
    ASSERT_LT(out.class_index, static_cast<int32_t>(spec.class_count()));
    ASSERT_EQ(out.probabilities.size(), spec.class_count());
    double sum = 0;
    for (const double p : out.probabilities) {
      ASSERT_TRUE(p >= 0.0 && p <= 1.0 + 1e-9) << p;
      sum += p;
    }
    ASSERT_NEAR(sum, 1.0, 1e-9);
  } else {
    ASSERT_TRUE(IsFinite(out.value));
  }
  if (out.has_interval && !out.unbounded && spec.class_count() == 0) {
    ASSERT_TRUE(out.low <= out.value && out.value <= out.high);
  }
  if (spec.class_count() < 64) {
    ASSERT_EQ(out.class_set >> spec.class_count(), 0U);
  }
  ASSERT_TRUE(IsFinite(out.low) && IsFinite(out.high));
  ASSERT_TRUE(out.anomaly_score >= 0.0 && out.anomaly_score <= 1.0);
  ASSERT_TRUE(out.anomaly_raw >= 0.0 && out.anomaly_raw <= 1.0);
  ASSERT_LT(out.drift_feature, static_cast<int32_t>(spec.feature_count()));
  ASSERT_TRUE(IsFinite(out.outcome.loss) && IsFinite(out.outcome.trivial_loss));
}

TEST_P(Contract, FiniteOnHostileInput) {
  Fixture model(SpecOf(GetParam()));
  const float inf = std::numeric_limits<float>::infinity();
  const float values[] = {std::numeric_limits<float>::quiet_NaN(),
                          -std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::signaling_NaN(),
                          inf,
                          -inf,
                          1e30F,
                          -1e30F,
                          3.4e38F,
                          -3.4e38F,
                          1e-40F,
                          -1e-45F,
                          0.0F,
                          -0.0F,
                          1.0F,
                          2.0F};
  const double targets[] = {0.0, 1.0, 1e30, -1e30, 1e300, 5e-324};
  Numbers numbers(1);
  uint64_t id = 0;
  // Phases: constants, one class only, then everything at once, then constants again.
  for (int i = 0; i < 6000; ++i) {
    const bool calm = i < 1000 || i >= 5000;
    float x[4];
    for (float& value : x) value = calm ? 5.0F : values[numbers.Below(std::size(values))];
    Output out;
    ASSERT_EQ(model->Observe(++id, 0, x, &out), base::Status::kOk);
    CheckOutput(out, model.spec());
    const uint32_t classes = LabelClasses(model.spec());
    double label = classes == 0 ? targets[numbers.Below(6)] : static_cast<double>(numbers.Below(classes));
    if (calm) label = 1.0;
    if (i == 3000) model->StartSeries();
    const double weights[] = {1.0, 0.0, 1e-300, 1e300, 3.0};
    const base::Status status = model->Learn(id, label, weights[numbers.Below(5)], nullptr);
    ASSERT_TRUE(status == base::Status::kOk || status == base::Status::kNotFound);
    if (i % 500 == 0) {
      ASSERT_TRUE(model->AllFinite()) << i;
    }
  }
  EXPECT_TRUE(model->AllFinite());
  EXPECT_TRUE(Model::Attach(model.spec(), model.memory()).ok());
}

TEST_P(Contract, Deterministic) {
  Fixture one(SpecOf(GetParam()));
  Fixture two(SpecOf(GetParam()));
  Stream first(2), second(2);
  RunStream(one.model(), one.spec(), &first, 3000);
  RunStream(two.model(), two.spec(), &second, 3000);
  EXPECT_EQ(one->ImageDigest(), two->ImageDigest());
}

TEST_P(Contract, CopiedImageContinuesIdentically) {
  Fixture model(SpecOf(GetParam()));
  Stream stream(3);
  RunStream(model.model(), model.spec(), &stream, 2500, 5);
  AlignedBytes copy(model.memory().size());
  std::memcpy(copy.bytes().data(), model.memory().data(), copy.bytes().size());
  auto attached = Model::Attach(model.spec(), copy.bytes());
  ASSERT_TRUE(attached.ok());
  Stream other = stream;
  RunStream(model.model(), model.spec(), &stream, 2500, 5);
  RunStream(attached.value(), model.spec(), &other, 2500, 5);
  EXPECT_EQ(model->ImageDigest(), attached->ImageDigest());
}

TEST_P(Contract, ExactBytesAndNothingBeyondThem) {
  Compiled compiled(SpecOf(GetParam()));
  const Spec spec = compiled.Parse().value();
  const uint64_t bytes = Model::StateBytes(spec).value();
  EXPECT_EQ(bytes % 16, 0U);
  for (uint64_t wrong : {bytes - 16, bytes + 16, uint64_t{0}}) {
    AlignedBytes memory(wrong);
    EXPECT_FALSE(Model::Create(spec, memory.bytes()).ok());
  }
  // Guards on both sides stay as they are, and what was in the memory before does not matter.
  AlignedBytes guarded(bytes + 512);
  std::memset(guarded.bytes().data(), 0xA5, guarded.bytes().size());
  const base::MutableBytes middle = guarded.bytes().subspan(256, bytes);
  auto model = Model::Create(spec, middle);
  ASSERT_TRUE(model.ok());
  Fixture reference(SpecOf(GetParam()));
  Stream stream(4), same(4);
  RunStream(model.value(), spec, &stream, 1500);
  RunStream(reference.model(), spec, &same, 1500);
  EXPECT_EQ(model->ImageDigest(), reference->ImageDigest());
  for (uint64_t i = 0; i < 256; ++i) {
    ASSERT_EQ(guarded.bytes()[i], 0xA5);
    ASSERT_EQ(guarded.bytes()[256 + bytes + i], 0xA5);
  }
}

TEST_P(Contract, PredictIsConst) {
  Fixture model(SpecOf(GetParam()));
  Stream stream(5);
  RunStream(model.model(), model.spec(), &stream, 500);
  const base::Digest before = model->ImageDigest();
  for (int i = 0; i < 50; ++i) {
    Output out;
    const Stream::Sample sample = stream.Next(2);
    ASSERT_EQ(model->Predict(sample.x, &out), base::Status::kOk);
    CheckOutput(out, model.spec());
  }
  EXPECT_EQ(model->ImageDigest(), before);
}

/// What a learner, a race or a scorer has learned: they are the last sections of an image.
base::ByteView LearnedBytes(Fixture& model) {
  const Layout& layout = model.spec().plan().layout;
  uint64_t first = layout.unsupervised ? layout.scorer_section.offset : layout.learners[0].section.offset;
  if (layout.race_enabled) first = layout.race_section.offset;
  return model.memory().subspan(first);
}

std::vector<uint8_t> CopyOf(base::ByteView bytes) { return {bytes.begin(), bytes.end()}; }

bool SameBytes(base::ByteView now, const std::vector<uint8_t>& before) {
  return now.size() == before.size() && std::memcmp(now.data(), before.data(), before.size()) == 0;
}

TEST_P(Contract, WeightZeroLearnsNothing) {
  Fixture model(SpecOf(GetParam()));
  Stream stream(9);
  RunStream(model.model(), model.spec(), &stream, 600, 3);
  constexpr uint64_t kWaiting = 40;  // fewer than wait for their labels by default
  const uint32_t classes = LabelClasses(model.spec());
  const uint64_t first = model->last_id() + 1;
  for (uint64_t i = 0; i < kWaiting; ++i) {
    ASSERT_EQ(model->Observe(first + i, 0, stream.Next(classes).x, nullptr), base::Status::kOk);
  }
  // Everything behind the total figures, which know the last label: windows, detectors, intervals, learners.
  const Section& totals = model.spec().plan().layout.metrics_section;
  const base::ByteView rest = model.memory().subspan(totals.offset + totals.bytes);
  const std::vector<uint8_t> before = CopyOf(rest);
  const Metrics metrics = model->ReadMetrics();
  uint64_t taken = 0;
  for (uint64_t i = 0; i < kWaiting; ++i) {
    const base::Status status = model->Learn(first + i, 1.0, 0.0, nullptr);
    ASSERT_TRUE(status == base::Status::kOk || status == base::Status::kNotFound);
    if (base::Ok(status)) ++taken;
  }
  if (GetParam().labelled()) {
    EXPECT_EQ(taken, kWaiting);
  }
  EXPECT_TRUE(SameBytes(rest, before));
  const Metrics after = model->ReadMetrics();
  EXPECT_EQ(after.learned, metrics.learned);
  const auto same = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  EXPECT_TRUE(same(after.accuracy, metrics.accuracy) && same(after.log_loss, metrics.log_loss) &&
              same(after.brier, metrics.brier) && same(after.calibration_error, metrics.calibration_error) &&
              same(after.mae, metrics.mae) && same(after.r2, metrics.r2) && same(after.auc, metrics.auc) &&
              same(after.faded_loss, metrics.faded_loss));
}

TEST_P(Contract, FrozenChangesNoLearnerByte) {
  Fixture model(SpecOf(GetParam()));
  Stream stream(10);
  RunStream(model.model(), model.spec(), &stream, 800, 3);
  const uint64_t learned = model->labels_learned();
  EXPECT_GT(learned, 0U);
  const Layout& layout = model.spec().plan().layout;
  std::vector<base::ByteView> kept = {LearnedBytes(model)};
  for (uint32_t i = 0; i < layout.stage_count; ++i) {
    const StageLayout& stage = layout.stages[i];
    if (std::holds_alternative<StandardScalerConfig>(stage.config) ||
        std::holds_alternative<RobustClipConfig>(stage.config)) {
      kept.push_back(model.memory().subspan(stage.section.offset, stage.section.bytes));
    }
  }
  std::vector<std::vector<uint8_t>> before;
  for (const base::ByteView bytes : kept) before.push_back(CopyOf(bytes));
  model->SetFrozen(true);
  RunStream(model.model(), model.spec(), &stream, 800, 3);
  for (size_t i = 0; i < kept.size(); ++i) EXPECT_TRUE(SameBytes(kept[i], before[i])) << i;
  EXPECT_EQ(model->labels_learned(), learned);
  // It goes on where it stood.
  model->SetFrozen(false);
  RunStream(model.model(), model.spec(), &stream, 100, 3);
  EXPECT_GT(model->labels_learned(), learned);
  EXPECT_FALSE(SameBytes(kept[0], before[0]));
}

TEST_P(Contract, RefusedCallsChangeOnlyTheirCounter) {
  Fixture model(SpecOf(GetParam()));
  Stream stream(11);
  RunStream(model.model(), model.spec(), &stream, 300, 3);
  const base::ByteView rest = model.memory().subspan(sizeof(ImageHeader));
  const std::vector<uint8_t> before = CopyOf(rest);
  const uint64_t last = model->last_id();
  const float x[5] = {};
  EXPECT_EQ(model->Observe(last + 1, 0, {x, 3}, nullptr), base::Status::kInvalidArgument);
  EXPECT_EQ(model->Observe(last + 1, 0, {x, 5}, nullptr), base::Status::kInvalidArgument);
  EXPECT_EQ(model->Observe(last, 0, {x, 4}, nullptr), base::Status::kAlreadyExists);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  for (const double label : {nan, inf, -inf})
    EXPECT_EQ(model->Learn(last, label, 1.0, nullptr), base::Status::kInvalidArgument);
  for (const double weight : {nan, inf, -1.0})
    EXPECT_EQ(model->Learn(last, 1.0, weight, nullptr), base::Status::kInvalidArgument);
  if (LabelClasses(model.spec()) > 0) {
    for (const double label : {-1.0, 0.5, 64.0, 1e300})
      EXPECT_EQ(model->Learn(last, label, 1.0, nullptr), base::Status::kInvalidArgument);
  }
  Output out;
  EXPECT_EQ(model->Predict({x, 3}, &out), base::Status::kInvalidArgument);
  EXPECT_TRUE(SameBytes(rest, before));
  const Metrics metrics = model->ReadMetrics();
  EXPECT_EQ(metrics.skipped, 3U);
  EXPECT_EQ(metrics.rejected_labels, LabelClasses(model.spec()) > 0 ? 10U : 6U);
}

INSTANTIATE_TEST_SUITE_P(Learners, Contract, ::testing::ValuesIn(AllCases()),
                         [](const auto& param) { return param.param.name(); });

}  // namespace
}  // namespace dipper::learn::testing
