// Contributions and importances of models against hand-made figures and numerical integrals; that they sum to
// the answer and change nothing. Of trees alone: explain_tree_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "agent/learn/math/largest.h"
#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

using base::Status;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

double Total(const std::vector<double>& terms) { return std::accumulate(terms.begin(), terms.end(), 0.0); }

std::vector<float> DrawRow(Numbers& numbers, size_t width) {
  std::vector<float> x(width);
  for (float& value : x) value = static_cast<float>(numbers.Normal());
  return x;
}

/// Labels by the third input (f2), or by a sum of all, and noise.
void Teach(Fixture& model, uint64_t seed, int samples, bool by_rule) {
  Numbers numbers(seed);
  const uint32_t classes = model->class_count();
  for (int i = 0; i < samples; ++i) {
    const std::vector<float> x = DrawRow(numbers, model->feature_count());
    double y = 0.3 * numbers.Normal();
    for (size_t j = 0; j < x.size(); ++j) {
      const double value = static_cast<double>(x[j]);
      y += by_rule ? (j == 2 ? (value > 0.4 ? 6.0 : -6.0) : 0.0) : value * (1.0 - static_cast<double>(j));
    }
    if (classes == 2) y = y > 0 ? 1 : 0;
    if (classes > 2) y = y > 1 ? 2 : (y < -1 ? 0 : 1);
    const uint64_t id = model->samples() + 1;
    ASSERT_EQ(model->Observe(id, 0, x, nullptr), Status::kOk);
    ASSERT_EQ(model->Learn(id, y, 1.0, nullptr), Status::kOk);
  }
}

double AnswerOf(Fixture& model, std::span<const float> x, uint32_t output) {
  Output out;
  EXPECT_EQ(model->Predict(x, &out), Status::kOk);
  return out.class_index >= 0 ? out.probabilities[output] : out.value;
}

std::vector<double> TermsOf(Fixture& model, std::span<const float> x, uint32_t output) {
  std::vector<double> terms(model->input_count() + 2, 1e9);
  EXPECT_EQ(model->Contributions(x, output, terms), Status::kOk);
  return terms;
}

schema::SpecT SpecOf(const std::string& learner, uint32_t inputs, uint32_t classes) {
  schema::SpecT spec = MakeSpec(learner, inputs, classes);
  if (auto* tree = spec.learner.AsHoeffdingTree()) tree->pool_bytes = 32768;
  if (auto* race = spec.learner.AsRace()) race->members[1]->params.AsHoeffdingTree()->pool_bytes = 32768;
  return spec;
}

TEST(Explain, TermsSumToTheAnswerAndChangeNothing) {
  for (const char* learner : {"linear", "rls", "naive_bayes", "hoeffding_tree", "adaptive_forest", "race"}) {
    for (const uint32_t classes : {0U, 2U, 3U}) {
      if (classes == 0 && std::string(learner) == "naive_bayes") continue;
      schema::SpecT table = SpecOf(learner, 4, classes);
      AddStage(&table, schema::StandardScalerT());
      Fixture model(table);
      Teach(model, 1, 1500, true);
      const base::Digest before = model->ImageDigest();
      Numbers numbers(2);
      for (int i = 0; i < 60; ++i) {
        std::vector<float> x = DrawRow(numbers, 4);
        if (i % 5 == 0) x[numbers.Below(4)] = kMissing;
        for (uint32_t output = 0; output < (classes > 0 ? classes : 1); ++output) {
          ASSERT_NEAR(Total(TermsOf(model, x, output)), AnswerOf(model, x, output), 1e-9) << learner;
        }
      }
      std::vector<double> importance(4);
      ASSERT_EQ(model->Importance(importance), Status::kOk);
      EXPECT_NEAR(Total(importance), 1.0, 1e-12) << learner;
      for (const size_t other : {0U, 1U, 3U}) {
        EXPECT_GT(importance[2], 4 * importance[other]) << learner << classes;
      }
      EXPECT_EQ(model->ImageDigest(), before);
    }
  }
}

