// What must not matter: the unit of the inputs and the order of the columns.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "tests/contract/learn/cases.h"

namespace dipper::learn::testing {
namespace {

using Order = std::array<uint16_t, 4>;  // column i holds feature order[i]; `kind` stays the last one

constexpr Order kPlain = {0, 1, 2, 3};

/// Loss against that of the trivial rival; for scores, how many good samples look worse than a bad one.
/// Every 80th sample is bad: its f1 is far out.
double LossOf(const schema::SpecT& table, double scale, const Order& order = kPlain) {
  Fixture model(table);
  Stream stream(6, scale);
  const bool scores = model.spec().target_kind() == schema::TargetKind::None;
  for (uint64_t id = 1; id <= 2900; ++id) {
    const Stream::Sample sample = stream.Next(LabelClasses(model.spec()));
    const bool bad = scores && id % 80 == 0;
    float x[4];
    for (size_t i = 0; i < 4; ++i) {
      const bool out = bad && order[i] == 1;
      x[i] = out ? static_cast<float>(6.0 * scale) : sample.x[order[i]];
    }
    EXPECT_EQ(model->Observe(id, 0, x, nullptr), base::Status::kOk);
    (void)model->Learn(id, scores ? (bad ? 1.0 : 0.0) : sample.label, 1.0, nullptr);
  }
  EXPECT_TRUE(model->AllFinite());
  const Metrics metrics = model->ReadMetrics();
  return scores ? 1.0 - metrics.auc : metrics.faded_loss / metrics.faded_trivial_loss;
}

/// Without the scaler for learners that do not need one.
schema::SpecT Unscaled(const ModelCase& test) {
  schema::SpecT spec = SpecOf(test);
  if (test.nominal()) {
    std::erase_if(spec.stages, [](const auto& stage) { return stage->params.AsStandardScaler() != nullptr; });
  }
  return spec;
}

class Invariance : public ::testing::TestWithParam<ModelCase> {};

TEST_P(Invariance, LearnsAtAnyScale) {
  const ModelCase& test = GetParam();
  const double plain = LossOf(Unscaled(test), 1.0);
  EXPECT_LT(plain, test.ahead() ? 1.2 : 0.8);  // a random walk leaves a forecast little to win
  for (const double scale : {1e6, 1e-6})
    EXPECT_NEAR(LossOf(Unscaled(test), scale), plain, 0.15 * plain) << scale;
}

/// The columns in another order, and whatever names one of them by its place.
schema::SpecT Reordered(schema::SpecT spec, const Order& order) {
  const auto place = [&order](uint16_t feature) {
    const auto* found = std::find(order.begin(), order.end(), feature);
    return found == order.end() ? feature : static_cast<uint16_t>(found - order.begin());
  };
  const auto move = [&place](std::vector<uint16_t>* inputs) {
    for (uint16_t& input : *inputs) input = place(input);
    std::sort(inputs->begin(), inputs->end());
  };
  std::vector<std::unique_ptr<schema::FeatureT>> features(order.size());
  for (size_t i = 0; i < order.size(); ++i) features[i] = std::move(spec.features[order[i]]);
  spec.features = std::move(features);
  spec.target->feature = place(spec.target->feature);
  for (const auto& stage : spec.stages) {
    if (auto* lags = stage->params.AsLags()) move(&lags->inputs);
    if (auto* rolling = stage->params.AsRolling()) move(&rolling->inputs);
    if (auto* bands = stage->params.AsBandEnergy()) move(&bands->inputs);
  }
  return spec;
}

TEST_P(Invariance, ColumnsInAnyOrder) {
  const ModelCase& test = GetParam();
  const double plain = LossOf(SpecOf(test), 1.0);
  // Sums in another order; trees also break ties by place, and random ones draw other inputs.
  const bool random = test.learner == "adaptive_forest" || test.learner == "half_space_trees";
  const bool grows = test.learner == "hoeffding_tree" || test.learner == "race";
  const double near = random ? 0.25 : (grows ? 0.1 : 0.01);
  for (const Order& order : {Order{2, 0, 1, 3}, Order{1, 2, 0, 3}})
    EXPECT_NEAR(LossOf(Reordered(SpecOf(test), order), 1.0, order), plain, near * plain);
}

INSTANTIATE_TEST_SUITE_P(Learners, Invariance, ::testing::ValuesIn(AllCases()),
                         [](const auto& param) { return param.param.name(); });

}  // namespace
}  // namespace dipper::learn::testing
