// The race: its weights and its bound on made-up answers, then as a model's learner.
#include "agent/learn/learners/race.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

using base::Status;

class RacePart {
 public:
  explicit RacePart(const RaceConfig& config)
      : config_(config), memory_(Race::StateBytes(config).value()), race_(config, memory_.bytes()) {
    EXPECT_EQ(Race::Create(config, memory_.bytes()), Status::kOk);
  }
  Race* operator->() { return &race_; }
  Status Validate() { return Race::Validate(config_, memory_.bytes()); }
  base::MutableBytes bytes() { return memory_.bytes(); }

 private:
  RaceConfig config_;
  AlignedBytes memory_;
  Race race_;
};

RaceConfig TwoClasses(uint32_t members, double share = 0.001) { return {members, 2, true, share}; }

TEST(Race, WeightsMoveToTheBetterMember) {
  RacePart race(TwoClasses(3));
  for (uint32_t i = 0; i < 3; ++i) EXPECT_NEAR(race->weight(i), 1.0 / 3.0, 1e-12);
  Numbers numbers(1);
  for (int i = 0; i < 100; ++i) {
    const auto y = static_cast<double>(numbers.Below(2));
    const double sure = y == 1.0 ? 0.8 : 0.2;
    const double answers[] = {0.5, 0.5, 1.0 - sure, sure, sure, 1.0 - sure};  // no idea, right, wrong
    race->Learn(answers, y, 1.0, 0);
  }
  EXPECT_GT(race->weight(1), 0.98);
  EXPECT_NEAR(race->weight(0) + race->weight(1) + race->weight(2), 1.0, 1e-12);
  EXPECT_GE(race->weight(2), 0.0003);  // its share, so that it can come back
  EXPECT_LT(race->loss(1), race->loss(0));
  EXPECT_LT(race->loss(0), race->loss(2));
  EXPECT_EQ(race.Validate(), Status::kOk);
}

// With log loss and no clipping the blend is a Bayesian mixture over all sequences of members: it loses at
// most ln n at the start, ln(n / share) at a switch, and -ln(1 - share) in between (Herbster and Warmuth).
TEST(Race, NeverWorseThanTheBestSequenceByMoreThanTheBound) {
  constexpr uint32_t kMembers = 4;
  constexpr int kLabels = 8000;
  constexpr int kPeriod = 1000;  // then another member is the good one
  const RaceConfig config = TwoClasses(kMembers);
  RacePart race(config);
  Numbers numbers(2);
  double blend_loss = 0, best_sequence = 0;
  double member_loss[kMembers] = {};
  for (int i = 0; i < kLabels; ++i) {
    const auto y = static_cast<double>(numbers.Below(2));
    const auto good = static_cast<uint32_t>(i / kPeriod) % kMembers;
    std::vector<double> answers;
    for (uint32_t m = 0; m < kMembers; ++m) {
      const bool right = numbers.Uniform() < (m == good ? 0.9 : 0.5);
      const double p = right == (y == 1.0) ? 0.85 : 0.15;
      answers.insert(answers.end(), {1.0 - p, p});
      const double loss = -std::log(y == 1.0 ? p : 1.0 - p);
      member_loss[m] += loss;
      if (m == good) best_sequence += loss;
    }
    double blend[2];
    race->Blend(answers, blend);
    ASSERT_NEAR(blend[0] + blend[1], 1.0, 1e-12);
    blend_loss -= std::log(blend[static_cast<size_t>(y)]);
    race->Learn(answers, y, 1.0, 0);
  }
  const int switches = kLabels / kPeriod - 1;
  const double bound = std::log(kMembers) + switches * std::log(kMembers / config.share) -
                       (kLabels - switches) * std::log(1.0 - config.share);
  EXPECT_LE(blend_loss, best_sequence + bound);
  EXPECT_LT(blend_loss, 0.7 * *std::min_element(member_loss, member_loss + kMembers));
}

TEST(Race, AVeryWrongMemberCostsAtMostItsClippedLoss) {
  RacePart race(TwoClasses(2, 0.0));
  const double answers[] = {0.5, 0.5, 1.0, 0.0};  // the second is certain, and wrong
  race->Learn(answers, 1.0, 1.0, 0);
  EXPECT_NEAR(race->weight(1), std::exp(-4.0) / (std::exp(-4.0) + 0.5), 1e-9);
  EXPECT_EQ(race.Validate(), Status::kOk);
}