TEST(Explain, ATreeNamesTheInputOfTheRule) {
  for (const char* learner : {"hoeffding_tree", "adaptive_forest"}) {
    Fixture model(SpecOf(learner, 5, 2));
    Teach(model, 3, 6000, true);
    std::vector<double> importance(5);
    ASSERT_EQ(model->Importance(importance), Status::kOk);
    EXPECT_GT(importance[2], 0.8) << learner;
    Numbers numbers(4);
    for (int i = 0; i < 50; ++i) {
      std::vector<float> x = DrawRow(numbers, 5);
      x[2] = i % 2 == 0 ? 1.5F : -1.0F;
      const std::vector<double> terms = TermsOf(model, x, 1);
      EXPECT_EQ(terms[2] > 0, i % 2 == 0);
      for (const size_t other : {0U, 1U, 3U, 4U}) EXPECT_GT(std::fabs(terms[2]), std::fabs(terms[other]));
    }
  }
}

TEST(Explain, LinearValuesByHand) {
  Fixture model(SpecOf("linear", 3, 0));
  Teach(model, 5, 800, false);
  const std::vector<float> none(3);
  const double base = AnswerOf(model, none, 0);
  const std::vector<float> x = {0.5F, -2.0F, kMissing};
  const std::vector<double> terms = TermsOf(model, x, 0);
  for (size_t i = 0; i < 2; ++i) {
    std::vector<float> unit(3);
    unit[i] = 1.0F;
    EXPECT_NEAR(terms[i], static_cast<double>(x[i]) * (AnswerOf(model, unit, 0) - base), 1e-9);
  }
  EXPECT_EQ(terms[2], 0.0);
  EXPECT_NEAR(terms[3], base, 1e-9);
  EXPECT_NEAR(terms[4], 0.0, 1e-9);
}

TEST(Explain, LeastSquaresByHand) {
  Fixture model(SpecOf("rls", 3, 0));
  Teach(model, 5, 800, false);
  const std::vector<float> none(3);
  const double base = AnswerOf(model, none, 0);
  const std::vector<float> x = {0.5F, -2.0F, kMissing};
  const std::vector<double> terms = TermsOf(model, x, 0);
  for (size_t i = 0; i < 2; ++i) {
    std::vector<float> unit(3);
    unit[i] = 1.0F;
    EXPECT_NEAR(terms[i], static_cast<double>(x[i]) * (AnswerOf(model, unit, 0) - base), 1e-9);
  }
  EXPECT_EQ(terms[2], 0.0);
  EXPECT_NEAR(terms[3], base, 1e-9);
  EXPECT_NEAR(terms[4], 0.0, 1e-9);
}

TEST(Explain, LeastSquaresOnClassesAreASumButForTheCut) {
  Fixture model(SpecOf("rls", 3, 2));
  Teach(model, 6, 800, false);
  const std::vector<float> none(3);
  const std::vector<float> x = {0.1F, -0.2F, -0.05F};
  for (const uint32_t output : {0U, 1U}) {
    const std::vector<double> terms = TermsOf(model, x, output);
    const double before = AnswerOf(model, none, output);
    for (size_t i = 0; i < 3; ++i) {
      std::vector<float> alone(3);
      alone[i] = x[i];
      EXPECT_NEAR(terms[i], AnswerOf(model, alone, output) - before, 1e-9);
    }
    EXPECT_NEAR(terms[4], 0.0, 1e-9);
    const std::vector<float> far = {-30.0F, 30.0F, 30.0F};
    EXPECT_GT(std::fabs(TermsOf(model, far, output)[4]), 1.0);  // what was cut
  }
}

