// One contract for every learner and target: finite on hostile input, deterministic, exact bytes, no use of
// memory beyond the image, indifferent to the scale of its inputs.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

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
  ASSERT_TRUE(out.anomaly_score >= 0.0 && out.anomaly_score <= 1.0);
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
  std::memcpy(copy.span().data(), model.memory().data(), copy.span().size());
  auto attached = Model::Attach(model.spec(), copy.span());
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
    EXPECT_FALSE(Model::Create(spec, memory.span()).ok());
  }
  // Guards on both sides stay as they are, and what was in the memory before does not matter.
  AlignedBytes guarded(bytes + 512);
  std::memset(guarded.span().data(), 0xA5, guarded.span().size());
  const base::MutableBytes middle = guarded.span().subspan(256, bytes);
  auto model = Model::Create(spec, middle);
  ASSERT_TRUE(model.ok());
  Fixture reference(SpecOf(GetParam()));
  Stream stream(4), same(4);
  RunStream(model.value(), spec, &stream, 1500);
  RunStream(reference.model(), spec, &same, 1500);
  EXPECT_EQ(model->ImageDigest(), reference->ImageDigest());
  for (uint64_t i = 0; i < 256; ++i) {
    ASSERT_EQ(guarded.span()[i], 0xA5);
    ASSERT_EQ(guarded.span()[256 + bytes + i], 0xA5);
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

double FadedLoss(const ModelCase& test, double scale) {
  Fixture model(SpecOf(test));
  Stream stream(6, scale);
  RunStream(model.model(), model.spec(), &stream, 2900);
  EXPECT_TRUE(model->AllFinite());
  const Metrics metrics = model->ReadMetrics();
  return metrics.faded_loss / metrics.faded_trivial_loss;
}

TEST_P(Contract, LearnsAtAnyScale) {
  const double plain = FadedLoss(GetParam(), 1.0);
  const bool ahead = GetParam().target.find("ahead") != std::string::npos || GetParam().target == "anomaly";
  EXPECT_LT(plain, ahead ? 1.2 : 0.8);  // a random walk leaves a forecast little to win
  for (const double scale : {1e6, 1e-6})
    EXPECT_NEAR(FadedLoss(GetParam(), scale), plain, 0.15 * plain) << scale;
}

TEST_P(Contract, LateLabelsDoNotDiverge) {
  Fixture model(SpecOf(GetParam()));
  Stream stream(7);
  RunStream(model.model(), model.spec(), &stream, 2900, 40);
  const Metrics metrics = model->ReadMetrics();
  EXPECT_LT(metrics.faded_loss, 1.15 * metrics.faded_trivial_loss);
}

class LabelContract : public ::testing::TestWithParam<ModelCase> {};

TEST_P(LabelContract, OneClassOnlyThenAnUnseenOne) {
  Fixture model(SpecOf(GetParam()));
  const uint32_t classes = model.spec().class_count();
  Numbers numbers(8);
  Output out;
  for (uint64_t id = 1; id <= 1200; ++id) {
    const bool second = id > 600;
    const float x[4] = {static_cast<float>(numbers.Normal() + (second ? 4.0 : 0.0)), 0.0F, 0.0F, 0.0F};
    ASSERT_EQ(model->Observe(id, 0, x, &out), base::Status::kOk);
    if (id == 600) {
      EXPECT_EQ(out.class_index, 0);
    }
    ASSERT_EQ(model->Learn(id, second ? classes - 1.0 : 0.0, 1.0, nullptr), base::Status::kOk);
  }
  EXPECT_EQ(out.class_index, static_cast<int32_t>(classes) - 1);
  EXPECT_TRUE(model->AllFinite());
}

std::vector<ModelCase> LabelledClasses() {
  std::vector<ModelCase> cases;
  for (const ModelCase& test : AllCases()) {
    if (test.target == "binary" || test.target == "multiclass") cases.push_back(test);
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Learners, LabelContract, ::testing::ValuesIn(LabelledClasses()),
                         [](const auto& param) { return param.param.name(); });
INSTANTIATE_TEST_SUITE_P(Learners, Contract, ::testing::ValuesIn(AllCases()),
                         [](const auto& param) { return param.param.name(); });

}  // namespace
}  // namespace dipper::learn::testing