TEST(Race, LateLabelsMoveItLessAndWeightZeroNotAtAll) {
  RacePart prompt(TwoClasses(2)), late(TwoClasses(2)), none(TwoClasses(2));
  const double answers[] = {0.5, 0.5, 0.1, 0.9};
  const std::vector<uint8_t> before(none.bytes().begin(), none.bytes().end());
  for (int i = 0; i < 5; ++i) {
    prompt->Learn(answers, 1.0, 1.0, 0);
    late->Learn(answers, 1.0, 1.0, 49);
    none->Learn(answers, 1.0, 0.0, 0);
  }
  EXPECT_GT(prompt->weight(1), 0.9);
  EXPECT_GT(late->weight(1), 0.5);
  EXPECT_LT(late->weight(1), 0.55);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), none.bytes().begin()));
}

TEST(Race, RegressionFollowsTheBetterMemberAtAnyScale) {
  for (const double scale : {1.0, 1e6, 1e-6}) {
    RacePart race({3, 1, false, 0.001});
    Numbers numbers(3);
    double blend_squares = 0, best_squares = 0;
    for (int i = 0; i < 3000; ++i) {
      const double y = scale * numbers.Normal();
      const double noise = scale * 0.3 * numbers.Normal();
      // The third one runs away; it must not take the blend with it.
      const double answers[] = {y + noise, 0.0, 1e25 * (i % 2 == 0 ? scale : -scale)};
      double blend[1];
      race->Blend(answers, blend);
      if (i >= 20) {
        blend_squares += (y - blend[0]) * (y - blend[0]);
        best_squares += noise * noise;
      }
      race->Learn(answers, y, 1.0, 0);
    }
    EXPECT_GT(race->weight(0), 0.99) << scale;
    EXPECT_LT(blend_squares, 1.05 * best_squares) << scale;
    EXPECT_EQ(race.Validate(), Status::kOk);
  }
}

TEST(Race, RefusesShapesAndDamage) {
  for (const RaceConfig& config :
       {RaceConfig{0, 2, true, 0.001}, RaceConfig{9, 2, true, 0.001}, RaceConfig{2, 1, true, 0.001},
        RaceConfig{2, 65, true, 0.001}, RaceConfig{2, 2, false, 0.001}, RaceConfig{2, 2, true, 0.6},
        RaceConfig{2, 2, true, -0.1}}) {
    EXPECT_EQ(Race::StateBytes(config).status(), Status::kInvalidArgument);
  }
  RacePart race(TwoClasses(2));
  const double answers[] = {0.5, 0.5, 0.1, 0.9};
  race->Learn(answers, 1.0, 1.0, 0);
  uint64_t refused = 0;
  for (uint8_t& byte : race.bytes()) {
    byte = static_cast<uint8_t>(byte ^ 0x80);
    if (!base::Ok(race.Validate())) {
      ++refused;
    } else {
      double blend[2];
      race->Blend(answers, blend);
      EXPECT_TRUE(std::isfinite(blend[0]) && std::isfinite(blend[1]));
    }
    byte = static_cast<uint8_t>(byte ^ 0x80);
  }
  EXPECT_GT(refused, 30U);
  EXPECT_EQ(race.Validate(), Status::kOk);
}

/// Error rate over the second half of a stream whose label is the sign of a sum, or of a product, in turns.
double ErrorOf(const schema::SpecT& table, uint64_t delay, Model** model = nullptr) {
  static std::unique_ptr<Fixture> fixture;
  fixture = std::make_unique<Fixture>(table);
  Model& m = fixture->model();
  if (model != nullptr) *model = &m;
  Numbers numbers(4);
  std::vector<double> labels;
  double errors = 0;
  constexpr uint64_t kSamples = 6000;
  for (uint64_t id = 1; id <= kSamples + delay; ++id) {
    const float x[2] = {static_cast<float>(numbers.Normal()), static_cast<float>(numbers.Normal())};
    const double sum = static_cast<double>(x[0] + x[1]);
    const double product = static_cast<double>(x[0] * x[1]);
    labels.push_back((id / 2000 % 2 == 0 ? sum : product) > 0.0 ? 1.0 : 0.0);
    EXPECT_EQ(m.Observe(id, 0, x, nullptr), Status::kOk);
    if (id <= delay) continue;
    Outcome outcome;
    EXPECT_EQ(m.Learn(id - delay, labels[id - delay - 1], 1.0, &outcome), Status::kOk);
    errors += outcome.loss;
  }
  return errors / static_cast<double>(kSamples);
}