TEST(Explain, NaiveBayesTermsAreTheLikelihoods) {
  // An input that is left out takes its part of the log odds with it.
  schema::SpecT table = MakeSpec("naive_bayes", 2, 2);
  AddFeature(&table, "kind", {"a", "b"});
  Fixture model(table);
  Numbers numbers(13);
  for (uint64_t id = 1; id <= 3000; ++id) {
    const double y = static_cast<double>(numbers.Below(2));
    const auto kind = static_cast<float>(numbers.Below(4) == 0 ? numbers.Below(3) : static_cast<uint64_t>(y));
    std::vector<float> x = {static_cast<float>(numbers.Normal() + y), static_cast<float>(numbers.Normal()),
                            kind};
    if (id % 50 == 0) x[0] = kMissing;
    ASSERT_EQ(model->Observe(id, 0, x, nullptr), Status::kOk);
    ASSERT_EQ(model->Learn(id, y, 1.0, nullptr), Status::kOk);
  }
  const auto odds = [&](std::span<const float> x) {
    const double p = AnswerOf(model, x, 1);
    return std::log(p / (1.0 - p));
  };
  const std::vector<float> none(3, kMissing);
  for (const std::vector<float>& x :
       {std::vector<float>{0.9F, 0.1F, 1.0F}, std::vector<float>{0.2F, -1.0F, 0.0F}}) {
    double moves[3];
    double sum = 0;
    for (size_t i = 0; i < 3; ++i) {
      std::vector<float> without = x;
      without[i] = kMissing;
      moves[i] = odds(x) - odds(without);
      sum += moves[i];
    }
    for (const uint32_t output : {0U, 1U}) {
      const std::vector<double> terms = TermsOf(model, x, output);
      const double before = AnswerOf(model, none, output);
      const double whole = AnswerOf(model, x, output) - before;
      // The doubt that is spread over all classes bends the odds a little.
      for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(terms[i], whole * moves[i] / sum, 0.03) << i;
      EXPECT_NEAR(terms[3], before, 1e-9);
      EXPECT_NEAR(terms[4], 0.0, 1e-9);
    }
  }
  const std::vector<double> missing = TermsOf(model, none, 1);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(missing[i], 0.0);
  std::vector<double> importance(3);
  ASSERT_EQ(model->Importance(importance), Status::kOk);
  EXPECT_NEAR(Total(importance), 1.0, 1e-12);
  EXPECT_LT(importance[1], 0.05);  // noise
  EXPECT_GT(importance[2], importance[0]);
}

TEST(Explain, LogisticTermsShareTheMoveByTheirLogOdds) {
  Fixture model(SpecOf("linear", 3, 2));
  Teach(model, 6, 800, false);
  const auto odds = [&](std::span<const float> x) {
    const double p = AnswerOf(model, x, 1);
    return std::log(p / (1.0 - p));
  };
  const std::vector<float> none(3);
  const std::vector<float> x = {0.25F, -0.5F, -0.125F};
  double move[3];
  for (size_t i = 0; i < 3; ++i) {
    std::vector<float> alone(3);
    alone[i] = x[i];
    move[i] = odds(alone) - odds(none);
  }
  for (const uint32_t output : {0U, 1U}) {
    const std::vector<double> terms = TermsOf(model, x, output);
    const double before = AnswerOf(model, none, output);
    const double whole = AnswerOf(model, x, output) - before;
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(terms[i], whole * move[i] / (move[0] + move[1] + move[2]), 1e-9);
    EXPECT_NEAR(terms[3], before, 1e-12);
    EXPECT_NEAR(terms[4], 0.0, 1e-12);
  }
}

TEST(Explain, SoftmaxTermsAreIntegratedGradients) {
  Fixture model(SpecOf("linear", 3, 4));
  Teach(model, 7, 1500, false);
  constexpr int kSteps = 256;  // powers of two: exact in float32
  const std::vector<float> x = {1.5F, -0.75F, 2.25F};
  for (uint32_t output = 0; output < 4; ++output) {
    const std::vector<double> terms = TermsOf(model, x, output);
    for (size_t i = 0; i < 3; ++i) {
      double integral = 0;
      for (int k = 0; k < kSteps; ++k) {
        std::vector<float> at = x;
        for (float& value : at) value *= (static_cast<float>(k) + 0.5F) / kSteps;
        const float half = 0.5F * x[i] / kSteps;
        at[i] += half;
        integral += AnswerOf(model, at, output);
        at[i] -= 2 * half;
        integral -= AnswerOf(model, at, output);
      }
      EXPECT_NEAR(terms[i], integral, 2e-5);
    }
    EXPECT_NEAR(terms[4], 0.0, 1e-5);  // what the rule of Simpson leaves
  }
}

TEST(Explain, WildLinearModelsStayFinite) {
  Fixture model(SpecOf("linear", 3, 4));
  Teach(model, 8, 500, false);
  for (const float size : {1e-30F, 1e3F, 1e30F}) {
    const std::vector<float> x = {size, -size, size};
    for (uint32_t output = 0; output < 4; ++output) {
      const std::vector<double> terms = TermsOf(model, x, output);
      for (const double term : terms) ASSERT_TRUE(std::isfinite(term));
      EXPECT_NEAR(Total(terms), AnswerOf(model, x, output), 1e-9);
    }
  }
}

TEST(Explain, ARaceBlendsTheMembersThatCanTell) {
  for (const uint32_t classes : {0U, 2U}) {
    Fixture race(SpecOf("race", 3, classes));  // linear, hoeffding_tree, knn, rls, the trivial rival
    Fixture linear(SpecOf("linear", 3, classes));
    Fixture tree(SpecOf("hoeffding_tree", 3, classes));
    Fixture rls(SpecOf("rls", 3, classes));
    for (Fixture* model : {&race, &linear, &tree, &rls}) Teach(*model, 9, 900, true);
    const double shares[3] = {race->race_weight(0), race->race_weight(1), race->race_weight(3)};
    Numbers numbers(10);
    for (int i = 0; i < 20; ++i) {
      const std::vector<float> x = DrawRow(numbers, 3);
      const uint32_t output = classes > 0 ? 1 : 0;
      const std::vector<double> blend = TermsOf(race, x, output);
      const std::vector<double> first = TermsOf(linear, x, output);
      const std::vector<double> second = TermsOf(tree, x, output);
      const std::vector<double> third = TermsOf(rls, x, output);
      for (size_t j = 0; j <= 3; ++j)
        ASSERT_NEAR(blend[j], shares[0] * first[j] + shares[1] * second[j] + shares[2] * third[j], 1e-9);
      ASSERT_NEAR(Total(blend), AnswerOf(race, x, output), 1e-9);
    }
    std::vector<double> importance(3);
    std::vector<double> first(3);
    std::vector<double> second(3);
    std::vector<double> third(3);
    ASSERT_EQ(race->Importance(importance), Status::kOk);
    ASSERT_EQ(rls->Importance(third), Status::kOk);
    ASSERT_EQ(linear->Importance(first), Status::kOk);
    ASSERT_EQ(tree->Importance(second), Status::kOk);
    for (size_t j = 0; j < 3; ++j) {
      const double sum = shares[0] + shares[1] + shares[2];
      EXPECT_NEAR(importance[j], (shares[0] * first[j] + shares[1] * second[j] + shares[2] * third[j]) / sum,
                  1e-12);
    }
  }
}

TEST(Explain, AForecastStartsFromTheLastValue) {
  for (const char* learner : {"linear", "hoeffding_tree", "race"}) {
    Fixture model(MakeForecastSpec(learner, 2, 1));
    Numbers numbers(11);
    double level = 100.0;
    for (uint64_t id = 1; id <= 1500; ++id) {
      const auto drive = static_cast<float>(numbers.Normal());
      const float x[2] = {static_cast<float>(level), drive};
      ASSERT_EQ(model->Observe(id, 0, x, nullptr), Status::kOk);
      level += static_cast<double>(drive) - 0.05 * (level - 100.0);
    }
    const base::Digest before = model->ImageDigest();
    for (const float drive : {-1.0F, 0.0F, 2.0F}) {
      const float x[2] = {101.0F, drive};
      const std::vector<double> terms = TermsOf(model, x, 0);
      ASSERT_EQ(terms.size(), model->input_count() + 2);
      EXPECT_NEAR(Total(terms), AnswerOf(model, x, 0), 1e-9) << learner;
      EXPECT_NEAR(terms[model->input_count()], 101.0, 1.0) << learner;
    }
    EXPECT_EQ(model->ImageDigest(), before);
  }
}