TEST(RaceModel, IsAboutAsGoodAsItsBestMemberPromptAndLate) {
  for (const uint64_t delay : {uint64_t{0}, uint64_t{50}}) {
    double best = 1, worst = 0;
    for (const char* member : {"linear", "knn"}) {
      const double error = ErrorOf(MakeSpec(member, 2, 2), delay);
      best = std::min(best, error);
      worst = std::max(worst, error);
    }
    schema::SpecT table = MakeSpec("linear", 2, 2);
    SetRace(&table, {"linear", "knn"}, false);
    const double race = ErrorOf(table, delay);
    EXPECT_LT(race, best + 0.02) << delay;
    EXPECT_GT(worst, best + 0.05) << delay;  // or the choice would not matter
  }
}

TEST(RaceModel, ReportsItsWeights) {
  schema::SpecT table = MakeSpec("linear", 2, 2);
  SetRace(&table, {"linear", "knn"}, true);
  Model* model = nullptr;
  ErrorOf(table, 0, &model);
  ASSERT_EQ(model->race_members(), 3U);
  double sum = 0;
  for (uint32_t i = 0; i < 3; ++i) sum += model->race_weight(i);
  EXPECT_NEAR(sum, 1.0, 1e-9);
  SetRace(&table, {"linear", "knn"}, false);
  ErrorOf(table, 0, &model);
  EXPECT_EQ(model->race_members(), 2U);
  ErrorOf(MakeSpec("linear", 2, 2), 0, &model);
  EXPECT_EQ(model->race_members(), 0U);
}

/// Labels that stay as they are for a long time, and inputs that say nothing.
double StickyError(const schema::SpecT& table, double* trivial_weight) {
  Fixture model(table);
  Numbers numbers(5);
  double y = 0;
  for (uint64_t id = 1; id <= 3000; ++id) {
    if (numbers.Below(40) == 0) y = 1.0 - y;
    const auto x = static_cast<float>(numbers.Normal());
    EXPECT_EQ(model->Observe(id, 0, {&x, 1}, nullptr), Status::kOk);
    EXPECT_EQ(model->Learn(id, y, 1.0, nullptr), Status::kOk);
  }
  *trivial_weight = model->race_weight(model->race_members() - 1);
  return 1.0 - model->ReadMetrics().accuracy;
}

TEST(RaceModel, TheNoChangeRivalTakesPartOnlyWhenAsked) {
  schema::SpecT table = MakeSpec("linear", 1, 2);
  double last_weight = 0;
  SetRace(&table, {"linear", "naive_bayes"}, true);
  EXPECT_LT(StickyError(table, &last_weight), 0.04);  // it errs at a change only: 1 in 40
  EXPECT_GT(last_weight, 0.9);
  SetRace(&table, {"linear", "naive_bayes"}, false);
  EXPECT_GT(StickyError(table, &last_weight), 0.04);
}

TEST(RaceModel, MembersShareTheBudget) {
  schema::SpecT table = MakeSpec("linear", 4, 2);
  SetRace(&table, {"hoeffding_tree", "knn", "adaptive_forest", "linear"}, true);
  table.budget_bytes = 200000;
  Compiled compiled(table);
  auto spec = compiled.Parse();
  ASSERT_TRUE(spec.ok()) << compiled.why();
  EXPECT_LE(spec->state_bytes(), table.budget_bytes);
  const Layout& layout = spec->plan().layout;
  ASSERT_EQ(layout.learner_count, 4U);
  for (uint32_t i = 0; i < 4; ++i) EXPECT_GT(layout.learners[i].section.bytes, 0U) << i;
  // The window takes what it wants; the tree and the forest take like parts of what is left, to the last row.
  EXPECT_EQ(std::get<KnnConfig>(layout.learners[1].config).window, 1000U);
  EXPECT_NEAR(static_cast<double>(layout.learners[0].section.bytes),
              static_cast<double>(layout.learners[2].section.bytes), 32.0);
  EXPECT_GT(spec->state_bytes(), table.budget_bytes - 64);
}

}  // namespace
}  // namespace dipper::learn::testing