TEST(Explain, AnUnusualRowNamesItsInputs) {
  schema::SpecT table = MakeSpec("linear", 4, 2);
  table.task = schema::Task::Anomaly;
  table.target->kind = schema::TargetKind::None;
  table.target->classes.clear();
  table.learner.Reset();
  table.learner.Set(schema::HalfSpaceTreesT());
  Fixture model(table);
  std::vector<double> terms(4, 1.0);
  std::array<uint16_t, 2> top{};
  Numbers numbers(14);
  const std::vector<float> usual(4);
  ASSERT_EQ(model->ScoreTerms(usual, terms), Status::kOk);
  for (const double term : terms) EXPECT_EQ(term, 0.0);  // cold
  for (uint64_t id = 1; id <= 4000; ++id)
    ASSERT_EQ(model->Observe(id, 0, DrawRow(numbers, 4), nullptr), Status::kOk);
  const base::Digest before = model->ImageDigest();
  for (uint16_t odd = 0; odd < 4; ++odd) {
    std::vector<float> x = {0.1F, -0.1F, 0.2F, 0.0F};
    x[odd] = 9.0F;
    ASSERT_EQ(model->ScoreTerms(x, terms), Status::kOk);
    ASSERT_GE(LargestPlaces(terms, top), 1U);
    EXPECT_EQ(top[0], odd);
    Output with;
    Output without;
    ASSERT_EQ(model->Predict(x, &with), Status::kOk);
    x[odd] = kMissing;
    ASSERT_EQ(model->Predict(x, &without), Status::kOk);
    EXPECT_EQ(terms[odd], with.anomaly_raw - without.anomaly_raw);
    EXPECT_GT(terms[odd], 0.1);
  }
  EXPECT_EQ(model->ImageDigest(), before);
  EXPECT_EQ(model->ScoreTerms(usual, std::span(terms).first(3)), Status::kInvalidArgument);
  EXPECT_EQ(model->ScoreTerms(std::span(usual).first(3), terms), Status::kInvalidArgument);
  Fixture linear(MakeSpec("linear", 4, 2));
  EXPECT_EQ(linear->ScoreTerms(usual, terms), Status::kUnimplemented);
}

TEST(Explain, LargestPlacesFirstOfEquals) {
  const double values[] = {1, 3, -5, 3, 0, 2};
  std::array<uint16_t, 3> top{};
  ASSERT_EQ(LargestPlaces(values, top), 3U);
  EXPECT_EQ(top, (std::array<uint16_t, 3>{1, 3, 5}));
  EXPECT_EQ(LargestPlaces(std::span(values).subspan(2, 1), top), 0U);
  EXPECT_EQ(LargestPlaces(values, std::span(top).first(0)), 0U);
  std::array<uint16_t, 6> all{};
  ASSERT_EQ(LargestPlaces(values, all), 4U);
  EXPECT_EQ(all[3], 0U);
}

TEST(Explain, RefusesWhatItCannotTell) {
  std::vector<double> terms(4);
  std::vector<double> importance(2);
  const std::vector<float> x(2);
  Fixture neighbours(MakeSpec("knn", 2, 2));
  EXPECT_EQ(neighbours->Contributions(x, 0, terms), Status::kUnimplemented);
  EXPECT_EQ(neighbours->Importance(importance), Status::kUnimplemented);
  schema::SpecT table = MakeSpec("race", 2, 2);
  auto& members = table.learner.AsRace()->members;
  members.pop_back();
  members.erase(members.begin(), members.begin() + 2);
  Fixture silent(table);  // knn
  EXPECT_EQ(silent->Contributions(x, 0, terms), Status::kUnimplemented);
  EXPECT_EQ(silent->Importance(importance), Status::kUnimplemented);

  Fixture model(MakeSpec("linear", 2, 2));
  EXPECT_EQ(model->input_count(), 2U);
  EXPECT_EQ(model->Contributions(x, 2, terms), Status::kInvalidArgument);
  EXPECT_EQ(model->Contributions(std::span(x).first(1), 0, terms), Status::kInvalidArgument);
  EXPECT_EQ(model->Contributions(x, 0, std::span(terms).first(3)), Status::kInvalidArgument);
  EXPECT_EQ(model->Importance(std::span(importance).first(1)), Status::kInvalidArgument);
  ASSERT_EQ(model->Importance(importance), Status::kOk);  // knows nothing yet
  EXPECT_EQ(importance[0] + importance[1], 0.0);
}

}  // namespace
}  // namespace dipper::learn::testing
